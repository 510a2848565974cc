"""Databases at any schema, what they say about their tables, and small migrations to try the steps with."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from sqlalchemy import Engine, MetaData, inspect, text
from sqlalchemy.engine import make_url

from adwarm.store.database import open_engine, write_transaction
from adwarm.store.migration_scripts import VERSION_TABLE, list_migrations, list_pending, run_up
from adwarm.store.schema_changes import save_change
from adwarm.store.upgrades import read_revision
from tests.unit.conftest import NOW

ADDITIONS = f"""
INDEXES = (ConcurrentIndex("ix_new", "warm", ("reason", "decided_at"), where="used"),)
COMPATIBLE_FROM = "{list_migrations()[0].revision}"

def upgrade():
    op.add_column("warm", sa.Column("extra", sa.Integer(), nullable=False, server_default="0"))
"""
NEW_TABLE = """
def upgrade():
    op.create_table("made_up", sa.Column("id", sa.Integer(), primary_key=True), sa.Column("name", sa.String(40)))
"""


@contextmanager
def make_database(engine: Engine) -> Iterator[Engine]:
    """Make a database without any table on the PostgreSQL server of `engine`, and drop it at the end."""
    name = f"fresh_{uuid4().hex[:12]}"
    url = make_url(engine.url).set(database=name).render_as_string(hide_password=False)
    admin = engine.execution_options(isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    made = open_engine(url)
    yield made
    made.dispose()
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def upgrade_until(engine: Engine, revision: str) -> None:
    """Upgrade to `revision` by the migrations up to it."""
    with write_transaction(engine) as connection:
        for migration in list_pending(read_revision(connection)):
            for index in migration.indexes:
                connection.exec_driver_sql(index.create_statement("sqlite"), execution_options={"no_parameters": True})
            run_up(connection, migration.revision)
            save_change(connection, migration.revision, migration.compatible_from, NOW)
            if migration.revision == revision:
                return


def drop_all(engine: Engine) -> None:
    """Drop every table, as if the database was new."""
    existing = MetaData()
    with write_transaction(engine) as connection:
        existing.reflect(connection)
        existing.drop_all(connection)


def describe(engine: Engine) -> dict[str, Any]:
    """Return everything that the database says about its tables."""
    found = inspect(engine)
    return {
        name: {
            "columns": {
                column["name"]: (str(column["type"]), column["nullable"], str(column["default"]))
                for column in found.get_columns(name)
            },
            "key": found.get_pk_constraint(name),
            "foreign": sorted(map(str, found.get_foreign_keys(name))),
            "unique": sorted(map(str, found.get_unique_constraints(name))),
            "checks": sorted(map(str, found.get_check_constraints(name))),
            "indexes": sorted(map(_index_text, found.get_indexes(name))),
        }
        for name in found.get_table_names()
        if name != VERSION_TABLE
    }


def _index_text(index: Any) -> str:
    """Return an index as text; the condition of a partial one is an object that differs each time."""
    options = {name: str(value) for name, value in index["dialect_options"].items()}
    return str((index["name"], index["column_names"], index["unique"], options))
