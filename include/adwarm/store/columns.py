"""What all tables share: the metadata, types and short forms of columns, and values as rows by the names of columns."""

from dataclasses import fields
from datetime import UTC, date, datetime
from enum import Enum
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    DateTime,
    Dialect,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    TypeDecorator,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from adwarm.model import EntryKey, ReportKey, Window

T = TypeVar("T")
_COMPOSED = (ReportKey, EntryKey, Window)
"""Values with a column for each of their parts."""


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


class EnumText(TypeDecorator[Any]):
    """A member of an enum as text: a `StrEnum` by its value, any other one by its name in small letters.

    A text is stored and compared as it is, so a filter may have one that is no member.
    """

    impl = String
    cache_ok = True

    def __init__(self, kind: type[Enum], length: int = 16) -> None:
        super().__init__(length)
        self.kind = kind
        self._members = {_enum_text(member): member for member in kind}

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Return the text of a member."""
        return None if value is None else _enum_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Return the member."""
        return None if value is None else self._members[value]


def _enum_text(value: Any) -> str:
    return str(value) if isinstance(value, str) else str(value.name).lower()


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


class seconds_between(FunctionElement[float]):  # noqa: N801 - named like a function of SQL
    """The seconds from one timestamp to another."""

    type = Float()
    inherit_cache = True


@compiles(seconds_between)
def _compile_seconds_between(element: seconds_between, compiler: SQLCompiler, **options: Any) -> str:
    start, end = (compiler.process(clause, **options) for clause in element.clauses)
    return f"date_part('epoch', {end} - {start})"  # a float; `extract` gives a slow numeric


@compiles(seconds_between, "sqlite")
def _compile_seconds_between_for_sqlite(element: seconds_between, compiler: SQLCompiler, **options: Any) -> str:
    start, end = (compiler.process(clause, **options) for clause in element.clauses)
    return f"((julianday({end}) - julianday({start})) * 86400.0)"


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


def columns_of(kind: Any, table: Table) -> list[Column[Any]]:
    """Return the columns of the fields of a dataclass in order, so that `kind(*row)` makes one of a row of them."""
    return [table.c[name] for name, _ in _fields(kind)]


def to_row(value: Any, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the fields of a dataclass by name, except those in `without`; a key or window is one column for each part.

    A statement changes every column that it names, so leave out what has to stay as it is stored.
    """
    row: dict[str, Any] = {}
    kind: Any = type(value)
    for name, is_composed in _fields(kind):
        if name not in without:
            item = getattr(value, name)
            row |= to_row(item) if is_composed else {name: item}
    return row


def from_row(kind: type[T], row: Any, /, **others: Any) -> T:
    """Return a dataclass: each field is the column of its name, or one of `others`; further columns are left out."""
    value: T = _compose(kind, row._asdict() | others)
    return value


def _compose(kind: Any, values: dict[str, Any]) -> Any:
    return kind(**{name: _compose(part, values) if part else values[name] for name, part in _fields(kind)})


@cache
def _fields(kind: Any) -> tuple[tuple[str, Any], ...]:
    """Return the name of each field of a dataclass, and its type if that is a key or a window."""
    return tuple((item.name, item.type if item.type in _COMPOSED else None) for item in fields(kind))
