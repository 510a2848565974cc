"""What a poll says of a report run, in the words of `sources.protocol`.

A run is ready only when it says `Job Completed` at 100 %: a run that is at 100 % and still running is still running.
"""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from adwarm.foundation.errors import AdwarmError, Corrupt, Denied, NotFound, TokenDead, Transient
from adwarm.sources.meta.graph_errors import CallContext, parse_error
from adwarm.sources.meta.transport import GraphResponse
from adwarm.sources.protocol import AsyncReportProgress, AsyncReportState

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
