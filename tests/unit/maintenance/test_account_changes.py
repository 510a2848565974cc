"""What becomes of a listed account, given what is stored and which connections were read."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from adwarm.foundation.errors import BadRequest, TokenDead
from adwarm.maintenance.account_changes import (
    AccountChange,
    AccountList,
    ChangeKind,
    compare_lists,
    decide_changes,
    describe_error,
)
from adwarm.model import Account, AccountRecord

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
ROME = Account("act_1", "Europe/Rome", "Europe/Rome", "EUR", "a", name="Shop")


def listing(name: str, *accounts: Account, error: BadRequest | TokenDead | None = None) -> AccountList:
    """Return what a connection lists."""
    found = {account.id: replace(account, connection=name) for account in accounts}
    return AccountList(name, f"token of {name}", found, error=error)


def record(account: Account, **values: object) -> AccountRecord:
    """Return a stored account as discovery wrote it."""
    plain = AccountRecord(account, account.status, account.status_reason, account.connection, NOW, NOW)
    return replace(plain, **values)  # type: ignore[arg-type]


def decide(stored: AccountRecord | None, *lists: AccountList) -> AccountChange:
    """Return what becomes of act_1."""
    (change,) = decide_changes(lists, {} if stored is None else {"act_1": stored})
    return change


def test_new_changed_and_unchanged() -> None:
    """A changed account names each changed field with both values."""
    assert decide(None, listing("a", ROME)) == AccountChange(ChangeKind.NEW, ROME)
    assert decide(record(ROME), listing("a", ROME)).kind is ChangeKind.UNCHANGED
    renamed = replace(ROME, name="Shop 2", status="closed", status_reason="closed at the platform")
    change = decide(record(ROME), listing("a", renamed))
    assert change.kind is ChangeKind.CHANGED
    assert change.changes == {
        "name": ("Shop", "Shop 2"),
        "status": ("active", "closed"),
        "status_reason": ("", "closed at the platform"),
    }


def test_what_the_user_has_set_is_no_change() -> None:
    """Zone, status and connection of the user are not compared with the platform's."""
    used = replace(ROME, reader_zone="Asia/Tokyo", status="closed", connection="mine")
    stored = AccountRecord(used, "active", "", "a", NOW, NOW, "Asia/Tokyo", "closed", "mine", "DE")
    assert decide(stored, listing("a", ROME)).kind is ChangeKind.UNCHANGED


@pytest.mark.parametrize(
    ("present", "lists", "expected"),
    [
        ("b", [listing("a", ROME), listing("b", ROME)], "b"),
        ("b", [listing("a", ROME), listing("b")], "a"),
        ("b", [listing("a", ROME), listing("b", error=TokenDead("dead"))], "b"),
        ("old", [listing("a", ROME), listing("b", ROME)], "a"),
        ("facebook_eu", [listing("default", ROME)], "facebook_eu"),
        ("default", [listing("facebook_eu", ROME)], "facebook_eu"),
    ],
)
def test_the_connection_of_an_account(present: str, lists: list[AccountList], expected: str) -> None:
    """An account keeps its connection while that lists it or could not be read; the settings take none from a name."""
    assert decide(record(replace(ROME, connection=present)), *lists).account.connection == expected


def test_a_denied_account() -> None:
    """A denied account stays denied while only denied connections list it, and moves to one that was not denied."""
    denied = record(replace(ROME, status="denied"), denials={"a": "token of a"})
    assert decide(denied, listing("a", ROME)).kind is ChangeKind.DENIED
    moved = decide(denied, listing("a", ROME), listing("b", ROME))
    assert (moved.kind, moved.account.connection, moved.account.status) == (ChangeKind.CHANGED, "b", "active")
    renewed = replace(denied, denials={"a": "an older token"})
    assert decide(renewed, listing("a", ROME)).account.status == "active"
    unknown = replace(denied, denials={})
    assert decide(unknown, listing("a", ROME)).kind is ChangeKind.DENIED


def test_accounts_that_are_no_longer_listed() -> None:
    """They are named by the connection that listed them; closed ones, never listed ones and unread lists are not."""
    stored = {
        "act_1": record(ROME),
        "act_2": record(replace(ROME, id="act_2", status="closed")),
        "act_3": record(replace(ROME, id="act_3"), last_seen=None),
        "act_4": record(replace(ROME, id="act_4", connection="b")),
    }
    result = compare_lists([listing("a"), listing("b", error=TokenDead("dead"))], stored)
    assert [item.gone for item in result.connections] == [("act_1",), ()]
    assert [item.error for item in result.connections] == ["", "dead"]
    assert result.to_dict()["a"] == {
        "listed": 0,
        "new": 0,
        "changed": 0,
        "unchanged": 0,
        "denied": 0,
        "error": "",
        "gone": 1,
    }


def test_a_missing_permission_says_what_to_give() -> None:
    """The platform's codes for a missing permission get advice; other errors keep their own."""
    assert "ads_read" in describe_error(BadRequest("Permission Denied", code="10"))
    assert "ads_read" in describe_error(BadRequest("no", code="200/33"))
    assert describe_error(BadRequest("bad field", code="100")) == "bad field"
