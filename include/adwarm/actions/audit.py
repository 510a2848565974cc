"""Records every action with who did it, what they asked for and the result, also when it fails."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from adwarm.backpressure import RequestQueue, SqlAdmission
from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import AdwarmError, BadRequest
from adwarm.model import AccessToken
from adwarm.recovery import IsolationTracker
from adwarm.store import Context
from adwarm.store.action_events import clean_text, record_action

log = logging.getLogger(__name__)
_LONGEST_WHY = 500


@dataclass(frozen=True, slots=True)
class ActionServices:
    """The objects of the process that acts."""

    context: Context
    clock: Clock
    queue: RequestQueue
    admission: SqlAdmission
    isolation: IsolationTracker
    owner: str


@dataclass(frozen=True, slots=True)
class Doer:
    """Who acts.

    Attributes:
        name: the user of Airflow, the token, or the user of the operating system.
        via: `airflow`, `token` or `cli`.
        token: the token of the read API that they logged in with, whose limits apply; None for the other two.
    """

    name: str
    via: str
    token: AccessToken | None = None


@dataclass
class RunningAction:
    """An action that is being carried out.

    Attributes:
        arguments: what was asked for; the action may add what it did.
        id: number of its record, once it has ended.
    """

    doer: Doer
    arguments: dict[str, Any]
    detail: str = ""
    id: int | None = field(default=None)


@contextmanager
def audited(
    services: ActionServices, doer: Doer, action: str, subject: str | None, arguments: Mapping[str, Any]
) -> Iterator[RunningAction]:
    """Record the action of the block at its end, whether it succeeds or raises.

    Args:
        arguments: what was asked for, as JSON values.
    """
    running = RunningAction(doer, dict(arguments))

    def record(detail: str, *, succeeded: bool) -> int:
        return record_action(
            services.context.engine,
            at=services.clock.now(),
            actor=doer.name,
            via=doer.via,
            action=action,
            subject=subject,
            arguments=running.arguments,
            succeeded=succeeded,
            detail=detail,
        )

    try:
        yield running
    except Exception as error:
        try:
            record(
                str(error) if isinstance(error, AdwarmError) else f"unexpected {type(error).__name__}", succeeded=False
            )
        except AdwarmError as problem:
            log.warning("the failed action %s of %s could not be recorded: %s", action, doer.name, problem)
        raise
    running.id = record(running.detail, succeeded=True)


def require_reason(why: str) -> str:
    """Return the reason that somebody gives for an action, on one line.

    Raises:
        BadRequest: it is empty or too long.
    """
    text = " ".join(clean_text(why, _LONGEST_WHY + 1).split())
    if not text:
        raise BadRequest("say why: the reason is kept with the action, for those who come after you")
    if len(text) > _LONGEST_WHY:
        raise BadRequest(f"the reason is too long; write at most {_LONGEST_WHY} characters")
    return text
