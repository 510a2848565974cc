"""Accounts: the upstream takes precedence over what the access log suggests."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from adwarm.model import Account
from adwarm.store import accounts

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
SEEN = Account("act_1", "Asia/Tokyo", "Asia/Tokyo", currency="")
TOLD = Account("act_1", "Europe/Rome", "Europe/Rome", "EUR", "main", "active")


def test_saving_replaces_everything_but_the_reader_zone(engine: Engine) -> None:
    """Zone, currency and connection come from the upstream; the reader zone stays."""
    accounts.insert_discovered(engine, [SEEN], AT)
    assert accounts.get(engine, "act_1") == SEEN
    accounts.save(engine, [TOLD], AT)
    assert accounts.get(engine, "act_1") == Account("act_1", "Europe/Rome", "Asia/Tokyo", "EUR", "main", "active")


def test_a_discovered_account_replaces_nothing(engine: Engine) -> None:
    """A stored account does not change when the log names it."""
    accounts.save(engine, [TOLD], AT)
    accounts.insert_discovered(engine, [SEEN], AT)
    assert accounts.get(engine, "act_1") == TOLD


def test_many_accounts_are_read_in_several_queries(engine: Engine) -> None:
    """More ids than fit in one query are all returned; ids that are not stored are left out."""
    ids = [f"act_{n}" for n in range(1, 1_201)]
    accounts.save(engine, [Account(name) for name in ids], AT)
    assert list(accounts.get_many(engine, [*ids, "act_9999"])) == sorted(ids[:500]) + sorted(ids[500:1000]) + sorted(
        ids[1000:]
    )
    assert len(accounts.get_many(engine)) == 1_200
    assert accounts.get_many(engine, []) == {}


def test_the_status_can_be_set(engine: Engine) -> None:
    """A denied account keeps its zone; an id that is not stored changes nothing."""
    accounts.save(engine, [TOLD], AT)
    accounts.set_status(engine, "act_1", "denied", "x" * 900, AT)
    accounts.set_status(engine, "act_2", "denied", "no", AT)
    found = accounts.get_many(engine)
    assert list(found) == ["act_1"]
    assert (found["act_1"].status, found["act_1"].data_zone) == ("denied", "Europe/Rome")


def test_a_denial_expires_after_a_day(engine: Engine) -> None:
    """An account denied a day ago is active again; a closed one stays closed."""
    accounts.save(engine, [TOLD, Account("act_2")], AT)
    accounts.set_status(engine, "act_1", "denied", "no", AT)
    accounts.set_status(engine, "act_2", "closed", "gone", AT)

    def stands(at: datetime) -> list[str]:
        return [account.status for account in accounts.list_as_of(engine, at).values()]

    assert stands(AT + timedelta(hours=23)) == ["denied", "closed"]
    assert stands(AT + timedelta(hours=24)) == ["active", "closed"]
