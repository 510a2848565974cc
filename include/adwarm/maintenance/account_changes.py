"""Compares the accounts that connections list with the stored ones: pure, over values.

| a listed account                                           | becomes                                            |
|------------------------------------------------------------|----------------------------------------------------|
| is not stored                                              | `new`                                              |
| is stored with other values                                | `changed`; what the user has set stays             |
| was denied, under a day ago, to each connection listing it | `denied`; only name, zone and currency are stored  |
| otherwise                                                  | `unchanged`                                        |

An account that several connections list keeps the one it has, unless that one was denied and another was not. An
account that is no longer listed stays as it is, because a list may be short for a day.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from adwarm.foundation.errors import AdwarmError, BadRequest
from adwarm.model import Account, AccountRecord

_SETTINGS_CONNECTIONS = frozenset({"", "default"})
"""Names of the source in the settings; an account of a named connection is not moved to it."""
_PERMISSION_CODES = frozenset({"10", *map(str, range(200, 300))})


class ChangeKind(StrEnum):
    """What discovery found out about an account."""

    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class AccountChange:
    """A listed account against what is stored.

    Attributes:
        changes: stored and new value by field; empty for a new account.
    """

    kind: ChangeKind
    account: Account
    changes: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class AccountList:
    """The accounts that one connection lists.

    Attributes:
        credential: digest of the credential; empty where none is needed.
        accounts: by id.
        problems: accounts that were left out, and values that were replaced.
        error: why the list is not complete; None when it is.
        is_cut: whether reading stopped because the time was up.
        version: the version of the platform's API that was called; empty where there is none.
    """

    connection: str
    credential: str = ""
    accounts: dict[str, Account] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    error: AdwarmError | None = None
    is_cut: bool = False
    version: str = ""


@dataclass(frozen=True)
class ConnectionResult:
    """The accounts of one connection in numbers.

    Attributes:
        gone: accounts that the connection listed before and that none lists now.
        error: why the list is not complete; empty when it is.
    """

    connection: str
    listed: int
    new: int
    changed: int
    unchanged: int
    denied: int
    gone: tuple[str, ...]
    problems: tuple[str, ...]
    error: str

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class DiscoveryResult:
    """The result of a discovery.

    Attributes:
        connections: the numbers of each connection.
        changes: every listed account, by id.
        errors: why connections could not be listed, by name.
    """

    connections: tuple[ConnectionResult, ...]
    changes: tuple[AccountChange, ...]
    errors: dict[str, AdwarmError]

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers by connection as JSON values, small enough for an XCom."""
        names = ("listed", "new", "changed", "unchanged", "denied", "error")
        return {
            item.connection: {**{name: getattr(item, name) for name in names}, "gone": len(item.gone)}
            for item in self.connections
        }

    def of_kind(self, *kinds: ChangeKind) -> list[Account]:
        """Return the accounts that ended as one of `kinds`."""
        return [item.account for item in self.changes if item.kind in kinds]


def compare_lists(lists: Sequence[AccountList], stored: Mapping[str, AccountRecord]) -> DiscoveryResult:
    """Return what becomes of each listed account, and the numbers of each connection."""
    changes = decide_changes(lists, stored)
    kinds = {item.account.id: item.kind for item in changes}
    return DiscoveryResult(
        tuple(_summarize(item, stored, kinds) for item in lists),
        tuple(changes),
        {item.connection: item.error for item in lists if item.error is not None},
    )


def decide_changes(lists: Sequence[AccountList], stored: Mapping[str, AccountRecord]) -> list[AccountChange]:
    """Return what becomes of each listed account, by id; see the table above."""
    by_id: dict[str, dict[str, Account]] = {}
    for item in lists:
        for account in item.accounts.values():
            by_id.setdefault(account.id, {})[item.connection] = account
    credentials = {item.connection: item.credential for item in lists}
    unread = {item.connection for item in lists if item.error is not None or item.is_cut}
    return [_decide(listed, stored.get(name), credentials, unread) for name, listed in sorted(by_id.items())]


def describe_error(error: AdwarmError) -> str:
    """Return the error of a list of accounts, with what to do about a missing permission."""
    if isinstance(error, BadRequest) and (error.code or "").partition("/")[0] in _PERMISSION_CODES:
        return f"{error}; the token may not list ad accounts: give it ads_read, and assign the accounts to its user"
    return str(error)


def _decide(
    listed: Mapping[str, Account], record: AccountRecord | None, credentials: Mapping[str, str], unread: set[str]
) -> AccountChange:
    if record is None:
        name, account = next(iter(listed.items()))
        return AccountChange(ChangeKind.NEW, replace(account, connection=name))
    allowed = [name for name in listed if record.denials.get(name) != credentials[name]]
    name = _choose_connection(allowed or list(listed), record, credentials, unread)
    account = replace(listed.get(name) or next(iter(listed.values())), connection=name)
    if record.platform_status == "denied" and not (record.denials and allowed):
        return AccountChange(ChangeKind.DENIED, account)
    changes = _compare(record, account)
    return AccountChange(ChangeKind.CHANGED if changes else ChangeKind.UNCHANGED, account, changes)


def _choose_connection(
    names: Sequence[str], record: AccountRecord, credentials: Mapping[str, str], unread: set[str]
) -> str:
    """Return the connection that is to read a stored account."""
    present = record.platform_connection
    if present in names or (present in unread and present not in record.denials):
        return present
    is_named_elsewhere = present not in credentials and present not in _SETTINGS_CONNECTIONS
    return present if is_named_elsewhere and set(names) <= _SETTINGS_CONNECTIONS else names[0]


def _compare(record: AccountRecord, account: Account) -> dict[str, tuple[str, str]]:
    before = record.account
    pairs = {
        "name": (before.name, account.name),
        "data_zone": (before.data_zone, account.data_zone),
        "currency": (before.currency, account.currency),
        "connection": (record.platform_connection, account.connection),
        "status": (record.platform_status, account.status),
        "status_reason": (record.platform_reason, account.status_reason),
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _summarize(
    item: AccountList, stored: Mapping[str, AccountRecord], kinds: Mapping[str, ChangeKind]
) -> ConnectionResult:
    counts = {str(kind): sum(kinds[name] is kind for name in item.accounts) for kind in ChangeKind}
    return ConnectionResult(
        item.connection,
        len(item.accounts),
        **counts,
        gone=_find_gone(item, stored, kinds),
        problems=item.problems,
        error=describe_error(item.error) if item.error else "",
    )


def _find_gone(
    item: AccountList, stored: Mapping[str, AccountRecord], listed: Mapping[str, ChangeKind]
) -> tuple[str, ...]:
    """Return the accounts, closed ones excepted, that the connection has listed before and that none lists now."""
    if item.error is not None or item.is_cut:
        return ()
    return tuple(
        name
        for name, record in stored.items()
        if record.last_seen is not None
        and record.platform_connection == item.connection
        and record.account.status != "closed"
        and name not in listed
    )
