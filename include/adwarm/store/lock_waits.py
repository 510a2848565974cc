"""Says in words why the database kept somebody waiting for too long, and what to do about it."""

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from adwarm.foundation.errors import Transient

_POSTGRESQL = {
    "53300": (
        "PostgreSQL has no connection left; run fewer processes, lower ADWARM_SQL__POOL_SIZE or raise the server's "
        "max_connections"
    ),
    "55P03": (
        "a lock in PostgreSQL was not free in time; another session holds it (pg_stat_activity names it). It may be "
        "tried again; ADWARM_SQL__LOCK_TIMEOUT_SECONDS is how long it waits"
    ),
    "57014": (
        "a statement took longer than ADWARM_SQL__STATEMENT_TIMEOUT_SECONDS and was ended; if the server is not "
        "overloaded, raise it"
    ),
    "40P01": "PostgreSQL ended one of two transactions that waited for each other; it may be tried again",
    "40001": "PostgreSQL could not put two transactions in order; it may be tried again",
    "57P01": "PostgreSQL is shutting down; it may be tried again when it is back",
    "57P02": "PostgreSQL has crashed; it may be tried again when it is back",
    "57P03": "PostgreSQL is starting up; it may be tried again in a moment",
}
_NO_SLOT = ("too many clients", "too many connections", "connection slots are reserved", "remaining connection slots")
"""How the server says 53300 to somebody who is not connected, and so has no code."""
_LOST = "the connection to the database was lost; check that the server runs. It may be tried again"
_SQLITE = (
    "the SQLite file was locked for longer than ADWARM_SQL__LOCK_TIMEOUT_SECONDS; another process writes to it. "
    "Several workers are better off with PostgreSQL (ADWARM_DATABASE_URL)"
)


def translate_error(error: SQLAlchemyError, engine: Engine) -> Transient | None:
    """Return the error that says what kept the database waiting; None when it is about something else."""
    if isinstance(error, PoolTimeout):
        return Transient(_pool_message(engine), code="database_pool")
    if not isinstance(error, DBAPIError):
        return None
    if engine.dialect.name == "sqlite":
        is_busy = getattr(error.orig, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
        return Transient(_SQLITE, code="database_locked") if is_busy else None
    code = getattr(error.orig, "pgcode", None)
    if code is None and any(words in str(error.orig) for words in _NO_SLOT):
        code = "53300"
    if code in _POSTGRESQL:
        return Transient(_POSTGRESQL[code], code=code)
    return Transient(_LOST, code="database_lost") if error.connection_invalidated else None


def _pool_message(engine: Engine) -> str:
    count = engine.pool.size() if isinstance(engine.pool, QueuePool) else 1
    return (
        f"all {count} database connections of this process were in use for too long; raise ADWARM_SQL__POOL_SIZE "
        "(processes times this must stay below the server's max_connections) or run fewer threads (ADWARM_WORKERS)"
    )
