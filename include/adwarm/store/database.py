"""Opens the database and runs transactions. Only this package knows the differences between the two dialects.

SQLite runs in WAL mode with short `BEGIN IMMEDIATE` write transactions that are on disk when they are committed;
PostgreSQL runs with its defaults. An engine belongs to the process that opened it: a forked child opens its own.

The threads of a process share a few connections. Every wait for a connection, a lock or a statement has a timeout, and
none is longer than the caller has (`bound_wait`): each transaction may raise `Transient`, whose message says which
setting to change. A thread must not open a second connection while it holds one: with a full pool it would wait for
itself.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import lru_cache
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    CursorResult,
    Dialect,
    Engine,
    create_engine,
    event,
    func,
    make_url,
    text,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.pool import QueuePool
from sqlalchemy.schema import Table
from sqlalchemy.types import DateTime

from adwarm.foundation.clock import bound_wait
from adwarm.foundation.errors import BadRequest, Transient
from adwarm.foundation.home import make_private_folder
from adwarm.foundation.redaction import register_url
from adwarm.settings import SqlSettings
from adwarm.store.database_errors import translate_error, translating_errors
from adwarm.store.database_file import watch_file

Names = tuple[str, ...]
Statement = tuple[str, Sequence[Any]]
"""SQL that both databases understand, with a `?` for each value."""
BATCH_ROWS = 1_000
"""Rows that one transaction deletes, so that no other writer waits for long."""
CLOCKS = {
    "postgresql": "extract(epoch FROM clock_timestamp())",
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
}
"""By dialect the expression of the database's clock in seconds since the epoch."""
_SQLITE_MOMENT = "%Y-%m-%d %H:%M:%f000"
"""How SQLite stores a moment, to the microsecond; it reads its clock to the millisecond."""
_LIMITS = "adwarm_limits"
_CURSORS = "adwarm_cursors"
_BUSY = "adwarm_busy_ms"
_POSTPONED = "adwarm_postponed"
_TOGETHER = "adwarm_together"
"""Execution option: the statements of a script, which SQLite executes one by one."""
_REPLACE = "{0} = excluded.{0}"
_INSERT = "INSERT INTO {} ({}) VALUES {} ON CONFLICT {}"
_ROWS_AT_ONCE = 500
"""Rows of one `INSERT`; SQLite takes at most 32,766 values."""
_MODE = "sqlite_begin"
"""Execution option: how a transaction begins; that of a write has the value `IMMEDIATE`."""
IDLE_SECONDS = 1.0
"""A pooled connection to PostgreSQL that was idle for longer is checked before use; no server restarts faster."""
CONNECT_SECONDS = 10
"""PostgreSQL: timeout of connecting; a server that is reached answers in far less."""
POOL_SECONDS = 30.0
"""How long a thread waits for a free connection: as long as a reader waits for a report."""
_KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000}
"""Detects a server that has disappeared within a minute."""


def open_engine(url: str, limits: SqlSettings | None = None) -> Engine:
    """Return this process's engine for `url`, the same one at each call.

    Args:
        url: SQLAlchemy URL of a SQLite or PostgreSQL database.
        limits: pool size and timeouts; the defaults when absent.

    Raises:
        BadRequest: the URL is malformed or names another kind of database.
    """
    return _open(url, limits or SqlSettings(), os.getpid())


def identify_database(engine: Engine) -> str:
    """Return what tells a database from others, the same in each process that uses it, without its address."""
    url = engine.url
    place = os.path.realpath(url.database or "") if url.get_backend_name() == "sqlite" else url.database
    text = f"{url.host} {url.port or 5432} {place} {url.query.get('host')}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def get_limits(engine: Engine) -> SqlSettings:
    """Return the limits that the engine was opened with; the defaults when `open_engine` did not open it."""
    limits: SqlSettings = engine.get_execution_options().get(_LIMITS) or SqlSettings()
    return limits


@lru_cache(maxsize=32)
def _open(url: str, limits: SqlSettings, pid: int) -> Engine:
    del pid  # part of the cache's key: engines do not survive a fork
    try:
        register_url(url)
        parsed = make_url(url)
    except ArgumentError:
        raise BadRequest(
            "ADWARM_DATABASE_URL is not a database URL; write sqlite:///file or postgresql://..."
        ) from None
    if parsed.get_backend_name() == "sqlite":
        return _open_sqlite(url, parsed.database, limits)
    if parsed.get_backend_name() == "postgresql":
        return _open_postgresql(parsed, limits)
    raise BadRequest(f"ADWARM_DATABASE_URL names {parsed.get_backend_name()!r}; adwarm runs on sqlite and postgresql")


class _BoundedPool(QueuePool):
    @property
    def _timeout(self) -> float:  # SQLAlchemy reads it when a wait begins
        return bound_wait(POOL_SECONDS)

    @_timeout.setter
    def _timeout(self, seconds: float) -> None: ...


def _options(limits: SqlSettings) -> dict[str, Any]:
    # Errors are logged, and parameters may be payloads.
    return {"hide_parameters": True, "execution_options": {_LIMITS: limits}}


def _pool(limits: SqlSettings) -> dict[str, Any]:
    return {**_options(limits), "poolclass": _BoundedPool, "pool_size": limits.pool_size, "max_overflow": 0}


def _open_postgresql(url: URL, limits: SqlSettings) -> Engine:
    if find_spec("psycopg2") is None:
        raise BadRequest(
            "ADWARM_DATABASE_URL names a PostgreSQL database, whose driver is not installed; "
            "run pip install 'adwarm[postgres]'",
            code="no_driver",
        )
    arguments = {"connect_timeout": CONNECT_SECONDS, "application_name": "adwarm", **_KEEPALIVE}
    engine = create_engine(
        # SQLAlchemy's default driver for PostgreSQL is not the one that Airflow's provider installs.
        url.set(drivername="postgresql+psycopg2"),
        pool_pre_ping=True,
        executemany_mode="values_plus_batch",  # one round trip for many rows, also for upserts and updates
        connect_args={name: value for name, value in arguments.items() if name not in url.query},
        **_pool(limits),
    )
    waits = {
        "lock_timeout": limits.lock_timeout_seconds,
        "statement_timeout": limits.statement_timeout_seconds,
        # A process that freezes inside a transaction keeps its row locks, and its kernel keeps the connection alive.
        "idle_in_transaction_session_timeout": limits.statement_timeout_seconds,
    }

    @event.listens_for(engine, "connect")
    def _bound(connection: Any, _record: Any) -> None:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("; ".join(f"SET {name} = {seconds * 1000:.0f}" for name, seconds in waits.items()))
        connection.autocommit = False

    @event.listens_for(engine, "begin")
    def _bound_writes(connection: Connection) -> None:
        seconds = bound_wait(limits.lock_timeout_seconds)
        if seconds < limits.lock_timeout_seconds and connection.get_execution_options().get(_MODE) == "IMMEDIATE":
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {seconds * 1000:.0f}")  # reads wait for no lock

    _check_only_idle(engine)
    return engine


def _check_only_idle(engine: Engine) -> None:
    """Let the pool check a connection before use only when it was idle for `IDLE_SECONDS`."""
    # A busy process takes a connection from the pool hundreds of times a second, and each check is a round trip.
    returned: WeakKeyDictionary[Any, float] = WeakKeyDictionary()
    check = engine.dialect.do_ping

    @event.listens_for(engine, "checkin")
    def _note(connection: Any, _record: Any) -> None:
        if connection is not None:  # None for one that was lost
            returned[connection] = time.monotonic()

    def check_idle(dbapi_connection: Any) -> bool:
        return time.monotonic() - returned.get(dbapi_connection, 0.0) < IDLE_SECONDS or check(dbapi_connection)

    engine.dialect.do_ping = check_idle  # type: ignore[method-assign]


def _open_sqlite(url: str, database: str | None, limits: SqlSettings) -> Engine:
    is_file = bool(database) and database != ":memory:"
    if database and is_file:
        _make_folder(Path(database).parent)
    pool = _pool(limits) if is_file else _options(limits)
    seconds = limits.lock_timeout_seconds
    engine = create_engine(url, connect_args={"check_same_thread": False}, **pool)
    pragmas = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")

    if is_file and database:
        watch_file(engine, Path(database))

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.execute(f"PRAGMA busy_timeout={_busy_milliseconds(seconds)}")
        connection.isolation_level = None  # `_begin` starts transactions, so that writers queue instead of failing
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        busy_ms, info = _busy_milliseconds(seconds), connection.info
        if info.get(_BUSY) != busy_ms:
            run_on_driver(connection, f"PRAGMA busy_timeout={busy_ms}")
            info[_BUSY] = busy_ms
        mode = connection.get_execution_options().get(_MODE, "DEFERRED")
        if mode:
            run_on_driver(connection, f"BEGIN {mode}")

    @event.listens_for(engine, "do_execute")
    def _execute_each(cursor: Any, _statement: str, _values: Any, context: Any) -> bool:
        statements = context.execution_options.get(_TOGETHER, ())
        for sql, values in statements:
            cursor.execute(sql, values)
        return bool(statements)

    _close_cursors_at_return(engine)
    return engine


def _busy_milliseconds(seconds: float) -> int:
    """Return how long a statement may wait for the file here, in tenths of a second, so that it rarely changes."""
    return ceil(bound_wait(seconds) * 10) * 100


def _close_cursors_at_return(engine: Engine) -> None:
    """Close what a transaction of SQLite has not read to its end, when its connection goes back to the pool."""
    # Neither COMMIT nor ROLLBACK ends an unfinished SELECT, and a raised error keeps its cursor alive. As long as that
    # is open, the connection reads the state of then, and each of its writes fails at once as if the file was locked.

    @event.listens_for(engine, "after_cursor_execute")
    def _remember(connection: Connection, cursor: Any, *_arguments: Any) -> None:
        connection.info.setdefault(_CURSORS, WeakSet()).add(cursor)

    @event.listens_for(engine, "reset")
    def _close(_connection: Any, record: Any, _state: Any) -> None:
        for cursor in record.info.pop(_CURSORS, ()):
            cursor.close()


def _make_folder(folder: Path) -> None:
    try:
        make_private_folder(folder)
    except OSError as error:
        raise BadRequest(
            f"the folder {folder} of the database cannot be created ({type(error).__name__}); check ADWARM_HOME and "
            "ADWARM_DATABASE_URL"
        ) from None


def open_connection(engine: Engine) -> Connection:
    """Return a connection of the pool; most callers use a transaction of this module instead."""
    try:
        return engine.connect()
    except DBAPIError as error:
        if (translated := translate_error(error, engine)) is not None:
            raise translated from None
        if not isinstance(error, OperationalError):
            raise
        raise Transient(
            f"the {engine.dialect.name} database cannot be reached ({type(error.orig).__name__}); check that it runs "
            "and that ADWARM_DATABASE_URL is right"
        ) from None  # the original may repeat the URL


@contextmanager
def read_transaction(engine: Engine) -> Iterator[Connection]:
    """Run a read-only transaction."""
    with translating_errors(engine), open_connection(engine) as connection, connection.begin():
        yield connection


@contextmanager
def read_statement(engine: Engine) -> Iterator[Connection]:
    """Run one statement that reads; it is its own transaction, which saves `BEGIN` and `COMMIT`."""
    with translating_errors(engine), open_connection(engine) as connection:
        if engine.dialect.name != "postgresql":
            yield connection.execution_options(**{_MODE: ""})
            return
        # By the attribute of the driver: SQLAlchemy's isolation level `AUTOCOMMIT` sets the level of the session back
        # at each return to the pool, which is another round trip.
        driver: Any = connection.connection.dbapi_connection
        driver.autocommit = True
        try:
            yield connection
        finally:
            if not driver.closed:
                driver.autocommit = False


@contextmanager
def write_transaction(engine: Engine) -> Iterator[Connection]:
    """Run a write transaction: committed at the end, rolled back on an error. Do no other I/O inside it."""
    with translating_errors(engine), open_connection(engine) as plain:
        connection = plain.execution_options(**{_MODE: "IMMEDIATE"})
        with connection.begin():
            yield connection


def upsert(connection: Connection, table: Table, rows: list[dict[str, Any]], *, preserve: Names = ()) -> None:
    """Insert `rows`, and update those whose primary key exists, except their columns in `preserve`."""
    _insert(connection, table, rows, _REPLACE, preserve)


def add_up(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert `rows`, and add their numbers to those whose primary key exists.

    The rows are of different keys, and in one order, so that two processes cannot wait for each other's rows.
    """
    _insert(connection, table, rows, "{0} = {1}.{0} + excluded.{0}")


def insert_new(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert those of `rows` whose primary key does not exist yet."""
    _insert(connection, table, rows)


def _insert(
    connection: Connection, table: Table, rows: list[dict[str, Any]], change: str = "", preserve: Names = ()
) -> None:
    """Insert rows that all have the columns of the first one; other columns get their defaults."""
    # As text: with a row of twenty columns SQLAlchemy is busy for longer than SQLite.
    if not rows:
        return
    binds, defaults = _prepare_row(connection.dialect, table, tuple(rows[0]))
    names, preserve = (*rows[0], *defaults), (*preserve, *defaults)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        some, values = rows[start : start + _ROWS_AT_ONCE], list[Any]()
        for row in some:
            values += [row[name] if bind is None else bind(row[name]) for name, bind in binds.items()]
            values += defaults.values()
        sql = insert_sql(connection.dialect, table, names, len(some), change=change, preserve=preserve)
        postponed: list[Statement] | None = connection.info.get(_POSTPONED)
        if postponed is None:
            execute_together(connection, [(sql, values)])
        else:
            postponed.append((sql, values))


@lru_cache(maxsize=256)
def _prepare_row(dialect: Dialect, table: Table, names: Names) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return how the driver gets the value of each column, and the defaults of the columns that are not in `names`."""
    binds: dict[str, Any] = {c.name: c.type.dialect_impl(dialect).bind_processor(dialect) for c in table.columns}
    others: dict[str, Any] = {c.name: c.default for c in table.columns if c.default and c.name not in names}
    values = {name: item.arg if item.is_scalar else item.arg(None) for name, item in others.items()}
    defaults = {name: binds[name](value) if binds[name] else value for name, value in values.items()}
    return {name: binds[name] for name in names}, defaults


@lru_cache(maxsize=256)
def insert_sql(
    dialect: Dialect, table: Table, names: Names, rows: int, *, change: str = _REPLACE, preserve: Names = ()
) -> str:
    """Return the SQL that inserts rows, and does `change` to the columns of those that exist, except to `preserve`."""
    quote, title = dialect.identifier_preparer.quote, dialect.identifier_preparer.format_table(table)
    keys = [column.name for column in table.primary_key]
    changes = [change.format(quote(name), title) for name in names if change and name not in {*keys, *preserve}]
    action = f"({', '.join(map(quote, keys))}) DO UPDATE SET {', '.join(changes)}" if changes else "DO NOTHING"
    row = f"({', '.join('?' * len(names))})"
    return _INSERT.format(title, ", ".join(map(quote, names)), ", ".join([row] * rows), action)


def database_time(connection: Connection) -> float:
    """Return the database's clock in seconds since the epoch. Expiry of leases and grants is decided by it alone."""
    return float(connection.execute(text(f"SELECT {CLOCKS[connection.dialect.name]}")).scalar_one())


def database_clock(dialect: str, seconds: float = 0.0) -> ColumnElement[datetime]:
    """Return the database's clock, `seconds` later, as an expression for a statement.

    Reading the clock first would be another round trip, often with rows locked.
    """
    if dialect == "postgresql":
        return func.clock_timestamp(type_=DateTime(timezone=True)) + timedelta(seconds=seconds)
    return func.strftime(_SQLITE_MOMENT, "now", f"{seconds:+.3f} seconds", type_=DateTime())


def execute_together(connection: Connection, statements: Sequence[Statement]) -> CursorResult[Any]:
    """Execute statements in their order, on PostgreSQL in one round trip, and return the result of the last one."""
    script, values = "; ".join(sql for sql, _ in statements), tuple(value for _, some in statements for value in some)
    if connection.dialect.name == "postgresql":
        return connection.exec_driver_sql(script.replace("%", "%%").replace("?", "%s"), values)
    return connection.exec_driver_sql(script, values, execution_options={_TOGETHER: statements})


@contextmanager
def inserting_together(connection: Connection) -> Iterator[None]:
    """Send all that the block inserts at its end; the block executes no other statement on this connection."""
    postponed = connection.info[_POSTPONED] = list[Statement]()
    try:
        yield
    finally:
        del connection.info[_POSTPONED]
    if postponed:
        execute_together(connection, postponed)


def run_on_driver(connection: Connection, statement: str, run: Callable[[Any], object] | None = None) -> None:
    """Run a statement on the driver's cursor, by `run` where it is given, and raise its errors as SQLAlchemy does."""
    driver = connection.dialect.loaded_dbapi.Error
    cursor = connection.connection.cursor()
    try:
        cursor.execute(statement) if run is None else run(cursor)
    except driver as error:
        is_lost = connection.dialect.is_disconnect(error, connection.connection, cursor)
        raise DBAPIError.instance(
            statement, None, error, driver, hide_parameters=True, connection_invalidated=is_lost
        ) from None  # the original repeats a row
    finally:
        cursor.close()
