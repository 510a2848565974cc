"""The result of a fetch: its rows, of which many are compressed in memory, and what could not be read.

A row without the value of a breakdown is the group without a value. Several that differ cannot be told apart: which one
is the group's is unknown, so none is returned, and the result says so.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import orjson
import zstandard

from adwarm.foundation.wording import format_some
from adwarm.model import Row, Window
from adwarm.model.keys import row_key
from adwarm.prefetch.gap_filling import GROUPS, MissingData
from adwarm.store.partition_rows import in_order, without_duplicates

_LOOSE_ROWS, _SHOWN = 2_000, 3


class RowBuffer:
    """The rows of one fetch result by window; beyond `loose_rows` they are compressed, so memory stays small."""

    def __init__(self, identity: Sequence[str], rows: Iterable[Row] = (), loose_rows: int = _LOOSE_ROWS) -> None:
        self._identity = identity
        self._max_loose = loose_rows
        self._loose: dict[Window, list[Row]] = {}
        self._packed: dict[Window, list[bytes]] = {}
        self._counts: dict[Window, int] = {}
        self._loose_rows = 0
        self._valueless: dict[tuple[object, ...], int] = {}
        self._unclear: set[tuple[object, ...]] = set()
        self.add(rows)

    def __len__(self) -> int:
        return sum(self._counts.values())

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows."""
        groups: dict[tuple[str, str], list[Row]] = {}
        for row in rows:
            groups.setdefault((str(row["date_start"]), str(row["date_stop"])), []).append(row)
            if len(self._identity) > 1 and None in map(row.get, self._identity[1:]):
                self._note_valueless({
                    row_key(row, self._identity): hash(orjson.dumps(row, option=orjson.OPT_SORT_KEYS))
                })
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
        self._note_valueless(other._valueless)
        self._unclear |= other._unclear
        if self._loose_rows > self._max_loose:
            self._pack()

    def count(self, window: Window) -> int:
        """Return how many rows of `window` were added, duplicates included."""
        return self._counts.get(window, 0)

    def windows(self) -> list[Window]:
        """Return the windows that have rows, oldest first."""
        return sorted(self._counts)

    def take(self, window: Window) -> list[Row]:
        """Remove and return the rows of a window, ordered by id; of duplicates the one added last.

        Rows that cannot be told apart are left out.
        """
        rows = [row for packed in self._packed.pop(window, ()) for row in _unpacked(packed)]
        loose = self._loose.pop(window, [])
        self._loose_rows -= len(loose)
        self._counts.pop(window, None)
        unique = without_duplicates([*rows, *loose], self._identity)
        if self._unclear:
            unique = [row for row in unique if row_key(row, self._identity) not in self._unclear]
        return in_order(unique)

    def list_unclear(self) -> list[MissingData]:
        """Return what lacks rows that cannot be told apart: a description for each window."""
        ids: dict[tuple[str, str], set[str]] = {}
        for since, until, name, *_ in self._unclear:
            ids.setdefault((str(since), str(until)), set()).add(str(name))
        level, breakdowns = self._identity[0].removesuffix("_id"), " or ".join(self._identity[1:])
        return [
            MissingData(
                GROUPS,
                "unclear",
                (Window(date.fromisoformat(since), date.fromisoformat(until)),),
                f"several rows without {breakdowns}, which cannot be told apart, are left out of {level} "
                f"{format_some(sorted(names), _SHOWN)}",
            )
            for (since, until), names in sorted(ids.items())
        ]

    def _note_valueless(self, digests: Mapping[tuple[object, ...], int]) -> None:
        """Note rows that lack a value, by identity, and which of them differ from others of the same one."""
        self._unclear.update(
            key for key, digest in digests.items() if self._valueless.setdefault(key, digest) != digest
        )

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
    merged = RowBuffer(identity)
    for part in parts:
        merged._unclear |= part.rows._unclear
        for row in part.rows.rows():
            rows.setdefault(row_key(row, identity), {}).update(row)
    merged.add(rows.values())
    return merged


def _unpacked(packed: bytes) -> list[Row]:
    rows: list[Row] = orjson.loads(zstandard.ZstdDecompressor().decompress(packed))
    return rows
