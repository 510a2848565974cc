"""Access tokens of the read API, what they have caused on a day, and the logins at the page of `adwarm serve`.

Only hashes are stored: of a token's secret, and of a session's id. A token is never deleted; a revoked one stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Annotated, Any, Final, Literal

from sqlalchemy import Connection, Engine, Row, case, delete, insert, literal, select, update
from sqlalchemy.schema import Column, Index, Table
from sqlalchemy.types import Date, Integer, String

from adwarm.foundation.errors import NotFound
from adwarm.model import AccessToken, TokenScope
from adwarm.store.columns import UtcDateTime, from_row, key_column, metadata, table_of, to_row, value_column
from adwarm.store.database import read_transaction, write_transaction

Counter = Literal["new_keys", "refetches"]
_COUNTERS: Final = ("new_keys", "refetches")
MAX_SESSIONS: Final = 20
"""Sessions of one token; a login beyond it ends the oldest one."""


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A token of the read API as it is stored; of its secret only the hash."""

    token: AccessToken
    secret_hash: Annotated[str, 64, "SHA-256 of the secret part, in hex."] = field(repr=False)
    last_used_at: Annotated[datetime | None, "When it was last used, to the minute."] = None


table = table_of(
    StoredToken,
    "access_token",
    Column("daily_refetches", Integer, nullable=False, default=1_000, server_default="1000"),
    Column("counted_day", Date, doc="UTC day of the two counts; NULL before the first."),
    Column("new_keys", Integer, nullable=False, default=0, server_default="0", doc="`daily_new_keys` of that day."),
    Column("refetches", Integer, nullable=False, default=0, server_default="0", doc="`daily_refetches` of that day."),
    key=("id",),
    grows="tokens that are made",
    bound="an administrator makes and revokes them",
)

# One row per login at the page of `adwarm serve`. Maintenance deletes expired ones.
page_session = Table(
    "page_session",
    metadata,
    key_column("id_hash", String(64)),
    value_column("token_id", String(16)),
    value_column("created_at", UtcDateTime()),
    value_column("expires_at", UtcDateTime()),
    Index(None, "expires_at"),
)


def insert_token(engine: Engine, token: AccessToken, secret_hash: str) -> None:
    """Store a new token with the hash of its secret."""
    row = {
        **to_row(token),
        "secret_hash": secret_hash,
        "scopes": sorted(token.scopes),
        "accounts": None if token.accounts is None else sorted(token.accounts),
    }
    with write_transaction(engine) as connection:
        connection.execute(insert(table).values(**row))


def find(engine: Engine, token_id: str) -> StoredToken | None:
    """Return the token with this id, valid or not; None for an unknown id."""
    with read_transaction(engine) as connection:
        row = connection.execute(select(table).where(table.c.id == token_id)).one_or_none()
    return None if row is None else _stored(row)


def list_ids(engine: Engine) -> set[str]:
    """Return the ids of the tokens that are not revoked."""
    with read_transaction(engine) as connection:
        return set(connection.execute(select(table.c.id).where(table.c.revoked_at.is_(None))).scalars())


def list_tokens(engine: Engine) -> list[StoredToken]:
    """Return every token, the newest first."""
    query = select(table).order_by(table.c.created_at.desc(), table.c.id)
    with read_transaction(engine) as connection:
        return [_stored(row) for row in connection.execute(query)]


def revoke(engine: Engine, token_id: str, at: datetime) -> StoredToken:
    """Revoke a token and return it; one that was revoked before keeps its time.

    Raises:
        NotFound: there is no such token.
    """
    with write_transaction(engine) as connection:
        unrevoked = (table.c.id == token_id, table.c.revoked_at.is_(None))
        connection.execute(update(table).where(*unrevoked).values(revoked_at=at))
        row = connection.execute(select(table).where(table.c.id == token_id)).one_or_none()
    if row is None:
        raise NotFound(f"there is no token {token_id[:16]!r}; `adwarm token list` shows their ids")
    return _stored(row)


def save_last_used(engine: Engine, used: Mapping[str, datetime]) -> None:
    """Store when tokens were last used, by their id."""
    with write_transaction(engine) as connection:
        for token_id, at in sorted(used.items()):  # sorted, so that two processes lock rows in the same order
            connection.execute(update(table).where(table.c.id == token_id).values(last_used_at=at))


def read_token(row: Row[Any]) -> AccessToken:
    """Return the token in a row with the columns of the table."""
    scopes = frozenset(TokenScope(name) for name in row.scopes)
    accounts = None if row.accounts is None else frozenset(row.accounts)
    return from_row(AccessToken, row, scopes=scopes, accounts=accounts)


def _stored(row: Row[Any]) -> StoredToken:
    return StoredToken(read_token(row), row.secret_hash, row.last_used_at)


def add_day_count(connection: Connection, name: tuple[str, date, Counter], count: int, limit: int) -> bool:
    """Add to the count of a token on a day, unless that would exceed its limit.

    The first count of a later day ends the counts of the day before; one of an earlier day, from a process whose clock
    is behind, adds to the later day.

    Args:
        connection: a write transaction; the count is rolled back with it.
        name: public id of the token, the UTC day, and what is counted.

    Returns:
        Whether they were counted.
    """
    token_id, day, counter = name
    counted = {name: case((table.c.counted_day >= day, table.c[name]), else_=0) for name in _COUNTERS}
    later = case((table.c.counted_day > day, table.c.counted_day), else_=literal(day, Date))
    values = {**counted, counter: counted[counter] + count, "counted_day": later}
    same = (table.c.id == token_id, counted[counter] + count <= limit)
    return bool(connection.execute(update(table).where(*same).values(values)).rowcount)


def get_day_count(connection: Connection, token_id: str, day: date, counter: Counter) -> int:
    """Return one count of a token on a UTC day."""
    query = select(table.c[counter]).where(table.c.id == token_id, table.c.counted_day >= day)
    return int(connection.execute(query).scalar_one_or_none() or 0)


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A login.

    Attributes:
        id_hash: SHA-256 of the session's id, 64 hex digits.
        token: the token that was exchanged for it, as it is stored now.
    """

    id_hash: str = field(repr=False)
    token: AccessToken
    expires_at: datetime

    def is_valid(self, at: datetime) -> bool:
        """Whether the session and its token are valid."""
        return at < self.expires_at and self.token.is_valid(at)


def insert_session(engine: Engine, id_hash: str, token_id: str, at: datetime, expires_at: datetime) -> None:
    """Store a new session; the oldest ones of its token beyond `MAX_SESSIONS` end."""
    own = page_session.c.token_id == token_id
    newest = (
        select(page_session.c.id_hash).where(own).order_by(page_session.c.created_at.desc(), page_session.c.id_hash)
    )
    with write_transaction(engine) as connection:
        row = {"id_hash": id_hash, "token_id": token_id, "created_at": at, "expires_at": expires_at}
        connection.execute(insert(page_session).values(**row))
        newest_ids = list(connection.execute(newest.limit(MAX_SESSIONS)).scalars())
        connection.execute(delete(page_session).where(own, page_session.c.id_hash.not_in([*newest_ids, id_hash])))


def find_session(engine: Engine, id_hash: str) -> StoredSession | None:
    """Return a session with its token, valid or not; None for an unknown one."""
    query = (
        select(page_session.c.expires_at.label("session_expires_at"), table)
        .join(table, table.c.id == page_session.c.token_id)
        .where(page_session.c.id_hash == id_hash)
    )
    with read_transaction(engine) as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else StoredSession(id_hash, read_token(row), row.session_expires_at)


def list_session_hashes(engine: Engine) -> set[str]:
    """Return the hashes of the ids of all sessions."""
    with read_transaction(engine) as connection:
        return set(connection.execute(select(page_session.c.id_hash)).scalars())


def delete_session(engine: Engine, id_hash: str) -> None:
    """End a session; does nothing when there is none."""
    with write_transaction(engine) as connection:
        connection.execute(delete(page_session).where(page_session.c.id_hash == id_hash))
