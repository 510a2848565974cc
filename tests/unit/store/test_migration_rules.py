"""The rules of migrations from 0009 on: no table that others use is locked for longer than moments."""

import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, inspect, text

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import BadRequest, Transient
from adwarm.store import migration_scripts, upgrades
from adwarm.store.database import open_engine, read_transaction, write_transaction
from adwarm.store.migration_scripts import Migration, list_migrations, list_pending
from adwarm.store.schema import (
    find_differences,
    get_current_revision,
    needs_upgrade,
    render_upgrade,
    require_current,
    upgrade,
)
from tests.unit.conftest import NOW
from tests.unit.store.filled_schema import fill, reflect
from tests.unit.store.test_upgrades import describe, fresh, make_database, upgrade_until  # noqa: F401 - a fixture

BEFORE_THE_RULES = "8"
IMPORTS = """import sqlalchemy as sa
from alembic import op

from adwarm.store.online_indexes import ConcurrentIndex
"""
SLOW = {
    r"ALTER TABLE (\w+) .*ALTER COLUMN \w+ (SET DATA )?TYPE": "changes the type of a column",
    r"ALTER TABLE (\w+) .*SET NOT NULL": "scans the table for NULL",
    r"ALTER TABLE (\w+) ADD CONSTRAINT(?!.*NOT VALID)": "scans the table for the constraint",
    r"CREATE (?:UNIQUE )?INDEX (?!CONCURRENTLY).* ON (\w+)": "blocks writers while the index is built; use INDEXES",
    r"UPDATE (\w+)": "changes existing rows",
    r"DELETE FROM (\w+)": "deletes existing rows",
}
RULED = [migration for migration in list_migrations() if int(migration.revision) > int(BEFORE_THE_RULES)]


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


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Engine]:
    """An empty PostgreSQL database; SQLite has one writer anyway, and no such rules."""
    with make_database(open_engine(postgres_url)) as made:
        yield made


@pytest.fixture
def next_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Returns a function that adds a migration to a copy of the folder, which the code then uses."""
    folder = tmp_path / "migrations"
    shutil.copytree(migration_scripts.FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))

    def add(body: str) -> Migration:
        last = list_migrations()[-1].revision
        number = int(last) + 1
        revision = f'revision, down_revision = "{number}", "{last}"'
        source = "\n".join(('"""Does something."""', IMPORTS, revision, "branch_labels = depends_on = None", body))
        (folder / "versions" / f"{number:04}_next.py").write_text(source)
        monkeypatch.setattr(migration_scripts, "FOLDER", folder)
        migration_scripts._read.cache_clear()
        return list_migrations()[-1]

    yield add
    migration_scripts._read.cache_clear()


@pytest.mark.postgres
def test_migrations_keep_the_rules(postgres: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """No migration since 0009 rewrites or scans a table, changes its rows, or blocks its writers for an index."""
    upgrade_until(postgres, BEFORE_THE_RULES)
    monkeypatch.setattr(upgrades, "list_pending", lambda current: list_pending(current)[:1])
    for migration in RULED:
        fill(postgres, migration.revision)
        assert broken_rules(postgres, migration) == []


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
        migration = next_migration(f"\ndef upgrade():\n    {body}\n\ndef downgrade():\n    pass\n")
        assert any(fault in reason for reason in broken_rules(postgres, migration)), body


INDEX = """
INDEXES = (ConcurrentIndex("ix_new", "warm", ("reason", "decided_at"), where="used"),)
COMPATIBLE_FROM = "9"

def upgrade():
    op.add_column("warm", sa.Column("extra", sa.Integer(), nullable=False, server_default="0"))

def downgrade():
    op.drop_column("warm", "extra")
"""


def test_an_index_is_built_beside_the_table(fresh: Engine, next_migration: Any) -> None:  # noqa: F811
    """An index of INDEXES is there after the upgrade, in the plan before it, and gone after the downgrade."""
    upgrade(fresh)
    fill(fresh, "a")
    migration = next_migration(INDEX)

    plan = render_upgrade(fresh)
    assert "CREATE INDEX" in plan[0]
    assert ("CONCURRENTLY" in plan[0]) == (fresh.dialect.name == "postgresql")
    assert any("extra" in statement for statement in plan)
    assert get_current_revision(fresh) == migration.before

    upgrade(fresh)
    names = {index["name"] for index in inspect(fresh).get_indexes("warm")}
    upgrades.downgrade_to(fresh, migration.before or "")

    assert "ix_new" in names
    assert "ix_new" not in {index["name"] for index in inspect(fresh).get_indexes("warm")}
    assert find_differences(fresh) == []


@pytest.mark.postgres
def test_an_interrupted_index_is_built_again(postgres: Engine, next_migration: Any) -> None:
    """An index that a killed build has left invalid is dropped and built by the next upgrade."""
    upgrade(postgres)
    fill(postgres, "a")
    next_migration(INDEX)
    with write_transaction(postgres) as connection:
        connection.execute(text("CREATE INDEX ix_new ON warm (reason)"))
        connection.execute(text("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_new'::regclass"))
    assert any("ix_new" in line for line in find_differences(postgres) if line.startswith("invalid index"))

    upgrade(postgres)

    [made] = [index for index in inspect(postgres).get_indexes("warm") if index["name"] == "ix_new"]
    assert made["column_names"] == ["reason", "decided_at"]
    assert not any(line.startswith("invalid index") for line in find_differences(postgres))


@pytest.mark.postgres
def test_a_busy_table_is_tried_again(postgres: Engine, next_migration: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a reader holds the table, the migration gives up its place after a moment, waits and tries again."""
    monkeypatch.setattr(upgrades, "LOCK_SECONDS", 0.2)
    upgrade(postgres)
    next_migration(INDEX.replace("INDEXES", "_NONE"))
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


@pytest.mark.postgres
def test_a_table_that_stays_busy(postgres: Engine, next_migration: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the last attempt the upgrade fails with the reason, and the schema is as before."""
    monkeypatch.setattr(upgrades, "LOCK_SECONDS", 0.1)
    monkeypatch.setattr(upgrades, "LOCK_ATTEMPTS", 2)
    upgrade(postgres)
    migration = next_migration(INDEX.replace("INDEXES", "_NONE"))
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
    fresh: Engine,  # noqa: F811
    next_migration: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A newer schema that says so serves older code; one that does not makes it stop with the reason."""
    next_migration(INDEX)
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


@pytest.mark.parametrize("migration", RULED, ids=lambda migration: migration.revision)
def test_compatible_migrations_only_add(fresh: Engine, migration: Migration) -> None:  # noqa: F811
    """A migration that older code runs on removes and changes nothing, and its columns have a default or are NULL."""
    if migration.compatible_from == migration.revision:
        pytest.skip("it says that older code must stop")
    upgrade_until(fresh, migration.compatible_from)
    before, old = describe(fresh), reflect(fresh)
    with write_transaction(fresh) as connection:
        migration_scripts.run_up(connection, migration.revision)
    after, new = describe(fresh), reflect(fresh)

    assert set(before) <= set(after)
    for name, table in before.items():
        assert table["columns"].items() <= after[name]["columns"].items()
        for part in ("key", "foreign", "unique", "checks"):
            assert table[part] == after[name][part]
        added = [column for column in new.tables[name].columns if column.name not in old.tables[name].columns]
        assert [c.name for c in added if not c.nullable and c.server_default is None] == []
