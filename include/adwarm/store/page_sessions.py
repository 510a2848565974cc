"""Logins at the page of `adwarm serve`. Only the hash of a session's id is stored."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import Engine, delete, insert, select

from adwarm.model import AccessToken
from adwarm.store import access_tokens
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.page_tables import page_session as table
from adwarm.store.tables import access_token

MAX_SESSIONS: Final = 20
"""Sessions of one token; a login beyond it ends the oldest one."""


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A login.

    Attributes:
        id_hash: SHA-256 of the session's id, 64 hex digits.
        token: the token that was exchanged for it, as it is stored now.
        expires_at: when it ends, UTC.
    """

    id_hash: str = field(repr=False)
    token: AccessToken
    expires_at: datetime

    def is_valid(self, at: datetime) -> bool:
        """Whether the session and its token are valid."""
        return at < self.expires_at and self.token.is_valid(at)


def insert_session(engine: Engine, id_hash: str, token_id: str, at: datetime, expires_at: datetime) -> None:
    """Store a new session; the oldest ones of its token beyond `MAX_SESSIONS` end."""
    own = table.c.token_id == token_id
    newest = select(table.c.id_hash).where(own).order_by(table.c.created_at.desc(), table.c.id_hash)
    with write_transaction(engine) as connection:
        row = {"id_hash": id_hash, "token_id": token_id, "created_at": at, "expires_at": expires_at}
        connection.execute(insert(table).values(**row))
        kept = list(connection.execute(newest.limit(MAX_SESSIONS)).scalars())
        connection.execute(delete(table).where(own, table.c.id_hash.not_in([*kept, id_hash])))


def find_session(engine: Engine, id_hash: str) -> StoredSession | None:
    """Return a session with its token, valid or not; None for an unknown one."""
    query = (
        select(table.c.expires_at.label("session_expires_at"), access_token)
        .join(access_token, access_token.c.id == table.c.token_id)
        .where(table.c.id_hash == id_hash)
    )
    with read_transaction(engine) as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else StoredSession(id_hash, access_tokens.read_token(row), row.session_expires_at)


def list_hashes(engine: Engine) -> set[str]:
    """Return the hashes of the ids of all sessions."""
    with read_transaction(engine) as connection:
        return set(connection.execute(select(table.c.id_hash)).scalars())


def delete_session(engine: Engine, id_hash: str) -> None:
    """End a session; does nothing when there is none."""
    with write_transaction(engine) as connection:
        connection.execute(delete(table).where(table.c.id_hash == id_hash))
