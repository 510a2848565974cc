"""Databases of their own, and what they say about their tables."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from sqlalchemy import Engine, MetaData, inspect, text
from sqlalchemy.engine import make_url

from adwarm.store.database import open_engine, write_transaction
from adwarm.store.upgrades import VERSION_TABLE


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
