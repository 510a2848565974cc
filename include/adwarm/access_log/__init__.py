"""Reads access events in bounded memory; a malformed line costs that line only."""

from adwarm.access_log.files import LogFile, list_files
from adwarm.access_log.quarantine import Quarantine
from adwarm.access_log.reader import LogReader, log_span, read_events
from adwarm.access_log.schema import EVENT_SCHEMA
from adwarm.access_log.writer import AccessLogWriter

__all__ = [
    "EVENT_SCHEMA",
    "AccessLogWriter",
    "LogFile",
    "LogReader",
    "Quarantine",
    "list_files",
    "log_span",
    "read_events",
]
