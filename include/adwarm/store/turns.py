"""A fair turn at SQLite's one writer: who waits is woken at once, and nobody passes a waiter twice.

SQLite itself makes a writer that finds the file locked sleep for a while and try again, up to a tenth of a second at a
time, so that under load some wait long. Processes that take turns here never meet that lock. The turn is a lock of the
operating system on a file beside the database: it is gone when its holder dies. PostgreSQL queues its lockers itself.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine


class Turnstile:
    """Takes turns between the processes and threads that use one SQLite file; free where there is no such file."""

    def __init__(self, engine: Engine) -> None:
        database = engine.url.database
        is_file = engine.dialect.name == "sqlite" and bool(database) and database != ":memory:"
        self._path = Path(f"{database}-turn").absolute() if is_file else None
        self._files: tuple[int, int] | None = None
        self._owner = 0
        self._thread = threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the turn and hold it."""
        if self._path is None:
            yield
            return
        from fcntl import LOCK_EX, LOCK_UN, flock

        with self._thread:
            gate, room = self._open(self._path)
            # Two locks: whoever leaves the room must queue at the gate again, behind the one who waits in it.
            flock(gate, LOCK_EX)
            try:
                flock(room, LOCK_EX)
            finally:
                flock(gate, LOCK_UN)
            try:
                yield
            finally:
                flock(room, LOCK_UN)

    def _open(self, path: Path) -> tuple[int, int]:
        """Open the two files; again after a fork, because a child would share its parent's lock."""
        if self._files is None or self._owner != os.getpid():
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._files = (os.open(f"{path}.gate", flags, 0o600), os.open(path, flags, 0o600))
            self._owner = os.getpid()
        return self._files
