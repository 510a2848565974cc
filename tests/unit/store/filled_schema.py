"""Fills every table of a database with rows of extreme values, whatever its schema, and reads them back."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Date,
    DateTime,
    Engine,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Table,
    insert,
    inspect,
    select,
)

from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.upgrades import VERSION_TABLE

Rows = dict[str, list[dict[str, Any]]]
TEXT = "ü€𝄞'\"\\\n%s{};--"
MOMENT = datetime(2026, 2, 28, 23, 59, 59, 999_999, tzinfo=UTC)
_ROW_COUNT = 3


def reflect(engine: Engine) -> MetaData:
    """Return the tables of the database as it is, without the one that holds its revision."""
    tables = MetaData()
    with read_transaction(engine) as connection:
        names = [name for name in inspect(connection).get_table_names() if name != VERSION_TABLE]
        tables.reflect(connection, only=names)
    return tables


def fill(engine: Engine, tag: str, longest: int = 10_000) -> Rows:
    """Insert three rows into every table: full ones with extreme values, and one with only what must be given.

    Args:
        engine: the database.
        tag: makes the keys unique between calls.
        longest: the most characters that a text may have.

    Returns:
        All rows of all tables after that.
    """
    tables = reflect(engine)
    with write_transaction(engine) as connection:
        for table in tables.sorted_tables:
            for number in range(_ROW_COUNT):
                _insert(connection, table, f"{tag}{number}", is_full=number != 1, longest=longest)
    return read_rows(engine)


def _insert(connection: Connection, table: Table, tag: str, *, is_full: bool, longest: int) -> None:
    values = {
        column.name: _value(connection, column, tag, longest)
        for column in table.columns
        if is_full or column.primary_key or column.foreign_keys or _is_required(column)
    }
    connection.execute(insert(table).values(values))


def _is_required(column: Column[Any]) -> bool:
    return not column.nullable and column.server_default is None


def _value(connection: Connection, column: Column[Any], tag: str, longest: int) -> Any:
    for key in column.foreign_keys:
        return _value(connection, key.column, tag, longest)
    number = int.from_bytes(tag.encode(), "big") % 1_000_000
    if isinstance(column.type, JSON):
        return {"ключ": [TEXT, None, 2**53 - 1, {"tag": tag}]}
    kinds: list[tuple[type[Any], Callable[[], Any]]] = [
        (SmallInteger, lambda: 2**15 - 1 - number % 1000),
        (BigInteger, lambda: 2**62 + number),
        (Boolean, lambda: True),
        (Integer, lambda: 2**31 - 1 - number),
        (Float, lambda: 1.5e300 + number),
        (Numeric, lambda: Decimal(number)),
        (DateTime, lambda: _moment(connection, number)),
        (Date, lambda: date(9999, 12, 31) - timedelta(days=number)),
        (LargeBinary, lambda: b"\x00\xff" + tag.encode()),
        (String, lambda: _text(column.type.length, tag, longest)),  # type: ignore[attr-defined]
    ]
    return next(make() for kind, make in kinds if isinstance(column.type, kind))


def _moment(connection: Connection, number: int) -> datetime:
    moment = MOMENT - timedelta(seconds=number)
    return moment.replace(tzinfo=None) if connection.dialect.name == "sqlite" else moment


def _text(length: int | None, tag: str, longest: int) -> str:
    """Return a text as long as the column may have, which ends in the tag."""
    size = min(length or 2_000, longest)
    return (TEXT * (size // len(TEXT) + 1))[: max(0, size - len(tag))] + tag[-size:]


def read_rows(engine: Engine) -> Rows:
    """Return the rows of every table of the database as it is."""
    tables = reflect(engine)
    with read_transaction(engine) as connection:
        return {
            table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in tables.sorted_tables
        }


def lost_rows(before: Rows, after: Rows) -> dict[str, int]:
    """Return how many rows of `before` are not in `after`, by table; only tables and columns in both are compared."""
    lost = {}
    for name in before.keys() & after.keys():
        shared = (set(before[name][0]) & set(after[name][0])) if before[name] and after[name] else set()
        stored = [{key: row[key] for key in shared} for row in after[name]]
        missing = [row for row in before[name] if not shared or {key: row[key] for key in shared} not in stored]
        if missing:
            lost[name] = len(missing)
    return lost
