"""Where failed attempts are recorded, and what is written about one: its kind, code and words, never a secret."""

from collections import deque
from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from adwarm.foundation.errors import AdwarmError
from adwarm.foundation.redaction import redact
from adwarm.store.error_events import ErrorEvent

__all__ = ["ErrorEvent", "ErrorJournal", "MemoryJournal", "build_error_event"]


class ErrorJournal(Protocol):
    """A bounded record of failed attempts. `adwarm.store.error_events.ErrorsLog` keeps it in SQL."""

    def record(self, event: ErrorEvent) -> None:
        """Add the event."""
        ...

    def count(self, source: str, since: datetime, without: Collection[str] = ()) -> int:
        """Return how many errors of `source` happened after `since`, those of the kinds `without` left out."""
        ...


class MemoryJournal:
    """The journal of one process, for callers without a database; keeps the newest `keep` events."""

    def __init__(self, max_events: int = 1_000) -> None:
        self.events: deque[ErrorEvent] = deque(maxlen=max_events)

    def record(self, event: ErrorEvent) -> None:
        """Add the event."""
        self.events.append(event)

    def count(self, source: str, since: datetime, without: Collection[str] = ()) -> int:
        """Return how many errors of `source` happened after `since`, those of the kinds `without` left out."""
        return sum(e.source == source and e.at > since and e.kind not in without for e in list(self.events))


def build_error_event(error: BaseException, source: str, subject: str | None, at: datetime) -> ErrorEvent:
    """Return the event that records `error`."""
    code = error.code if isinstance(error, AdwarmError) else None
    words = redact(str(error)) or type(error).__name__
    return ErrorEvent(at, source, type(error).__name__, words, redact(subject) if subject else None, code)
