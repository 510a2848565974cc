"""Upgrades: of an empty database, by the migrations of a release, and what interrupts or meets them."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Boolean, Column, Engine, Index, Integer, MetaData, String, Table, inspect, text

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import Transient
from adwarm.store import schema, upgrades
from adwarm.store.database import open_engine, read_transaction, write_transaction
from adwarm.store.schema import find_differences, get_current_revision, get_head_revision, require_current, upgrade
from adwarm.store.tables import metadata
from adwarm.store.upgrades import create_tables
from tests.unit.conftest import NOW
from tests.unit.store.filled_schema import fill, lost_rows, read_rows
from tests.unit.store.migrated_schema import describe, drop_all

ROOT = Path(__file__).resolve().parents[3]
HEAD = '"""Does something."""\nimport sqlalchemy as sa\nfrom alembic import op\n'
BASELINE = HEAD + 'revision = "0.1.0"\ndown_revision = None\ndef upgrade() -> None:\n    pass\n'
NEXT = (
    HEAD
    + """revision = "0.2.0"
down_revision = "0.1.0"
def upgrade() -> None:
    op.add_column("warm", sa.Column("extra", sa.Boolean(), nullable=False, server_default="0"))
    op.create_index("ix_new", "warm", ["reason", "decided_at"])
    op.create_table(
        "made_up",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(40), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_made_up"),
    )
"""
)


@pytest.fixture
def released(fresh: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A database of release 0.1.0 with rows, and the code of release 0.2.0, which has a migration and other tables."""
    folder = tmp_path / "migrations"
    shutil.copytree(upgrades.FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(upgrades, "FOLDER", folder)
    (folder / "versions" / "release_0_1_0.py").write_text(BASELINE)
    with write_transaction(fresh) as connection:
        create_tables(connection, metadata)
    newer = MetaData(naming_convention=metadata.naming_convention)
    for table in metadata.tables.values():
        table.to_metadata(newer)
    warm = newer.tables["warm"]
    warm.append_column(Column("extra", Boolean, nullable=False, server_default="0"))
    Index("ix_new", warm.c.reason, warm.c.decided_at)
    Table("made_up", newer, Column("id", Integer, primary_key=True), Column("name", String(40)))
    (folder / "versions" / "release_0_2_0.py").write_text(NEXT)
    monkeypatch.setattr(schema, "metadata", newer)
    return fresh


def test_fresh_and_upgraded_schemas_are_equal(released: Engine) -> None:
    """Columns, types, NULL, defaults, keys, constraints and indexes are the same, and every row is still there."""
    before = fill(released, "a")
    assert (get_current_revision(released), get_head_revision()) == ("0.1.0", "0.2.0")
    assert upgrade(released) == "0.2.0"
    assert lost_rows(before, read_rows(released)) == {}
    assert find_differences(released) == []
    upgraded = describe(released)
    drop_all(released)

    assert upgrade(released) == "0.2.0"
    assert describe(released) == upgraded
    assert find_differences(released) == []


def test_an_empty_database_gets_the_tables_of_the_code(fresh: Engine) -> None:
    """They are those that the code declares, and the database says which schema it has."""
    upgrade(fresh)
    created = describe(fresh)
    assert find_differences(fresh) == []
    require_current(fresh)
    drop_all(fresh)
    metadata.create_all(fresh)

    assert describe(fresh) == created


@pytest.mark.parametrize("is_fresh", [True, False])
def test_threads_upgrade_one_database_at_once(released: Engine, is_fresh: bool) -> None:
    """Each returns with the newest schema, whether the database was empty or of an earlier release."""
    if is_fresh:
        drop_all(released)
    with ThreadPoolExecutor(4) as pool:
        revisions = list(pool.map(lambda _: upgrade(released), range(4)))

    assert set(revisions) == {"0.2.0"}
    assert find_differences(released) == []


@pytest.mark.slow
def test_threads_upgrade_several_databases_at_once(tmp_path: Path) -> None:
    """Four threads upgrade a database each in one process."""
    engines = [open_engine(f"sqlite:///{tmp_path}/{number}.db") for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(upgrade, engines))

    assert [find_differences(engine) for engine in engines] == [[]] * 4


DIE = """
import os, signal, sys
from sqlalchemy import event
from adwarm.store import open_engine, upgrade
engine, left = open_engine(sys.argv[1]), [int(sys.argv[2])]
@event.listens_for(engine, "after_cursor_execute")
def count(connection, cursor, statement, *arguments):
    if statement.lstrip().upper().startswith(("CREATE", "INSERT")):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
print(upgrade(engine))
"""


@pytest.mark.slow
@pytest.mark.parametrize("statements", [1, 40, 0])
def test_a_killed_upgrade_changes_nothing(fresh: Engine, statements: int) -> None:
    """kill -9 after some statements leaves no table, and the next upgrade does all; of two processes both succeed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "include")}
    url = fresh.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", DIE, url, str(statements)]
    processes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(1 if statements else 2)
    ]
    answers = [process.communicate(timeout=120)[0].strip() for process in processes]
    if statements:
        assert processes[0].returncode == -signal.SIGKILL
        assert inspect(fresh).get_table_names() == []
        upgrade(fresh)
    else:
        assert answers == [get_head_revision()] * 2

    assert find_differences(fresh) == []
    require_current(fresh)


def test_nothing_is_locked_when_nothing_is_to_do(fresh: Engine) -> None:
    """An upgrade of a database at the newest schema runs while another transaction holds every lock of a writer."""
    upgrade(fresh)
    with write_transaction(fresh), ThreadPoolExecutor(1) as pool:
        assert pool.submit(upgrade, fresh).result(timeout=30) == get_head_revision()


class _Reader(threading.Thread):
    """Holds a table until it is released."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine
        self.is_reading, self.free = threading.Event(), threading.Event()

    def run(self) -> None:
        """Read, and stay in the transaction."""
        with read_transaction(self._engine) as connection:
            connection.execute(text("SELECT count(*) FROM warm"))
            self.is_reading.set()
            self.free.wait(60)


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_a_busy_table_is_tried_again(released: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a reader holds the table, the upgrade gives up its place after a moment, waits and tries again."""
    monkeypatch.setattr(upgrades, "LOCK_SECONDS", 0.2)
    reader = _Reader(released)

    class FreeingClock(VirtualClock):
        """Ends the reader at the third pause."""

        pauses: list[float] = []  # noqa: RUF012

        def sleep(self, seconds: float) -> None:
            self.pauses.append(seconds)
            if len(self.pauses) == 3:
                reader.free.set()
                reader.join()

    reader.start()
    reader.is_reading.wait(60)
    clock = FreeingClock(NOW)

    assert upgrade(released, clock) == "0.2.0"
    assert clock.pauses == [0.5, 1.0, 2.0]


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_a_table_that_stays_busy(released: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the last attempt the upgrade fails with the reason, and the schema is as before."""
    monkeypatch.setattr(upgrades, "LOCK_SECONDS", 0.1)
    monkeypatch.setattr(upgrades, "LOCK_ATTEMPTS", 2)
    before = describe(released)
    reader = _Reader(released)
    reader.start()
    reader.is_reading.wait(60)
    with pytest.raises(Transient, match="timed out waiting for a lock"):
        upgrade(released, VirtualClock(NOW))
    reader.free.set()
    reader.join()

    assert get_current_revision(released) == "0.1.0"
    assert describe(released) == before
