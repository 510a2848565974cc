"""The route by which a loader says that data has arrived."""

from fastapi import APIRouter

from adwarm.backpressure import TokenLimits
from adwarm.planning.data_arrival import Reporter, notify_data
from adwarm.serving.api.dependencies import EnqueueToken, Services
from adwarm.serving.api.errors import problems
from adwarm.serving.api.models import ArrivalState, NewArrival
from adwarm.serving.tokens import check_account

router = APIRouter(tags=["requests"])


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
    account_id = check_account(token, body.account)
    limits = TokenLimits.of(token, services.context.settings.serving.max_queued_per_token)
    by = Reporter(f"api:{token.id}", limits)
    notice = notify_data(
        services.context, account_id, body.days, now=services.clock.now(), by=by, arrived_at=body.arrived_at
    )
    return ArrivalState.model_validate(notice.to_dict())
