"""What went wrong in a statement, as an error of adwarm that says what to do.

| the driver reports                                | error                                                     |
|---------------------------------------------------|-----------------------------------------------------------|
| a wait for a connection or a lock that timed out  | `DatabaseBusy`                                            |
| a lost connection, a deadlock, a restart          | `Transient`                                               |
| a disk that is full, read-only or damaged         | `StorageError`                                            |
| anything else                                     | unchanged                                                 |
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from adwarm.foundation.clock import note_timeout
from adwarm.foundation.errors import DatabaseBusy, StorageError, Transient
from adwarm.foundation.storage import DATABASE_SETTING, describe_storage_problem
from adwarm.store.database_file import GONE

_POSTGRESQL = {
    "53300": (
        "PostgreSQL has no connection left; run fewer processes, lower ADWARM_SQL__POOL_SIZE or raise the server's "
        "max_connections"
    ),
    "25P03": (
        "PostgreSQL ended a transaction that did nothing for ADWARM_SQL__STATEMENT_TIMEOUT_SECONDS; this process was "
        "stopped or starved. Try again"
    ),
    "55P03": (
        "timed out waiting for a lock in PostgreSQL; another session holds it (see pg_stat_activity). Try again, or "
        "raise ADWARM_SQL__LOCK_TIMEOUT_SECONDS"
    ),
    "57014": (
        "a statement took longer than ADWARM_SQL__STATEMENT_TIMEOUT_SECONDS and was canceled; raise it if the server "
        "is not overloaded"
    ),
    "40P01": "PostgreSQL canceled one of two transactions in a deadlock; try again",
    "40001": "PostgreSQL could not serialize two transactions; try again",
    "57P01": "PostgreSQL is shutting down; try again when it is back",
    "57P02": "PostgreSQL has crashed; try again when it is back",
    "57P03": "PostgreSQL is starting up; try again in a moment",
}
_POSTGRESQL_BUSY = frozenset({"53300", "55P03", "57014"})
"""Those of a wait that timed out."""
_POSTGRESQL_STORAGE = {
    "53100": "the disk of PostgreSQL is full; free some space on its server, then try again",
    "53200": "PostgreSQL is out of memory; see its log",
    "58030": "the disk of PostgreSQL reports an error; check it and the log of PostgreSQL",
    "25006": "PostgreSQL is read-only (a standby, or default_transaction_read_only); connect to the primary",
    "XX001": "PostgreSQL reports damaged data; see its log, and restore a backup",
    "XX002": "PostgreSQL reports a damaged index; see its log, and run REINDEX",
}
_NO_SLOT = ("too many clients", "too many connections", "connection slots are reserved", "remaining connection slots")
"""A failed connection attempt carries no code; these texts stand for 53300."""
_LOST = "the connection to the database was lost; check that the server runs, then try again"
_SQLITE = (
    "the SQLite file was locked for too long (at most ADWARM_SQL__LOCK_TIMEOUT_SECONDS); another process writes to it. "
    "Several workers are better off with PostgreSQL (ADWARM_DATABASE_URL)"
)

_SQLITE_STORAGE = {
    GONE: (
        "database_gone",
        "the file was deleted or moved away while this process used it",
        "move it back, or restore a backup; this process then opens it by itself",
    ),
    "SQLITE_FULL": ("disk_full", "the disk is full", "free some space, or move it to a larger disk"),
    "SQLITE_READONLY": (
        "disk_read_only",
        "the file or its folder cannot be written",
        "mount it for writing, or give this user the right to write",
    ),
    "SQLITE_PERM": ("disk_denied", "this user may not access it", "give this user the right to read and write it"),
    "SQLITE_IOERR": ("disk_error", "the disk reports an error, or is full", "check the disk and the free space"),
    "SQLITE_CANTOPEN": (
        "database_unopened",
        "the file, or one beside it, cannot be opened",
        "check the path, the rights of this user and the free space",
    ),
    "SQLITE_CORRUPT": (
        "database_damaged",
        "the database file is damaged",
        "restore a backup; or move the file away, and run `adwarm db upgrade`",
    ),
    "SQLITE_NOTADB": (
        "database_damaged",
        "the file is not a SQLite database",
        "check the path; or move the file away, and run `adwarm db upgrade`",
    ),
}
_DAMAGED = ("Could not decode to UTF-8", "unsupported file format", "malformed database schema")
"""SQLite: texts of errors about overwritten pages whose name does not say so."""


@contextmanager
def translating_errors(engine: Engine) -> Iterator[None]:
    """Translate errors of waiting into `Transient`, and those of disks into `StorageError`; others pass unchanged."""
    try:
        yield
    except UnicodeDecodeError:  # of SQLite's own message about a schema whose page was overwritten
        raise _sqlite_storage_error("SQLITE_CORRUPT", engine) from None
    except SQLAlchemyError as error:
        translated = translate_error(error, engine)
        if translated is None:
            raise
        raise translated from None  # the original may repeat the URL


def translate_error(error: SQLAlchemyError, engine: Engine) -> Transient | None:
    """Return the error to raise for a wait that timed out, a lost connection or a disk; None for any other error."""
    if isinstance(error, PoolTimeout):
        return _busy(_pool_message(engine), "database_pool")
    if not isinstance(error, DBAPIError):
        return None
    if engine.dialect.name == "sqlite":
        return _translate_sqlite(error, engine)
    code = getattr(error.orig, "pgcode", None)
    if code is None and any(words in str(error.orig) for words in _NO_SLOT):
        code = "53300"
    if code in _POSTGRESQL_BUSY:
        return _busy(_POSTGRESQL[code], code)
    if code in _POSTGRESQL:
        return Transient(_POSTGRESQL[code], code=code)
    if code in _POSTGRESQL_STORAGE:
        return StorageError(_POSTGRESQL_STORAGE[code], code=code)
    return Transient(_LOST, code="database_lost") if error.connection_invalidated else None


def _translate_sqlite(error: DBAPIError, engine: Engine) -> Transient | None:
    name = getattr(error.orig, "sqlite_errorname", "")
    if any(words in str(error.orig) for words in _DAMAGED):
        name = "SQLITE_CORRUPT"
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return _busy(_SQLITE, "database_locked")
    name = "_".join(name.split("_")[:2])  # an extended code has a third word
    return _sqlite_storage_error(name, engine) if name in _SQLITE_STORAGE else None


def _sqlite_storage_error(name: str, engine: Engine) -> StorageError:
    code, text, advice = _SQLITE_STORAGE[name]
    path = Path(engine.url.database or ":memory:").absolute()
    return StorageError(describe_storage_problem(path, DATABASE_SETTING, text, advice), code=code)


def _busy(message: str, code: str) -> DatabaseBusy:
    note_timeout()
    return DatabaseBusy(message, code=code)


def _pool_message(engine: Engine) -> str:
    count = engine.pool.size() if isinstance(engine.pool, QueuePool) else 1
    return (
        f"all {count} database connections of this process were in use for too long; raise ADWARM_SQL__POOL_SIZE "
        "(processes times this must stay below the server's max_connections) or run fewer threads (ADWARM_WORKERS)"
    )
