"""Starts worker processes in milliseconds: a process that has adwarm imported forks one for each request.

A worker is an ordinary process that runs a function of the test's own. It can be killed, stopped and continued from
outside, or be given a point at which it dies (`tests.support.crash_points`).
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.syscalls import compile_counter

_START_SECONDS = 60.0
IMPORTS = (
    "adwarm.runtime",
    "adwarm.prefetch.warm_batch",
    "adwarm.sources.factory",
    "adwarm.sources.meta.source",
    "pandas",
    "psycopg2",
    "sqlite3",
)
"""What a worker of adwarm needs."""


@dataclass
class ForkedWorker:
    """A process that a `ForkServer` has forked.

    Attributes:
        pid: its process id.
        log: file with its standard output and error.
    """

    pid: int
    log: Path
    _report: Path
    _ended: threading.Event = field(default_factory=threading.Event)
    _code: int | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has not ended; a stopped one has not."""
        return not self._ended.is_set()

    @property
    def output(self) -> str:
        """What it has written to its standard output and error so far."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    @property
    def points(self) -> Counter[str]:
        """How many points of each name it passed; empty when it was killed, or no points were counted."""
        return Counter(self._read_report().get("points", {}))

    @property
    def result(self) -> Any:
        """What its function returned; None when it was killed or raised an error."""
        return self._read_report().get("result")

    def kill(self) -> bool:
        """Kill it with SIGKILL; False when it had ended already."""
        return self._send(signal.SIGKILL)

    def stop(self) -> bool:
        """Stop it with SIGSTOP, as if its machine froze; False when it had ended already."""
        return self._send(signal.SIGSTOP)

    def resume(self) -> bool:
        """Continue it with SIGCONT; False when it had ended already."""
        return self._send(signal.SIGCONT)

    def finish(self, seconds: float = 60.0) -> int:
        """Wait for its end, and return its exit code: 0, 1 after an error, or the negative number of a signal.

        Raises:
            TimeoutError: it did not end.
        """
        if not self._ended.wait(seconds) or self._code is None:
            raise TimeoutError(f"the worker did not end within {seconds:g} s: {self.output}")
        return self._code

    def end(self, code: int) -> None:
        """Record that it has ended; the server calls this."""
        self._code = code
        self._ended.set()

    def _send(self, sent: signal.Signals) -> bool:
        if self._ended.is_set():
            return False
        try:
            os.kill(self.pid, sent)
        except ProcessLookupError:
            return False
        return True

    def _read_report(self) -> dict[str, Any]:
        if not self._report.is_file():
            return {}
        report: dict[str, Any] = json.loads(self._report.read_text(encoding="utf-8"))
        return report


class ForkServer:
    """A context manager that forks workers. Safe to share between threads; its workers are killed at the end.

    Args:
        imports: modules to import once, before the first fork; they must not start threads.
        path: folders for the workers' `sys.path`, for the functions to run.
        count_syscalls: load the counter of system calls into the workers.

    Raises:
        CannotCount: system calls cannot be counted on this machine.
    """

    def __init__(
        self, imports: Sequence[str] = IMPORTS, path: Sequence[Path] = (), *, count_syscalls: bool = False
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="adwarm-testing-")
        environment = dict(os.environ)
        folders = [*map(str, path), *(item for item in sys.path if item)]
        environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(folders))
        if count_syscalls:
            environment["LD_PRELOAD"] = str(compile_counter(Path(self._folder.name)))
        self._command = [sys.executable, "-m", "tests.support.worker", *imports]
        self._environment = environment
        self._workers: dict[int, ForkedWorker] = {}
        self._replies: list[int] = []
        self._starting = threading.Lock()
        self._changed = threading.Condition()
        self._number = 0
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, name="fork-server", daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(_START_SECONDS)
        self._reader.join(_START_SECONDS)
        self._folder.cleanup()

    def start(
        self,
        target: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        crash: tuple[str, int] | None = None,
    ) -> ForkedWorker:
        """Fork a worker that runs a function, and return it.

        Args:
            target: the function, as `module:name`; what it returns must fit into JSON.
            arguments: its arguments.
            environment: variables on top of those of the server; they are set before the function is imported.
            crash: the kind of points to count (`operations` or `syscalls`) and the number of the one to die at, 0 for
                none; see `CrashPoints`.

        Raises:
            ChildProcessError: the server has ended.
        """
        with self._starting, self._changed:
            self._number += 1
            base = Path(self._folder.name) / str(self._number)
            request = {
                "target": target,
                "arguments": arguments,
                "environment": dict(environment or {}),
                "crash": crash,
                "log": str(base.with_suffix(".log")),
                "report": str(base.with_suffix(".json")),
            }
            if self._process is None or self._process.stdin is None:
                raise ChildProcessError("the server is not running; use it as a context manager")
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            while not self._replies:
                if not self._changed.wait(_START_SECONDS) or not self._reader.is_alive():
                    raise ChildProcessError("the server of workers has ended; its error is above")
            pid = self._replies.pop()
            # Registered by the reader, so that an end that comes at once is not missed.
            worker = self._workers[pid]
            worker.log, worker._report = base.with_suffix(".log"), base.with_suffix(".json")
            return worker

    def _read(self) -> None:
        if self._process is None or self._process.stdout is None:
            return
        with self._process.stdout as replies:
            for line in replies:
                reply = json.loads(line)
                with self._changed:
                    if "code" in reply:
                        self._workers[reply["pid"]].end(reply["code"])
                    else:
                        self._workers[reply["pid"]] = ForkedWorker(reply["pid"], Path(), Path())
                        self._replies.append(reply["pid"])
                    self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()
