"""Rows that are inserted as text are stored as SQLAlchemy stores them, in every table of both databases."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import JSON, Boolean, Column, Connection, Date, Engine, LargeBinary, Row, String, Table, event
from sqlalchemy.exc import IntegrityError

from adwarm.store.amounts import table as amount
from adwarm.store.columns import EnumText, UtcDateTime
from adwarm.store.database import add_up, insert_new, inserting_together, read_transaction, upsert, write_transaction
from adwarm.store.entries import payload
from adwarm.store.tables import metadata

AT = datetime(2026, 11, 25, 12, 0, 0, 123_456, tzinfo=timezone(timedelta(hours=5, minutes=30)))

ROW = {"hash": "a", "body": b"1", "created_at": AT}


def sample(column: Column[Any]) -> Any:
    """Return a value of the column's type; texts have what SQL and drivers read as signs."""
    kind = column.type
    if isinstance(kind, EnumText):
        return next(iter(kind.kind))
    if isinstance(kind, String):
        return "?%s'"[: kind.length]
    values: dict[type, Any] = {UtcDateTime: AT, Date: date(2026, 11, 25), Boolean: True}
    values |= {JSON: {"ü%s?": [1, None, "'"]}, LargeBinary: b"\x00%s?'\xff"}
    return next((value for base, value in values.items() if isinstance(kind, base)), 7)


def read(connection: Connection, table: Table) -> list[Row[Any]]:
    """Return the rows of a table as the driver gives them."""
    quote = connection.dialect.identifier_preparer.quote
    columns = ", ".join(quote(column.name) for column in table.columns)
    return list(connection.exec_driver_sql(f"SELECT {columns} FROM {quote(table.name)}"))


@pytest.mark.parametrize("is_full", [True, False], ids=["every column", "only those without a default"])
def test_every_table_stores_what_sqlalchemy_stores(engine: Engine, is_full: bool) -> None:
    """Values, defaults of columns that are not given, and a row that is replaced by an equal one."""
    for table in metadata.sorted_tables:
        row = {
            column.name: sample(column)
            for column in table.columns
            if is_full or column.foreign_keys or not (column.default or column.server_default)
        }
        with write_transaction(engine) as connection:
            connection.execute(table.insert(), [row])
            expected = read(connection, table)
            connection.execute(table.delete())
            upsert(connection, table, [row])
            insert_new(connection, table, [row])
            assert read(connection, table) == expected, table.name
            upsert(connection, table, [row])
            assert read(connection, table) == expected, table.name


def test_numbers_are_added_and_columns_preserved(engine: Engine) -> None:
    """Of more rows than one statement takes; a row that exists is added to, replaced, or left as it is."""
    hours = [AT.astimezone(UTC) + timedelta(hours=number) for number in range(1_100)]
    rows = [{"name": "calls", "since": hour, "subject": "", "amount": 2.0} for hour in hours]
    with write_transaction(engine) as connection:
        add_up(connection, amount, rows)
        add_up(connection, amount, rows[:1])
        insert_new(connection, amount, [{**rows[1], "amount": 9.0}])
        upsert(connection, amount, [{**rows[2], "amount": 9.0}], preserve=("amount",))
        upsert(connection, amount, [{**rows[3], "amount": 9.0}])
    with read_transaction(engine) as connection:
        amounts = [row.amount for row in connection.execute(amount.select().order_by(amount.c.since))]
    assert amounts == [4.0, 2.0, 2.0, 9.0] + [2.0] * 1_096


def test_rows_may_name_their_columns_in_any_order(engine: Engine) -> None:
    """A value is stored in the column that it is named for, whatever stands first in its row."""
    with write_transaction(engine) as connection:
        upsert(connection, payload, [ROW, dict(reversed([*{**ROW, "hash": "b", "body": b"2"}.items()]))])
    assert list_bodies(engine) == {"a": b"1", "b": b"2"}


def test_inserts_of_a_block_are_one_statement_in_their_order(engine: Engine) -> None:
    """They are sent at the end of the block, so that a row may be inserted before it is replaced."""
    scripts: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        scripts.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        with write_transaction(engine) as connection, inserting_together(connection):
            insert_new(connection, payload, [ROW])
            upsert(connection, payload, [{**ROW, "body": b"2"}])
            assert not any("payload" in script for script in scripts)
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert len([script for script in scripts if "payload" in script]) == 1
    assert list_bodies(engine) == {"a": b"2"}


@pytest.mark.parametrize("is_bad_row", [True, False])
def test_a_block_that_fails_inserts_nothing(engine: Engine, is_bad_row: bool) -> None:
    """Whether a row cannot be stored or something else fails; the next block starts empty."""

    def insert() -> None:
        with write_transaction(engine) as connection, inserting_together(connection):
            upsert(connection, payload, [ROW])
            upsert(connection, payload, [{**ROW, "hash": "b", "body": None if is_bad_row else b""}])
            if not is_bad_row:
                raise KeyError("something else")

    with pytest.raises(IntegrityError if is_bad_row else KeyError):
        insert()
    with write_transaction(engine) as connection, inserting_together(connection):
        upsert(connection, payload, [{**ROW, "hash": "c"}])
    assert list_bodies(engine) == {"c": b"1"}


def list_bodies(engine: Engine) -> dict[str, bytes]:
    """Return the stored payloads by their hash."""
    with read_transaction(engine) as connection:
        return {row.hash: bytes(row.body) for row in connection.execute(payload.select())}
