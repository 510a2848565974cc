"""Access tokens of the read API.

Only the hash of a token's secret is stored. A token is never deleted: a revoked one stays listed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Row, insert, select, update

from adwarm.foundation.errors import NotFound
from adwarm.model import AccessToken, Actor, Priority, TokenScope
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.tables import access_token as table


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A token as it is stored.

    Attributes:
        token: its rights.
        secret_hash: SHA-256 of its secret, 64 hex digits.
        last_used_at: when it was last used, to the minute; None when it never was.
    """

    token: AccessToken
    secret_hash: str = field(repr=False)
    last_used_at: datetime | None = None


def insert_token(engine: Engine, token: AccessToken, secret_hash: str) -> None:
    """Store a new token with the hash of its secret."""
    row = {
        "id": token.id,
        "secret_hash": secret_hash,
        "name": token.name,
        "scopes": sorted(token.scopes),
        "accounts": None if token.accounts is None else sorted(token.accounts),
        "actor": token.actor.value,
        "is_trusted": token.is_trusted,
        "highest_priority": token.highest_priority.name.lower(),
        "daily_new_keys": token.daily_new_keys,
        "daily_refetches": token.daily_refetches,
        "rate_per_second": token.rate_per_second,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
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
    return AccessToken(
        id=row.id,
        name=row.name,
        scopes=frozenset(TokenScope(name) for name in row.scopes),
        accounts=None if row.accounts is None else frozenset(row.accounts),
        actor=Actor(row.actor),
        is_trusted=row.is_trusted,
        highest_priority=Priority.parse(row.highest_priority),
        daily_new_keys=row.daily_new_keys,
        daily_refetches=row.daily_refetches,
        rate_per_second=row.rate_per_second,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )


def _stored(row: Row[Any]) -> StoredToken:
    return StoredToken(read_token(row), row.secret_hash, row.last_used_at)
