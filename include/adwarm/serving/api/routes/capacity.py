"""Routes that show the state of the whole system: queue, breakers and capacity."""

from dataclasses import asdict

from fastapi import APIRouter

from adwarm.model import AccessToken, Scope, ScopeKind
from adwarm.serving.api.dependencies import NEEDS_READ, ReadToken, Services
from adwarm.serving.api.models import (
    BreakerItem,
    BreakerPage,
    CapacityPage,
    QueueClass,
    QueueClasses,
    QueueState,
    ScopeItem,
)
from adwarm.serving.api.responses import problems

router = APIRouter(tags=["state"], responses=problems())


@router.get("/queue", summary="The request queue", operation_id="get_queue", dependencies=[NEEDS_READ])
def get_queue(services: Services) -> QueueState:
    """Counts by class; the requests themselves are shown by id only."""
    status = services.queue.status()
    classes = {priority.name.lower(): QueueClass(**asdict(item)) for priority, item in status.classes.items()}
    return QueueState(
        size=status.size,
        pending=sum(item.pending for item in classes.values()),
        has_active_worker=status.has_active_worker,
        fetch_mode=services.fetch_mode,
        classes=QueueClasses(**classes),
    )


@router.get("/breakers", summary="The circuit breakers", operation_id="list_breakers")
def list_breakers(token: ReadToken, services: Services) -> BreakerPage:
    """Breakers of sources, and those of the accounts that the token may read."""
    status = services.admission.status()
    shown = [item for item in status.breakers if item.account is None or token.may_read(item.account)]
    return BreakerPage(at=status.at, breakers=[BreakerItem.model_validate(asdict(item)) for item in shown])


@router.get("/capacity", summary="The limits, and what is parked", operation_id="list_capacity")
def list_capacity(token: ReadToken, services: Services) -> CapacityPage:
    """Shared scopes, and those of the accounts that the token may read."""
    status = services.admission.status()
    shown = [item for item in status.scopes if _may_see(token, item.scope)]
    return CapacityPage(at=status.at, scopes=[ScopeItem.model_validate(asdict(item)) for item in shown])


def _may_see(token: AccessToken, name: str) -> bool:
    scope = Scope.parse(name)
    return scope.kind is not ScopeKind.ACCOUNT or token.may_read(scope.id)
