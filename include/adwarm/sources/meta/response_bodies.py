"""Pages in the platform's manner: only a missing `next` ends a report, and `next` itself is never followed.

So an empty page in the middle loses nothing, and an address that may hold a token is neither called nor kept: the next
page is asked for by the cursor of the same answer.
"""

import logging
import math
import re
from collections.abc import Mapping
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
_MAX_ADDRESS = 64_000


def parse_rows(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of an answer; a field without a value is as one that is not there.

    Raises:
        Transient: it has no list of rows.
    """
    rows = body.get("data")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Transient("Meta's answer has no list of rows", code="no_data")
    return [_stated(row) for row in rows]


def _stated(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None} if None in row.values() else row


def next_cursor(body: dict[str, Any], before: str | None) -> str | None:
    """Return the cursor of the next page when the answer says that there is one.

    Raises:
        Transient: the answer names a next page but no way to it, or the page just read: reading on would lose rows
            or never end.
    """
    paging = body.get("paging")
    if not isinstance(paging, dict) or not paging.get("next"):
        return None
    cursors = paging.get("cursors")
    after = cursors.get("after") if isinstance(cursors, dict) else None
    if not after:  # an empty page may come without cursors; its `next` still names one
        after = _after_in(paging["next"])
    if not isinstance(after, str) or after in {"", before} or len(after) > _MAX_CURSOR:
        raise Transient("Meta's answer names a next page but no new cursor for it", code="no_cursor")
    return after


def _after_in(address: Any) -> str:
    if not isinstance(address, str) or len(address) > _MAX_ADDRESS:
        return ""
    try:
        return parse_qs(urlsplit(address).query).get("after", [""])[0]
    except ValueError:  # no address at all
        return ""


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
_FULL = 100.0
_RUN = re.compile(r"\d{1,32}", re.ASCII)
_LONGEST = 40


def parse_run_id(body: Mapping[str, Any]) -> str:
    """Return the id of the run that a submit started.

    Raises:
        Transient: the answer names none.
    """
    found = body.get("report_run_id") or body.get("id")
    if isinstance(found, bool) or not isinstance(found, str | int) or not _RUN.fullmatch(str(found)[:_LONGEST]):
        raise Transient("Meta's answer to a submit names no report run", code="no_run_id")
    return str(found)


def parse_progress(
    run: str, answer: GraphResponse | AdwarmError, caller: CallContext, now: datetime
) -> AsyncReportProgress:
    """Return where a run stands.

    Args:
        run: id of the run that was asked about.
        answer: what the poll got, or why it got nothing.
        caller: the scopes of the run's account, for the error of a failed run.
        now: the moment by which a parking time is stated.

    Raises:
        TokenDead: nothing will be learned with this token any more.
    """
    if isinstance(answer, TokenDead):
        raise answer
    if isinstance(answer, NotFound):
        return AsyncReportProgress(AsyncReportState.UNKNOWN, error=answer)
    if isinstance(answer, Denied):
        return AsyncReportProgress(AsyncReportState.FAILED, error=answer)
    if isinstance(answer, AdwarmError):
        return AsyncReportProgress(AsyncReportState.PENDING, error=answer)
    body = answer.body
    told = body.get("id")
    if told is not None and (not isinstance(told, str | int) or str(told) != run):
        error = Corrupt("id is that of another run; the answer is refused", code="row")
        return AsyncReportProgress(AsyncReportState.PENDING, error=error)
    percent = _percent(body.get("async_percent_completion"))
    state = _STATES.get(_status(body), AsyncReportState.PENDING)
    if state is AsyncReportState.READY and percent < _FULL:
        state = AsyncReportState.PENDING
    failed = _failure(body, caller, now) if state in {AsyncReportState.FAILED, AsyncReportState.EXPIRED} else None
    return AsyncReportProgress(state, percent, failed, answer.usage)


def _failure(body: Mapping[str, Any], caller: CallContext, now: datetime) -> AdwarmError:
    """Return why a run ended badly; one that does not say (as before v25.0, or skipped) may go well the next time."""
    if body.get("error_code") is None:
        return Transient(f"Meta: {_status(body)[:40]} without a reason", code="report")
    named = {
        "code": "error_code",
        "error_subcode": "error_subcode",
        "message": "error_message",
        "error_user_msg": "error_user_msg",
    }
    return parse_error({name: body.get(there) for name, there in named.items()}, 200, caller, (), now)


def _status(body: Mapping[str, Any]) -> str:
    status = body.get("async_status")
    return status if isinstance(status, str) else ""


def _percent(value: Any) -> float:
    try:
        percent = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return min(_FULL, max(0.0, percent)) if math.isfinite(percent) else 0.0
