"""Indexes on tables that may be large: built and dropped without blocking those who write."""

from dataclasses import dataclass

from sqlalchemy import Connection, text
from sqlalchemy.dialects import postgresql, sqlite


@dataclass(frozen=True)
class ConcurrentIndex:
    """An index that a migration adds to an existing table.

    Attributes:
        name: its name.
        table: the table.
        columns: its columns, in order.
        unique: whether two rows may not have the same values. Rows that break it fail the upgrade.
        where: the condition of a partial index, as SQL that both dialects know.
    """

    name: str
    table: str
    columns: tuple[str, ...]
    unique: bool = False
    where: str | None = None

    def create_statement(self, dialect: str) -> str:
        """Return the statement that builds it, unless it exists; on PostgreSQL it cannot be part of a transaction.

        Args:
            dialect: `sqlite` or `postgresql`.
        """
        quote = _QUOTERS[dialect].quote
        kind = f"CREATE {'UNIQUE ' if self.unique else ''}INDEX {_CONCURRENTLY[dialect]}IF NOT EXISTS"
        columns = ", ".join(quote(column) for column in self.columns)
        condition = f" WHERE {self.where}" if self.where else ""
        return f"{kind} {quote(self.name)} ON {quote(self.table)} ({columns}){condition}"

    def drop_statement(self, dialect: str) -> str:
        """Return the statement that drops it, if it exists. `dialect` is `sqlite` or `postgresql`."""
        return f"DROP INDEX {_CONCURRENTLY[dialect]}IF EXISTS {_QUOTERS[dialect].quote(self.name)}"


_QUOTERS = {"sqlite": sqlite.dialect().identifier_preparer, "postgresql": postgresql.dialect().identifier_preparer}  # type: ignore[no-untyped-call]
_CONCURRENTLY = {"sqlite": "", "postgresql": "CONCURRENTLY "}


def is_invalid(connection: Connection, name: str) -> bool:
    """Return whether PostgreSQL has an index of this name that an interrupted build has left incomplete."""
    query = text(
        "SELECT count(*) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
        "WHERE relname = :name AND pg_table_is_visible(indexrelid) AND NOT indisvalid"
    )
    return bool(connection.execute(query, {"name": name}).scalar_one())
