"""Starts a worker process, waits for what it does, and kills, stops or continues it."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

_PAUSE_SECONDS = 0.005


def wait_until(is_true: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait until something is true, which another process or thread brings about.

    Args:
        is_true: called about every 5 ms.
        what: what is waited for, for the error.
        seconds: how long to wait.

    Raises:
        TimeoutError: it did not become true.
    """
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        pause.wait(_PAUSE_SECONDS)


class Worker:
    """A process that a test kills. As a context manager it is killed at the end of the block if it still runs.

    Its standard output is read line by line in the background; its standard error is kept as text.

    Args:
        command: the program and its arguments.
        environment: variables on top of those of this process.

    Attributes:
        process: the process; its standard input is a pipe.
        lines: the lines of its standard output so far.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            list(command),
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._errors: list[str] = []
        self._changed = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read_output, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()
        self.finish()

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended; a stopped one has not."""
        return self.process.poll() is None

    @property
    def errors(self) -> str:
        """Its standard error so far."""
        return "".join(self._errors)

    def wait_for_line(self, text: str, seconds: float = 60.0) -> str:
        """Wait until it prints a line that contains `text`, and return that line.

        Raises:
            TimeoutError: it did not print such a line.
            ChildProcessError: it ended first; the message has its standard error.
        """
        deadline = time.monotonic() + seconds
        with self._changed:
            while (line := self._find_line(text)) is None:
                if not self._readers[0].is_alive():
                    raise ChildProcessError(f"the worker ended before it printed {text!r}: {self.errors}")
                if not self._changed.wait(min(0.1, max(0.0, deadline - time.monotonic()))) and (
                    time.monotonic() >= deadline
                ):
                    raise TimeoutError(f"the worker did not print {text!r} within {seconds:g} s")
        return line

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
        """Close its standard input, wait for its end, and return its exit code, negative for a signal.

        Raises:
            TimeoutError: it did not end.
        """
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):  # it ended before it read all of it
                self.process.stdin.close()
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"the worker did not end within {seconds:g} s") from None
        for reader in self._readers:
            reader.join(seconds)
        return code

    def _send(self, sent: signal.Signals) -> bool:
        if self.process.poll() is not None:
            return False
        self.process.send_signal(sent)
        return True

    def _find_line(self, text: str) -> str | None:
        return next((line for line in self.lines if text in line), None)

    def _read_output(self) -> None:
        if self.process.stdout is None:
            return
        with self.process.stdout as output:
            for line in output:
                with self._changed:
                    self.lines.append(line.rstrip("\n"))
                    self._changed.notify_all()

    def _read_errors(self) -> None:
        if self.process.stderr is None:
            return
        with self.process.stderr as errors:
            for line in errors:
                self._errors.append(line)
