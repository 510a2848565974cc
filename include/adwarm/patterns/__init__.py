"""Turns access events into quarter-hour slots that can be merged, and slots into profiles of when reports are opened.

`ingest.run` brings the stored slots up to date with the access log, `load_slots` and `open_history` read them back,
`open_counts` counts first opens by account and hour, `profile` says when each account is opened, `stored_patterns`
keeps that in SQL, `log_profile` reads it from one log, and `hour_of_week` counts by report. Nothing is imported here,
because each part loads pandas or SQL that others do without.
"""
