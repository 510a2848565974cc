"""Parses accounts: one by its id, or a page of a list, where a malformed account does not stop the others.

| `account_status`          | status | why                                                                       |
|---------------------------|--------|---------------------------------------------------------------------------|
| 1, 201                    | active | delivers ads                                                              |
| 8, 9                      | active | delivers ads while a payment is settled, or in its grace period           |
| 2, 3, 7, 100              | active | delivers none, but its last days are still restated and it may come back  |
| 101, 202                  | closed | will deliver none again; its data can still be read when a reader asks    |
| any other, or none        | active | unknown to this version                                                   |

A response about another account than the requested one is refused as a whole.
"""

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any

from adwarm.foundation.errors import BadRequest, Corrupt
from adwarm.foundation.local_time import zone
from adwarm.model import Account, normalize_account_id
from adwarm.sources.row_check import MAX_CURRENCY, ROW_ERROR_CODE

logger = logging.getLogger(__name__)
_CLOSED = frozenset({101, 202})
STATUS_REASONS: Mapping[int, str] = {
    1: "",
    2: "disabled by the platform; it delivers no ads",
    3: "unsettled: a payment is due, and it delivers no ads",
    7: "in a risk review; it delivers no ads",
    8: "a settlement is pending",
    9: "in a grace period after a failed payment",
    100: "is about to be closed",
    101: "closed at the platform",
    201: "",
    202: "closed at the platform",
}
"""What the platform's `account_status` means, in words; empty for an account that simply delivers."""
_MAX_ZONE = 64
_MAX_NAME = 255
_ID = re.compile(r"(?:act_)?\d{1,20}", re.ASCII)
_CURRENCY = re.compile(rf"[A-Za-z]{{1,{MAX_CURRENCY}}}", re.ASCII)


def parse_account(body: Mapping[str, Any], expected_id: str, connection: str) -> Account:
    """Return the account `expected_id` from `body`; an unknown time zone counts as UTC.

    Raises:
        Corrupt: `body` is about another account, or zone or currency are malformed.
    """
    account_id = _account_id(body)
    if account_id != expected_id:
        raise _corrupt_account("account_id", f"is {account_id}, and {expected_id} was asked about")
    account, problem = _parse(body, account_id, connection)
    if problem:
        logger.warning("%s", problem)
    return account


def parse_account_list(
    items: Iterable[Mapping[str, Any]], connection: str
) -> tuple[tuple[Account, ...], tuple[str, ...]]:
    """Return the accounts of a page, each once, and what is wrong with those that are left out or not as expected."""
    accounts: dict[str, Account] = {}
    problems: list[str] = []
    for item in items:
        try:
            account_id = _account_id(item)
            account, problem = _parse(item, account_id, connection)
        except Corrupt as error:
            problems.append(f"an account is left out: {error}")
            continue
        accounts[account_id] = account
        problems += [problem] if problem else []
    return tuple(accounts.values()), tuple(problems)


def _parse(body: Mapping[str, Any], account_id: str, connection: str) -> tuple[Account, str]:
    """Return the account, and what had to be assumed about it."""
    time_zone, currency = body.get("timezone_name") or "", body.get("currency") or "USD"
    if not isinstance(time_zone, str) or len(time_zone) > _MAX_ZONE:
        raise _corrupt_account("timezone_name", f"of {account_id} is not text of up to {_MAX_ZONE} characters")
    if not isinstance(currency, str) or not _CURRENCY.fullmatch(currency):
        raise _corrupt_account("currency", f"of {account_id} is not a code of up to {MAX_CURRENCY} letters")
    problem = ""
    try:
        zone(time_zone or "-")
    except BadRequest:
        problem, time_zone = _describe_zone(account_id, time_zone), "UTC"
    code = body.get("account_status")
    status = "closed" if isinstance(code, int) and code in _CLOSED else "active"
    reason = _status_reason(code)
    return Account(
        id=account_id,
        data_zone=time_zone,
        reader_zone=time_zone,
        currency=currency,
        connection=connection,
        status=status,
        name=_name(body),
        status_reason=reason,
    ), problem


def _describe_zone(account_id: str, time_zone: str) -> str:
    if not time_zone:
        return f"{account_id} has no time zone; its days are counted in UTC"
    shown = repr(time_zone) if "/" in time_zone else "without a name such as Europe/Berlin"  # it might be anything
    return f"{account_id} has the unknown time zone {shown}; its days are counted in UTC"


def _status_reason(code: Any) -> str:
    if code is None:
        return ""
    if not isinstance(code, int) or isinstance(code, bool):
        return "the platform gives a status that is not a number"
    return STATUS_REASONS.get(code, f"the platform gives the status {code}, which this version does not know")


def _name(body: Mapping[str, Any]) -> str:
    """Return the account's name as one printable line."""
    name = body.get("name")
    if not isinstance(name, str):
        return ""
    return " ".join("".join(character if character.isprintable() else " " for character in name).split())[:_MAX_NAME]


def _account_id(body: Mapping[str, Any]) -> str:
    """Return the account in `id` and `account_id`; both must agree if both are present."""
    ids = [body[name] for name in ("account_id", "id") if body.get(name) is not None]
    if not ids:
        raise _corrupt_account("account_id", "is missing")
    if not all(isinstance(name, str) and _ID.fullmatch(name) for name in ids):
        raise _corrupt_account("account_id", "is not an account id")
    first, *others = (normalize_account_id(name) for name in ids)
    if any(other != first for other in others):
        raise _corrupt_account("id", f"is {others[0]}, and account_id is {first}")
    return first


def _corrupt_account(field: str, fault: str) -> Corrupt:
    return Corrupt(f"{field} {fault}; the account's response is refused, nothing of it is kept", code=ROW_ERROR_CODE)
