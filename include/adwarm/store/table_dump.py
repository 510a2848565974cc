"""Writes every table as JSON lines from one snapshot, and reads them back: also from SQLite into PostgreSQL.

A line holds the values of a row in the order of the dump's columns. A value is written by the kind of its column, so
that reading it back needs no table of the code: a dump of an older schema loads into that schema.

| kind       | JSON                                                                          |
|------------|-------------------------------------------------------------------------------|
| `time`     | ISO 8601 with an offset                                                       |
| `date`     | `YYYY-MM-DD`                                                                  |
| `bytes`    | base64                                                                        |
| `document` | the stored text of a JSON column, so that JSON's null and SQL's stay different |
| `float`    | a number; `nan`, `inf` and `-inf` as text                                     |
| the rest   | as it is                                                                      |
"""

import base64
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

import orjson
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Date,
    Engine,
    Float,
    Integer,
    LargeBinary,
    Table,
    Text,
    cast,
    column,
    select,
    table,
    text,
)

from adwarm.store.columns import UtcDateTime
from adwarm.store.database import read_transaction
from adwarm.store.tables import metadata

LEFT_OUT: Final = ("page_session",)
"""Tables that no dump holds: logins at the page end with a restore."""
_KINDS: Final[tuple[tuple[type[Any], str], ...]] = (
    (JSON, "document"),
    (LargeBinary, "bytes"),
    (UtcDateTime, "time"),
    (Date, "date"),
    (Boolean, "boolean"),
    (Float, "float"),
    (Integer, "integer"),
)
_TYPES: Final[dict[str, Any]] = {
    "document": Text(),  # bound as text, which both databases take for a JSON column
    "bytes": LargeBinary(),
    "time": UtcDateTime(),
    "date": Date(),
    "boolean": Boolean(),
    "float": Float(),
    "integer": Integer(),
    "text": Text(),
}
_ROWS_AT_ONCE = 200
"""Few, because a row may hold a payload of some megabytes."""


@dataclass(frozen=True, slots=True)
class TableColumns:
    """The columns of a dumped table.

    Attributes:
        name: the table.
        kinds: kind of each column, by name, in the order of the values of a row.
    """

    name: str
    kinds: Mapping[str, str]


def list_tables() -> list[Table]:
    """Return the tables that a dump holds; one that others refer to comes before them."""
    return [item for item in metadata.sorted_tables if item.name not in LEFT_OUT]


def describe_columns(source: Table) -> TableColumns:
    """Return the columns of a table as a dump names them."""
    return TableColumns(str(source.name), {str(item.name): _kind(item) for item in source.columns})


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """Run a read-only transaction in which every statement sees the same state, however long it takes.

    Raises:
        Transient: the database cannot be reached, or a wait timed out.
        StorageError: its disk is damaged.
    """
    with read_transaction(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        yield connection


def dump_rows(connection: Connection, source: Table) -> Iterator[bytes]:
    """Yield the rows of a table, one line each; memory stays flat."""
    kinds = list(describe_columns(source).kinds.values())
    chosen = [
        cast(item, Text) if kind == "document" else item for item, kind in zip(source.columns, kinds, strict=True)
    ]
    writers = [_WRITERS.get(kind) for kind in kinds]
    rows = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(select(*chosen))
    for row in rows:
        values = [
            value if write is None or value is None else write(value) for value, write in zip(row, writers, strict=True)
        ]
        yield orjson.dumps(values, option=orjson.OPT_APPEND_NEWLINE)


def load_rows(connection: Connection, columns: TableColumns, lines: Iterator[bytes]) -> int:
    """Insert dumped rows into a table, and return how many.

    On PostgreSQL the counter of an id goes on after the highest one.
    """
    target = table(columns.name, *(column(name, _TYPES[kind]) for name, kind in columns.kinds.items()))
    readers = [(name, _READERS.get(kind)) for name, kind in columns.kinds.items()]
    count, batch = 0, list[dict[str, Any]]()
    for line in lines:
        values = orjson.loads(line)
        batch.append({
            name: value if read is None or value is None else read(value)
            for (name, read), value in zip(readers, values, strict=True)
        })
        if len(batch) == _ROWS_AT_ONCE:
            connection.execute(target.insert(), batch)
            count, batch = count + len(batch), []
    if batch:
        connection.execute(target.insert(), batch)
    if connection.dialect.name == "postgresql" and columns.kinds.get("id") == "integer":
        _set_counter(connection, columns.name)
    return count + len(batch)


def count_rows(connection: Connection, names: Sequence[str]) -> dict[str, int]:
    """Return the number of rows of each table that has any."""
    quote = connection.dialect.identifier_preparer.quote
    counts = {
        name: int(connection.execute(text(f"SELECT count(*) FROM {quote(name)}")).scalar_one())  # noqa: S608 -- names of our own tables
        for name in names
    }
    return {name: count for name, count in counts.items() if count}


def _set_counter(connection: Connection, name: str) -> None:
    quoted = connection.dialect.identifier_preparer.quote(name)
    counter = connection.execute(text("SELECT pg_get_serial_sequence(:name, 'id')"), {"name": quoted}).scalar_one()
    if counter is not None:
        highest = f"SELECT setval(:counter, COALESCE(max(id), 1), max(id) IS NOT NULL) FROM {quoted}"  # noqa: S608 -- a name of our own tables
        connection.execute(text(highest), {"counter": counter})


def _kind(item: Column[Any]) -> str:
    return next((kind for kind_type, kind in _KINDS if isinstance(item.type, kind_type)), "text")


def _write_bytes(value: bytes | memoryview) -> str:
    return base64.b64encode(value).decode()


def _write_float(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


_WRITERS: Final[dict[str, Callable[[Any], Any]]] = {
    "bytes": _write_bytes,
    "time": datetime.isoformat,
    "date": date.isoformat,
    "float": _write_float,
}
_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "bytes": base64.b64decode,
    "time": datetime.fromisoformat,
    "date": date.fromisoformat,
    "float": float,
}
