"""Routes that show the state: queue, limits, what is not called now, healing, compression, integrity."""

import re
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from adwarm.backpressure.status import ScopeStatus
from adwarm.compression import get_compression_totals
from adwarm.foundation.gate import Gate, Rule
from adwarm.model import AccessToken, Scope, ScopeKind, TokenScope
from adwarm.serving.api.errors import problems
from adwarm.serving.api.guard import NEEDS_ADMIN, NEEDS_READ, ReadToken, Services
from adwarm.serving.api.models import (
    CallsOfDay,
    CapacityPage,
    CodecItem,
    CompressionPage,
    DamagedData,
    GateItem,
    GatePage,
    HealingItem,
    HealingPage,
    IntegrityKind,
    IntegrityPage,
    QueueClass,
    QueueClasses,
    QueueState,
    ScopeItem,
)
from adwarm.store import integrity_days, quarantine
from adwarm.store.gates import list_closed
from adwarm.store.healing_runs import HealingStore
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
    shown = [item for item in status.scopes if _may_see_scope(token, item.scope)]
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


def _may_see_scope(token: AccessToken, name: str) -> bool:
    scope = Scope.parse(name)
    return scope.kind is not ScopeKind.ACCOUNT or token.may_read(scope.id)


_ACCOUNT_ID = re.compile(r"act_[0-9A-Za-z]+")
_HIDDEN = "hidden: it names accounts that the token may not read"


class HealingFilter(BaseModel):
    """The query of the history of healing."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(50, ge=1, le=500, description="The newest so many.")


@router.get("/gates", summary="What is not called now", operation_id="list_gates")
def list_gates(token: ReadToken, services: Services) -> GatePage:
    """Parks, breakers, isolations, denials and switches, but for those of accounts that the token may not read."""
    now = services.clock.now()
    gates = list_closed(services.context.engine, now.timestamp())
    items = [
        GateItem.model_validate({**gate.to_dict(), "why": _describe_why(token, gate)})
        for gate in gates
        if _names_only_own(token, gate.scope)
    ]
    return GatePage(at=now, gates=items)


@router.get("/healing", summary="Healing actions", operation_id="list_healing", responses=problems(400))
def list_healing(token: ReadToken, services: Services, query: Annotated[HealingFilter, Query()]) -> HealingPage:
    """The newest actions first, those about accounts that the token may not read left out."""
    runs = HealingStore(services.context.engine).list_recent(query.limit)
    items = [
        HealingItem(
            at=run.at,
            action=run.action,
            scope=run.scope,
            source=run.source,
            error_kind=run.error_kind,
            succeeded=run.succeeded,
            detail=_visible(token, run.detail),
            seconds=run.seconds,
        )
        for run in runs
        if _names_only_own(token, run.scope)
    ]
    return HealingPage(at=services.clock.now(), runs=items)


def _describe_why(token: AccessToken, gate: Gate) -> str:
    """Return why a gate is closed; who turned a switch is nothing for readers."""
    return "a person has switched it" if gate.rule is Rule.SWITCH else _visible(token, gate.why)


def _visible(token: AccessToken, text: str) -> str:
    """Return a message that may name any account, unless it names one that the token may not read."""
    return text if _names_only_own(token, text) else _HIDDEN


def _names_only_own(token: AccessToken, text: str) -> bool:
    return all(token.may_read(account_id) for account_id in _ACCOUNT_ID.findall(text))


_MAX_ITEMS = 100


class IntegrityFilter(BaseModel):
    """The query of the statistics of integrity."""

    model_config = ConfigDict(extra="forbid")

    days: int = Field(7, ge=1, le=366, description="UTC days to count, with today.")


@router.get("/integrity", summary="What was verified", operation_id="get_integrity", responses=problems(400))
def get_integrity(token: ReadToken, services: Services, query: Annotated[IntegrityFilter, Query()]) -> IntegrityPage:
    """Counts by kind of data, and damaged data of the accounts that the token may read."""
    engine = services.context.engine
    totals = integrity_days.get_totals(engine, services.clock.now() - timedelta(days=query.days - 1))
    shown = [
        damaged.item for damaged in quarantine.list_open(engine, _MAX_ITEMS) if _may_see(token, damaged.item.account_id)
    ]
    return IntegrityPage(
        since=totals.since,
        last_full_pass=totals.pass_ended,
        kinds=[IntegrityKind(kind=kind, **asdict(counts)) for kind, counts in totals.kinds.items()],
        open=[
            DamagedData(kind=item.kind, account_id=item.account_id, found_at=item.found_at, reason=item.reason)
            for item in shown
        ],
    )


def _may_see(token: AccessToken, account_id: str | None) -> bool:
    """Whether a token may see damage: that of its accounts, and that of shared data unless it is limited to some."""
    if account_id is None:
        return token.accounts is None or TokenScope.ADMIN in token.scopes
    return token.may_read(account_id)
