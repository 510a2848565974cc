"""Reads access events in bounded memory; a malformed line is quarantined and the rest is read."""

from adwarm.access_log.events import EVENT_SCHEMA
from adwarm.access_log.log_files import list_files
from adwarm.access_log.log_reader import LogReader, log_span, read_events
from adwarm.access_log.quarantine import Quarantine

__all__ = [
    "EVENT_SCHEMA",
    "LogReader",
    "Quarantine",
    "list_files",
    "log_span",
    "read_events",
]
