"""Routes by which a caller requests reports, or says that data has arrived."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Path, Response
from fastapi.concurrency import run_in_threadpool

from adwarm.backpressure import TokenLimits
from adwarm.foundation.redaction import redact
from adwarm.model import Priority, ReportKey
from adwarm.planning.arrival_notice import Reporter, notify_data
from adwarm.serving.api.errors import problems, text_header
from adwarm.serving.api.guard import EnqueueToken, ReadToken, Services
from adwarm.serving.api.models import ArrivalState, NewArrival, NewRequest, NewRequestState, RequestState
from adwarm.serving.problems import Problem, retry_headers
from adwarm.serving.reader import ReadStatus
from adwarm.serving.services import ServingServices
from adwarm.serving.tokens import check_account, check_key, cut_priority
from adwarm.store.requests import QueuedRequest, RequestStatus, to_datetime

router = APIRouter(tags=["requests"])
_POLL_SECONDS = 2.0
_LARGEST_ID = 2**63 - 1
_LOCATION = {"Location": text_header("Path of the report or of the request.")}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds after which to ask again.", "schema": {"type": "integer"}}}


def report_path(key: ReportKey) -> str:
    """Return the path and query of a report."""
    path = f"/v1/insights/{quote(key.account_id)}/{quote(key.date_range)}"
    return path if key.report == "default" else f"{path}?report={quote(key.report)}"


def request_path(request_id: int) -> str:
    """Return the path of a queued request."""
    return f"/v1/requests/{request_id}"


def unknown_request() -> Problem:
    """Return the problem of an unknown request, and of one whose account the token may not read: the same for both."""
    return Problem(404, "Not Found", "there is no such request, or this token may not read its account")


@router.get(
    "/requests/{request_id}",
    summary="A queued request",
    operation_id="get_request",
    responses={200: {"headers": {**_RETRY_AFTER, **_LOCATION}}, **problems(400, 404)},
)
def get_request(
    token: ReadToken,
    services: Services,
    request_id: Annotated[int, Path(ge=1, le=_LARGEST_ID, description="Id of the request.")],
    response: Response,
) -> RequestState:
    """Poll it: `Retry-After` says when while it is open, `Location` where the report is once it is completed."""
    queued = services.queue.find(request_id)
    if queued is None or not token.may_read(queued.key.account_id):
        raise unknown_request()
    state = _request_state(services, queued)
    if not queued.status.is_final:
        wait = 0.0 if queued.not_before is None else queued.not_before - services.clock.now().timestamp()
        response.headers.update(retry_headers(max(_POLL_SECONDS, wait)))
    elif queued.status is RequestStatus.COMPLETED:
        response.headers["Location"] = state.report_url
    return state


def _request_state(services: ServingServices, queued: QueuedRequest) -> RequestState:
    is_pending = queued.status is RequestStatus.PENDING
    return RequestState(
        id=queued.id,
        account=queued.key.account_id,
        range=queued.key.date_range,
        report=queued.key.report,
        status=queued.status.value,
        priority=queued.priority.name.lower(),
        position=services.queue.find_position(queued.id) if is_pending else None,
        attempts=queued.attempts,
        enqueued_at=to_datetime(queued.enqueued_at),
        deadline=to_datetime(queued.deadline),
        not_before=None if queued.not_before is None else to_datetime(queued.not_before),
        finished_at=None if queued.finished_at is None else to_datetime(queued.finished_at),
        error=None if queued.error is None else redact(queued.error),
        error_kind=queued.error_kind,
        report_url=report_path(queued.key),
    )


@router.post(
    "/requests",
    status_code=202,
    summary="Request a report without waiting",
    operation_id="request_report",
    responses={
        200: {"description": "It is fresh already.", "model": NewRequestState, "headers": _LOCATION},
        202: {"description": "It was queued.", "headers": {**_LOCATION, **_RETRY_AFTER}},
        **problems(400, 404, 413),
    },
)
async def request_report(
    token: EnqueueToken, services: Services, body: NewRequest, response: Response
) -> NewRequestState:
    """Queue a request, or join an equal one. A report that is fresh is not requested."""
    key = await run_in_threadpool(lambda: check_key(services.context, token, body.account, body.range, body.report))
    stored = await run_in_threadpool(services.reader.read, key, record_traffic=False)
    if stored.status is ReadStatus.HIT:
        return _fresh(key, response)
    priority = cut_priority(token, Priority.parse(body.priority))
    outcome = await services.misses.fetch(key, token, priority, 0.0)
    if outcome.is_stored:
        return _fresh(key, response)
    if outcome.request_id is None:
        detail = redact(outcome.reason or "the report cannot be requested now")
        raise Problem(503, "Service Unavailable", detail, retry_headers(outcome.retry_after))
    location = request_path(outcome.request_id)
    response.headers.update({"Location": location, **retry_headers(outcome.retry_after)})
    return NewRequestState(
        status="queued",
        request_id=outcome.request_id,
        location=location,
        retry_after=outcome.retry_after,
        reason=outcome.reason or stored.reason,
    )


def _fresh(key: ReportKey, response: Response) -> NewRequestState:
    response.status_code, response.headers["Location"] = 200, report_path(key)
    return NewRequestState(status="fresh", location=report_path(key))


@router.post(
    "/data-arrived",
    summary="Say that data has arrived",
    operation_id="report_data_arrival",
    responses=problems(400, 404, 413),
)
def report_data_arrival(token: EnqueueToken, services: Services, body: NewArrival) -> ArrivalState:
    """Mark days of an account as restated: reports that contain one are fetched again at their next read or warm.

    The next plan warms those that are likely to be opened. The same report again changes nothing. Each report that it
    makes old counts as one of the fetches that the token may cause a day.
    """
    account_id = check_account(services.context, token, body.account)
    limits = TokenLimits.of(token, services.context.settings.serving.max_queued_per_token)
    by = Reporter(f"api:{token.id}", limits)
    notice = notify_data(
        services.context, account_id, body.days, now=services.clock.now(), by=by, arrived_at=body.arrived_at
    )
    return ArrivalState.model_validate(notice.to_dict())
