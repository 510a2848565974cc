"""What all tables share: the metadata, types of columns, tables that classes declare, and values as their rows."""

from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, date, datetime
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import DefaultClause, ForeignKey, PrimaryKeyConstraint, SchemaItem
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

from adwarm_client.keys import MAX_ACCOUNT_ID

T = TypeVar("T")
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
ACCOUNT_ID = String(MAX_ACCOUNT_ID)
ROW_ID = BigInteger().with_variant(Integer, "sqlite")
"""Type of an id that the database counts up."""
_FACTS: Final[dict[str, tuple[Any, ...]]] = {
    "id": (ROW_ID, "Sequence number."),
    "account_id": (MAX_ACCOUNT_ID, "Account id."),
    "spec_hash": (12, "Hash of the query: level, fields and attribution."),
    "date_range": (40, "Preset, or `YYYY-MM-DD..YYYY-MM-DD`."),
    "report": (40, "Report of the settings."),
    "since": ("First day, included.",),
    "until": ("Last day, included.",),
}
"""What a column of the name is in every table, unless its annotation says otherwise."""


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

    A text is stored and compared as it is, so a filter may have one that is not a member.
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


_TYPES: Final[dict[Any, Any]] = {bool: Boolean, int: Integer, float: Float, date: Date, datetime: UtcDateTime}


def table_of(kind: Any, name: str, *more: SchemaItem, key: Sequence[str], grows: str, bound: str) -> Table:
    """Return the table that a dataclass declares: a column for each field, and for each one of a dataclass within it.

    A column has the type and default of its field, and may be NULL when that is `| None`. `Annotated` says the rest: a
    number is the most characters of a text, a text what the column means; a type of SQLAlchemy, a foreign key and a
    default of the database are the column's. The docstring of the class says what a row is.

    Args:
        more: indexes, and columns that are no field, or that replace what its annotation would give.
        key: the columns of the primary key; one that is given nowhere else has the facts of its name.
        grows: what the number of rows grows with.
        bound: what bounds it.
    """
    columns = {item.name: item for item in _make_columns(kind)}
    for item in more:
        if isinstance(item, Column):
            item.doc = item.doc or (columns[item.name].doc if item.name in columns else None)
            columns[item.name] = item
    keys = [columns.pop(item) if item in columns else _make_column(item, str, ()) for item in key]
    others = (item for item in more if not isinstance(item, Column))
    info = {"text": kind.__doc__, "grows": grows, "bound": bound}
    return Table(name, metadata, *keys, *columns.values(), PrimaryKeyConstraint(*key), *others, info=info)


def _make_columns(kind: Any) -> Iterator[Column[Any]]:
    for item in fields(kind):
        base, facts = _split(item.type)
        if _is_composed(base, facts):
            yield from _make_columns(base)
        else:
            default = item.default if item.default_factory is MISSING else item.default_factory
            yield _make_column(item.name, base, facts, None if default is MISSING else default)


def _make_column(name: str, base: Any, facts: tuple[Any, ...], default: Any = None) -> Column[Any]:
    facts += _FACTS.get(name, ())
    return Column(
        name,
        _choose_type(base, facts),
        *(fact for fact in facts if isinstance(fact, ForeignKey | DefaultClause)),
        nullable=None in facts,
        default=default,
        doc=next((fact for fact in facts if isinstance(fact, str)), None),
    )


def _choose_type(base: Any, facts: Sequence[Any]) -> TypeEngine[Any]:
    given = next((fact for fact in facts if isinstance(fact, TypeEngine | int)), None)
    if isinstance(given, TypeEngine):
        return given
    if base in {str, Literal}:
        return String(given) if given else Text()
    return EnumText(base, given or 16) if issubclass(base, Enum) else _TYPES.get(base, JSON)()


def _is_composed(base: Any, facts: Sequence[Any]) -> bool:
    return is_dataclass(base) and not any(isinstance(fact, TypeEngine) for fact in facts)


def _split(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return the plain type of an annotation, and what else it says: None for `| None`."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        base, facts = _split(arguments[0])
        return base, (*arguments[1:], *facts)
    if origin in {Union, UnionType}:
        base, facts = _split(next(item for item in arguments if item is not NoneType))
        return base, (*facts, None)
    return origin or hint, ()


def key_column(name: str, kind: Any) -> Column[Any]:
    """Return a column of the primary key."""
    return Column(name, kind, primary_key=True)


def value_column(name: str, kind: Any, default: Any = None, doc: str | None = None) -> Column[Any]:
    """Return a column that is never NULL."""
    return Column(name, kind, nullable=False, default=default, doc=doc)


def columns_of(kind: Any, table: Table) -> list[Column[Any]]:
    """Return the columns of the fields of a dataclass in order, so that `kind(*row)` makes one of a row of them."""
    return [table.c[name] for name, _ in _fields(kind)]


def to_row(value: Any, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the fields of a dataclass by name, except those in `without`; one within it is a column for each part.

    A statement changes every column that it names, so leave out what has to stay as it is stored.
    """
    row: dict[str, Any] = {}
    kind: Any = type(value)
    for name, is_composed in _fields(kind):
        if name not in without:
            item = getattr(value, name)
            row |= to_row(item) if is_composed else {name: item}
    return row


def shorten(row: dict[str, Any], table: Table) -> dict[str, Any]:
    """Return a row of a table whose texts are no longer than their columns."""
    lengths = {name: getattr(table.c[name].type, "length", None) for name in row}
    return {name: value[: lengths[name]] if isinstance(value, str) else value for name, value in row.items()}


def from_row(kind: type[T], row: Any, /, **others: Any) -> T:
    """Return a dataclass: each field is the column of its name, or one of `others`; further columns are left out."""
    value: T = _compose(kind, row._asdict() | others)
    return value


def _compose(kind: Any, values: dict[str, Any]) -> Any:
    return kind(**{name: _compose(part, values) if part else values[name] for name, part in _fields(kind)})


@cache
def _fields(kind: Any) -> tuple[tuple[str, Any], ...]:
    """Return the name of each field of a dataclass, and its type if that has a column for each of its own fields."""
    types = ((item.name, *_split(item.type)) for item in fields(kind))
    return tuple((name, base if _is_composed(base, facts) else None) for name, base, facts in types)
