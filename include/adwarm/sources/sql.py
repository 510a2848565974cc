"""Daily rows in a SQL table or view, in any database that SQLAlchemy supports."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from functools import lru_cache
from typing import Any
from weakref import WeakSet

from sqlalchemy import (
    Connection,
    Date,
    DateTime,
    Engine,
    Integer,
    MetaData,
    Numeric,
    Table,
    create_engine,
    make_url,
    select,
)
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, NoSuchTableError, SQLAlchemyError

from adwarm.foundation.clock import seconds_left
from adwarm.foundation.errors import BadRequest, Transient
from adwarm.foundation.redaction import register_secret
from adwarm.model import Window, spell_account_id
from adwarm.settings import SqlSettings
from adwarm.sources.tabular import NO_OWNER, Owner, TableOptions, TabularSource, day_bounds
from adwarm.store.database import CONNECT_SECONDS, POOL_SECONDS

_SESSION_ZONE = {
    "postgresql": "SET LOCAL TIME ZONE '{}'",
    "mysql": "SET time_zone = '{}'",
    "mariadb": "SET time_zone = '{}'",
    "snowflake": "ALTER SESSION SET TIMEZONE = '{}'",
}
"""Statements that set the zone of a session. Views that cast times to days, and types without a zone, depend on it."""

_TIME_LIMIT = {
    "postgresql": "SET LOCAL statement_timeout = {milliseconds}",
    "mysql": "SET max_execution_time = {milliseconds}",
    "mariadb": "SET max_statement_time = {seconds}",
    "snowflake": "ALTER SESSION SET STATEMENT_TIMEOUT_IN_SECONDS = {seconds}",
}
"""Statements that limit the time of a query, so that a locked table does not hold a worker without end."""
_CONNECT_LIMIT = {"postgresql", "mysql", "mariadb"}
"""Dialects whose drivers take `connect_timeout`, in whole seconds."""

_ALWAYS_ZONED = {"bigquery": "TIMESTAMP"}
"""Types with a zone whose name does not say so, by dialect."""
_used_engines: "WeakSet[Engine]" = WeakSet()


class SqlSource(TabularSource):
    """A table or view as a source. The source only reads it.

    Args:
        database: an engine, or an SQLAlchemy URL to open one.
        table: its name, with its schema before a dot where needed; the layout's own by default.
        limits: the connections that the threads of this process share, and how long a thread waits for one.
        call_timeout: how long a query may take, in seconds.
    """

    name = "sql"

    def __init__(
        self,
        database: Engine | str,
        table: str | None = None,
        options: TableOptions | None = None,
        *,
        limits: SqlSettings | None = None,
        call_timeout: float = 120.0,
    ) -> None:
        super().__init__(options)
        self._engine = database if isinstance(database, Engine) else _shared_engine(database, limits or SqlSettings())
        _used_engines.add(self._engine)
        register_secret(self._engine.url.password)
        self._call_timeout = call_timeout
        schema, _, self._table_name = (table or self._layout.table).rpartition(".")
        self._schema = schema or None
        self._tables: dict[str, Table | None] = {}

    @property
    def _table(self) -> Table:
        table = self._reflected(self._table_name)
        if table is None:
            raise BadRequest(f"the database has no table {self._table_name}; check ADWARM_SOURCE__TABLE")
        return table

    def _reflected(self, name: str) -> Table | None:
        if name not in self._tables:
            try:
                with self._session() as connection:
                    self._tables[name] = Table(name, MetaData(), schema=self._schema, autoload_with=connection)
            except NoSuchTableError:
                self._tables[name] = None
            except SQLAlchemyError as error:
                raise _to_transient(error) from None
        return self._tables[name]

    def _forget_columns(self) -> None:
        self._tables.clear()

    def _columns(self) -> Sequence[str]:
        return [column.name for column in self._table.columns]

    def _distinct(self, columns: Sequence[str], owner: Owner) -> Iterable[tuple[Any, ...]]:
        query = select(*(self._table.c[name].label(f"c{at}") for at, name in enumerate(columns))).distinct()
        return [tuple(row) for row in self._rows_of(_for_account(query, self._table, owner))]

    def _load(self, owner: Owner, window: Window, day: str, columns: Sequence[str]) -> Iterable[Mapping[str, Any]]:
        table = self._table
        column = table.c[day]
        kind = datetime if isinstance(column.type, DateTime) else date if isinstance(column.type, Date) else str
        first, end = day_bounds(kind, window, self._options.day_zone if self._is_zoned(column.type) else None)
        query = _for_account(select(*(table.c[name] for name in columns)), table, owner)
        return [row._mapping for row in self._rows_of(query.where(column >= first, column < end))]

    def _has_account(self, owner: Owner) -> bool:
        query = _for_account(select(*(self._table.c[name] for name in owner)), self._table, owner)
        return bool(self._rows_of(query.limit(1)))

    def _read_other_table(
        self, table: str, columns: Sequence[str], owner: Owner = NO_OWNER
    ) -> list[Mapping[str, Any]] | None:
        other = self._reflected(table)
        present = [other.c[name] for name in columns if name in other.c] if other is not None else []
        if other is None or not present or columns[0] not in other.c:
            return None
        query = _for_account(select(*present), other, owner if set(owner) <= set(other.c.keys()) else NO_OWNER)
        return [row._mapping for row in self._rows_of(query)]

    def _is_zoned(self, kind: Any) -> bool:
        """Whether values of a type carry their own zone, independent of the session's."""
        name = type(kind).__name__.upper()
        return (
            bool(getattr(kind, "timezone", False))
            or name.endswith(("_TZ", "_LTZ", "OFFSET"))
            or _ALWAYS_ZONED.get(self._engine.dialect.name) == name
        )

    @contextmanager
    def _session(self) -> Iterator[Connection]:
        """Open a connection whose days are those of the options, and whose queries end within the time limit."""
        dialect = self._engine.dialect.name
        statements = session_zone_statement(dialect, self._options.day_zone), self._time_limit(dialect)
        with self._engine.connect() as connection:
            for statement in filter(None, statements):
                connection.exec_driver_sql(statement)
            yield connection

    def _time_limit(self, dialect: str) -> str | None:
        seconds = max(1, round(min(self._call_timeout, seconds_left())))
        statement = _TIME_LIMIT.get(dialect)
        return statement.format(seconds=seconds, milliseconds=1_000 * seconds) if statement else None

    def _rows_of(self, query: Any) -> list[Any]:
        try:
            with self._session() as connection:
                return list(connection.execute(query))
        except SQLAlchemyError as error:
            self._forget_columns()  # the table may have been replaced by one with other columns
            raise _to_transient(error) from None


def session_zone_statement(dialect: str, day_zone: str) -> str | None:
    """Return the statement that sets the zone of a session; None for a dialect that needs none.

    MySQL knows zones by name only where an administrator loaded them, but always knows UTC as an offset.
    """
    statement = _SESSION_ZONE.get(dialect)
    by_offset = day_zone == "UTC" and dialect in {"mysql", "mariadb"}
    return statement.format("+00:00" if by_offset else day_zone) if statement else None


def _for_account(query: Any, table: Table, owner: Owner) -> Any:
    """Return the query restricted to one account: by its number, or as text in each of its spellings."""
    for column, names in ((table.c[name], spell_account_id(value)) for name, value in owner.items()):
        is_number = isinstance(column.type, Integer | Numeric)
        query = query.where(column.in_([int(name) for name in names if name.isdecimal()] if is_number else names))
    return query


def _shared_engine(url: str, limits: SqlSettings) -> Engine:
    """Return this process's engine for `url`: each thread has its own source, and they share connections."""
    return _open(url, limits)


@lru_cache(maxsize=32)
def _open(url: str, limits: SqlSettings) -> Engine:
    try:
        backend = make_url(url).get_backend_name()
        pool = (
            {}
            if backend == "sqlite"
            else {
                "pool_size": limits.pool_size,
                "max_overflow": 0,
                "pool_timeout": POOL_SECONDS,
                "pool_recycle": 1_800,
            }
        )
        arguments = {"connect_timeout": CONNECT_SECONDS} if backend in _CONNECT_LIMIT else {}
        return create_engine(url, pool_pre_ping=True, connect_args=arguments, **pool)
    except (ArgumentError, NoSuchModuleError, ImportError):
        raise BadRequest(
            "ADWARM_SOURCE__URL is not an SQLAlchemy URL whose driver is installed; for PostgreSQL run "
            "pip install 'adwarm[postgres]'"
        ) from None


def _to_transient(error: SQLAlchemyError) -> Transient:
    """Return an error that names the failure without its text, which may contain the URL."""
    cause = getattr(error, "orig", None) or error
    return Transient(f"the database of the SQL source did not respond ({type(cause).__name__})", code="connection")


def _forget_connections() -> None:
    """Let a forked process open connections of its own: the parent goes on to use those that both now hold."""
    for engine in list(_used_engines):
        engine.dispose(close=False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_connections)
