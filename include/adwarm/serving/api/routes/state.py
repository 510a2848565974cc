"""Routes that show the state: the queue, and what is not called now."""

import re
from collections.abc import Collection
from dataclasses import asdict

from fastapi import APIRouter

from adwarm.foundation.gate import Gate, Rule
from adwarm.serving.api.errors import problems
from adwarm.serving.api.guard import NEEDS_READ, ReadToken, Services
from adwarm.serving.api.models import (
    GateItem,
    GatePage,
    QueueClass,
    QueueClasses,
    QueueState,
)
from adwarm.store import accounts
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


_ID = re.compile(r"(?=\b([A-Za-z0-9][\w.:-]*))")
"""What may be the id of an account, also behind a colon; punctuation may follow it."""
_HIDDEN = "hidden: it names accounts that the token may not read"


@router.get("/gates", summary="What is not called now", operation_id="list_gates")
def list_gates(token: ReadToken, services: Services) -> GatePage:
    """Everything that is closed or tested, but for the gates of accounts that the token may not read."""
    now, engine = services.clock.now(), services.context.engine
    gates = list_closed(engine, now.timestamp())
    others = {name for name in accounts.get_many(engine) if not token.may_read(name)} if gates else set[str]()
    items = [
        GateItem.model_validate({**gate.to_dict(), "why": _describe_why(gate, others)})
        for gate in gates
        if (gate.account_id is None or token.may_read(gate.account_id)) and _names_none(gate.scope, others)
    ]
    return GatePage(at=now, gates=items)


def _describe_why(gate: Gate, others: Collection[str]) -> str:
    """Return why a gate is closed; who turned a switch is nothing for readers, nor what names accounts of others."""
    if gate.rule is Rule.SWITCH:
        return "a person has switched it"
    return gate.why if _names_none(gate.why, others) else _HIDDEN


def _names_none(text: str, others: Collection[str]) -> bool:
    return not others or all(name.rstrip(".:-") not in others for name in _ID.findall(text))
