"""What all tables share: the metadata, the type of timestamps, and short forms of columns."""

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Date, DateTime, Dialect, Integer, MetaData, TypeDecorator
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime. SQLite stores it without a zone, PostgreSQL with one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC.

        Raises:
            ValueError: the datetime is naive.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime cannot be stored; give it a time zone")
        stored = value.astimezone(UTC)
        return stored.replace(tzinfo=None) if dialect.name == "sqlite" else stored

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return an aware UTC datetime."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class day_before(FunctionElement[date]):  # noqa: N801 - named like a function of SQL
    """The day before a column of the type date."""

    type = Date()
    inherit_cache = True


@compiles(day_before)
def _compile_day_before(element: day_before, compiler: SQLCompiler, **options: Any) -> str:
    return f"({compiler.process(element.clauses, **options)} - 1)"


@compiles(day_before, "sqlite")
def _compile_day_before_for_sqlite(element: day_before, compiler: SQLCompiler, **options: Any) -> str:
    return f"date({compiler.process(element.clauses, **options)}, '-1 day')"


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

ROW_ID = BigInteger().with_variant(Integer, "sqlite")
"""Type of an id that the database counts up."""


def key_column(name: str, kind: Any) -> Column[Any]:
    """Return a column of the primary key."""
    return Column(name, kind, primary_key=True)


def value_column(name: str, kind: Any, default: Any = None) -> Column[Any]:
    """Return a column that is never NULL."""
    return Column(name, kind, nullable=False, default=default)
