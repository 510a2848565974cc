"""Parses the bodies of responses: pages of rows, the progress of async reports, accounts.

Pages follow the platform's rules: only a missing `next` ends a report, so an empty page in the middle loses nothing.
The URL in `next` may contain a token; it is neither called nor stored, and the next page is requested by its cursor.

An async report is ready only when its status is `Job Completed` at 100 %: a report may be at 100 % and still running.

Parses accounts: one by its id, or a page of a list, where a malformed account does not stop the others.

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
import math
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from adwarm.foundation.errors import AdwarmError, BadRequest, Corrupt, Denied, NotFound, TokenDead, Transient
from adwarm.foundation.local_time import zone
from adwarm.model import Account, normalize_account_id
from adwarm.sources.meta.graph_errors import CallContext, parse_error
from adwarm.sources.meta.transport import GraphResponse
from adwarm.sources.protocol import AsyncReportProgress, AsyncReportState
from adwarm.sources.row_check import MAX_CURRENCY, ROW_ERROR_CODE

_MAX_CURSOR = 4_000
_MAX_URL = 64_000


def parse_rows(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a response without fields that are null.

    Raises:
        Transient: the body has no list of rows.
    """
    rows = body.get("data")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Transient("Meta's response has no list of rows", code="no_data")
    return [_without_nulls(row) for row in rows]


def _without_nulls(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None} if None in row.values() else row


def next_cursor(body: dict[str, Any], before: str | None) -> str | None:
    """Return the cursor of the next page; None at the end.

    Raises:
        Transient: the body names a next page without a cursor, or with the cursor of the page just read: reading on
            would lose rows or never end.
    """
    paging = body.get("paging")
    if not isinstance(paging, dict) or not paging.get("next"):
        return None
    cursors = paging.get("cursors")
    after = cursors.get("after") if isinstance(cursors, dict) else None
    if not after:  # an empty page may come without cursors; its `next` still names one
        after = _cursor_in_url(paging["next"])
    if not isinstance(after, str) or after in {"", before} or len(after) > _MAX_CURSOR:
        raise Transient("Meta's response names a next page but no new cursor for it", code="no_cursor")
    return after


def _cursor_in_url(url: Any) -> str:
    if not isinstance(url, str) or len(url) > _MAX_URL:
        return ""
    try:
        return parse_qs(urlsplit(url).query).get("after", [""])[0]
    except ValueError:  # not a URL
        return ""


POLL_FIELDS = (
    "id,async_status,async_percent_completion,error_code,error_subcode,error_message,error_user_title,error_user_msg"
)
_STATES = {
    "Job Not Started": AsyncReportState.PENDING,
    "Job Started": AsyncReportState.PENDING,
    "Job Running": AsyncReportState.PENDING,
    "Job Completed": AsyncReportState.READY,
    "Job Failed": AsyncReportState.FAILED,
    "Job Skipped": AsyncReportState.EXPIRED,
}
_FULL_PERCENT = 100.0
_RUN_ID = re.compile(r"\d{1,32}", re.ASCII)
_MAX_RUN_ID = 40


def parse_run_id(body: Mapping[str, Any]) -> str:
    """Return the id of the report run that a submit started.

    Raises:
        Transient: the body names none.
    """
    run_id = body.get("report_run_id") or body.get("id")
    if (
        isinstance(run_id, bool)
        or not isinstance(run_id, str | int)
        or not _RUN_ID.fullmatch(str(run_id)[:_MAX_RUN_ID])
    ):
        raise Transient("Meta's response to a submit names no report run", code="no_run_id")
    return str(run_id)


def parse_progress(
    run: str, response: GraphResponse | AdwarmError, caller: CallContext, now: datetime
) -> AsyncReportProgress:
    """Return the progress of a report run.

    Args:
        caller: the scopes of the run's account, for the error of a failed run.
        now: the time relative to which parking times are stated.

    Raises:
        TokenDead: the token is no longer valid, so no poll can succeed.
    """
    if isinstance(response, TokenDead):
        raise response
    if isinstance(response, NotFound):
        return AsyncReportProgress(AsyncReportState.UNKNOWN, error=response)
    if isinstance(response, Denied):
        return AsyncReportProgress(AsyncReportState.FAILED, error=response)
    if isinstance(response, AdwarmError):
        return AsyncReportProgress(AsyncReportState.PENDING, error=response)
    body = response.body
    run_id = body.get("id")
    if run_id is not None and (not isinstance(run_id, str | int) or str(run_id) != run):
        foreign = Corrupt("id is that of another run; the response is refused", code="row")
        return AsyncReportProgress(AsyncReportState.PENDING, error=foreign)
    percent = _percent(body.get("async_percent_completion"))
    state = _STATES.get(_status(body), AsyncReportState.PENDING)
    if state is AsyncReportState.READY and percent < _FULL_PERCENT:
        state = AsyncReportState.PENDING
    error = _run_error(body, caller, now) if state in {AsyncReportState.FAILED, AsyncReportState.EXPIRED} else None
    return AsyncReportProgress(state, percent, error, response.usage)


def _run_error(body: Mapping[str, Any], caller: CallContext, now: datetime) -> AdwarmError:
    """Return why a run failed; a run without a reason (before v25.0, or skipped) may succeed the next time."""
    if body.get("error_code") is None:
        return Transient(f"Meta: {_status(body)[:40]} without a reason", code="report")
    fields = {
        "code": "error_code",
        "error_subcode": "error_subcode",
        "message": "error_message",
        "error_user_msg": "error_user_msg",
    }
    return parse_error({name: body.get(field) for name, field in fields.items()}, 200, caller, (), now)


def _status(body: Mapping[str, Any]) -> str:
    status = body.get("async_status")
    return status if isinstance(status, str) else ""


def _percent(value: Any) -> float:
    try:
        percent = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return min(_FULL_PERCENT, max(0.0, percent)) if math.isfinite(percent) else 0.0


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
