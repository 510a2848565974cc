"""What a token allows."""

from datetime import UTC, datetime, timedelta
from typing import Any

from adwarm.model import AccessToken, Account, Actor, Priority, TokenScope

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
READ, ENQUEUE, ADMIN = TokenScope


def _token(*scopes: TokenScope, **other: Any) -> AccessToken:
    return AccessToken(id="a", name="t", scopes=frozenset(scopes), created_at=NOW, **other)


def test_a_token_works_until_it_expires_or_is_revoked() -> None:
    """Not at its expiry any more, and not once it is revoked, whatever the time."""
    second = timedelta(seconds=1)
    assert _token(READ).is_valid(NOW)
    assert [_token(READ, expires_at=NOW).is_valid(NOW + late * second) for late in (-1, 0, 1)] == [True, False, False]
    assert not _token(READ, revoked_at=NOW).is_valid(NOW - second)
    assert not _token(READ, revoked_at=NOW, expires_at=NOW + second).is_valid(NOW)


def test_scopes_include_lower_ones() -> None:
    """`admin` allows all, `enqueue` also `read`, and `read` nothing else."""
    allowed = {scope: [_token(scope).allows(other) for other in TokenScope] for scope in TokenScope}
    assert allowed == {READ: [True, False, False], ENQUEUE: [True, True, False], ADMIN: [True, True, True]}
    assert not _token().allows(READ)


def test_a_token_reads_its_accounts() -> None:
    """All without a list, those on it with one; an `admin` reads every account."""
    assert _token(READ).may_read("act_1")
    listed = frozenset({"act_1"})
    assert [_token(READ, accounts=listed).may_read(name) for name in ("act_1", "act_2")] == [True, False]
    assert not _token(READ, accounts=frozenset()).may_read("act_1")
    assert _token(ADMIN, accounts=listed).may_read("act_2")


def test_a_token_names_what_is_on_its_list() -> None:
    """Nothing without a list, and nothing else with one, whatever its scope."""
    listed = _token(ADMIN, accounts=frozenset({"act_1"}))
    assert [listed.names(name) for name in ("act_1", "act_2")] == [True, False]
    assert not _token(ADMIN).names("act_1")


def test_a_token_may_do_little_by_default() -> None:
    """It is a human's, names no other actor, and may cause a hundred new keys and a thousand refetches a day."""
    token = _token(READ)
    assert (token.actor, token.is_trusted, token.highest_priority) == (Actor.HUMAN, False, Priority.NORMAL)
    assert (token.daily_new_keys, token.daily_refetches, token.rate_per_second) == (100, 1_000, None)


def test_an_account_is_what_its_reports_depend_on() -> None:
    """Neither its name nor why it is not active makes it another; without a currency its zone is a guess."""
    account = Account("act_1")
    assert account == Account("act_1", name="Shop", status_reason="closed by its owner")
    assert account not in {
        Account("act_2"),
        Account("act_1", data_zone="Asia/Tokyo"),
        Account("act_1", status="closed"),
    }
    assert account.is_verified
    assert not Account("act_1", currency="").is_verified
