"""When the accounts of each connection were last listed, with which credential, and why that failed."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Boolean, Column, Connection, Engine, Integer, String, Table, Text, select

from adwarm.store.columns import UtcDateTime, from_row, key_column, metadata, to_row, value_column
from adwarm.store.database import read_transaction, upsert

# One row per connection: when its accounts were last listed, and why that failed.
table = Table(
    "account_discovery",
    metadata,
    key_column("connection", String(250)),
    value_column("credential", String(64), ""),
    value_column("attempted_at", UtcDateTime()),
    Column("completed_at", UtcDateTime()),
    value_column("listed", Integer, 0),
    Column("error", Text),
    value_column("is_temporary", Boolean, False),
)


_MAX_ERROR = 1_000


@dataclass(frozen=True, slots=True)
class DiscoveryAttempt:
    """The last attempt to list the accounts of a connection.

    Attributes:
        credential: digest of the credential that was used; empty where there is none.
        completed_at: when a list was last read to its end; None if never.
        listed: accounts in that list.
        error: why the last attempt failed; empty when it did not.
        is_temporary: whether the same attempt may succeed soon.
    """

    connection: str
    credential: str
    attempted_at: datetime
    completed_at: datetime | None
    listed: int
    error: str = ""
    is_temporary: bool = False


def list_attempts(engine: Engine) -> dict[str, DiscoveryAttempt]:
    """Return the last attempt of each connection by name."""
    with read_transaction(engine) as connection:
        rows = connection.execute(select(table).order_by(table.c.connection)).all()
    return {row.connection: from_row(DiscoveryAttempt, row, error=row.error or "") for row in rows}


def save_success(connection: Connection, name: str, credential: str, listed: int, at: datetime) -> None:
    """Record that the accounts of a connection were listed."""
    attempt = DiscoveryAttempt(name, credential, attempted_at=at, completed_at=at, listed=listed)
    upsert(connection, table, [{**to_row(attempt), "error": None}])


def save_failure(connection: Connection, attempt: DiscoveryAttempt) -> None:
    """Record that the accounts of a connection could not be listed; the last complete list stays known."""
    row = {**to_row(attempt), "error": attempt.error[:_MAX_ERROR]}
    upsert(connection, table, [row], preserve=("completed_at", "listed"))
