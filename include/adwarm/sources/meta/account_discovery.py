"""An account node of the graph as an `Account`; an answer about another account, or a malformed one, is refused."""

import logging
import re
from collections.abc import Mapping
from typing import Any

from adwarm.foundation.errors import BadRequest, Corrupt
from adwarm.foundation.local_time import zone
from adwarm.model import Account, normalize_account_id
from adwarm.sources.row_check import MAX_CURRENCY, ROW_ERROR_CODE

logger = logging.getLogger(__name__)
_CLOSED = (101, 202)
_MAX_ZONE = 64
_ID = re.compile(r"(?:act_)?\d{1,20}", re.ASCII)
_CURRENCY = re.compile(rf"[A-Za-z]{{1,{MAX_CURRENCY}}}", re.ASCII)


def parse_account(body: Mapping[str, Any], expected_id: str, connection: str) -> Account:
    """Return the account `asked` as `body` tells it; a zone that nobody knows counts as UTC.

    Raises:
        Corrupt: `body` is about another account, or zone or currency are malformed.
    """
    found = _id_in(body)
    if found != expected_id:
        raise _corrupt("account_id", f"is {found}, and {expected_id} was asked about")
    home, currency = body.get("timezone_name") or "UTC", body.get("currency") or "USD"
    if not isinstance(home, str) or len(home) > _MAX_ZONE:
        raise _corrupt("timezone_name", f"is not text of up to {_MAX_ZONE} characters")
    if not isinstance(currency, str) or not _CURRENCY.fullmatch(currency):
        raise _corrupt("currency", f"is not a code of up to {MAX_CURRENCY} letters")
    try:
        zone(home)
    except BadRequest:
        shown = repr(home) if "/" in home else "without a name such as Europe/Berlin"  # it might be anything
        logger.warning("%s has the unknown time zone %s; its days are counted in UTC", expected_id, shown)
        home = "UTC"
    status = "closed" if body.get("account_status") in _CLOSED else "active"
    return Account(expected_id, home, home, currency, connection, status)


def parse_listed_account(body: Mapping[str, Any], connection: str) -> Account:
    """Return an account of a list; otherwise as `account_of`."""
    return parse_account(body, _id_in(body), connection)


def _id_in(body: Mapping[str, Any]) -> str:
    """Return the one account that `id` and `account_id` name, whichever are there."""
    named = [body[name] for name in ("account_id", "id") if body.get(name) is not None]
    if not named:
        raise _corrupt("account_id", "is missing")
    if not all(isinstance(name, str) and _ID.fullmatch(name) for name in named):
        raise _corrupt("account_id", "is no account id")
    first, *others = (normalize_account_id(name) for name in named)
    if any(other != first for other in others):
        raise _corrupt("id", f"is {others[0]}, and account_id is {first}")
    return first


def _corrupt(field: str, fault: str) -> Corrupt:
    return Corrupt(f"{field} {fault}; the account's answer is refused, nothing of it is kept", code=ROW_ERROR_CODE)
