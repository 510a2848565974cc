"""Turns access events into mergeable slots, and slots into profiles of when reports are opened.

`adwarm.patterns.ingest.run` brings the slots up to date, `load_slots` reads them, `profile` tells habits from chance,
and `hour_of_week` counts a log of any length by report and hour of the reader's week. Nothing is imported here, because
ingest needs pandas and SQL, and counting neither.
"""
