"""Workers can be killed, stopped and continued, and die at the point that they are given."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import syscalls
from tests.support.crash_points import CrashPoints, PointKind
from tests.support.fork_server import ForkServer
from tests.support.kill import Worker, wait_until
from tests.support.syscalls import CannotCount

ROOT = Path(__file__).resolve().parents[3]
POINTS = "tests.unit.support.points"
ECHO = "import sys\nprint('ready', flush=True)\nfor line in sys.stdin: print('got', line.strip(), flush=True)"


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    """A server whose workers count system calls, where that is possible."""
    can_count = syscalls.shutil.which("cc") is not None and sys.platform.startswith("linux")
    with ForkServer(path=[ROOT], count_syscalls=can_count) as server:
        yield server


@pytest.mark.slow
def test_a_worker_is_stopped_and_continued() -> None:
    """While it is stopped it runs on nowhere; continued, it ends by itself."""
    with Worker([sys.executable, "-c", ECHO]) as worker:
        worker.wait_for_line("ready")
        assert worker.stop()
        status = Path(f"/proc/{worker.process.pid}/stat")
        wait_until(lambda: status.read_text().rpartition(")")[2].split()[0] == "T", "it is stopped")
        assert worker.is_running
        assert worker.resume()
        assert worker.finish() == 0
        assert not worker.kill()


@pytest.mark.slow
def test_a_line_that_never_comes_is_reported() -> None:
    """A worker that ends first is reported with its standard error, one that is slow as a timeout."""
    with Worker([sys.executable, "-c", "raise SystemExit('no reason')"]) as worker:
        worker.process.wait(60)
        wait_until(lambda: "no reason" in worker.errors, "its error is read")
        with pytest.raises(ChildProcessError, match="no reason"):
            worker.wait_for_line("ready")
    with Worker([sys.executable, "-c", "input()"]) as worker, pytest.raises(TimeoutError):
        worker.wait_for_line("ready", seconds=0.05)
    with pytest.raises(TimeoutError, match="the end of the world"):
        wait_until(lambda: False, "the end of the world", seconds=0.01)


@pytest.mark.slow
def test_forked_workers_return_results(server: ForkServer) -> None:
    """Each has its own arguments, environment, log and result."""
    first, second = server.start(f"{POINTS}:add", "1", "2"), server.start(f"{POINTS}:add", "3", "4")
    named = server.start(f"{POINTS}:read_variable", environment={"A_VARIABLE": "a value"})
    plain = server.start(f"{POINTS}:read_variable")
    assert [worker.finish() for worker in (first, second, named, plain)] == [0, 0, 0, 0]
    assert [worker.result for worker in (first, second, named, plain)] == [3, 7, "a value", None]


@pytest.mark.slow
def test_a_forked_worker_fails_with_its_traceback(server: ForkServer) -> None:
    """The exit code is 1, and the log says why."""
    worker = server.start(f"{POINTS}:fail")
    assert worker.finish() == 1
    assert "ValueError: on purpose" in worker.output


@pytest.mark.slow
def test_a_forked_worker_is_killed(server: ForkServer) -> None:
    """The exit code is the negative number of the signal; a second kill reports that it had ended."""
    worker = server.start(f"{POINTS}:wait")
    wait_until(lambda: "waiting" in worker.output, "it waits")
    assert worker.stop()
    assert worker.resume()
    assert worker.kill()
    assert worker.finish() == -signal.SIGKILL
    assert not worker.kill()
    assert (worker.result, worker.points.total()) == (None, 0)


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
