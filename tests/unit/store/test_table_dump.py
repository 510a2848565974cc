"""Rows as JSON lines and back: nothing is lost, between any two databases."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, null, select

from adwarm.settings import SqlSettings
from adwarm.store.database import open_engine, read_transaction, write_transaction
from adwarm.store.schema import get_head_revision, recreate, upgrade
from adwarm.store.table_dump import LEFT_OUT, describe_columns, dump_rows, list_tables, load_rows, snapshot
from adwarm.store.tables import account, error_event, integrity_day, maintenance_step, metadata, payload, reconciliation

NOW = datetime(2026, 11, 25, 12, 0, 0, 123_456, tzinfo=UTC)


def _fill(engine: Engine) -> None:
    event = {"at": NOW, "source": "meta", "kind": "Throttled", "message": "naïve limit"}
    step = {"name": "a", "started_at": NOW, "owner": "", "seconds": 0.1 + 0.2}
    with write_transaction(engine) as connection:
        connection.execute(payload.insert(), {"hash": "a" * 64, "body": bytes(range(256)), "created_at": NOW})
        connection.execute(maintenance_step.insert(), step | {"cursor": {"b": [1, None, "é"]}})
        connection.execute(maintenance_step.insert(), step | {"name": "json null", "cursor": None})
        connection.execute(maintenance_step.insert().values(**(step | {"name": "sql null", "cursor": null()})))
        connection.execute(error_event.insert(), [event | {"id": 7}, event | {"id": 41}])
        connection.execute(integrity_day.insert(), {"day": date(2026, 2, 28), "kind": "entry", "bytes": 2**40})


def _dump(engine: Engine) -> dict[str, list[bytes]]:
    with snapshot(engine) as connection:
        return {table.name: sorted(dump_rows(connection, table)) for table in list_tables()}


def _load(connection: Connection, rows: dict[str, list[bytes]]) -> None:
    recreate(connection, get_head_revision())
    for table in list_tables():
        assert load_rows(connection, describe_columns(table), iter(rows[table.name])) == len(rows[table.name])


def test_rows_move_between_databases(engine: Engine, tmp_path: Path) -> None:
    """A dump of one database, loaded into SQLite and back, is the same dump: bytes, nulls, times, floats, documents."""
    _fill(engine)
    before = _dump(engine)
    other = open_engine(f"sqlite:///{tmp_path}/other.db")
    with write_transaction(other) as connection:
        _load(connection, before)
    assert _dump(other) == before
    with write_transaction(engine) as connection:
        _load(connection, _dump(other))
    assert _dump(engine) == before
    with read_transaction(engine) as connection:
        query = select(maintenance_step.c.name).where(maintenance_step.c.cursor.is_(null()))
        assert connection.execute(query).scalars().all() == ["sql null"]
        rows = connection.execute(select(maintenance_step.c.name, maintenance_step.c.seconds))
        assert {row.seconds for row in rows} == {0.1 + 0.2}


def test_ids_go_on_after_the_highest(engine: Engine) -> None:
    """A row that is inserted after a restore gets a new id."""
    _fill(engine)
    rows = _dump(engine)
    with write_transaction(engine) as connection:
        _load(connection, rows)
        event = {"at": NOW, "source": "meta", "kind": "Throttled", "message": "x"}
        assert connection.execute(error_event.insert(), event).inserted_primary_key[0] > 41


def test_logins_are_left_out() -> None:
    """Every table is dumped but the logins at the page, and one that others refer to comes first."""
    names = [table.name for table in list_tables()]
    assert set(names) == set(metadata.tables) - set(LEFT_OUT)
    for table in list_tables():
        for key in table.foreign_keys:
            assert names.index(key.column.table.name) < names.index(table.name)


def test_a_snapshot_does_not_change(engine: Engine) -> None:
    """Rows that are committed after the first read are not in the dump."""
    _fill(engine)
    with snapshot(engine) as connection:
        first = list(dump_rows(connection, maintenance_step))
        dump = b"".join(dump_rows(connection, account))
        _insert_elsewhere(engine)
        assert list(dump_rows(connection, maintenance_step)) == first
        assert b"".join(dump_rows(connection, account)) == dump


def _insert_elsewhere(engine: Engine) -> None:
    """Insert rows over a connection of another pool, as another process does."""
    other = open_engine(engine.url.render_as_string(hide_password=False), SqlSettings(pool_size=1))
    with write_transaction(other) as connection:
        connection.execute(maintenance_step.insert(), {"name": "new", "started_at": NOW, "owner": ""})
    other.dispose()


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_floats_without_a_number(engine: Engine, value: float) -> None:
    """Infinite values survive, which JSON cannot write as numbers."""
    row = {"at": NOW, "account_id": "act_1", "comparison": "x", "since": NOW.date(), "until": NOW.date(), "metric": "m"}
    with write_transaction(engine) as connection:
        connection.execute(reconciliation.insert(), row | {"expected": value, "actual": 1.5, "differs": True})
    rows = _dump(engine)
    with write_transaction(engine) as connection:
        _load(connection, rows)
        assert connection.execute(select(reconciliation.c.expected)).scalar_one() == value


_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=40)
_ROWS = st.lists(
    st.tuples(
        _TEXT,
        st.floats(allow_nan=False, allow_infinity=False),
        st.datetimes(timezones=st.just(UTC)),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _TEXT,
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
            max_leaves=5,
        ),
    ),
    max_size=5,
)


@settings(max_examples=20)
@given(rows=_ROWS)
def test_any_row_survives(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, float, datetime, Any]]
) -> None:
    """Whatever text, number, time and document a row holds, it is the same after a dump and a load."""
    engine = open_engine(f"sqlite:///{tmp_path_factory.getbasetemp()}/any.db")
    upgrade(engine)
    values = [
        {"name": str(number), "owner": word, "seconds": seconds, "started_at": at, "cursor": document}
        for number, (word, seconds, at, document) in enumerate(rows)
    ]
    with write_transaction(engine) as connection:
        connection.execute(maintenance_step.delete())
        if values:
            connection.execute(maintenance_step.insert(), values)
        before = connection.execute(select(maintenance_step)).all()
        lines = list(dump_rows(connection, maintenance_step))
        connection.execute(maintenance_step.delete())
        load_rows(connection, describe_columns(maintenance_step), iter(lines))
        assert connection.execute(select(maintenance_step)).all() == before
