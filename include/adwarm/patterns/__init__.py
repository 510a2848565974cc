"""Turns access events into quarter-hour slots that can be merged, and slots into profiles of when reports are opened.

`ingest.run` brings the stored slots up to date with the access log, and `open_history` reads them back. From there on
patterns are frames: `open_counts` counts opens, `profile` says when each account is opened, `access_profiles` keeps
that in SQL or reads it from one log, `pattern_document` describes it, and `hour_of_week` has the words. Nothing is
imported here, because each part loads pandas or SQL that others do without.
"""
