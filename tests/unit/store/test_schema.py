"""Tests of the schema's history."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect

from adwarm.store.engine import reading
from adwarm.store.schema import VERSION_TABLE, current, downgrade, head, upgrade
from adwarm.store.tables import metadata


def test_migrations_give_the_tables_of_the_code(engine: Engine) -> None:
    """All migrations together give exactly the tables that the code declares."""
    with reading(engine) as connection:
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

    assert head() == current(engine)
    assert set(metadata.tables) <= set(inspect(engine).get_table_names())
