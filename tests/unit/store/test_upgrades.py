"""Upgrades: every step, on empty and filled databases, and what interrupts or meets them."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, inspect, text

from adwarm.foundation.errors import BadRequest
from adwarm.store import migration_scripts
from adwarm.store.database import open_engine, read_transaction, write_transaction
from adwarm.store.migration_scripts import Migration, list_migrations
from adwarm.store.schema import find_differences, get_current_revision, get_head_revision, upgrade
from adwarm.store.tables import metadata
from adwarm.store.upgrades import upgrade_to_newest
from tests.unit.store.filled_schema import fill, lost_rows, read_rows
from tests.unit.store.migrated_schema import ADDITIONS, NEW_TABLE, describe, drop_all, upgrade_until

ROOT = Path(__file__).resolve().parents[3]
FIRST = list_migrations()[0].revision


@pytest.fixture
def revisions(next_migration: Callable[[str], Migration]) -> list[str]:
    """Every revision. Two more than those of the code, so that there are steps from one to another."""
    next_migration(ADDITIONS)
    next_migration(NEW_TABLE)
    return [migration.revision for migration in list_migrations()]


def test_the_migrations_and_the_code_make_the_same_tables(fresh: Engine) -> None:
    """Columns, types, NULL, defaults, keys, constraints, checks and indexes are those of the code's own tables."""
    upgrade(fresh)
    migrated = describe(fresh)
    drop_all(fresh)
    metadata.create_all(fresh)

    assert describe(fresh) == migrated


def test_differences_are_named(fresh: Engine) -> None:
    """A dropped index, an added column and a missing table are found and named; other tables are left alone."""
    upgrade(fresh)
    assert find_differences(fresh) == []
    with write_transaction(fresh) as connection:
        connection.execute(text("DROP INDEX ix_healing_run_at"))
        connection.execute(text("ALTER TABLE payload ADD COLUMN extra INTEGER"))
        connection.execute(text("DROP TABLE schema_change"))
        connection.execute(text("CREATE TABLE of_somebody_else (id INTEGER)"))

    found = "\n".join(sorted(find_differences(fresh)))

    assert "add index: ix_healing_run_at" in found
    assert "remove column" in found
    assert "extra" in found
    assert "add table: schema_change" in found
    assert "of_somebody_else" not in found


@pytest.mark.slow
def test_steps_on_an_empty_database(fresh: Engine, revisions: list[str]) -> None:
    """Each step changes the tables, and all of them together are the newest schema."""
    shapes: list[dict[str, Any]] = [{}]
    for revision in revisions:
        upgrade_until(fresh, revision)
        assert get_current_revision(fresh) == revision
        shapes.append(describe(fresh))
    assert all(below != above for below, above in pairwise(shapes))
    drop_all(fresh)
    upgrade(fresh)
    assert describe(fresh) == shapes[-1]


@pytest.mark.slow
def test_rows_survive_each_step_up(fresh: Engine, revisions: list[str]) -> None:
    """Rows of extreme values in every table are unchanged by each step."""
    upgrade_until(fresh, FIRST)
    before = fill(fresh, FIRST)
    for above in revisions[1:]:
        upgrade_until(fresh, above)
        assert lost_rows(before, read_rows(fresh)) == {}, above
        before = fill(fresh, above)


def test_threads_upgrade_one_database_at_once(fresh: Engine) -> None:
    """Four threads upgrade one database at the same time; each returns with the newest schema."""
    with ThreadPoolExecutor(4) as pool:
        revisions = list(pool.map(lambda _: upgrade(fresh), range(4)))

    assert set(revisions) == {get_head_revision()}
    assert find_differences(fresh) == []


@pytest.mark.slow
def test_threads_upgrade_several_databases_at_once(tmp_path: Path) -> None:
    """Four threads upgrade a database each in one process, although alembic has one context per process."""
    engines = [open_engine(f"sqlite:///{tmp_path}/{number}.db") for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(upgrade, engines))

    assert [find_differences(engine) for engine in engines] == [[]] * 4


USE_FOLDER = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import event
from adwarm.store import migration_scripts, open_engine, upgrade
engine, migration_scripts.FOLDER = open_engine(sys.argv[1]), Path(sys.argv[2])
"""
UPGRADE = f"""{USE_FOLDER}
sys.stdin.readline()
print(upgrade(engine))
"""


def _start(script: str, engine: Engine) -> subprocess.Popen[str]:
    """Start a process that has the migrations of this one."""
    url = engine.url.render_as_string(hide_password=False)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "include")}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", script, url, str(migration_scripts.FOLDER)]
    return subprocess.Popen(command, env=environment, **pipes)


@pytest.mark.slow
def test_processes_upgrade_at_once(fresh: Engine, revisions: list[str]) -> None:
    """Two processes upgrade a filled database at the same moment; all succeed, and no row is lost."""
    upgrade_until(fresh, FIRST)
    before = fill(fresh, "a")
    processes = [_start(UPGRADE, fresh) for _ in range(2)]

    answers = [process.communicate("go\n", timeout=120)[0].strip() for process in processes]

    assert answers == [revisions[-1]] * 2
    assert get_current_revision(fresh) == revisions[-1]
    assert lost_rows(before, read_rows(fresh)) == {}


DIE = f"""{USE_FOLDER}
left = [int(sys.stdin.readline())]
@event.listens_for(engine, "after_cursor_execute")
def count(connection, cursor, statement, *arguments):
    if statement.lstrip().upper().startswith(("CREATE", "ALTER", "DROP", "UPDATE", "INSERT")):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
print(upgrade(engine))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("start", "statements"), [("base", 40), (FIRST, 3)])
def test_a_killed_upgrade_is_completed_by_the_next(
    fresh: Engine, revisions: list[str], start: str, statements: int
) -> None:
    """kill -9 after some statements leaves a schema between two migrations; the next upgrade completes it."""
    upgrade(fresh)
    complete = describe(fresh)
    drop_all(fresh)
    if start == FIRST:
        upgrade_until(fresh, FIRST)
    before = fill(fresh, "a")
    process = _start(DIE, fresh)
    process.communicate(f"{statements}\n", timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert get_current_revision(fresh) in [None, *revisions[:-1]]

    upgrade(fresh)

    assert describe(fresh) == complete
    assert lost_rows(before, read_rows(fresh)) == {}


def test_nothing_is_locked_when_nothing_is_to_do(fresh: Engine) -> None:
    """An upgrade of a database at the newest schema runs while another transaction holds every lock of a writer."""
    upgrade(fresh)
    with write_transaction(fresh), ThreadPoolExecutor(1) as pool:
        assert pool.submit(upgrade, fresh).result(timeout=30) == get_head_revision()


def test_a_refused_database_is_not_changed(fresh: Engine) -> None:
    """The check of the revision comes before the first statement."""

    def refuse(_revision: str | None) -> None:
        raise BadRequest("not this one")

    with pytest.raises(BadRequest, match="not this one"):
        upgrade_to_newest(fresh, refuse)
    with read_transaction(fresh) as connection:
        assert inspect(connection).get_table_names() == []


def test_the_lock_of_a_sqlite_file_is_private(tmp_path: Path) -> None:
    """The file whose lock keeps other upgrades out can be read by the user alone, whatever the umask says."""
    old = os.umask(0)
    try:
        upgrade(open_engine(f"sqlite:///{tmp_path}/private/a.db"))
        assert (tmp_path / "private/a.db.upgrade").stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(old)
