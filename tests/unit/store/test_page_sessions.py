"""Stored logins: found with the token as it is now, bounded per token, and gone when they are deleted."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from adwarm.model import AccessToken, TokenScope
from adwarm.store import access_tokens
from adwarm.store.page_sessions import MAX_SESSIONS, delete_session, find_session, insert_session

NOW = datetime(2026, 3, 4, 10, tzinfo=UTC)
END = NOW + timedelta(hours=12)


def add_token(engine: Engine, token_id: str) -> None:
    """Store a token that may read."""
    scopes = frozenset({TokenScope.READ})
    access_tokens.insert_token(engine, AccessToken(id=token_id, name="ada", scopes=scopes, created_at=NOW), "0" * 64)


def test_a_session_has_its_token_as_it_is_now(engine: Engine) -> None:
    """A session is valid until it ends or its token is revoked; its hash is not shown."""
    add_token(engine, "one")
    insert_session(engine, "a" * 64, "one", NOW, END)
    session = find_session(engine, "a" * 64)
    assert session is not None
    assert (session.token.id, session.expires_at, session.is_valid(NOW), session.is_valid(END)) == (
        "one",
        END,
        True,
        False,
    )
    assert "aaaa" not in repr(session)
    access_tokens.revoke(engine, "one", NOW)
    revoked = find_session(engine, "a" * 64)
    assert revoked is not None
    assert not revoked.is_valid(NOW)
    delete_session(engine, "a" * 64)
    assert find_session(engine, "a" * 64) is None


def test_a_token_keeps_its_newest_sessions(engine: Engine) -> None:
    """One more than the limit ends the oldest session of the same token, and none of another."""
    for token_id in ("one", "two"):
        add_token(engine, token_id)
    insert_session(engine, "other", "two", NOW, END)
    for number in range(MAX_SESSIONS + 1):
        insert_session(engine, f"session-{number}", "one", NOW + timedelta(seconds=number), END)
    found = [number for number in range(MAX_SESSIONS + 1) if find_session(engine, f"session-{number}") is not None]
    assert found == list(range(1, MAX_SESSIONS + 1))
    assert find_session(engine, "other") is not None
