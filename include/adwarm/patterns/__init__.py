"""Turns access events into quarter-hour slots that can be merged, and slots into profiles of when reports are opened.

`ingest.run` brings the stored slots up to date with the access log, `load_slots` and `open_history` read them back,
`profile` describes habits, and `hour_of_week` counts a log by report and hour of the reader's week. Nothing is imported
here, because each part loads pandas or SQL that others do without.
"""
