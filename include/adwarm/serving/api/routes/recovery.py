"""Routes that show how the system repairs itself: what is isolated, and which healing actions ran."""

import re
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from adwarm.model import AccessToken
from adwarm.serving.api.dependencies import ReadToken, Services
from adwarm.serving.api.errors import problems
from adwarm.serving.api.models import HealingItem, HealingPage, IsolationItem, IsolationPage
from adwarm.store.healing_runs import HealingStore
from adwarm.store.isolated_sources import SqlIsolationStore

_ACCOUNT_ID = re.compile(r"act_[0-9A-Za-z]+")
_HIDDEN = "hidden: it names accounts that the token may not read"


class HealingFilter(BaseModel):
    """The query of the history of healing."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(50, ge=1, le=500, description="The newest so many.")


router = APIRouter(tags=["state"], responses=problems())


@router.get("/isolations", summary="What is isolated", operation_id="list_isolations")
def list_isolations(token: ReadToken, services: Services) -> IsolationPage:
    """Isolated connections, fallbacks, and those of the accounts that the token may read."""
    now = services.clock.now()
    states = SqlIsolationStore(services.context.engine).list_states(now.timestamp())
    items = [
        IsolationItem(
            scope=state.scope,
            state="open" if state.state == "open" else "half_open",
            since=state.since,
            until=state.until,
            reason=_visible(token, state.reason or ""),
            failures=state.failures,
        )
        for state in states
        if state.is_isolated and _names_only_own(token, state.scope)
    ]
    return IsolationPage(at=now, isolations=items)


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


def _visible(token: AccessToken, text: str) -> str:
    """Return a message that may name any account, unless it names one that the token may not read."""
    return text if _names_only_own(token, text) else _HIDDEN


def _names_only_own(token: AccessToken, text: str) -> bool:
    return all(token.may_read(account_id) for account_id in _ACCOUNT_ID.findall(text))
