"""A fair turn at SQLite's one writer: who waits is woken at once, and nobody passes a waiter twice.

SQLite itself makes a writer that finds the file locked sleep for a while and try again, up to a tenth of a second at a
time, so that under load some wait long. Processes that take turns here never meet that lock. The turn is a lock of the
operating system on a file beside the database: it is gone when its holder dies. Nobody waits for a holder that has
stopped for longer than `lock_timeout_seconds`. PostgreSQL queues its lockers itself.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine

from adwarm.foundation.errors import Transient
from adwarm.store.database import get_limits

Files = tuple[int, int]
"""Descriptors of the gate and the room. Whoever leaves the room queues at the gate again, behind who waits in it."""


class WriterQueue:
    """Takes turns between the processes and threads that use one SQLite file; free where there is no such file."""

    def __init__(self, engine: Engine) -> None:
        database = engine.url.database
        is_file = engine.dialect.name == "sqlite" and bool(database) and database != ":memory:"
        self._path = Path(f"{database}-turn").absolute() if is_file else None
        self._seconds = get_limits(engine).lock_timeout_seconds
        self._files: Files | None = None
        self._owner = 0
        self._thread = threading.Lock()

    @contextmanager
    def acquire(self) -> Iterator[None]:
        """Wait for the turn and hold it.

        Raises:
            Transient: others held it for all of `lock_timeout_seconds`.
        """
        if self._path is None:
            yield
            return
        end = time.monotonic() + self._seconds
        if not self._thread.acquire(timeout=self._seconds):
            raise self._timeout_error(self._path)
        try:
            release = self._enter(self._path, end)
            try:
                yield
            finally:
                release()
        finally:
            self._thread.release()

    def _enter(self, path: Path, end: float) -> Callable[[], None]:
        """Take the turn, and return what gives it back."""
        gate, room = self._open_files(path)
        if _try_lock(gate):
            try:
                entered = _try_lock(room)
            finally:
                _unlock(gate)
            if entered:
                return lambda: _unlock(room)
        wait = _Wait(_open(path))
        if not wait.wait_until_entered(end - time.monotonic()):
            raise self._timeout_error(path)
        return wait.release

    def _open_files(self, path: Path) -> Files:
        """Return the two files; opened again after a fork, because a child would share its parent's lock."""
        if self._files is None or self._owner != os.getpid():
            self._files, self._owner = _open(path), os.getpid()
        return self._files

    def _timeout_error(self, path: Path) -> Transient:
        return Transient(
            f"no turn at {path.with_name(path.name.removesuffix('-turn'))} for {self._seconds:g} s: another process "
            "holds it and may have stopped; find it (fuser, lsof) and end it. Several workers are better off with "
            "PostgreSQL (ADWARM_DATABASE_URL)",
            code="database_locked",
        )


class _Wait:
    """A wait for the turn in a thread of its own: the operating system's queue is fair, but knows no time limit.

    It has files of its own, so that a wait that was given up and is served later gives back its own turn and no other.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._entered = threading.Event()
        self._is_given_up = False
        self._error: OSError | None = None
        threading.Thread(target=self._queue, name="adwarm-turn", daemon=True).start()

    def wait_until_entered(self, seconds: float) -> bool:
        """Return whether the turn came within `seconds`; if not, it is given up."""
        self._entered.wait(max(0.0, seconds))
        with self._lock:
            self._is_given_up = not self._entered.is_set()
        if self._error is not None:
            raise self._error
        return not self._is_given_up

    def release(self) -> None:
        """Give the turn back."""
        _unlock(self._files[1])  # not by closing alone: a child that was forked meanwhile holds the files open
        for file in self._files:
            os.close(file)

    def _queue(self) -> None:
        from fcntl import LOCK_EX, flock

        gate, room = self._files
        try:
            flock(gate, LOCK_EX)
            try:
                flock(room, LOCK_EX)
            finally:
                _unlock(gate)
        except OSError as error:
            self._error = error
        with self._lock:
            if not self._is_given_up:
                self._entered.set()
                return
        self.release()


def _open(path: Path) -> Files:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    return os.open(f"{path}.gate", flags, 0o600), os.open(path, flags, 0o600)


def _try_lock(file: int) -> bool:
    """Take the lock of the file if it is free, and return whether it was."""
    from fcntl import LOCK_EX, LOCK_NB, flock

    try:
        flock(file, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unlock(file: int) -> None:
    from fcntl import LOCK_UN, flock

    flock(file, LOCK_UN)
