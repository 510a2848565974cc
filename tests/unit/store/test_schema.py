"""The schema and its migrations."""

from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, select, text

from adwarm.foundation.errors import BadRequest
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.payloads import table as payload
from adwarm.store.schema import (
    VERSION_TABLE,
    get_current_revision,
    get_head_revision,
    list_pending_migrations,
    needs_upgrade,
    require_current,
    reset,
    upgrade,
)
from adwarm.store.tables import metadata
from tests.unit.conftest import NOW


def test_migrations_give_the_tables_of_the_code(engine: Engine) -> None:
    """The migrations create exactly the tables that the code declares."""
    with read_transaction(engine) as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})

        differences = compare_metadata(context, metadata)

    assert differences == []


@pytest.fixture
def unreleased_database(engine: Engine) -> Iterator[Engine]:
    """A database of an earlier checkout: a revision whose migration is gone, and rows."""
    _set_revision(engine, "13")
    with write_transaction(engine) as connection:
        connection.execute(payload.insert().values(hash="h", body=b"\x00\xff", created_at=NOW))
    yield engine
    reset(engine)


def _set_revision(engine: Engine, revision: str) -> None:
    with write_transaction(engine) as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'"))


@pytest.mark.parametrize("revision", ["1", "13", "0012"])
def test_an_unreleased_database_is_refused(unreleased_database: Engine, revision: str) -> None:
    """Upgrading it is one error that says how to start anew, and changes nothing."""
    _set_revision(unreleased_database, revision)
    for check in (upgrade, require_current, list_pending_migrations):
        with pytest.raises(BadRequest, match=rf"schema {revision} .*start anew with `adwarm db reset --yes`"):
            check(unreleased_database)

    assert needs_upgrade(unreleased_database)
    assert get_current_revision(unreleased_database) == revision
    with read_transaction(unreleased_database) as connection:
        assert connection.execute(select(payload.c.hash)).scalar_one() == "h"


def test_a_newer_database_is_refused(unreleased_database: Engine) -> None:
    """A revision that this code does not know yet is said to be newer."""
    _set_revision(unreleased_database, "99")

    with pytest.raises(BadRequest, match="newer adwarm"):
        upgrade(unreleased_database)


def test_reset(unreleased_database: Engine) -> None:
    """It leaves empty tables of the newest schema, whatever the schema was, and other tables."""
    with write_transaction(unreleased_database) as connection:
        connection.execute(text("CREATE TABLE of_somebody_else (id INTEGER)"))
    try:
        reset(unreleased_database)
        names = inspect(unreleased_database).get_table_names()
    finally:
        with write_transaction(unreleased_database) as connection:
            connection.execute(text("DROP TABLE of_somebody_else"))

    assert "of_somebody_else" in names
    assert get_current_revision(unreleased_database) == get_head_revision()
    with read_transaction(unreleased_database) as connection:
        assert connection.execute(select(payload)).all() == []
