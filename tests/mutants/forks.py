"""Runs the tests of a module once per mutant, each in a fork of a process that imported everything but adwarm.

A fork's import of the module gets the mutated text; nothing is written to the source tree. A fork may use some multiple
of the CPU time of an unchanged run; one that uses more counts as killed, as it never ends.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import pickle  # noqa: TID251  between a process and its own fork
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest

from tests.mutants.sites import Mutant

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "include/adwarm"
_CLIENT = "../../clients/python/"
_OWN = ("adwarm", "adwarm_airflow", "adwarm_client", "graph_simulator", "tests", "conftest", "__main__")
_ARGUMENTS = ("-x", "-q", "-n", "0", "-p", "no:cacheprovider", "-p", "no:randomly", "-W", "ignore", "--no-header")
_WALL_SECONDS = 300.0


class BrokenTarget(RuntimeError):
    """The tests of a target fail, or there are none, without any mutation."""


@dataclass(frozen=True, slots=True)
class Run:
    """How the tests ended.

    Attributes:
        is_green: whether all passed.
        killer: the first test that failed, `import` where there was no test to run, `timeout`; empty when green.
        cpu_seconds: of the process and its children.
        passed: how many tests passed.
        modules: what the process had imported.
    """

    is_green: bool
    killer: str
    cpu_seconds: float
    passed: int = 0
    modules: tuple[str, ...] = ()


class _Watcher:
    """A plugin of pytest that notes the first failure."""

    def __init__(self) -> None:
        self.first_failure = ""
        self.passed = 0

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and not self.first_failure:
            self.first_failure = report.nodeid
        self.passed += report.passed and report.when == "call"


class _MutatedLoader(importlib.machinery.SourceFileLoader):
    """Loads a module from a text instead of its file."""

    def __init__(self, name: str, path: str, code: str) -> None:
        super().__init__(name, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._code, self.path, "exec")


class _MutatedFinder(importlib.abc.MetaPathFinder):
    """Finds the mutated module."""

    def __init__(self, mutant: Mutant) -> None:
        path = mutant.path.removeprefix(_CLIENT) if mutant.path.startswith(_CLIENT) else f"adwarm/{mutant.path}"
        self._name = path.removesuffix(".py").replace("/", ".")
        self._loader = _MutatedLoader(self._name, str(SOURCES / mutant.path), mutant.code)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        if name != self._name:
            return None
        return importlib.util.spec_from_file_location(name, self._loader.path, loader=self._loader)


def run_unchanged(tests: Sequence[str], select: str) -> Run:
    """Run the tests without a mutation, and import what they needed besides the project's own modules.

    Raises:
        BrokenTarget: they fail.
    """
    run = _run_in_fork(tests, select, None, None)
    if not run.is_green or not run.passed:
        raise BrokenTarget(f"{' '.join(tests)}: {run.killer or 'no test'} fails without a mutation")
    for name in run.modules:
        if name.partition(".")[0] not in _OWN and name not in sys.modules:
            with suppress(Exception):  # a module that only its package can import is imported by the fork again
                importlib.import_module(name)
    return run


def run_mutated(tests: Sequence[str], select: str, mutant: Mutant, cpu_seconds: float) -> Run:
    """Run the tests on a mutant, for `cpu_seconds` at most."""
    return _run_in_fork(tests, select, mutant, cpu_seconds)


def _run_in_fork(tests: Sequence[str], select: str, mutant: Mutant | None, limit: float | None) -> Run:
    reading, writing = os.pipe()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    child = os.fork()
    if child == 0:
        os.close(reading)
        _become_test_process(limit)
        _exit_after(lambda: _run_pytest(tests, select, mutant), writing)
    os.close(writing)
    status = _wait(child)
    with os.fdopen(reading, "rb") as pipe:
        sent = pipe.read()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if not sent:
        return Run(False, "timeout" if os.WIFSIGNALED(status) else f"exit {os.waitstatus_to_exitcode(status)}", seconds)
    code, watcher, modules = pickle.loads(sent)
    return Run(code == 0, "" if code == 0 else watcher.first_failure or "import", seconds, watcher.passed, modules)


def _become_test_process(limit: float | None) -> None:
    """Leave the terminal, and let the kernel end a test that never ends."""
    os.setsid()
    silent = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silent, stream)
    os.environ |= {"CI": "1", "TZ": os.environ.get("TZ", "UTC")}  # hypothesis tries the same examples for every mutant
    if limit is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = int(used.ru_utime + used.ru_stime + limit) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))


def _exit_after(call: Callable[[], Any], writing: int) -> None:
    try:
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(call(), pipe)
    finally:
        os._exit(0)


def _run_pytest(tests: Sequence[str], select: str, mutant: Mutant | None) -> tuple[int, _Watcher, tuple[str, ...]]:
    if mutant is not None:
        sys.meta_path.insert(0, _MutatedFinder(mutant))
    watcher = _Watcher()
    os.chdir(ROOT)
    selected = ["-k", select] if select else []
    code = pytest.main([*_ARGUMENTS, *selected, *tests], plugins=[watcher])
    return int(code), watcher, () if mutant else tuple(sys.modules)


def _wait(child: int) -> int:
    """Return the status of a child, and end its group after some minutes: a deadlock uses no CPU time."""
    deadline = time.monotonic() + _WALL_SECONDS
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.02)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)  # what the tests started and did not stop
    return status
