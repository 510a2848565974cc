"""Tests of the schema's history."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, select

from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.schema import VERSION_TABLE, downgrade, get_current_revision, get_head_revision, upgrade
from adwarm.store.tables import breaker, isolation, metadata


def test_migrations_give_the_tables_of_the_code(engine: Engine) -> None:
    """All migrations together give exactly the tables that the code declares."""
    with read_transaction(engine) as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})

        differences = compare_metadata(context, metadata)

    assert differences == []


def test_up_down_up(engine: Engine) -> None:
    """The schema can be removed and made again, and upgrading twice changes nothing."""
    try:
        downgrade(engine, "base")
        assert {VERSION_TABLE} == set(inspect(engine).get_table_names())
    finally:
        upgrade(engine)
        upgrade(engine)

    assert get_head_revision() == get_current_revision(engine)
    assert set(metadata.tables) <= set(inspect(engine).get_table_names())


def test_isolations_leave_the_breakers(engine: Engine) -> None:
    """Rows of isolation that lie among the breakers are moved; breakers stay."""
    at = {"state": "isolated", "changed_at": 5.0, "probe_at": 0.0, "data": {"state": "isolated", "calls": 7}}
    try:
        downgrade(engine, "0007")
        with write_transaction(engine) as connection:
            rows = [{"source": "isolation:warehouse", **at}, {"source": "source:meta", **at, "state": "closed"}]
            connection.execute(breaker.insert(), rows)
    finally:
        upgrade(engine)

    with read_transaction(engine) as connection:
        assert connection.execute(select(breaker.c.source)).scalars().all() == ["source:meta"]
        [moved] = connection.execute(select(isolation)).mappings().all()
    assert dict(moved) == {"source": "warehouse", "state": "isolated", "changed_at": 5.0, "data": at["data"]}
