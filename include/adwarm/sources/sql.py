"""Daily rows in a SQL table or view, through SQLAlchemy: whatever database it speaks to."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
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
    select,
)
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, NoSuchTableError, SQLAlchemyError

from adwarm.errors import BadRequest, Transient
from adwarm.model import Window
from adwarm.sources.tabular import TabularSource, days_as


class SqlSource(TabularSource):
    """A table or view as a source; it is only ever read.

    Args:
        database: an engine, or an SQLAlchemy URL to open one.
        table: its name, with its schema before a dot where needed.
        options: as for any table (`columns`, `data_zone`, `currency`, `connection`, `page_size`).
    """

    name = "sql"

    def __init__(self, database: Engine | str, table: str = "insights", **options: Any) -> None:
        super().__init__(**options)
        self._engine = database if isinstance(database, Engine) else _open(database)
        schema, _, self._name = table.rpartition(".")
        self._schema = schema or None
        self._found: Table | None = None

    @property
    def _table(self) -> Table:
        if self._found is None:
            try:
                self._found = Table(self._name, MetaData(), schema=self._schema, autoload_with=self._engine)
            except NoSuchTableError:
                raise BadRequest(f"the database has no table {self._name}; check ADWARM_SOURCE__TABLE") from None
            except SQLAlchemyError as error:
                raise _failed(error) from None
        return self._found

    def _columns(self) -> Sequence[str]:
        return [column.name for column in self._table.columns]

    def _account_ids(self, column: str) -> Iterable[Any]:
        return [row[0] for row in self._rows_of(select(self._table.c[column]).distinct())]

    def _load(self, account: str, window: Window, columns: Mapping[str, str]) -> Iterable[Mapping[str, Any]]:
        table = self._table
        day = table.c[columns["date_start"]]
        kind = datetime if isinstance(day.type, DateTime) else date if isinstance(day.type, Date) else str
        first, end = days_as(kind, window)
        query = select(*(table.c[name] for name in dict.fromkeys(columns.values())))
        rows = self._rows_of(query.where(self._of_account(columns["account_id"], account), day >= first, day < end))
        return [row._mapping for row in rows]

    def _has_account(self, account: str, column: str) -> bool:
        found = select(self._table.c[column]).where(self._of_account(column, account)).limit(1)
        return bool(self._rows_of(found))

    def _of_account(self, column: str, account: str) -> Any:
        digits, owner = account.removeprefix("act_"), self._table.c[column]
        return owner == int(digits) if isinstance(owner.type, Integer | Numeric) else owner.in_([digits, account])

    def _rows_of(self, query: Any) -> list[Any]:
        try:
            with self._engine.connect() as connection:
                return list(connection.execute(query))
        except SQLAlchemyError as error:
            raise _failed(error) from None


def _open(url: str) -> Engine:
    try:
        return create_engine(url, pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError, ImportError):
        raise BadRequest("ADWARM_SOURCE__URL is not an SQLAlchemy URL whose driver is installed") from None


def _failed(error: SQLAlchemyError) -> Transient:
    """Name the failure without its text, which may hold the URL."""
    cause = getattr(error, "orig", None) or error
    return Transient(f"the database of the SQL source did not answer ({type(cause).__name__})", code="connection")
