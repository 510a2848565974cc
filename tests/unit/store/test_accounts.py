"""Accounts: the upstream takes precedence over what the access log suggests."""

import re
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from adwarm.foundation.errors import BadRequest, NotFound
from adwarm.model import Account
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, accounts, denials, write_transaction

ROOTS = [Path(__file__).parents[3] / name for name in ("include/adwarm", "plugins", "dags", "dev")]
AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
SEEN = Account("act_1", "Asia/Tokyo", "Asia/Tokyo", currency="")
TOLD = Account("act_1", "Europe/Rome", "Europe/Rome", "EUR", "main", "active")


def test_saving_replaces_everything_but_the_reader_zone(engine: Engine) -> None:
    """Zone, currency and connection come from the upstream; the reader zone stays."""
    _log(engine, act_1="Asia/Tokyo")
    assert accounts.get(engine, "act_1") == SEEN
    accounts.save(engine, [TOLD], AT)
    assert accounts.get(engine, "act_1") == Account("act_1", "Europe/Rome", "Asia/Tokyo", "EUR", "main", "active")


def _context(engine: Engine, folder: Path, **settings: Any) -> Context:
    return Context(engine, ObjectStore(str(folder)), Settings(home=folder, **settings))


def _log(engine: Engine, **zones: str) -> None:
    with write_transaction(engine) as connection:
        accounts.add_logged(connection, zones, "UTC", AT)


def test_a_name_or_an_open_replaces_nothing(engine: Engine, tmp_path: Path) -> None:
    """A stored account does not change when the log opens it, nor when somebody names it."""
    accounts.save(engine, [TOLD], AT)
    _log(engine, act_1="Asia/Tokyo")
    accounts.add_named(_context(engine, tmp_path), ["1"], AT)
    assert accounts.get(engine, "act_1") == TOLD


def test_somebody_names_an_account(engine: Engine, tmp_path: Path) -> None:
    """It exists from then on, in the default zone; a call with an id that is not valid adds none."""
    context = _context(engine, tmp_path, default_zone="Europe/Rome")
    accounts.add_named(context, ["act_7", "7"], AT)
    with pytest.raises(BadRequest, match="account id '/x'"):
        accounts.add_named(context, ["act_8", "/x"], AT)
    assert accounts.get_many(engine) == {"act_7": Account("act_7", "Europe/Rome", "Europe/Rome", currency="")}


@pytest.mark.parametrize(
    ("layout", "stored", "expected"),
    [
        ("fivetran", [], "act_12"),
        ("fivetran", ["act_12"], "act_12"),
        ("fivetran", ["12"], "12"),
        ("fivetran", ["12", "act_12"], "12"),
        ("ad_reporting", [], "12"),
        ("ad_reporting", ["act_12"], "act_12"),
        ("ad_reporting", ["12", "act_12"], "12"),
    ],
)
def test_bare_digits_are_the_stored_account(
    engine: Engine, tmp_path: Path, layout: str, stored: list[str], expected: str
) -> None:
    """An account of another platform may be called by digits; else they are those of Meta's where it is read."""
    context = _context(engine, tmp_path, source={"kind": "sql", "layout": layout})
    accounts.save(engine, [Account(name) for name in stored], AT)
    assert accounts.find_id(context, " 12 ") == expected
    assert accounts.find_id(context, expected) == expected
    assert accounts.find_id(context, "act_12") == "act_12"
    accounts.add_named(context, ["12"], AT)
    assert set(accounts.get_many(engine)) == {*stored, expected}
    assert [item.id for item in accounts.list_selected(context, ["12"], AT)] == [expected]


def test_only_three_causes_make_an_account() -> None:
    """One module writes accounts, for a list of a connection, its answer, a name that was given, or the user's log."""
    ways = {"save_listed", "save", "add_named", "add_logged"}
    makers = defaultdict[str, set[str]](set)
    for path in [path for root in ROOTS for path in root.rglob("*.py") if path.name != "accounts.py"]:
        text = path.read_text()
        assert not re.search(r"(insert|insert_new|upsert)\((\w+, )?account(_table)?[,)]", text), path
        for name in re.findall(r"\b(?:accounts|account_table)\.(\w+)\(|\b(add_named)\(", text):
            makers["".join(name)].add(path.stem)
    assert {name: makers[name] for name in ways} == {
        "save_listed": {"account_discovery"},
        "save": {"account_fetch"},
        "add_logged": {"run"},
        "add_named": {
            *("account_fetch", "backfill", "daily", "prefetch"),
            *("strategy_changes", "token", "warm_now"),
        },
    }


def test_many_accounts_are_read_in_several_queries(engine: Engine) -> None:
    """More ids than fit in one query are all returned; ids that are not stored are left out."""
    ids = [f"act_{n}" for n in range(1, 1_201)]
    accounts.save(engine, [Account(name) for name in ids], AT)
    assert list(accounts.get_many(engine, [*ids, "act_9999"])) == sorted(ids[:500]) + sorted(ids[500:1000]) + sorted(
        ids[1000:]
    )
    assert len(accounts.get_many(engine)) == 1_200
    assert accounts.get_many(engine, []) == {}


def test_a_denial_changes_no_other_value(engine: Engine) -> None:
    """A denied account keeps its zone, and is active again once a connection answers for it; no account is created."""
    accounts.save(engine, [TOLD], AT)
    denials.close_account(engine, "act_1", "x" * 900, AT)
    denials.close_account(engine, "act_2", "no", AT)
    found = accounts.get_many(engine)
    assert list(found) == ["act_1"]
    assert (found["act_1"].status, found["act_1"].data_zone) == ("denied", "Europe/Rome")
    accounts.save(engine, [TOLD], AT)
    assert accounts.get_many(engine) == {"act_1": TOLD}


def test_a_denial_expires_after_a_day(engine: Engine) -> None:
    """An account denied a day ago is active again; a closed one stays closed."""
    accounts.save(engine, [TOLD, Account("act_2", status="closed")], AT)
    denials.close_account(engine, "act_1", "no", AT)

    def stands(at: datetime) -> list[str]:
        return [account.status for account in accounts.list_as_of(engine, at).values()]

    assert stands(AT + timedelta(hours=23)) == ["denied", "closed"]
    assert stands(AT + timedelta(hours=24)) == ["active", "closed"]


def test_a_guessed_reader_zone_gives_way_to_the_data_zone(engine: Engine) -> None:
    """Where the log names no zone, the readers' zone is the default until the upstream reports the account's."""
    _log(engine, act_1="")
    assert accounts.get(engine, "act_1") == Account("act_1", "UTC", "UTC", currency="")
    accounts.save(engine, [TOLD], AT)
    assert accounts.get(engine, "act_1") == TOLD


def test_what_the_user_sets_outranks_the_upstream(engine: Engine, tmp_path: Path) -> None:
    """It survives what the upstream saves later, and clearing it shows the upstream's values again."""
    accounts.save(engine, [TOLD, Account("act_2")], AT)
    values = {"user_reader_zone": "Asia/Tokyo", "user_status": "closed", "user_connection": "mine"}
    accounts.set_by_user(engine, "act_1", {**values, "holiday_country": "JP"})
    accounts.save(engine, [TOLD], AT)
    expected = Account("act_1", "Europe/Rome", "Asia/Tokyo", "EUR", "mine", "closed")
    assert accounts.get(engine, "act_1") == accounts.list_as_of(engine, AT)["act_1"] == expected
    assert accounts.list_selected(_context(engine, tmp_path), [], AT) == [Account("act_2")]
    assert accounts.get_user_zones(engine) == {"act_1": "Asia/Tokyo"}
    assert accounts.get_holiday_countries(engine) == {"act_1": "JP"}
    record = accounts.list_records(engine, AT)["act_1"]
    assert (record.platform_status, record.platform_connection) == ("active", "main")
    assert "by hand" in record.account.status_reason
    accounts.set_by_user(engine, "act_1", dict.fromkeys(values))
    assert accounts.get(engine, "act_1") == TOLD


def test_only_stored_accounts_and_user_columns_can_be_set(engine: Engine) -> None:
    """The errors say what to do."""
    with pytest.raises(NotFound, match="accounts discover"):
        accounts.set_by_user(engine, "act_1", {"holiday_country": "DE"})
    accounts.save(engine, [TOLD], AT)
    with pytest.raises(BadRequest, match="status"):
        accounts.set_by_user(engine, "act_1", {"status": "closed"})


@pytest.mark.parametrize(("user", "within", "after"), [("active", "denied", "active"), ("closed", "closed", "closed")])
def test_a_denial_and_the_users_status(engine: Engine, user: str, within: str, after: str) -> None:
    """A denial outranks `active` for a day; `closed` outranks a denial, and outlives it."""
    accounts.save(engine, [TOLD], AT)
    accounts.set_by_user(engine, "act_1", {"user_status": user})
    denials.close_account(engine, "act_1", "no", AT)
    denials.record(engine, "act_1", "main", "token", "no", AT)
    later = AT + denials.DENIAL_PERIOD
    assert accounts.list_as_of(engine, AT)["act_1"].status == within
    assert accounts.list_as_of(engine, later)["act_1"].status == after
    records = [accounts.list_records(engine, at)["act_1"] for at in (AT, later)]
    assert [item.account.status for item in records] == [within, after]
    assert [item.denials for item in records] == [{"main": "token"}, {}]


def test_listing_a_denied_account_does_not_prolong_its_denial(engine: Engine) -> None:
    """Name and zone are stored; the denial ends when it would have ended."""
    accounts.save(engine, [TOLD], AT)
    denials.close_account(engine, "act_1", "no", AT)
    noon = AT + timedelta(hours=12)
    with write_transaction(engine) as connection:
        accounts.save_listed_denied(
            connection, [Account("act_1", "Asia/Tokyo", "Asia/Tokyo", "JPY", name="Shop")], noon
        )
    record = accounts.list_records(engine, noon)["act_1"]
    assert (record.account.status, record.account.data_zone, record.account.name) == ("denied", "Asia/Tokyo", "Shop")
    assert record.last_seen == noon
    assert accounts.list_as_of(engine, AT + timedelta(hours=24))["act_1"].status == "active"
