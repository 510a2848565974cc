"""A journal in memory."""

from collections.abc import Collection
from datetime import datetime

import pytest

from adwarm.recovery import ErrorEvent


class MemoryJournal:
    """The failed attempts of a test."""

    def __init__(self) -> None:
        self.events: list[ErrorEvent] = []

    def record(self, event: ErrorEvent) -> None:
        self.events.append(event)

    def count(self, source: str, since: datetime, without: Collection[str] = ()) -> int:
        return sum(e.source == source and e.at > since and e.kind not in without for e in self.events)


@pytest.fixture
def journal() -> MemoryJournal:
    """A journal in memory."""
    return MemoryJournal()
