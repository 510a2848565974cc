"""Daily rows in a SQL table or view, through SQLAlchemy: whatever database it speaks to."""

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
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

from adwarm.foundation.errors import BadRequest, Transient
from adwarm.model import Window
from adwarm.settings import SqlSettings
from adwarm.sources.tabular import TableOptions, TabularSource, day_bounds

_SESSION_ZONE = {
    "postgresql": "SET LOCAL TIME ZONE '{}'",
    "mysql": "SET time_zone = '{}'",
    "mariadb": "SET time_zone = '{}'",
    "snowflake": "ALTER SESSION SET TIMEZONE = '{}'",
}
"""How a session is told its zone: views that cast moments to days, and types that hide their zone, depend on it."""

_ALWAYS_ZONED = {"bigquery": "TIMESTAMP"}
"""Types that carry a zone although their name does not say so, by dialect."""


class SqlSource(TabularSource):
    """A table or view as a source; it is only ever read.

    Args:
        database: an engine, or an SQLAlchemy URL to open one.
        table: its name, with its schema before a dot where needed; the layout's own by default.
        limits: how many connections the threads of this process share, and how long one waits for them.
        options: as for any table (`columns`, `layout`, `level`, ...).
    """

    name = "sql"

    def __init__(
        self,
        database: Engine | str,
        table: str | None = None,
        options: TableOptions | None = None,
        *,
        limits: SqlSettings | None = None,
    ) -> None:
        super().__init__(options)
        self._engine = database if isinstance(database, Engine) else _shared(database, limits or SqlSettings())
        schema, _, self._table_name = (table or self._layout.table).rpartition(".")
        self._schema = schema or None
        self._tables: dict[str, Table | None] = {}

    @property
    def _table(self) -> Table:
        found = self._reflected(self._table_name)
        if found is None:
            raise BadRequest(f"the database has no table {self._table_name}; check ADWARM_SOURCE__TABLE")
        return found

    def _reflected(self, name: str) -> Table | None:
        if name not in self._tables:
            try:
                self._tables[name] = Table(name, MetaData(), schema=self._schema, autoload_with=self._engine)
            except NoSuchTableError:
                self._tables[name] = None
            except SQLAlchemyError as error:
                raise _failed(error) from None
        return self._tables[name]

    def _columns(self) -> Sequence[str]:
        return [column.name for column in self._table.columns]

    def _distinct(self, columns: Sequence[str], account: tuple[str, str] | None = None) -> Iterable[tuple[Any, ...]]:
        query = select(*(self._table.c[name].label(f"c{at}") for at, name in enumerate(columns))).distinct()
        return [tuple(row) for row in self._rows_of(_narrowed(query, self._table, account))]

    def _load(
        self, account: tuple[str, str] | None, window: Window, day: str, columns: Sequence[str]
    ) -> Iterable[Mapping[str, Any]]:
        table = self._table
        column = table.c[day]
        kind = datetime if isinstance(column.type, DateTime) else date if isinstance(column.type, Date) else str
        first, end = day_bounds(kind, window, self._options.day_zone if self._is_zoned(column.type) else None)
        query = _narrowed(select(*(table.c[name] for name in columns)), table, account)
        return [row._mapping for row in self._rows_of(query.where(column >= first, column < end))]

    def _has_account(self, account: str, column: str) -> bool:
        query = _narrowed(select(self._table.c[column]), self._table, (column, account))
        return bool(self._rows_of(query.limit(1)))

    def _read_other_table(
        self, table: str, columns: Sequence[str], account: tuple[str, str] | None = None
    ) -> list[Mapping[str, Any]] | None:
        found = self._reflected(table)
        wanted = [found.c[name] for name in columns if name in found.c] if found is not None else []
        if found is None or not wanted or columns[0] not in found.c:
            return None
        query = _narrowed(select(*wanted), found, account if account and account[0] in found.c else None)
        return [row._mapping for row in self._rows_of(query)]

    def _is_zoned(self, kind: Any) -> bool:
        """Whether values of a type carry their zone, whatever the session's is."""
        name = type(kind).__name__.upper()
        return (
            bool(getattr(kind, "timezone", False))
            or name.endswith(("_TZ", "_LTZ", "OFFSET"))
            or _ALWAYS_ZONED.get(self._engine.dialect.name) == name
        )

    def _rows_of(self, query: Any) -> list[Any]:
        words = session_zone_statement(self._engine.dialect.name, self._options.day_zone)
        try:
            with self._engine.connect() as connection:
                if words:
                    connection.exec_driver_sql(words)
                return list(connection.execute(query))
        except SQLAlchemyError as error:
            raise _failed(error) from None


def session_zone_statement(dialect: str, day_zone: str) -> str | None:
    """Return what tells a session its zone; None for a dialect that needs no telling.

    MySQL knows zones by name only where an administrator loaded them, and UTC always as an offset.
    """
    words = _SESSION_ZONE.get(dialect)
    by_offset = day_zone == "UTC" and dialect in {"mysql", "mariadb"}
    return words.format("+00:00" if by_offset else day_zone) if words else None


def _narrowed(query: Any, table: Table, account: tuple[str, str] | None) -> Any:
    """Return the query about one account: by its number, or as text with and without its prefix."""
    if account is None:
        return query
    column, (name, digits) = table.c[account[0]], (account[1], account[1].removeprefix("act_"))
    is_number = isinstance(column.type, Integer | Numeric)
    return query.where(column == int(digits) if is_number else column.in_([digits, name]))


def _shared(url: str, limits: SqlSettings) -> Engine:
    """Return this process's engine for `url`: sources are made per thread, and their connections are shared."""
    return _open(url, limits.pool_size, limits.pool_timeout_seconds, os.getpid())


@lru_cache(maxsize=32)
def _open(url: str, pool_size: int, pool_timeout: float, pid: int) -> Engine:
    del pid  # part of the cache's key: engines do not survive a fork
    try:
        backend = make_url(url).get_backend_name()
        pool = (
            {}
            if backend == "sqlite"
            else {
                "pool_size": pool_size,
                "max_overflow": 0,
                "pool_timeout": pool_timeout,
                "pool_recycle": 1_800,
            }
        )
        return create_engine(url, pool_pre_ping=True, **pool)
    except (ArgumentError, NoSuchModuleError, ImportError):
        raise BadRequest("ADWARM_SOURCE__URL is not an SQLAlchemy URL whose driver is installed") from None


def _failed(error: SQLAlchemyError) -> Transient:
    """Name the failure without its text, which may hold the URL."""
    cause = getattr(error, "orig", None) or error
    return Transient(f"the database of the SQL source did not answer ({type(cause).__name__})", code="connection")
