"""The schema and its migrations."""

from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, inspect, select, text

from adwarm.foundation.errors import BadRequest
from adwarm.model import Account, Strategy, StrategyState
from adwarm.store import accounts, tables
from adwarm.store.account_discoveries import list_attempts
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.schema import (
    VERSION_TABLE,
    downgrade,
    get_current_revision,
    get_head_revision,
    require_current,
    reset,
    upgrade,
)
from adwarm.store.strategies import list_strategies
from adwarm.store.tables import access_pattern, metadata, payload
from tests.unit.conftest import NOW


def test_migrations_give_the_tables_of_the_code(engine: Engine) -> None:
    """The migrations create exactly the tables that the code declares."""
    with read_transaction(engine) as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})

        differences = compare_metadata(context, metadata)

    assert differences == []


def test_up_down_up(engine: Engine) -> None:
    """The schema can be dropped and created again, and upgrading twice changes nothing."""
    try:
        downgrade(engine, "base")
        assert {VERSION_TABLE} == set(inspect(engine).get_table_names())
    finally:
        upgrade(engine)
        upgrade(engine)

    assert get_head_revision() == get_current_revision(engine)
    assert set(metadata.tables) <= set(inspect(engine).get_table_names())


def test_a_filled_database_gets_the_tables_of_access_patterns(engine: Engine) -> None:
    """A database of the first revision keeps its rows when the tables of access patterns are added, and removed."""
    try:
        downgrade(engine, "1")
        names = set(inspect(engine).get_table_names())
        with write_transaction(engine) as connection:
            connection.execute(payload.insert().values(hash="h", body=b"bytes", created_at=NOW))
    finally:
        upgrade(engine)

    assert not {"access_pattern", "access_profile", "popular_range"} & names
    assert {"access_pattern", "access_profile", "popular_range"} <= set(inspect(engine).get_table_names())
    with read_transaction(engine) as connection:
        assert connection.execute(select(payload.c.body)).scalar_one() == b"bytes"
        assert connection.execute(select(access_pattern)).all() == []


@pytest.fixture
def development_database(engine: Engine) -> Iterator[Engine]:
    """A database that a development version made: an unknown revision, and rows."""
    with write_transaction(engine) as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '0012'"))
        connection.execute(payload.insert().values(hash="h", body=b"\x00\xff", created_at=NOW))
    yield engine
    reset(engine)


def test_a_development_database_is_refused(development_database: Engine) -> None:
    """Upgrading it is one error that names the reset, and changes nothing."""
    for check in (upgrade, require_current):
        with pytest.raises(BadRequest, match=r"0012.*adwarm db reset --yes"):
            check(development_database)

    assert get_current_revision(development_database) == "0012"


def test_a_newer_database_is_refused(development_database: Engine) -> None:
    """A revision that this code does not know yet is said to be newer."""
    with write_transaction(development_database) as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '99'"))

    with pytest.raises(BadRequest, match="newer adwarm"):
        upgrade(development_database)


def test_reset(development_database: Engine) -> None:
    """It leaves empty tables of the newest schema, whatever the schema was, and other tables."""
    with write_transaction(development_database) as connection:
        connection.execute(text("CREATE TABLE of_somebody_else (id INTEGER)"))
    try:
        reset(development_database)
        names = inspect(development_database).get_table_names()
    finally:
        with write_transaction(development_database) as connection:
            connection.execute(text("DROP TABLE of_somebody_else"))

    assert "of_somebody_else" in names
    assert get_current_revision(development_database) == get_head_revision()
    with read_transaction(development_database) as connection:
        assert connection.execute(select(payload)).all() == []


@pytest.fixture
def first_release_database(engine: Engine) -> Iterator[Engine]:
    """A database at the first revision, with a strategy and a warm in it."""
    downgrade(engine, "1")
    strategy = {"name": "mornings", "enabled": True, "date_ranges": '["today"]', "report": "default", "priority": "low"}
    pace = {"batch_size": 5, "delay_seconds": 5.0, "max_parallel_batches": 2, "max_calls_per_hour": 7}
    warm = {"run_id": "r", "batch": 0, "account_id": "act_1", "date_range": "today", "report": "default"}
    scores = {"confidence": 0.0, "benefit": 0.0, "price": 0.0, "explanation": "{}", "status": "fetched", "requests": 1}
    kinds = {"reason": "strategy", "mode": "live", "priority": "low", "decided_at": NOW.replace(tzinfo=None)}
    with write_transaction(engine) as connection:
        _insert(connection, "strategy", strategy | pace | {"accounts": "null", "excluded_accounts": "[]"})
        _insert(connection, "warm", warm | scores | kinds)
    yield engine
    upgrade(engine)


def _insert(connection: Connection, table: str, values: dict[str, object]) -> None:
    names = ", ".join(values)
    connection.execute(text(f"INSERT INTO {table} ({names}) VALUES (:{', :'.join(values)})"), values)


def test_an_older_database_keeps_its_strategies(first_release_database: Engine) -> None:
    """The upgrade keeps strategies and warms; a strategy gets the schedule that every one had before."""
    upgrade(first_release_database)

    with read_transaction(first_release_database) as connection:
        [stored] = list_strategies(connection)
        [warm] = connection.execute(select(tables.warm)).all()
    assert stored.strategy == Strategy("mornings", ("today",), max_calls_per_hour=7)
    assert stored.state == StrategyState()
    assert (warm.run_id, warm.strategy) == ("r", None)


def test_a_filled_database_of_revision_1_upgrades(engine: Engine) -> None:
    """Its accounts keep their values; the new columns are empty, and nothing counts as set by hand."""
    try:
        downgrade(engine, "1")
        with write_transaction(engine) as connection:
            connection.execute(
                text(
                    "INSERT INTO account (id, connection, data_zone, reader_zone, currency, status, updated_at) "
                    "VALUES ('act_1', 'main', 'Europe/Rome', 'Asia/Tokyo', 'EUR', 'closed', :at)"
                ),
                {"at": NOW.replace(tzinfo=None) if engine.dialect.name == "sqlite" else NOW},
            )
    finally:
        upgrade(engine)
    record = accounts.list_records(engine, NOW)["act_1"]
    assert record.account == Account("act_1", "Europe/Rome", "Asia/Tokyo", "EUR", "main", "closed")
    assert (record.user_status, record.user_reader_zone, record.last_seen) == ("", "", None)
    assert list_attempts(engine) == {}
