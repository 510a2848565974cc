"""Workers die at the point that they are given."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import syscalls
from tests.support.crash_points import CrashPoints, PointKind
from tests.support.fork_server import ForkServer
from tests.support.syscalls import CannotCount

ROOT = Path(__file__).resolve().parents[3]
POINTS = "tests.support.points"


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    """A server whose workers count system calls, where that is possible."""
    can_count = syscalls.shutil.which("cc") is not None and sys.platform.startswith("linux")
    with ForkServer(path=[ROOT], count_syscalls=can_count) as server:
        yield server


@pytest.mark.slow
def test_operations_are_counted_by_name(server: ForkServer, tmp_path: Path) -> None:
    """Statements, commits, files and leases are points; the worker dies at each, and passes those before it."""
    points = CrashPoints(server, f"{POINTS}:lease_and_store", str(tmp_path))
    first = points.count()
    again = points.count()
    assert again < first, "the schema is there already"
    names = points.names
    assert (names["before lease acquire"], names["after lease release"]) == (1, 1)
    assert (names["file fsync"], names["file rename"]) == (1, 1)
    assert names["file open"] >= 1  # the database makes its files too
    assert names["statement"] > 2
    assert names["before commit do_commit"] == names["after commit do_commit"] > 1
    assert points.kill_at(1)
    assert points.kill_at(again)
    assert not points.kill_at(again + 1)


@pytest.mark.slow
@pytest.mark.skipif(syscalls.shutil.which("cc") is None, reason="needs a C compiler")
def test_system_calls_are_counted(server: ForkServer, tmp_path: Path) -> None:
    """Two writes, two fsyncs and a rename; the worker dies at each of them."""
    points = CrashPoints(server, f"{POINTS}:write_files", str(tmp_path), kind=PointKind.SYSCALLS)
    assert points.count() == 5
    assert [points.kill_at(number) for number in range(1, 7)] == [True] * 5 + [False]


@pytest.mark.slow
def test_a_run_that_fails_by_itself_is_reported(server: ForkServer) -> None:
    """Neither counting nor killing takes a failure for a death."""
    points = CrashPoints(server, f"{POINTS}:fail")
    with pytest.raises(ChildProcessError, match="on purpose"):
        points.count()
    with pytest.raises(ChildProcessError, match="on purpose"):
        points.kill_at(1_000)


def test_a_missing_compiler_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotCount, match=r"install a C compiler|on Linux only"):
        syscalls.compile_counter(tmp_path)


def test_a_process_without_the_counter_cannot_be_armed() -> None:
    """Arming it is an error, not a count of nothing."""
    with pytest.raises(CannotCount, match="LD_PRELOAD"):
        syscalls.arm(1)
