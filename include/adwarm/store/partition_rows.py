"""Rows of days and ranges: their identity, their Parquet format, and reading a window from its partitions.

A row is identified by its day or window and by the fields that `QuerySpec.identity` lists: the id of its level, and the
values of the report's breakdowns.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from datetime import date
from functools import partial
from itertools import groupby
from operator import le
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from adwarm.foundation.errors import AdwarmError, Corrupt, Transient
from adwarm.model import ColumnTable, Row, Window
from adwarm.model.breakdowns import BREAKDOWNS
from adwarm.model.keys import row_key
from adwarm.store.objects import ObjectStore
from adwarm.store.partitions import DayContent, PartitionState
from adwarm_client.column_table import read_fields

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
_CODED = b"adwarm.json"
_DICTIONARY_ROWS = 1_000
"""With more rows dictionaries make a file smaller, with fewer larger."""
_SORTED_BY = ("date_start", "date_stop", "ad_id", "adset_id", "campaign_id", "account_id")


def pack_rows(rows: Sequence[Row]) -> bytes:
    """Return rows as a zstd Parquet file: text columns, missing values as null.

    A column with values other than text is written as JSON and listed in the file's metadata.
    """
    return pack_table(to_table(rows))


def to_table(rows: Sequence[Row]) -> ColumnTable:
    """Return rows as they are read from an object that holds them, with columns that have no value."""
    return ColumnTable(len(rows), dict(sorted(({"date_start": []} | read_fields(rows)).items())))


def pack_table(rows: ColumnTable) -> bytes:
    """Return the rows of `to_table` as `pack_rows` does."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from adwarm.foundation.arrow_arrays import to_string_array

    columns = dict(rows.columns)
    coded = [name for name, values in columns.items() if not set(map(type, values)) <= {str, type(None)}]
    for name in coded:
        columns[name] = [None if value is None else orjson.dumps(value).decode() for value in columns[name]]
    table = pa.table({name: to_string_array(values) for name, values in columns.items()})
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="zstd",
        use_dictionary=rows.rows > _DICTIONARY_ROWS,
        write_statistics=False,  # nothing selects by them
        store_schema=False,  # all columns are text; Arrow's own schema takes a fifth of a small file
    ) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({_CODED: orjson.dumps(coded)})
    return bytes(sink.getvalue())


def unpack_rows(data: bytes, days: Iterable[date] | None = None) -> list[Row]:
    """Return the rows of a Parquet file, or only those of `days`.

    Raises:
        Corrupt: the bytes are not a Parquet file of rows.
    """
    return read_partition_table(data, days).to_rows()


def read_partition_table(data: bytes, days: Iterable[date] | None = None) -> ColumnTable:
    """Return the rows of a Parquet file by column, or only those of `days`.

    Raises:
        Corrupt: the bytes are not a Parquet file of rows.
    """
    with _corrupt_unless_readable():
        table = _read_texts(data, days)
        coded = _list_coded(table)
        columns = {name: _read_column(table[name], name in coded) for name in table.column_names}
    return ColumnTable(table.num_rows, columns)


def _read_text_table(data: bytes, days: Iterable[date], names: AbstractSet[str]) -> "pa.Table":
    """Return some fields of the rows of some days of a Parquet file as columns of text, lists and objects as JSON."""
    with _corrupt_unless_readable():
        table = _read_texts(data, days, names)
        for name in _list_coded(table).intersection(table.column_names):
            table = table.set_column(table.column_names.index(name), name, _unquote(table[name]))
    return table.replace_schema_metadata(None)


@contextmanager
def _corrupt_unless_readable() -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, TypeError, ValueError, KeyError, orjson.JSONDecodeError) as error:
        raise Corrupt("a partition object is not a readable Parquet file") from error


def _read_texts(data: bytes, days: Iterable[date] | None, names: AbstractSet[str] | None = None) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(pa.BufferReader(data))
    chosen = None if names is None else [name for name in file.schema_arrow.names if name in names]
    table = file.read(columns=chosen, use_threads=False)
    if days is None:
        return table
    selected = {day.isoformat() for day in days}
    parts, start = [table.slice(0, 0)], 0  # to filter imports `pyarrow.compute`, which takes 11 MB
    for is_selected, rows in groupby(text in selected for text in table["date_start"].to_pylist()):
        length = len([*rows])
        parts += [table.slice(start, length)] if is_selected else []
        start += length
    return pa.concat_tables(parts)


def _list_coded(table: "pa.Table") -> frozenset[str]:
    return frozenset(orjson.loads((table.schema.metadata or {}).get(_CODED, b"[]")))


def _unquote(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """Return a column of JSON with its texts as they are, and null for JSON's null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from adwarm.foundation.arrow_arrays import to_string_array

    is_text = pc.fill_null(pc.match_substring_regex(column, '^("|null$)'), False)
    if not pc.any(is_text).as_py():
        return column
    texts = zip(column.to_pylist(), is_text.to_pylist(), strict=True)
    return pa.chunked_array([to_string_array([orjson.loads(text) if quoted else text for text, quoted in texts])])


def _read_column(column: "pa.ChunkedArray", is_coded: bool) -> list[Any]:
    values: list[Any] = column.to_pylist()  # `to_numpy` would import pandas
    if not is_coded:
        return values
    decoded: list[Any] = orjson.loads(f"[{','.join('null' if text is None else text for text in values)}]")
    return decoded


def by_day(rows: Iterable[Row]) -> dict[date, list[Row]]:
    """Group daily rows by day, and sort the rows of a day by their ids."""
    groups: dict[date, list[Row]] = {}
    for row in rows:
        groups.setdefault(date.fromisoformat(str(row["date_start"])), []).append(row)
    return {day: in_order(items) for day, items in groups.items()}


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Return rows sorted by day, then by their ids from ad to account, then by their groups."""
    rows = list(rows)
    keys: list[tuple[str, ...]] = []
    for names in (_SORTED_BY[:3], _SORTED_BY):  # the first few tell ads apart
        keys = [*zip(*(_sort_texts([row.get(name) for row in rows]) for name in names), strict=True)]
        if len(set(keys)) == len(rows):
            break
    else:  # only rows of one object have groups to compare
        keys = [(*key, *_group_key(row)) for key, row in zip(keys, rows, strict=True)]
    return [rows[index] for index in sorted(range(len(rows)), key=keys.__getitem__)]


def content_hash(rows: Iterable[Row]) -> str:
    """Return a hash of the values; the order of rows and keys does not matter."""
    return hash_in_order(in_order(rows))


def hash_in_order(rows: list[Row]) -> str:
    """Return the `content_hash` of rows that are in the order of `in_order`."""
    return hashlib.sha256(orjson.dumps(rows, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _group_key(row: Row) -> tuple[str, ...]:
    return tuple(_group_text(row.get(name)) for name in BREAKDOWNS)


def without_duplicates(rows: Iterable[Row], identity: Sequence[str]) -> list[Row]:
    """Return one row per identity; of duplicates the last one wins."""
    return list({row_key(row, identity): row for row in rows}.values())


def check_not_emptied(account_id: str, rows_before: int, rows_now: int) -> None:
    """Check that an empty answer does not replace days that had rows.

    Raises:
        Transient: it would; the stored rows are kept.
    """
    if rows_before and not rows_now:
        raise Transient(
            f"{account_id}: the answer has no rows but {rows_before} are stored; they are kept", code="emptied"
        )


class DamagedObjects(Corrupt):
    """Objects with the rows of some days are missing or damaged.

    Attributes:
        refetched_by_reader: whether the reader that met them fetches their days again by itself.
    """

    refetched_by_reader = False

    def __init__(self, digests: Sequence[str], first: AdwarmError) -> None:
        others = f" (and {len(digests) - 1} more)" if len(digests) > 1 else ""
        super().__init__(f"{first}{others}")
        self.digests = tuple(digests)


def daily_rows(objects: ObjectStore, states: Mapping[date, PartitionState], window: Window) -> list[Row]:
    """Return the daily rows of a window from its partitions, oldest day first, sorted by their ids.

    Raises:
        DamagedObjects: some objects cannot be read; the error names all of them.
    """
    return daily_table(objects, states, window).to_rows()


def daily_table(
    objects: ObjectStore,
    states: Mapping[date, PartitionState],
    window: Window,
    written: Mapping[str, ColumnTable] = MappingProxyType({}),
) -> ColumnTable:
    """Return the daily rows of a window by column, oldest day first, sorted by their ids.

    Args:
        written: the rows of objects that the caller has just written, which are not read again.

    Raises:
        DamagedObjects: some objects cannot be read; the error names all of them.
    """
    others = {day: state for day, state in states.items() if state.object_hash not in written}
    tables = _read_objects(objects, others, window, read_partition_table)
    for digest, table in written.items():
        days = {day.isoformat() for day in window.days() if day in states and states[day].object_hash == digest}
        numbers = [number for number, day in enumerate(table.columns["date_start"]) if day in days]
        tables.append(table if len(numbers) == table.rows else table.take(numbers))
    return _sorted_table(ColumnTable.concatenate(tables))


def daily_texts(
    objects: ObjectStore,
    contents: Mapping[date, PartitionState] | Mapping[date, DayContent],
    window: Window,
    names: AbstractSet[str],
) -> "pa.Table":
    """Return some fields of the daily rows of a window as columns of text, lists as JSON, in no certain order.

    Raises:
        DamagedObjects: some objects cannot be read; the error names all of them.
    """
    import pyarrow as pa

    read = partial(_read_text_table, names=names | {"date_start"})
    tables = _read_objects(objects, contents, window, read)
    no_rows = pa.table({"date_start": pa.nulls(0, pa.string())})
    return pa.concat_tables([no_rows, *tables], promote_options="default").combine_chunks()


def check_objects(objects: ObjectStore, states: Mapping[date, PartitionState], window: Window) -> None:
    """Check the checksums of the objects with the daily rows of a window, without reading the rows.

    Raises:
        DamagedObjects: some objects are lost or damaged; the error names all of them.
    """
    _read_objects(objects, states, window, lambda _data, _days: None)


def _read_objects(
    objects: ObjectStore,
    states: Mapping[date, PartitionState] | Mapping[date, DayContent],
    window: Window,
    read: Callable[[bytes, list[date]], T],
) -> list[T]:
    """Return what `read` returns for each object with rows of the window, and for the days in it."""
    days_by_object: dict[str, list[date]] = {}
    for day in window.days():
        if day in states and states[day].rows:
            days_by_object.setdefault(states[day].object_hash, []).append(day)
    results: list[T] = []
    damaged: dict[str, AdwarmError] = {}
    bodies = objects.read_many(list(days_by_object))
    for (digest, days), data in zip(days_by_object.items(), bodies, strict=True):
        if not isinstance(data, bytes):
            damaged[digest] = data
            continue
        try:
            results.append(read(data, days))
        except Corrupt as error:
            damaged[digest] = error
    if damaged:
        raise DamagedObjects(list(damaged), next(iter(damaged.values())))
    return results


def _sorted_table(table: ColumnTable) -> ColumnTable:
    """Return a table in the order that `in_order` gives rows."""
    columns = [_sort_texts(table.columns[name]) for name in _SORTED_BY if name in table.columns]
    columns += [[_group_text(value) for value in table.columns[name]] for name in BREAKDOWNS if name in table.columns]
    keys = list(zip(*columns, strict=True))
    return table if all(map(le, keys, keys[1:])) else table.take(sorted(range(table.rows), key=keys.__getitem__))


def _sort_texts(values: list[Any]) -> list[str]:
    return values if {*map(type, values)} == {str} else ["" if value is None else str(value) for value in values]


def _group_text(value: object) -> str:
    """Return a text that is another one for a group with an empty name than for one without any."""
    return "" if value is None else f"={value}"
