"""A queue of writers: the threads of a process write one at a time, and the processes that share a SQLite file, too.

A thread that waits here holds no connection, and none of the database's locks, which it would only take from another.
On SQLite the queue is fair: a waiting writer wakes at once, and no other process overtakes it twice.

A writer that finds the SQLite file locked sleeps and polls, up to a tenth of a second at a time, so that under load
some writers wait long. Processes that use this queue never meet that lock. It consists of two operating-system locks on
files beside the database, which are released when their owner dies. A caller that waits longer than
`lock_timeout_seconds`, for instance for an owner that was stopped, gets an error. PostgreSQL queues processes itself.

The two locks, in order:

1. `gate`: held by the next writer in line while it waits for `active`.
2. `active`: held by the writer itself. After releasing it, a writer queues at the gate again, behind those who wait.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from weakref import finalize

from sqlalchemy import Engine

from adwarm.foundation.clock import TimeLimit, bound_wait, limited, note_timeout
from adwarm.foundation.compute_turn import waiting
from adwarm.foundation.errors import DatabaseBusy
from adwarm.foundation.storage import DATABASE_SETTING, translating_storage_errors
from adwarm.store.database import get_limits

Files = tuple[int, int]
"""File descriptors of the gate lock and the active lock."""


class WriterQueue:
    """Lets one thread of a process write at a time, and one process to a SQLite file."""

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
        """Wait for the writers ahead, and hold the lock within the context; its transaction waits in the same time.

        Raises:
            DatabaseBusy: the wait took longer than `lock_timeout_seconds`, or than the caller has.
        """
        seconds = bound_wait(self._seconds)
        end = time.monotonic() + seconds
        if not (self._thread.acquire(blocking=False) or self._wait_for_thread(seconds)):
            raise _timeout_error(self._path, seconds) if self._path else _busy_threads(seconds)
        try:
            if self._path is None:
                yield
                return
            release = self._enter(self._path, end)
            try:
                with limited(TimeLimit(end - time.monotonic(), "the write")):
                    yield
            finally:
                release()
        finally:
            self._thread.release()

    def _wait_for_thread(self, seconds: float) -> bool:
        with waiting():
            return self._thread.acquire(timeout=seconds)

    def _enter(self, path: Path, end: float) -> Callable[[], None]:
        """Take the active lock, and return the function that releases it."""
        gate, active = self._open_files(path)
        if _try_lock(gate):
            try:
                entered = _try_lock(active)
            finally:
                _unlock(gate)
            if entered:
                return lambda: _unlock(active)
        wait, left = _Wait(_open(path)), end - time.monotonic()
        if not wait.wait_until_entered(left):
            raise _timeout_error(path, left)
        return wait.release

    def _open_files(self, path: Path) -> Files:
        """Return the two files. They are opened again after a fork, because a child would share its parent's lock."""
        if self._files is None or self._owner != os.getpid():
            self._files, self._owner = _open(path), os.getpid()
            finalize(self, _close, self._files)
        return self._files


class _Wait:
    """A wait in a thread of its own, because the operating system's queue is fair but has no timeout."""

    # It has its own file descriptors, so that a wait that was abandoned and gets the lock later releases only its own.

    def __init__(self, files: Files) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._entered = threading.Event()
        self._is_abandoned = False
        self._error: OSError | None = None
        threading.Thread(target=self._queue, name="adwarm-turn", daemon=True).start()

    def wait_until_entered(self, seconds: float) -> bool:
        """Return whether the lock was taken within `seconds`; otherwise the wait is abandoned."""
        with waiting():
            self._entered.wait(max(0.0, seconds))
        with self._lock:
            self._is_abandoned = not self._entered.is_set()
        if self._error is not None:
            raise self._error
        return not self._is_abandoned

    def release(self) -> None:
        """Release the active lock."""
        _unlock(self._files[1])  # closing is not enough: a child that was forked meanwhile keeps the files open
        _close(self._files)

    def _queue(self) -> None:
        from fcntl import LOCK_EX, flock

        gate, active = self._files
        try:
            flock(gate, LOCK_EX)
            try:
                flock(active, LOCK_EX)
            finally:
                _unlock(gate)
        except OSError as error:
            self._error = error
        with self._lock:
            if not self._is_abandoned:
                self._entered.set()
                return
        self.release()


def _timeout_error(path: Path, seconds: float) -> DatabaseBusy:
    note_timeout()
    return DatabaseBusy(
        f"timed out after {seconds:.3g} s waiting to write to "
        f"{path.with_name(path.name.removesuffix('-turn'))}: another process holds the lock and may hang; find it "
        "(fuser, lsof) and stop it. For several workers use PostgreSQL (ADWARM_DATABASE_URL)",
        code="database_locked",
    )


def _busy_threads(seconds: float) -> DatabaseBusy:
    note_timeout()
    return DatabaseBusy(
        f"timed out after {seconds:.3g} s waiting for the writes of this process's other threads; the database is slow "
        "or a session holds its locks (see pg_stat_activity). Try again",
        code="database_busy",
    )


def _open(path: Path) -> Files:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    with translating_storage_errors(path, DATABASE_SETTING):
        return os.open(f"{path}.gate", flags, 0o600), os.open(path, flags, 0o600)


def _close(files: Files) -> None:
    for file in files:
        os.close(file)


def _try_lock(file: int) -> bool:
    """Lock the file if it is free, and return whether it was."""
    from fcntl import LOCK_EX, LOCK_NB, flock

    try:
        flock(file, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unlock(file: int) -> None:
    from fcntl import LOCK_UN, flock

    flock(file, LOCK_UN)
