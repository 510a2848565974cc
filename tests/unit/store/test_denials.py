"""A denial belongs to an account, a connection and a credential, and is valid for a day."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from adwarm.model import Account
from adwarm.store import accounts, denials
from adwarm.store.denials import select_denials

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
SOON = AT + timedelta(hours=23)


@pytest.fixture
def denied(engine: Engine) -> Engine:
    """Account 1 was denied to both connections, account 2 to one, account 3 to none."""
    accounts.save(engine, [Account(f"act_{number}") for number in (1, 2, 3)], AT)
    denials.record(engine, "act_1", "default", "a1", "no", AT)
    denials.record(engine, "act_1", "eu", "b1", "no" * 900, AT)
    denials.record(engine, "act_2", "default", "a1", "no", AT)
    denials.close_account(engine, "act_1", "no", AT)
    return engine


def status(engine: Engine, account_id: str) -> str:
    """Status of the account."""
    found = accounts.get(engine, account_id)
    assert found is not None
    return found.status


def find_denied(engine: Engine, account_id: str, at: datetime) -> dict[str, str]:
    """Denied credential of each connection that may not read the account."""
    active = denials.list_active(engine, account_id, at)
    return {name: key for name in ("default", "eu") for key in ("a1", "a2", "b1") if select_denials(active, name, key)}


def test_a_denial_expires_after_a_day(denied: Engine) -> None:
    """A denial applies to its own connection for less than a day; an account that is not stored has none."""
    assert find_denied(denied, "act_1", SOON) == {"default": "a1", "eu": "b1"}
    assert find_denied(denied, "act_2", SOON) == {"default": "a1"}
    assert find_denied(denied, "act_3", SOON) == {}
    assert find_denied(denied, "act_9", SOON) == {}
    denials.record(denied, "act_2", "eu", "b1", "no", SOON)
    assert find_denied(denied, "act_2", AT + timedelta(days=1)) == {"eu": "b1"}


def test_the_newest_denial_of_a_connection_counts(denied: Engine) -> None:
    """A second denial replaces the first."""
    denials.record(denied, "act_2", "default", "a2", "no", SOON)
    assert find_denied(denied, "act_2", AT + timedelta(days=1)) == {"default": "a2"}


def test_saving_an_account_keeps_its_denials(denied: Engine) -> None:
    """Denials of other connections stay when one connection reads the account."""
    accounts.save(denied, [Account("act_2", connection="eu")], AT)
    assert find_denied(denied, "act_2", SOON) == {"default": "a1"}


def test_lifting_a_denial(denied: Engine) -> None:
    """The account is active without denials; other accounts do not change."""
    assert denials.lift(denied, ["act_1", "act_3", "act_9"]) == ["act_1"]
    assert (status(denied, "act_1"), find_denied(denied, "act_1", SOON)) == ("active", {})
    assert find_denied(denied, "act_2", SOON) == {"default": "a1"}
    assert denials.lift(denied, ["act_1"]) == []


def test_an_account_without_a_denied_credential_is_lifted_too(engine: Engine) -> None:
    """An account that no connection may read is active again; one that the platform has closed stays closed."""
    accounts.save(engine, [Account("act_1"), Account("act_2", status="closed")], AT)
    denials.close_account(engine, "act_1", "no", AT)
    assert denials.list_denied(engine, SOON) == {"act_1": "no"}
    assert denials.lift(engine, ["act_1", "act_2"]) == ["act_1"]
    assert (status(engine, "act_1"), status(engine, "act_2")) == ("active", "closed")
    assert denials.list_denied(engine, SOON) == {}


def test_another_credential_lifts_the_denials_of_the_old_one(denied: Engine) -> None:
    """Only denials of that connection are deleted, and the accounts are active again."""
    assert denials.lift_outdated(denied, "default", "a1", "v1") == []
    assert denials.lift_outdated(denied, "other", "c1", "v1") == []
    assert status(denied, "act_1") == "denied"
    assert denials.lift_outdated(denied, "default", "a2", "v1") == ["act_1", "act_2"]
    assert find_denied(denied, "act_1", SOON) == {"eu": "b1"}
    assert find_denied(denied, "act_2", SOON) == {}
    assert status(denied, "act_1") == "active"
    assert denials.lift_outdated(denied, "default", "a2", "v1") == []


def test_refused_fields_of_a_connection(engine: Engine) -> None:
    """Fields add up over accounts for a week; a new credential or version starts anew, denials stay."""
    denials.record(engine, "act_1", "eu", "c1", "no", AT)
    assert denials.refuse_fields(engine, "act_1", "eu", "c1@v26.0", {"cpm": "gone"}, AT)
    assert not denials.refuse_fields(engine, "act_2", "eu", "c1@v26.0", {"cpm": "gone"}, AT + timedelta(days=1))
    assert denials.refuse_fields(engine, "act_2", "eu", "c1@v26.0", {"cpc": "gone too"}, AT + timedelta(days=2))

    def refused(account_id: str, credential: str = "c1@v26.0", days: int = 2) -> list[str]:
        gates = denials.list_active(engine, account_id, AT + timedelta(days=days))
        return sorted(denials.select_fields(gates, account_id, "eu", credential))

    assert [refused("act_1"), refused("act_2"), refused("act_3")] == [["cpm"], ["cpc", "cpm"], []]
    assert [refused("act_1", days=7), refused("act_1", "c1@v27.0"), refused("act_1", "c2@v26.0")] == [[], [], []]
    assert len(denials.list_active(engine, "act_1", AT)) == 2
    denials.refuse_fields(engine, "act_3", "eu", "c1@v27.0", {"cpp": "new"}, AT)
    assert [refused("act_1"), refused("act_3", "c1@v27.0")] == [[], ["cpp"]]
    assert denials.lift(engine, ["act_3"]) == []
    assert denials.list_refused_fields(engine, AT) == []
    assert denials.lift(engine, ["act_1"]) == ["act_1"]
