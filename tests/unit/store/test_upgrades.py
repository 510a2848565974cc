"""Upgrades and downgrades: every step, on empty and filled databases, and what interrupts or meets them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, inspect, text
from sqlalchemy.engine import make_url

from adwarm.foundation.errors import BadRequest
from adwarm.store.database import open_engine, read_transaction, write_transaction
from adwarm.store.migration_scripts import VERSION_TABLE, list_migrations, list_pending, run_up
from adwarm.store.schema import downgrade, find_differences, get_current_revision, get_head_revision, upgrade
from adwarm.store.schema_changes import save_change
from adwarm.store.tables import metadata
from adwarm.store.upgrades import read_revision, upgrade_to_newest
from tests.unit.store.filled_schema import fill, lost_rows, read_rows

ROOT = Path(__file__).resolve().parents[3]
REVISIONS = [migration.revision for migration in list_migrations()]
REPLACED = {("5", "6"): {"isolation"}}
"""Tables that a step makes anew: what was isolated is found out again within minutes."""
SHORT = 24
"""A text of as many characters fits every column of a text at every revision."""


@pytest.fixture
def fresh(engine: Engine, tmp_path: Path) -> Iterator[Engine]:
    """A database of its own without any table, on the same server as `engine`."""
    if engine.dialect.name == "sqlite":
        yield open_engine(f"sqlite:///{tmp_path}/fresh.db")
        return
    with make_database(engine) as made:
        yield made


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


AT = datetime(2026, 11, 25, 12, tzinfo=UTC)


def upgrade_until(engine: Engine, revision: str) -> None:
    """Upgrade to `revision` by the migrations up to it."""
    with write_transaction(engine) as connection:
        for migration in list_pending(read_revision(connection)):
            for index in migration.indexes:
                connection.exec_driver_sql(index.create_statement("sqlite"), execution_options={"no_parameters": True})
            run_up(connection, migration.revision)
            save_change(connection, migration.revision, migration.compatible_from, AT)
            if migration.revision == revision:
                return


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


def test_the_migrations_and_the_code_make_the_same_tables(fresh: Engine) -> None:
    """Columns, types, NULL, defaults, keys, constraints, checks and indexes are those of the code's own tables."""
    upgrade(fresh)
    migrated = describe(fresh)
    downgrade(fresh, "base")
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
def test_steps_on_an_empty_database(fresh: Engine) -> None:
    """Down one at a time and up again, each step makes the same tables as before."""
    upgrade(fresh)
    shapes = {}
    for revision in reversed(REVISIONS):
        downgrade(fresh, revision)
        shapes[revision] = describe(fresh)
    downgrade(fresh, "base")
    assert describe(fresh) == {}

    for revision in REVISIONS:
        upgrade_until(fresh, revision)
        assert describe(fresh) == shapes[revision]
        assert get_current_revision(fresh) == revision


@pytest.mark.slow
def test_rows_survive_each_step_up(fresh: Engine) -> None:
    """Rows of extreme values in every table are unchanged by each step, and the oldest come back by the way down."""
    upgrade_until(fresh, REVISIONS[0])
    oldest = fill(fresh, REVISIONS[0])
    before = oldest
    for revision, above in pairwise(REVISIONS):
        upgrade_until(fresh, above)
        assert set(lost_rows(before, read_rows(fresh))) == REPLACED.get((revision, above), set()), above
        before = fill(fresh, above)
    assert find_differences(fresh) == []

    downgrade(fresh, REVISIONS[0])
    assert set(lost_rows(oldest, read_rows(fresh))) == set().union(*REPLACED.values())


@pytest.mark.slow
def test_rows_survive_each_step_down(fresh: Engine) -> None:
    """From the newest schema, each step down keeps the rows that have a place in the schema before."""
    upgrade(fresh)
    for revision in reversed(REVISIONS[:-1]):
        before = fill(fresh, revision, SHORT)
        above = str(int(revision) + 1)
        downgrade(fresh, revision)
        own_record = {"schema_change"} & set(before)  # that of the step which is taken back
        assert set(lost_rows(before, read_rows(fresh))) - own_record == REPLACED.get((revision, above), set())


def test_texts_that_are_too_long_do_not_stop_the_way_down(fresh: Engine) -> None:
    """Rows whose texts do not fit the shorter columns of an older schema are left out; the rest goes down."""
    upgrade(fresh)
    fill(fresh, "a")

    downgrade(fresh, "1")

    assert get_current_revision(fresh) == "1"


@pytest.mark.parametrize(("revision", "message"), [("0", "write one of 1, 2"), ("-1", "write one of"), ("x", "'x'")])
def test_an_unknown_revision_is_no_target(fresh: Engine, revision: str, message: str) -> None:
    """A downgrade to a revision that does not exist is an error that lists those that do."""
    upgrade(fresh)

    with pytest.raises(BadRequest, match=message):
        downgrade(fresh, revision)
    assert get_current_revision(fresh) == get_head_revision()


def test_a_downgrade_needs_the_code_of_the_schema(fresh: Engine) -> None:
    """A database of a newer adwarm, and one that has not got that far, are not downgraded."""
    upgrade_until(fresh, "3")
    with pytest.raises(BadRequest, match="schema 5 is newer"):
        downgrade(fresh, "5")
    with write_transaction(fresh) as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '99'"))
    with pytest.raises(BadRequest, match="only a newer adwarm can downgrade"):
        downgrade(fresh, "1")


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


UPGRADE = """
import sys
from adwarm.store import open_engine, upgrade
sys.stdin.readline()
print(upgrade(open_engine(sys.argv[1])))
"""


def _start(script: str, engine: Engine) -> subprocess.Popen[str]:
    url = engine.url.render_as_string(hide_password=False)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "include")}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", script, url], env=environment, **pipes)


@pytest.mark.slow
def test_processes_upgrade_at_once(fresh: Engine) -> None:
    """Three processes upgrade a filled database at the same moment; all succeed, and no row is lost."""
    upgrade_until(fresh, "1")
    before = fill(fresh, "a")
    processes = [_start(UPGRADE, fresh) for _ in range(3)]

    answers = [process.communicate("go\n", timeout=120)[0].strip() for process in processes]

    assert answers == [get_head_revision()] * 3
    assert set(lost_rows(before, read_rows(fresh))) == {"isolation"}


DIE = """
import os, signal, sys
from sqlalchemy import event
from adwarm.store import open_engine, upgrade
engine, left = open_engine(sys.argv[1]), [int(sys.stdin.readline())]
@event.listens_for(engine, "after_cursor_execute")
def count(connection, cursor, statement, *arguments):
    if statement.lstrip().upper().startswith(("CREATE", "ALTER", "DROP", "UPDATE", "INSERT")):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
print(upgrade(engine))
"""


@pytest.mark.slow
@pytest.mark.parametrize("statements", [1, 12, 40])
def test_a_killed_upgrade_is_completed_by_the_next(fresh: Engine, statements: int) -> None:
    """kill -9 after some statements leaves a schema between two migrations; the next upgrade completes it."""
    upgrade_until(fresh, "1")
    before = fill(fresh, "a")
    process = _start(DIE, fresh)
    process.communicate(f"{statements}\n", timeout=120)
    assert process.returncode == -signal.SIGKILL
    interrupted = get_current_revision(fresh)
    assert interrupted in REVISIONS[:-1]

    upgrade(fresh)

    assert find_differences(fresh) == []
    assert set(lost_rows(before, read_rows(fresh))) == {"isolation"}


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
