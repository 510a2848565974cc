"""Finds where to resume reading a text log: the offset before which every event is older than a given hour.

The log need not be in order. An entry (hour, offset) states that all events before `offset` are of earlier hours; it is
added when a block of lines contains a later hour than any block before it.
"""

from collections.abc import Iterable

from adwarm.access_log.timestamps import HOUR


class Checkpoints:
    """Entries by ascending hour; hours are counted since the epoch."""

    def __init__(self, entries: Iterable[Iterable[int]] = ()) -> None:
        self._entries: list[tuple[int, int]] = [(int(hour), int(offset)) for hour, offset in entries]

    @property
    def latest(self) -> int | None:
        """The latest hour that holds an event."""
        return self._entries[-1][0] if self._entries else None

    def add(self, micros: int, start: int) -> None:
        """Record that the newest event of the block at `start` is at `micros`."""
        hour = micros // HOUR
        if self.latest is None or hour > self.latest:
            self._entries.append((hour, start))

    def find_offset(self, hour: int) -> int | None:
        """Return the offset before which all events are older than `hour`; None when no event is as new."""
        return next((offset for latest, offset in self._entries if latest >= hour), None)

    def before(self, offset: int) -> "Checkpoints":
        """Return the entries that stay valid when the file is read again from `offset`."""
        return Checkpoints(entry for entry in self._entries if entry[1] < offset)

    def to_rows(self, limit: int = 256) -> list[list[int]]:
        """Return at most `limit` entries, ready to be stored.

        Entries are thinned by giving an hour the offset of the entry before it, which reads more but misses nothing.
        """
        entries = list(self._entries)
        while len(entries) > limit:
            pairs = zip(entries[0::2], entries[1::2], strict=False)
            odd = entries[-1:] if len(entries) % 2 else []
            entries = [(later[0], earlier[1]) for earlier, later in pairs] + odd
        return [list(entry) for entry in entries]
