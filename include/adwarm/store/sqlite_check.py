"""Checks a SQLite file for damage, within a time limit."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from adwarm.store.database import read_transaction

_STEPS = 1_000
"""Instructions of SQLite's machine between two looks at the time."""


class QuickCheck(NamedTuple):
    """The result of a check: the first problem, None without one, and whether all of the file was looked at."""

    problem: str | None
    is_complete: bool


def quick_check(engine: Engine, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> QuickCheck:
    """Look for damaged pages in the SQLite file of an engine, for at most about `seconds`.

    Raises:
        StorageError: the file is so damaged that it cannot be read.
        Transient: it cannot be reached.
    """
    end = monotonic() + seconds
    with read_transaction(engine) as connection:
        raw: Any = connection.connection.dbapi_connection
        raw.set_progress_handler(lambda: monotonic() > end, _STEPS)
        try:
            found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        except OperationalError as error:
            if getattr(error.orig, "sqlite_errorname", "") != "SQLITE_INTERRUPT":
                raise
            return QuickCheck(None, is_complete=False)
        finally:
            raw.set_progress_handler(None, 0)
    return QuickCheck(None if found == "ok" else str(found), is_complete=True)
