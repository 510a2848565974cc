"""The process behind `ForkServer`: `python -m tests.support.worker MODULE ...` imports the modules, then forks.

It reads a request per line, as JSON: target, arguments, environment, crash, log and report. It answers with a line with
the process id of the worker, and with a second one when the worker has ended: its id and exit code. At the end of its
standard input it kills the workers that are left and exits.
"""

import json
import os
import selectors
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.support.crash_points import OperationCounter, PointKind
from tests.support.syscalls import arm, disarm


def main(modules: Sequence[str]) -> int:
    """Serve requests until the standard input ends; return the exit code."""
    for module in modules:
        import_module(module)
    wake, signaled = os.pipe()
    os.set_blocking(signaled, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(signaled)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: set[int] = set()
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        selector.register(wake, selectors.EVENT_READ)
        pending = b""
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if wake in ready:
                os.read(wake, 4096)
            _reap(running)
            if sys.stdin.fileno() not in ready:
                continue
            data = os.read(sys.stdin.fileno(), 1 << 16)
            if not data:
                break
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                running.add(_fork(json.loads(line)))
    for pid in running:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return 0


def _reap(running: set[int]) -> None:
    """Report the workers that have ended."""
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            running.discard(pid)
            _reply(pid=pid, code=os.waitstatus_to_exitcode(status))


def _reply(**values: int) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def _fork(request: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        _reply(pid=pid)
        return pid
    code = 1
    try:
        _detach(Path(request["log"]))
        code = _run(request)
    except BaseException as error:
        traceback.print_exception(error)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # no handler of the server runs in a worker


def _detach(log: Path) -> None:
    """Give the worker the signals of a new process, no input, and the log for its output."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in (1, 2):
        os.dup2(output, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)


def _run(request: dict[str, Any]) -> int:
    """Run the worker's function, and write what it passed and returned to the report."""
    os.environ.update(request["environment"])
    module, _, name = request["target"].partition(":")
    function = getattr(import_module(module), name)
    kind, at = request["crash"] or (None, 0)
    counter = OperationCounter(at)
    if kind == PointKind.OPERATIONS:
        counter.watch()
    if kind == PointKind.SYSCALLS:
        arm(at)
    result = function(*request["arguments"])
    points = dict(counter.passed)
    if kind == PointKind.SYSCALLS:
        points = {"syscall": disarm()}
    counter.stop()
    report = json.dumps({"points": points, "result": result})
    Path(request["report"]).write_text(report, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
