"""Routes that show what is not called now, and how the system repairs itself: which healing actions ran."""

import re
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from adwarm.foundation.gate import Gate, Rule
from adwarm.model import AccessToken
from adwarm.serving.api.dependencies import ReadToken, Services
from adwarm.serving.api.errors import problems
from adwarm.serving.api.models import GateItem, GatePage, HealingItem, HealingPage
from adwarm.store.gates import list_closed
from adwarm.store.healing_runs import HealingStore

_ACCOUNT_ID = re.compile(r"act_[0-9A-Za-z]+")
_HIDDEN = "hidden: it names accounts that the token may not read"


class HealingFilter(BaseModel):
    """The query of the history of healing."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(50, ge=1, le=500, description="The newest so many.")


router = APIRouter(tags=["state"], responses=problems())


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
