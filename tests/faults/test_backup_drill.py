"""The drill of `adwarm backup` and `adwarm restore`: a batch runs, everything is lost, and no call is made twice."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from adwarm.maintenance.backup import create_backup
from adwarm.maintenance.integrity import verify_store
from adwarm.maintenance.restore import check_backup, restore_backup
from adwarm.model import Priority, ReportKey
from adwarm.runtime import Runtime
from adwarm.store.schema import get_current_revision, reset, upgrade
from adwarm.testing import CrashPoints, ForkServer, wait_until
from graph_simulator.server import SimulatorServer
from tests.faults.batch_home import BATCH, BatchHome

ACCOUNTS = 6
RANGES = ("yesterday", "last_3d")
NEXT_RANGE = "last_7d"
"""Needs four more days, and none that is stored."""
RESTORE = "tests.faults.test_backup_drill:restore_here"
NEXT = "tests.faults.test_backup_drill:run_next"
_KILLS = 6


def restore_here(target: str) -> None:
    """Restore the newest backup into the installation of the environment; runs in a worker."""
    restore_backup(Runtime().context, target, replace=True)


def run_next() -> dict[str, int]:
    """Fetch what the next run plans; runs in a worker."""
    from adwarm.prefetch import KeyRequest

    keys = [ReportKey(f"act_{number}", name) for number in range(1, ACCOUNTS + 1) for name in (*RANGES, NEXT_RANGE)]
    return Runtime().prefetch_engine().run([KeyRequest(key) for key in keys], Priority.LOW).summary()


pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def home(engine: Engine, tmp_path: Path, slow_platform: SimulatorServer) -> Iterator[BatchHome]:
    """The plan of a batch of twelve reports, on either database."""
    slow_platform.reset()
    url = engine.url.render_as_string(hide_password=False) if engine.dialect.name == "postgresql" else None
    made = BatchHome(tmp_path, slow_platform.url, url)
    made.prepare(ACCOUNTS, *RANGES)
    yield made
    made.close()


def _wipe(home: BatchHome) -> None:
    """Lose everything: the rows, and the whole home with its objects; an SQLite file is in it."""
    if home.engine.dialect.name == "postgresql":
        reset(home.engine)
    home.close()
    shutil.rmtree(home.settings.home)
    home.settings.home.mkdir(mode=0o700)
    if home.engine.dialect.name == "sqlite":
        Path(str(home.engine.url.database)).touch(mode=0o600)  # an engine in use creates no second file by itself
    upgrade(home.engine)


def _count_next_calls(home: BatchHome, server: ForkServer, platform: SimulatorServer) -> int:
    """Run what comes next, and return how many calls the platform counted."""
    platform.reset()
    worker = server.start(NEXT, environment=home.environment)
    assert worker.finish(90) == 0, worker.output
    assert worker.result["failed"] == 0
    return platform.calls()["total"]


def test_the_drill(home: BatchHome, fork_server: ForkServer, slow_platform: SimulatorServer, tmp_path: Path) -> None:
    """After a wipe and a restore `verify` is clean, and the next run makes the calls that it makes without the wipe."""
    target = str(tmp_path / "backups")
    home.complete(fork_server)
    made = create_backup(home.context, target, datetime.now(UTC))
    before = home.list_published()
    needed = _count_next_calls(home, fork_server, slow_platform)

    _wipe(home)
    assert home.list_published() == {}
    restore_backup(home.context, target, replace=True)
    result = verify_store(home.context)

    assert result.problems == []
    assert (result.entries, made.manifest.missing) == (ACCOUNTS * len(RANGES), ())
    assert home.list_published() == before
    assert _count_next_calls(home, fork_server, slow_platform) == needed
    assert needed == ACCOUNTS, "one call for the days that are not stored; none for those that are"


def test_a_backup_while_a_batch_runs(home: BatchHome, fork_server: ForkServer, tmp_path: Path) -> None:
    """What was published at the moment of the backup is not fetched again, and the batch ends whole."""
    target = str(tmp_path / "backups")
    worker = fork_server.start(BATCH, environment=home.environment)
    wait_until(lambda: len(home.list_published()) >= 2, 60)
    worker.stop()  # in the middle of whatever it does; a slow machine would else see its end
    create_backup(home.context, target, datetime.now(UTC))
    assert worker.is_running, "the batch has not ended"
    worker.resume()
    worker.kill()
    worker.finish(30)

    _wipe(home)
    restore_backup(home.context, target, replace=True)
    restored = home.list_published()
    assert len(restored) >= 2
    assert verify_store(home.context).problems == []
    home.complete(fork_server)
    damage = home.check(restored)
    assert (damage.lost, damage.duplicated) == (0, 0)


def test_a_restore_is_killed(home: BatchHome, fork_server: ForkServer, tmp_path: Path) -> None:
    """Wherever a restore dies, the database is as it was before or as in the backup; the next restore completes."""
    target = str(tmp_path / "backups")
    home.complete(fork_server)
    create_backup(home.context, target, datetime.now(UTC))
    published = home.list_published()
    points = CrashPoints(fork_server, RESTORE, target, environment=home.environment)
    count = points.count()
    for number in range(1, count + 1, max(1, count // _KILLS)):
        home.prepare(0)
        assert points.kill_at(number)
        assert home.list_published() in ({}, published)
        assert get_current_revision(home.engine) is not None
    restore_backup(home.context, target, replace=True)
    assert home.list_published() == published
    assert verify_store(home.context).problems == []
    assert check_backup(target).problems == []
