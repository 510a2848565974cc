"""What the upstream says of an account beats what the log lets us guess."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from adwarm.model import Account
from adwarm.store import accounts

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
SEEN = Account("act_1", "Asia/Tokyo", "Asia/Tokyo", currency="")
TOLD = Account("act_1", "Europe/Rome", "Europe/Rome", "EUR", "main", "active")


def test_the_upstreams_word_wins_but_readers_live_where_they_live(engine: Engine) -> None:
    """Zone, currency and connection are the upstream's; the reader zone stays the log's."""
    accounts.insert_discovered(engine, [SEEN], AT)
    assert accounts.get(engine, "act_1") == SEEN
    accounts.save(engine, [TOLD], AT)
    assert accounts.get(engine, "act_1") == Account("act_1", "Europe/Rome", "Asia/Tokyo", "EUR", "main", "active")


def test_the_log_does_not_overrule_what_is_known(engine: Engine) -> None:
    """A discovered account that is known stays as it is."""
    accounts.save(engine, [TOLD], AT)
    accounts.insert_discovered(engine, [SEEN], AT)
    assert accounts.get(engine, "act_1") == TOLD


def test_many_accounts_are_found_in_parts(engine: Engine) -> None:
    """More ids than one query takes are found all the same; unknown ones are left out."""
    ids = [f"act_{n}" for n in range(1, 1_201)]
    accounts.save(engine, [Account(name) for name in ids], AT)
    assert list(accounts.get_many(engine, [*ids, "act_9999"])) == sorted(ids[:500]) + sorted(ids[500:1000]) + sorted(
        ids[1000:]
    )
    assert len(accounts.get_many(engine)) == 1_200
    assert accounts.get_many(engine, []) == {}


def test_standing_can_be_set(engine: Engine) -> None:
    """A denied account keeps its zone; marking an unknown one changes nothing."""
    accounts.save(engine, [TOLD], AT)
    accounts.set_status(engine, "act_1", "denied", "x" * 900, AT)
    accounts.set_status(engine, "act_2", "denied", "no", AT)
    found = accounts.get_many(engine)
    assert list(found) == ["act_1"]
    assert (found["act_1"].status, found["act_1"].data_zone) == ("denied", "Europe/Rome")


def test_a_denial_counts_for_a_day(engine: Engine) -> None:
    """An account denied a day ago stands as active, so that it is asked about again; a closed one stays closed."""
    accounts.save(engine, [TOLD, Account("act_2")], AT)
    accounts.set_status(engine, "act_1", "denied", "no", AT)
    accounts.set_status(engine, "act_2", "closed", "gone", AT)

    def stands(at: datetime) -> list[str]:
        return [account.status for account in accounts.list_as_of(engine, at).values()]

    assert stands(AT + timedelta(hours=23)) == ["denied", "closed"]
    assert stands(AT + timedelta(hours=24)) == ["active", "closed"]
