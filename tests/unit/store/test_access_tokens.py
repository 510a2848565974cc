"""What tokens have caused by day; and logins, which are found with the token as it is now and bounded per token."""

from datetime import UTC, date, datetime, timedelta
from threading import Thread

from sqlalchemy import Engine

from adwarm.model import AccessToken, TokenScope
from adwarm.store import access_tokens
from adwarm.store.access_tokens import MAX_SESSIONS, delete_session, find_session, insert_session
from adwarm.store.database import write_transaction

NOW = datetime(2026, 3, 4, 10, tzinfo=UTC)
END = NOW + timedelta(hours=12)
DAY = date(2026, 11, 25)


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


def test_new_keys_are_counted_up_to_the_limit(engine: Engine) -> None:
    """Each token has its own counts; concurrent callers never exceed the limit, whatever day their clock shows."""
    counted: list[bool] = []
    for token_id in ("t1", "t2"):
        add_token(engine, token_id)

    def add() -> None:
        for _ in range(5):
            with write_transaction(engine) as connection:
                counted.append(access_tokens.add_day_count(connection, ("t1", DAY, "new_keys"), 1, 7))

    threads = [Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counted) == 7
    with write_transaction(engine) as connection:
        assert access_tokens.add_day_count(connection, ("t1", DAY, "refetches"), 3, 3)
        assert access_tokens.get_day_count(connection, "t1", DAY, "new_keys") == 7
        assert not access_tokens.add_day_count(connection, ("t2", DAY, "new_keys"), 1, 0)
        later = DAY + timedelta(days=1)
        assert access_tokens.add_day_count(connection, ("t1", later, "new_keys"), 2, 2)
        assert not access_tokens.add_day_count(connection, ("t1", DAY, "new_keys"), 1, 2)
        counts = [access_tokens.get_day_count(connection, name, later, "new_keys") for name in ("t1", "t2", "t3")]
        assert (counts, access_tokens.get_day_count(connection, "t1", later, "refetches")) == ([2, 0, 0], 0)
