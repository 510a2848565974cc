"""Lets a worker die at each point of its work in turn, to prove that nothing is lost wherever it dies.

`CrashPoints` first counts the points that a run passes, then runs it again and again, each time to the death at another
point. Everything is watched from outside: no code of the product knows of it.

| kind         | points                                                                                               |
|--------------|------------------------------------------------------------------------------------------------------|
| `operations` | before each SQL statement; before and after each commit; each file opened to be written, synced,    |
|              | renamed or deleted; before and after a lease is acquired, renewed or released, and each call upstream |
| `syscalls`   | each call of libc that changes a file or sends bytes; see `tests.support.syscalls`                    |

The threads of a run interleave differently each time, so its nth point is not the same at each run, and a run may pass
fewer points than counted; `kill_at` says whether it died.
"""

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from functools import wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.fork_server import ForkedWorker, ForkServer

_LEASE_CALLS = ("acquire", "renew", "release")
_SOURCE_CALLS = ("get_account", "list_account_page", "submit", "submit_async", "poll", "read", "list_objects")
SOURCES = (
    "adwarm.sources.meta.source:MetaSource",
    "adwarm.sources.sql:SqlSource",
    "adwarm.sources.parquet:ParquetSource",
)
"""The sources whose calls are points."""
_REPLACING = os.O_TRUNC | os.O_EXCL
"""Flags of a file that is opened to be written anew; lock files and logs have none of them."""


class PointKind(StrEnum):
    """What a worker's points are."""

    OPERATIONS = "operations"
    SYSCALLS = "syscalls"


class OperationCounter:
    """Counts the operations of this process, and kills it at one of them. Used in a worker, once.

    Args:
        kill_at: number of the operation to die at; 0 only counts.
    """

    def __init__(self, kill_at: int = 0) -> None:
        self.passed: Counter[str] = Counter()
        self._kill_at = kill_at
        self._lock = threading.Lock()
        self._is_counting = False

    def watch(self) -> None:
        """Start counting. What is watched stays so until the process ends."""
        self._watch_sql()
        self._watch_files()
        self._wrap(import_module("adwarm.store.leases"), _LEASE_CALLS, "lease")
        for source in SOURCES:
            module, _, name = source.partition(":")
            self._wrap(getattr(import_module(module), name), _SOURCE_CALLS, "upstream")
        self._is_counting = True

    def stop(self) -> None:
        """Stop counting."""
        self._is_counting = False

    def pass_point(self, name: str) -> None:
        """Count a point, and die if it is the one to die at."""
        if not self._is_counting:
            return
        with self._lock:
            self.passed[name] += 1
            if self.passed.total() == self._kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def _watch_sql(self) -> None:
        from sqlalchemy import Engine, event
        from sqlalchemy.engine.default import DefaultDialect

        event.listen(Engine, "before_cursor_execute", lambda *_: self.pass_point("statement"))
        self._wrap(DefaultDialect, ["do_commit"], "commit")

    def _watch_files(self) -> None:
        fsync = os.fsync

        def counted(fd: Any) -> None:
            self.pass_point("file fsync")
            fsync(fd)

        os.fsync = counted
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & _REPLACING:
            self.pass_point("file open")
        elif event in {"os.rename", "os.remove"}:
            self.pass_point(f"file {event.removeprefix('os.')}")

    def _wrap(self, owner: Any, names: Iterable[str], kind: str) -> None:
        for name in names:
            if hasattr(owner, name):
                setattr(owner, name, self._surround(getattr(owner, name), f"{kind} {name}"))

    def _surround(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        @wraps(function)
        def surrounded(*arguments: Any, **named: Any) -> Any:
            self.pass_point(f"before {name}")
            result = function(*arguments, **named)
            self.pass_point(f"after {name}")
            return result

        return surrounded


class CrashPoints:
    """Kills a run at each of its points in turn.

    Args:
        server: forks the workers; to count system calls, it must be made with `count_syscalls`.
        kind: what the points are.
        target: the function that a worker runs, as `module:name`.
        arguments: its arguments.
        environment: variables of the workers.
    """

    def __init__(
        self,
        server: "ForkServer",
        target: str,
        *arguments: str,
        kind: PointKind = PointKind.OPERATIONS,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.server = server
        self.kind = kind
        self.target = target
        self.arguments = arguments
        self.environment = dict(environment or {})
        self.names: Counter[str] = Counter()

    def count(self, seconds: float = 120.0) -> int:
        """Run once without a death, and return how many points the run passed; `names` says how many of each name.

        Raises:
            ChildProcessError: the run failed; the message has its output.
        """
        worker = self.start(0)
        if worker.finish(seconds):
            raise ChildProcessError(f"the run failed by itself: {worker.output}")
        self.names = worker.points
        return self.names.total()

    def kill_at(self, number: int, seconds: float = 120.0) -> bool:
        """Run again and die at point `number`, counted from 1; False when the run ended before that point.

        Raises:
            ChildProcessError: the run failed by itself; the message has its output.
        """
        worker = self.start(number)
        code = worker.finish(seconds)
        if code not in {0, -signal.SIGKILL}:
            raise ChildProcessError(f"the run failed by itself: {worker.output}")
        return code == -signal.SIGKILL

    def start(self, number: int) -> "ForkedWorker":
        """Start a run that dies at point `number`, and return its worker without waiting."""
        return self.server.start(
            self.target, *self.arguments, environment=self.environment, crash=(str(self.kind), number)
        )
