"""The file of a SQLite database while a process has it open.

An open file can be read and written after it was deleted or replaced, and what is written then is lost. So each
connection of the pool remembers which file it opened, and is used only while the path still leads to that file: a file
that took its place is opened by itself, and without one nothing is created in its place.
"""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import DisconnectionError

_FILE = "adwarm_file"
GONE = "SQLITE_GONE"
"""The name of the error of a file that is gone, in the manner of SQLite's own."""


def watch_file(engine: Engine, path: Path) -> None:
    """Let the pool of `engine` use only connections to the file that is at `path` now.

    The first connection creates the file, for this user alone, if it is absent; later ones raise an error then.
    """
    was_opened = False

    @event.listens_for(engine, "do_connect")
    def _before_connect(*_arguments: Any) -> None:
        if was_opened and _identify(path) is None:
            error = sqlite3.OperationalError(f"{path} is gone")
            error.sqlite_errorname = GONE
            raise error
        _create_private_file(path)

    @event.listens_for(engine, "connect")
    def _after_connect(_connection: Any, record: Any) -> None:
        nonlocal was_opened
        was_opened = True
        record.info[_FILE] = _identify(path)

    @event.listens_for(engine, "checkout")
    def _check(_connection: Any, record: Any, _proxy: Any) -> None:
        if record.info.get(_FILE) != _identify(path):
            raise DisconnectionError("the file of the connection is no longer the database")


def _identify(path: Path) -> tuple[int, int] | None:
    """Return what tells the file at `path` from any other; None when there is none."""
    try:
        status = path.stat()
    except OSError:  # opening it says what is wrong
        return None
    return status.st_dev, status.st_ino


def _create_private_file(path: Path) -> None:
    """Create the SQLite file for this user alone, if it is absent; the files beside it get the same rights."""
    with suppress(OSError):  # opening the database says what is wrong
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
