"""Daily and range rows: what identifies a row, rows as Parquet objects, and the rows of a large answer.

A row is identified by its level: `ad` by `ad_id`, `adset` by `adset_id`, `campaign` by `campaign_id` and `account` by
`account_id`, each with its day or window.
"""

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

from adwarm.foundation.errors import Corrupt, Transient
from adwarm.model import Window
from adwarm.sources.protocol import Row

_CODED = b"adwarm.json"
_IDS = ("ad_id", "adset_id", "campaign_id", "account_id")
_LOOSE_ROWS = 2_000


def row_key(row: Mapping[str, object], level: str) -> tuple[str, str, str]:
    """Return what names a row of `level`: its first day, its last day, and its object."""
    return str(row.get("date_start")), str(row.get("date_stop")), str(row.get(f"{level}_id", ""))


def pack_rows(rows: Sequence[Row]) -> bytes:
    """Return rows as a zstd Parquet file: text columns, absent values as null.

    A column that holds anything but text is written as JSON, and the file says so.
    """
    names = sorted({name for row in rows for name in row} | {"date_start"})
    columns = {name: [row.get(name) for row in rows] for name in names}
    coded = [name for name, values in columns.items() if not all(isinstance(v, str | None) for v in values)]
    for name in coded:
        columns[name] = [None if value is None else orjson.dumps(value).decode() for value in columns[name]]
    table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({_CODED: orjson.dumps(coded)}), sink, compression="zstd")
    return sink.getvalue()


def unpack_rows(data: bytes, days: Iterable[date] | None = None) -> list[Row]:
    """Return the rows of a Parquet file, those of `days` only when days are given.

    Raises:
        Corrupt: the bytes are not a Parquet file of rows.
    """
    try:
        table = pq.read_table(io.BytesIO(data))
    except (pa.ArrowInvalid, OSError) as error:
        raise Corrupt("a partition object is not a readable Parquet file") from error
    if days is not None:
        table = table.filter(pc.is_in(table["date_start"], pa.array([day.isoformat() for day in days], pa.string())))
    coded = frozenset(orjson.loads((table.schema.metadata or {}).get(_CODED, b"[]")))
    return [
        {name: orjson.loads(value) if name in coded else value for name, value in row.items() if value is not None}
        for row in table.to_pylist()
    ]


def by_day(rows: Iterable[Row]) -> dict[date, list[Row]]:
    """Group daily rows by their day, each day's rows in the order of their ids."""
    groups: dict[date, list[Row]] = {}
    for row in rows:
        groups.setdefault(date.fromisoformat(str(row["date_start"])), []).append(row)
    return {day: in_order(items) for day, items in groups.items()}


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Return rows by day and by the ids they have, the deepest level's first."""
    return sorted(rows, key=_place)


def content_hash(rows: Iterable[Row]) -> str:
    """Return a hash that changes when a figure does; the order of rows and of keys does not matter."""
    return hashlib.sha256(orjson.dumps(in_order(rows), option=orjson.OPT_SORT_KEYS)).hexdigest()


def _place(row: Row) -> tuple[str, ...]:
    return tuple(str(row.get(name, "")) for name in ("date_start", "date_stop", *_IDS))


def without_duplicates(rows: Iterable[Row], level: str) -> list[Row]:
    """Return rows once per window and object; of two rows for the same the later one wins."""
    return list({row_key(row, level): row for row in rows}.values())


def check_not_emptied(account_id: str, rows_before: int, rows_now: int) -> None:
    """Check that an answer without a single row is not about days that had rows.

    Raises:
        Transient: it is; what is there is kept.
    """
    if rows_before and not rows_now:
        raise Transient(
            f"{account_id}: the answer is empty where {rows_before} rows are stored; they are kept", code="emptied"
        )


class RowBuffer:
    """The rows of one answer by window, packed once they are many, so that a large answer stays small in memory.

    Args:
        level: the level of the rows, which says what names one.
        rows: the first rows.
        loose_rows: rows that are kept as they are; more are packed.
    """

    def __init__(self, level: str, rows: Iterable[Row] = (), loose_rows: int = _LOOSE_ROWS) -> None:
        self.level = level
        self._most_loose = loose_rows
        self._loose: dict[Window, list[Row]] = {}
        self._packed: dict[Window, list[bytes]] = {}
        self._counts: dict[Window, int] = {}
        self._loose_rows = 0
        self.add(rows)

    def __len__(self) -> int:
        return sum(self._counts.values())

    def add(self, rows: Iterable[Row]) -> None:
        """Take rows in."""
        for row in rows:
            window = Window(date.fromisoformat(str(row["date_start"])), date.fromisoformat(str(row["date_stop"])))
            self._loose.setdefault(window, []).append(row)
            self._counts[window] = self._counts.get(window, 0) + 1
            self._loose_rows += 1
        if self._loose_rows > self._most_loose:
            self._pack()

    def extend(self, other: "RowBuffer") -> None:
        """Take the rows of another buffer in, which is empty afterwards."""
        for window in list(other._counts):
            self._packed.setdefault(window, []).extend(other._packed.pop(window, ()))
            loose = other._loose.pop(window, [])
            self._loose.setdefault(window, []).extend(loose)
            self._loose_rows += len(loose)
            self._counts[window] = self._counts.get(window, 0) + other._counts.pop(window)
        other._loose_rows = 0
        if self._loose_rows > self._most_loose:
            self._pack()

    def count(self, window: Window) -> int:
        """Return how many rows of `window` were taken in, repeated ones included."""
        return self._counts.get(window, 0)

    def windows(self) -> list[Window]:
        """Return the windows that have rows, oldest first."""
        return sorted(self._counts)

    def take(self, window: Window) -> list[Row]:
        """Return the rows of a window by id, each object once, the later row of two; they leave the buffer."""
        rows = [row for packed in self._packed.pop(window, ()) for row in _unpacked(packed)]
        loose = self._loose.pop(window, [])
        self._loose_rows -= len(loose)
        self._counts.pop(window, None)
        return in_order(without_duplicates([*rows, *loose], self.level))

    def rows(self) -> Iterator[Row]:
        """Yield every row as it was taken in; the buffer keeps them."""
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


def _unpacked(packed: bytes) -> list[Row]:
    rows: list[Row] = orjson.loads(zstandard.ZstdDecompressor().decompress(packed))
    return rows
