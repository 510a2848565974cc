"""The schema of a database: its differences, what is refused, and starting anew."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Column, Engine, Index, Integer, MetaData, inspect, select, text

from adwarm.foundation.errors import BadRequest
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.entries import payload
from adwarm.store.schema import (
    find_differences,
    get_current_revision,
    get_head_revision,
    needs_upgrade,
    require_current,
    reset,
    upgrade,
)
from adwarm.store.tables import metadata
from adwarm.store.upgrades import UNRELEASED, VERSION_TABLE, list_revisions
from tests.unit.conftest import NOW


def test_differences_are_named(fresh: Engine) -> None:
    """A dropped index, an added column and a missing table are found and named; other tables are left alone."""
    upgrade(fresh)
    assert find_differences(fresh) == []
    with write_transaction(fresh) as connection:
        connection.execute(text("DROP INDEX ix_action_event_at"))
        connection.execute(text("ALTER TABLE payload ADD COLUMN extra INTEGER"))
        connection.execute(text("DROP TABLE machine_load"))
        connection.execute(text("CREATE TABLE of_somebody_else (id INTEGER)"))

    found = "\n".join(sorted(find_differences(fresh)))

    assert "add index: ix_action_event_at" in found
    assert "remove column" in found
    assert "extra" in found
    assert "add table: machine_load" in found
    assert "of_somebody_else" not in found


def _copy_tables() -> MetaData:
    copied = MetaData()
    for table in metadata.tables.values():
        table.to_metadata(copied)
    for table in copied.tables.values():
        for column in table.columns:
            column.type = column.type.copy()
    return copied


def test_every_change_of_a_table_is_another_schema(subtests: pytest.Subtests) -> None:
    """Whoever changes a table before the first release has nothing else to do: older databases are refused."""

    def add_column(changed: MetaData) -> None:
        changed.tables["warm"].append_column(Column("extra", Integer))

    def allow_null(changed: MetaData) -> None:
        changed.tables["warm"].c.reason.nullable = True

    def lengthen(changed: MetaData) -> None:
        changed.tables["account"].c.name.type.length = 999  # type: ignore[attr-defined]

    def add_index(changed: MetaData) -> None:
        Index("ix_new", changed.tables["warm"].c.reason)

    def drop_table(changed: MetaData) -> None:
        changed.remove(changed.tables["machine_load"])

    seen = set(list_revisions(metadata))
    assert list_revisions(_copy_tables()) == list_revisions(metadata)
    for change in (add_column, allow_null, lengthen, add_index, drop_table):
        with subtests.test(change=change.__name__):
            changed = _copy_tables()
            change(changed)
            (revision,) = list_revisions(changed)
            assert revision not in seen
            seen.add(revision)


@pytest.fixture
def unreleased_database(engine: Engine) -> Iterator[Engine]:
    """A database of an earlier checkout, with rows."""
    _set_revision(engine, "13")
    with write_transaction(engine) as connection:
        connection.execute(payload.insert().values(hash="h", body=b"\x00\xff", created_at=NOW))
    yield engine
    reset(engine)


def _set_revision(engine: Engine, revision: str) -> None:
    with write_transaction(engine) as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'"))


@pytest.mark.parametrize("revision", ["1", "22", f"{UNRELEASED}0123456789ab"])
def test_an_unreleased_database_is_refused(unreleased_database: Engine, revision: str) -> None:
    """Upgrading it is one error that says how to start anew, and changes nothing."""
    _set_revision(unreleased_database, revision)
    for check in (upgrade, require_current):
        with pytest.raises(BadRequest, match=rf"schema {revision} .*start anew with `adwarm db reset --yes`"):
            check(unreleased_database)

    assert needs_upgrade(unreleased_database)
    assert get_current_revision(unreleased_database) == revision
    with read_transaction(unreleased_database) as connection:
        assert connection.execute(select(payload.c.hash)).scalar_one() == "h"


def test_a_newer_database_is_refused(unreleased_database: Engine) -> None:
    """A revision that this code does not know yet is said to be newer."""
    _set_revision(unreleased_database, "0.2.0")
    for check in (upgrade, require_current):
        with pytest.raises(BadRequest, match="newer adwarm"):
            check(unreleased_database)


def test_tables_without_a_revision_are_refused(unreleased_database: Engine) -> None:
    """Nothing is created beside them: they may be of any version."""
    with write_transaction(unreleased_database) as connection:
        connection.execute(text(f"DELETE FROM {VERSION_TABLE}"))
    for check in (upgrade, require_current):
        with pytest.raises(BadRequest, match="does not say of which version; restore a backup, or"):
            check(unreleased_database)


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
