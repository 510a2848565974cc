"""Routes that show the state: the queue, and what is not called now."""

import re
from dataclasses import asdict

from fastapi import APIRouter

from adwarm.foundation.gate import Gate, Rule
from adwarm.model import AccessToken
from adwarm.serving.api.errors import problems
from adwarm.serving.api.guard import NEEDS_READ, ReadToken, Services
from adwarm.serving.api.models import (
    GateItem,
    GatePage,
    QueueClass,
    QueueClasses,
    QueueState,
)
from adwarm.store.gates import list_closed

router = APIRouter(tags=["state"], responses=problems())


@router.get("/queue", summary="The request queue", operation_id="get_queue", dependencies=[NEEDS_READ])
def get_queue(services: Services) -> QueueState:
    """Counts by class; the requests themselves are shown by id only."""
    status = services.queue.status()
    classes = {priority.name.lower(): QueueClass(**asdict(item)) for priority, item in status.classes.items()}
    return QueueState(
        size=status.size,
        pending=status.pending,
        has_active_worker=status.has_active_worker,
        fetch_mode=services.fetch_mode,
        classes=QueueClasses(**classes),
    )


_ACCOUNT_ID = re.compile(r"act_[0-9A-Za-z]+")
_HIDDEN = "hidden: it names accounts that the token may not read"


@router.get("/gates", summary="What is not called now", operation_id="list_gates")
def list_gates(token: ReadToken, services: Services) -> GatePage:
    """Everything that is closed or tested, but for the gates of accounts that the token may not read."""
    now = services.clock.now()
    gates = list_closed(services.context.engine, now.timestamp())
    items = [
        GateItem.model_validate({**gate.to_dict(), "why": _describe_why(token, gate)})
        for gate in gates
        if _names_only_own(token, gate.scope)
    ]
    return GatePage(at=now, gates=items)


def _describe_why(token: AccessToken, gate: Gate) -> str:
    """Return why a gate is closed; who turned a switch is nothing for readers."""
    return "a person has switched it" if gate.rule is Rule.SWITCH else _visible(token, gate.why)


def _visible(token: AccessToken, text: str) -> str:
    """Return a message that may name any account, unless it names one that the token may not read."""
    return text if _names_only_own(token, text) else _HIDDEN


def _names_only_own(token: AccessToken, text: str) -> bool:
    return all(token.may_read(account_id) for account_id in _ACCOUNT_ID.findall(text))
