"""Daily rows as Parquet objects, without losing a digit: every value is kept as the text the platform sent."""

import hashlib
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from adwarm.errors import Corrupt, Transient
from adwarm.sources.protocol import Row

_KEY_COLUMNS = ("date_start", "ad_id")
_CODED = b"adwarm.json"


def pack_rows(rows: Sequence[Row]) -> bytes:
    """Return rows as a zstd Parquet file: text columns, absent values as null.

    A column that holds anything but text is written as JSON, and the file says so.
    """
    names = sorted({name for row in rows for name in row} | set(_KEY_COLUMNS))
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
    """Group daily rows by their day, each day's rows in the order of their ad ids."""
    groups: dict[date, list[Row]] = defaultdict(list)
    for row in rows:
        groups[date.fromisoformat(str(row["date_start"]))].append(row)
    return {day: sorted(items, key=_ad_id) for day, items in groups.items()}


def content_hash(rows: Sequence[Row]) -> str:
    """Return a hash that changes when a figure does; the order of rows and of keys does not matter."""
    body = orjson.dumps(sorted(rows, key=_ad_id), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(body).hexdigest()


def without_duplicates(rows: Iterable[Row]) -> list[Row]:
    """Return rows once per day and ad; of two rows for the same ad-day the later one wins."""
    unique: dict[tuple[str, str, str], Row] = {}
    for row in rows:
        unique[str(row.get("date_start")), str(row.get("date_stop")), _ad_id(row)] = row
    return list(unique.values())


def check_not_emptied(account_id: str, rows_before: int, rows_now: int) -> None:
    """Check that an answer without a single row is not about days that had rows.

    Raises:
        Transient: it is; what is there is kept.
    """
    if rows_before and not rows_now:
        raise Transient(
            f"{account_id}: the answer is empty where {rows_before} rows are stored; they are kept", code="emptied"
        )


def _ad_id(row: Mapping[str, object]) -> str:
    return str(row.get("ad_id", ""))
