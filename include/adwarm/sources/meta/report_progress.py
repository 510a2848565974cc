"""Parses the progress of async reports.

A report is ready only when its status is `Job Completed` at 100 %: one may be at 100 % and still running.
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
