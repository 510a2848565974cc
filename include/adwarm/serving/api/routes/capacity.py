"""Routes that show the state of the whole system: queue, capacity and compression."""

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from adwarm.backpressure.status import ScopeStatus
from adwarm.compression import get_compression_totals
from adwarm.model import AccessToken, Scope, ScopeKind
from adwarm.serving.api.dependencies import NEEDS_ADMIN, NEEDS_READ, ReadToken, Services
from adwarm.serving.api.errors import problems
from adwarm.serving.api.models import (
    CallsOfDay,
    CapacityPage,
    CodecItem,
    CompressionPage,
    QueueClass,
    QueueClasses,
    QueueState,
    ScopeItem,
)
from adwarm.store.read_traffic import get_day_calls


class CompressionFilter(BaseModel):
    """The query of the statistics of compression."""

    model_config = ConfigDict(extra="forbid")

    days: int = Field(7, ge=1, le=366, description="UTC days to count, with today.")


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


@router.get("/capacity", summary="The limits", operation_id="list_capacity")
def list_capacity(token: ReadToken, services: Services) -> CapacityPage:
    """Shared scopes, and those of the accounts that the token may read."""
    status = services.admission.status()
    shown = [item for item in status.scopes if _may_see(token, item.scope)]
    return CapacityPage(at=status.at, scopes=[_scope_item(item) for item in shown])


def _scope_item(status: ScopeStatus) -> ScopeItem:
    """Return a scope as the API shows it; what the platform allows stays with the doctor."""
    return ScopeItem.model_validate({name: value for name, value in asdict(status).items() if name != "quota"})


@router.get(
    "/compression",
    summary="What compression saves",
    operation_id="get_compression",
    dependencies=[NEEDS_ADMIN],
    responses=problems(400),
)
def get_compression(services: Services, query: Annotated[CompressionFilter, Query()]) -> CompressionPage:
    """Bytes and times by codec, from all processes and tasks; counts are a second old at most."""
    since = services.clock.now() - timedelta(days=query.days - 1)
    totals = get_compression_totals(services.context.engine, since)
    items = [CodecItem(codec=name, **counts.to_dict()) for name, counts in totals.codecs.items()]
    return CompressionPage(since=totals.since, codecs=items)


@router.get("/calls", summary="The calls of a day by cause", operation_id="get_calls", dependencies=[NEEDS_ADMIN])
def get_calls(services: Services) -> CallsOfDay:
    """Calls to the platform in the last 24 hours, and what made them necessary, the most frequent first."""
    calls = get_day_calls(services.context.engine, services.clock.now())
    return CallsOfDay.model_validate(calls.to_dict())


def _may_see(token: AccessToken, name: str) -> bool:
    scope = Scope.parse(name)
    return scope.kind is not ScopeKind.ACCOUNT or token.may_read(scope.id)
