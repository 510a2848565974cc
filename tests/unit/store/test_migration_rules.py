"""The rules of migrations after the first: no table that others use is locked for longer than moments."""

import re
import threading
from typing import Any

import pytest
from sqlalchemy import Engine, event, inspect, text

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import BadRequest, Transient
from adwarm.store import migration_scripts, upgrades
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.migration_scripts import Migration, list_migrations, list_pending
from adwarm.store.schema import (
    find_differences,
    get_current_revision,
    needs_upgrade,
    require_current,
    upgrade,
)
from tests.unit.conftest import NOW
from tests.unit.store.filled_schema import fill, reflect
from tests.unit.store.migrated_schema import ADDITIONS, describe, drop_all, upgrade_until

SLOW = {
    r"ALTER TABLE (\w+) .*ALTER COLUMN \w+ (SET DATA )?TYPE": "changes the type of a column",
    r"ALTER TABLE (\w+) .*SET NOT NULL": "scans the table for NULL",
    r"ALTER TABLE (\w+) ADD CONSTRAINT(?!.*NOT VALID)": "scans the table for the constraint",
    r"CREATE (?:UNIQUE )?INDEX (?!CONCURRENTLY).* ON (\w+)": "blocks writers while the index is built; use INDEXES",
    r"UPDATE (\w+)": "changes existing rows",
    r"DELETE FROM (\w+)": "deletes existing rows",
}
FIRST = list_migrations()[0].revision


def broken_rules(engine: Engine, migration: Migration) -> list[str]:
    """Run a migration on a filled PostgreSQL, and return what it does that takes long on a large table."""
    existing = set(reflect(engine).tables)
    files, statements = _files(engine), list[str]()

    def record(_connection: Any, _cursor: Any, statement: str, *_arguments: Any) -> None:
        statements.append(" ".join(statement.replace('"', "").split()))

    event.listen(engine, "before_cursor_execute", record)
    try:
        upgrade(engine)
    finally:
        event.remove(engine, "before_cursor_execute", record)
    broken = [
        f"{migration.revision}: {found.group(1)}: {reason}"
        for statement in statements
        for pattern, reason in SLOW.items()
        if (found := re.match(pattern, statement)) and found.group(1) in existing - {"schema_change"}
    ]
    after = _files(engine)
    rewritten = [name for name, file in files.items() if after.get(name, file) != file]
    return broken + [f"{migration.revision}: {name}: the table is written anew" for name in rewritten]


def _files(engine: Engine) -> dict[str, int]:
    """Return the file of each table and index: a new one means that it was written anew."""
    query = (
        "SELECT relname, relfilenode FROM pg_class "
        "WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace"
    )
    with read_transaction(engine) as connection:
        return {row.relname: row.relfilenode for row in connection.execute(text(query))}


@pytest.mark.postgres
def test_migrations_keep_the_rules(postgres: Engine, next_migration: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No migration after the first rewrites or scans a table, changes its rows, or blocks its writers for an index.

    One that keeps the rules is added, so that there is one.
    """
    next_migration(ADDITIONS)
    upgrade_until(postgres, FIRST)
    monkeypatch.setattr(upgrades, "list_pending", lambda current: list_pending(current)[:1])
    for migration in list_migrations()[1:]:
        fill(postgres, migration.revision)
        assert broken_rules(postgres, migration) == []
    assert find_differences(postgres) != []


BAD = {
    'op.alter_column("warm", "reason", type_=sa.String(999))': "type of a column",
    'op.alter_column("warm", "strategy", nullable=False, existing_type=sa.String(80))': "scans the table",
    'op.create_index("ix_new", "warm", ["reason"])': "use INDEXES",
    'op.execute("UPDATE warm SET reason = reason")': "changes existing rows",
    'op.add_column("warm", sa.Column("x", sa.Float(), nullable=False, server_default=sa.text("random()")))': "anew",
    'op.create_check_constraint("c", "warm", "requests >= 0")': "for the constraint",
}


@pytest.mark.slow
@pytest.mark.postgres
def test_slow_migrations_are_found(postgres: Engine, next_migration: Any) -> None:
    """Each kind of statement that takes long on a large table is found in a migration that has it."""
    upgrade(postgres)
    fill(postgres, "a", 80)
    with write_transaction(postgres) as connection:
        connection.execute(text("UPDATE warm SET strategy = 's', requests = 1"))
    for body, fault in BAD.items():
        migration = next_migration(f"\ndef upgrade():\n    {body}\n")
        assert any(fault in reason for reason in broken_rules(postgres, migration)), body


def test_an_index_is_built_beside_the_table(fresh: Engine, next_migration: Any) -> None:
    """An index of INDEXES is there after the upgrade; on PostgreSQL its build blocks no writer."""
    upgrade(fresh)
    fill(fresh, "a")
    migration = next_migration(ADDITIONS)

    (index,) = migration.indexes
    assert "INDEX CONCURRENTLY" in index.create_statement("postgresql")
    upgrade(fresh)

    assert "ix_new" in {index["name"] for index in inspect(fresh).get_indexes("warm")}


@pytest.mark.slow
@pytest.mark.postgres
def test_an_interrupted_index_is_built_again(postgres: Engine, next_migration: Any) -> None:
    """An index that a killed build has left invalid is dropped and built by the next upgrade."""
    upgrade(postgres)
    fill(postgres, "a")
    next_migration(ADDITIONS)
    with write_transaction(postgres) as connection:
        connection.execute(text("CREATE INDEX ix_new ON warm (reason)"))
        connection.execute(text("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_new'::regclass"))
    assert any("ix_new" in line for line in find_differences(postgres) if line.startswith("invalid index"))

    upgrade(postgres)

    [made] = [index for index in inspect(postgres).get_indexes("warm") if index["name"] == "ix_new"]
    assert made["column_names"] == ["reason", "decided_at"]
    assert not any(line.startswith("invalid index") for line in find_differences(postgres))


@pytest.mark.slow
@pytest.mark.postgres
def test_a_busy_table_is_tried_again(postgres: Engine, next_migration: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a reader holds the table, the migration gives up its place after a moment, waits and tries again."""
    monkeypatch.setattr(upgrades, "LOCK_SECONDS", 0.2)
    upgrade(postgres)
    next_migration(ADDITIONS.replace("INDEXES", "_NONE"))
    reading, free = threading.Event(), threading.Event()

    class FreeingClock(VirtualClock):
        """Ends the reader at the third pause."""

        pauses: list[float] = []  # noqa: RUF012

        def sleep(self, seconds: float) -> None:
            self.pauses.append(seconds)
            if len(self.pauses) == 3:
                free.set()
                reader.join()

    def read() -> None:
        with read_transaction(postgres) as connection:
            connection.execute(text("SELECT count(*) FROM warm"))
            reading.set()
            free.wait(60)

    reader = threading.Thread(target=read)
    reader.start()
    reading.wait(60)
    clock = FreeingClock(NOW)
    upgrade(postgres, clock)

    assert clock.pauses == [0.5, 1.0, 2.0]
    assert "extra" in {column["name"] for column in inspect(postgres).get_columns("warm")}


@pytest.mark.slow
@pytest.mark.postgres
def test_a_table_that_stays_busy(postgres: Engine, next_migration: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the last attempt the upgrade fails with the reason, and the schema is as before."""
    monkeypatch.setattr(upgrades, "LOCK_SECONDS", 0.1)
    monkeypatch.setattr(upgrades, "LOCK_ATTEMPTS", 2)
    upgrade(postgres)
    migration = next_migration(ADDITIONS.replace("INDEXES", "_NONE"))
    failed: list[Exception] = []

    def try_upgrade() -> None:
        try:
            upgrade(postgres, VirtualClock(NOW))
        except Transient as error:
            failed.append(error)

    with read_transaction(postgres) as connection:
        connection.execute(text("SELECT count(*) FROM warm"))
        thread = threading.Thread(target=try_upgrade)
        thread.start()
        thread.join()

    assert "timed out waiting for a lock" in str(failed[0])
    assert get_current_revision(postgres) == migration.before


def test_older_code_runs_on_a_compatible_schema(
    fresh: Engine,
    next_migration: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A newer schema that says so serves older code; one that does not makes it stop with the reason."""
    next_migration(ADDITIONS)
    upgrade(fresh)
    monkeypatch.undo()
    migration_scripts._read.cache_clear()

    require_current(fresh)
    assert not needs_upgrade(fresh)

    with write_transaction(fresh) as connection:
        connection.execute(text("UPDATE schema_change SET compatible_from = revision"))
    with pytest.raises(BadRequest, match="made by a newer adwarm"):
        require_current(fresh)
    assert needs_upgrade(fresh)


def changes_for_older_code(engine: Engine, migration: Migration) -> list[str]:
    """Run a migration on the oldest schema whose code shall run after it, and return what that code would miss."""
    upgrade_until(engine, migration.compatible_from)
    before, old = describe(engine), reflect(engine)
    with write_transaction(engine) as connection:
        migration_scripts.run_up(connection, migration.revision)
    after, new = describe(engine), reflect(engine)

    changes = [f"{name} is gone" for name in before if name not in after]
    for name in before.keys() & after.keys():
        table, now = before[name], after[name]
        changes += [
            f"{name}.{key} differs" for key, kind in table["columns"].items() if now["columns"].get(key) != kind
        ]
        changes += [f"{part} of {name}" for part in ("key", "foreign", "unique", "checks") if table[part] != now[part]]
        added = [column for column in new.tables[name].columns if column.name not in old.tables[name].columns]
        changes += [f"{name}.{c.name} must be given" for c in added if not c.nullable and c.server_default is None]
    return changes


@pytest.mark.slow
def test_compatible_migrations_only_add(fresh: Engine, next_migration: Any) -> None:
    """A migration that older code runs on removes and changes nothing, and its columns have a default or are NULL."""
    next_migration(ADDITIONS)
    compatible = [migration for migration in list_migrations() if migration.compatible_from != migration.revision]
    for migration in compatible:
        assert changes_for_older_code(fresh, migration) == []
        drop_all(fresh)


@pytest.mark.postgres
@pytest.mark.slow
def test_what_older_code_would_miss_is_found(postgres: Engine, next_migration: Any) -> None:
    """Each kind of change on which older code fails is named; a new table is none."""
    changes = """
    op.drop_column("warm", "extra")
    op.drop_table("machine_load")
    op.add_column("account", sa.Column("x", sa.Integer(), nullable=False))
    op.create_table("other", sa.Column("x", sa.Integer(), primary_key=True))
"""
    compatible = next_migration(ADDITIONS).revision
    body = f"\nCOMPATIBLE_FROM = '{compatible}'\ndef upgrade():{changes}\n"

    found = changes_for_older_code(postgres, next_migration(body))

    assert sorted(found) == ["account.x must be given", "machine_load is gone", "warm.extra differs"]
