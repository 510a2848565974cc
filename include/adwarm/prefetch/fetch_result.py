"""The result of a fetch: its rows, of which many are compressed in memory, and what could not be read."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import orjson
import zstandard

from adwarm.model import Row, Window
from adwarm.model.keys import row_key
from adwarm.prefetch.gap_filling import MissingData
from adwarm.store.partition_rows import in_order, without_duplicates

_LOOSE_ROWS = 2_000


class RowBuffer:
    """The rows of one fetch result by window; beyond `loose_rows` they are compressed, so memory stays small."""

    def __init__(self, identity: Sequence[str], rows: Iterable[Row] = (), loose_rows: int = _LOOSE_ROWS) -> None:
        self._identity = identity
        self._max_loose = loose_rows
        self._loose: dict[Window, list[Row]] = {}
        self._packed: dict[Window, list[bytes]] = {}
        self._counts: dict[Window, int] = {}
        self._loose_rows = 0
        self.add(rows)

    def __len__(self) -> int:
        return sum(self._counts.values())

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows."""
        groups: dict[tuple[str, str], list[Row]] = {}
        for row in rows:
            groups.setdefault((str(row["date_start"]), str(row["date_stop"])), []).append(row)
        for (since, until), group in groups.items():
            window = Window(date.fromisoformat(since), date.fromisoformat(until))
            self._loose.setdefault(window, []).extend(group)
            self._counts[window] = self._counts.get(window, 0) + len(group)
            self._loose_rows += len(group)
        if self._loose_rows > self._max_loose:
            self._pack()

    def extend(self, other: "RowBuffer") -> None:
        """Move the rows of another buffer here; it is empty afterwards."""
        for window in list(other._counts):
            self._packed.setdefault(window, []).extend(other._packed.pop(window, ()))
            loose = other._loose.pop(window, [])
            self._loose.setdefault(window, []).extend(loose)
            self._loose_rows += len(loose)
            self._counts[window] = self._counts.get(window, 0) + other._counts.pop(window)
        other._loose_rows = 0
        if self._loose_rows > self._max_loose:
            self._pack()

    def count(self, window: Window) -> int:
        """Return how many rows of `window` were added, duplicates included."""
        return self._counts.get(window, 0)

    def windows(self) -> list[Window]:
        """Return the windows that have rows, oldest first."""
        return sorted(self._counts)

    def take(self, window: Window) -> list[Row]:
        """Remove and return the rows of a window, ordered by id; of duplicates the one added last."""
        rows = [row for packed in self._packed.pop(window, ()) for row in _unpacked(packed)]
        loose = self._loose.pop(window, [])
        self._loose_rows -= len(loose)
        self._counts.pop(window, None)
        return in_order(without_duplicates([*rows, *loose], self._identity))

    def rows(self) -> Iterator[Row]:
        """Yield every row, duplicates included; the buffer keeps them."""
        for window in self.windows():
            for packed in self._packed.get(window, ()):
                yield from _unpacked(packed)
            yield from self._loose.get(window, ())

    def _pack(self) -> None:
        for window, rows in self._loose.items():
            packed = zstandard.ZstdCompressor(level=1).compress(orjson.dumps(rows))
            self._packed.setdefault(window, []).append(packed)
        self._loose.clear()
        self._loose_rows = 0


@dataclass(frozen=True, slots=True)
class FetchResult:
    """The rows of one unit, or of a part of it that is complete for its own windows.

    Attributes:
        windows: the windows that the rows are complete for, except for `missing`.
        requested_at: when the platform started to compute them, if that was before this fetch.
    """

    rows: RowBuffer
    windows: tuple[Window, ...] = ()
    api_version: str = ""
    requested_at: datetime | None = None
    missing: tuple[MissingData, ...] = ()


def concatenate(first: FetchResult, others: Iterable[FetchResult]) -> FetchResult:
    """Return the rows of all results as one, for the windows of the first. Its buffer takes over the rows."""
    parts = [first]
    for part in others:
        first.rows.extend(part.rows)
        parts.append(part)
    return FetchResult(
        first.rows,
        first.windows,
        next((part.api_version for part in parts if part.api_version), ""),
        min((part.requested_at for part in parts if part.requested_at), default=None),
        tuple(dict.fromkeys(gap for part in parts for gap in part.missing)),
    )


def merge_fields(parts: Sequence[FetchResult], identity: Sequence[str]) -> RowBuffer:
    """Return the rows of all results, with rows of the same identity merged into one that has all their fields."""
    rows: dict[tuple[object, ...], Row] = {}
    for part in parts:
        for row in part.rows.rows():
            rows.setdefault(row_key(row, identity), {}).update(row)
    return RowBuffer(identity, rows.values())


def _unpacked(packed: bytes) -> list[Row]:
    rows: list[Row] = orjson.loads(zstandard.ZstdDecompressor().decompress(packed))
    return rows
