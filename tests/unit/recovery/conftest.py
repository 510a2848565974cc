"""A journal in memory."""

import pytest

from adwarm.recovery import ErrorEvent


class MemoryJournal:
    """The failed attempts of a test."""

    def __init__(self) -> None:
        self.events: list[ErrorEvent] = []

    def record(self, event: ErrorEvent) -> None:
        self.events.append(event)


@pytest.fixture
def journal() -> MemoryJournal:
    """A journal in memory."""
    return MemoryJournal()
