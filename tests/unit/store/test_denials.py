"""A denial belongs to an account and a credential, and counts for a day."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from adwarm.model import Account
from adwarm.store import accounts, denials

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
SOON = AT + timedelta(hours=23)


@pytest.fixture
def denied(engine: Engine) -> Engine:
    """Account 1 was denied to both connections, account 2 to one, account 3 to none."""
    accounts.save(engine, [Account(f"act_{number}") for number in (1, 2, 3)], AT)
    denials.record(engine, "act_1", "default", "a1", "no", AT)
    denials.record(engine, "act_1", "eu", "b1", "no" * 900, AT)
    denials.record(engine, "act_2", "default", "a1", "no", AT)
    accounts.set_status(engine, "act_1", "denied", "no", AT)
    return engine


def status(engine: Engine, account_id: str) -> str:
    """How the account stands."""
    found = accounts.get(engine, account_id)
    assert found is not None
    return found.status


def test_a_denial_counts_for_a_day(denied: Engine) -> None:
    """Each connection is held back by its own denial, for less than a day; an unknown account by none."""
    assert denials.find_active(denied, "act_1", SOON) == {"default": "a1", "eu": "b1"}
    assert denials.find_active(denied, "act_2", SOON) == {"default": "a1"}
    assert denials.find_active(denied, "act_3", SOON) == {}
    assert denials.find_active(denied, "act_9", SOON) == {}
    denials.record(denied, "act_2", "eu", "b1", "no", SOON)
    assert denials.find_active(denied, "act_2", AT + timedelta(days=1)) == {"eu": "b1"}


def test_the_newest_denial_of_a_connection_counts(denied: Engine) -> None:
    """A second denial takes the place of the first."""
    denials.record(denied, "act_2", "default", "a2", "no", SOON)
    assert denials.find_active(denied, "act_2", AT + timedelta(days=1)) == {"default": "a2"}


def test_what_is_told_anew_keeps_the_denials(denied: Engine) -> None:
    """The upstream's word through one connection is not about the others."""
    accounts.save(denied, [Account("act_2", connection="eu")], AT)
    assert denials.find_active(denied, "act_2", SOON) == {"default": "a1"}


def test_a_person_lifts_a_denial(denied: Engine) -> None:
    """Lifted, the account is active and held back by nothing; the others stay as they are."""
    assert denials.lift(denied, ["act_1", "act_3", "act_9"]) == ["act_1"]
    assert (status(denied, "act_1"), denials.find_active(denied, "act_1", SOON)) == ("active", {})
    assert denials.find_active(denied, "act_2", SOON) == {"default": "a1"}
    assert denials.lift(denied, ["act_1"]) == []


def test_a_denial_without_a_credential_is_lifted_too(engine: Engine) -> None:
    """An account that was marked before denials were kept is active again."""
    accounts.save(engine, [Account("act_1"), Account("act_2")], AT)
    accounts.set_status(engine, "act_1", "denied", "no", AT)
    accounts.set_status(engine, "act_2", "closed", "gone", AT)
    assert denials.lift(engine, ["act_1", "act_2"]) == ["act_1"]
    assert (status(engine, "act_1"), status(engine, "act_2")) == ("active", "closed")


def test_another_credential_lifts_what_the_old_one_was_refused(denied: Engine) -> None:
    """Only the denials of that connection go, and the accounts are asked about again."""
    assert denials.lift_outdated(denied, "default", "a1") == []
    assert denials.lift_outdated(denied, "other", "c1") == []
    assert status(denied, "act_1") == "denied"
    assert denials.lift_outdated(denied, "default", "a2") == ["act_1", "act_2"]
    assert denials.find_active(denied, "act_1", SOON) == {"eu": "b1"}
    assert denials.find_active(denied, "act_2", SOON) == {}
    assert status(denied, "act_1") == "active"
    assert denials.lift_outdated(denied, "default", "a2") == []
