"""The schema and its migrations."""

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, select, text

from adwarm.foundation.errors import BadRequest
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.pattern_tables import access_pattern
from adwarm.store.schema import (
    VERSION_TABLE,
    downgrade,
    export_tables,
    get_current_revision,
    get_head_revision,
    require_current,
    reset,
    upgrade,
)
from adwarm.store.tables import metadata, payload
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
    """Upgrading it is one error that names export and reset, and changes nothing."""
    for check in (upgrade, require_current):
        with pytest.raises(BadRequest, match=r"0012.*adwarm db export FOLDER.*adwarm db reset --yes"):
            check(development_database)

    assert get_current_revision(development_database) == "0012"


def test_a_newer_database_is_refused(development_database: Engine) -> None:
    """A revision that this code does not know yet is said to be newer."""
    with write_transaction(development_database) as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '7'"))

    with pytest.raises(BadRequest, match="newer adwarm"):
        upgrade(development_database)


def test_export_and_reset(development_database: Engine, tmp_path: Path) -> None:
    """Export writes every row whatever the schema; reset leaves empty tables of the newest schema, and other tables."""
    with write_transaction(development_database) as connection:
        connection.execute(text("CREATE TABLE of_somebody_else (id INTEGER)"))
    try:
        counts = export_tables(development_database, tmp_path / "export")
        reset(development_database)
        names = inspect(development_database).get_table_names()
    finally:
        with write_transaction(development_database) as connection:
            connection.execute(text("DROP TABLE of_somebody_else"))

    assert counts.keys() == set(metadata.tables)
    assert (counts["payload"], sum(counts.values())) == (1, 1)
    [row] = (tmp_path / "export" / "payload.jsonl").read_text().splitlines()
    assert orjson.loads(row)["body"] == "AP8="
    assert "of_somebody_else" in names
    assert get_current_revision(development_database) == get_head_revision()
    with read_transaction(development_database) as connection:
        assert connection.execute(select(payload)).all() == []
