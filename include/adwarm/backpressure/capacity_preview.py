"""Would these calls be let in now, and if not, when is it worth asking: a look that takes nothing and changes nothing.

One look answers any number of waiters with the same few reads. It judges by the rules of admission itself, so that who
is told there is room finds it there, unless others were quicker.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from sqlalchemy import Connection, Engine

from adwarm.backpressure import budget_rows
from adwarm.backpressure.admission import Rejected, Wait
from adwarm.backpressure.admission_rules import MAX_POLL_SECONDS
from adwarm.backpressure.breakers import breaker_names
from adwarm.backpressure.budget_rows import BudgetKeys
from adwarm.backpressure.shared_budget import SharedBudget
from adwarm.model import Priority, Scope
from adwarm.settings import BackpressureSettings
from adwarm.store.database import database_time, read_transaction


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A call that waits: what it draws on, its class, and whose breaker judges it."""

    scopes: tuple[Scope, ...]
    priority: Priority
    source: str


@dataclass(frozen=True, slots=True)
class CapacityPreview:
    """What a waiter may expect.

    Attributes:
        seconds: 0 when it would be let in now, else the time after which it is worth asking again.
        why: what it waits for.
        is_queueing: whether it lacks but a free slot or its turn, which may come at any moment.
    """

    wait_seconds: float
    reason: str = ""
    is_queueing: bool = False


def preview_capacity(
    engine: Engine,
    settings: BackpressureSettings,
    calls: Sequence[CallRequest],
    *,
    database_time: Callable[[Connection], float] = database_time,
) -> list[CapacityPreview]:
    """Return the outlook of each waiter, in order, at the database's present moment."""
    budget = SharedBudget(settings, Random(0))  # noqa: S311 -- spreads parkings, of which a look makes none
    needs = BudgetKeys(
        frozenset(scope for waiter in calls for scope in waiter.scopes),
        frozenset(name for waiter in calls for name in breaker_names(waiter.source, waiter.scopes)),
    )
    with read_transaction(engine) as connection:
        now = database_time(connection)
        budget_rows.load(connection, budget, needs, now)
    return [
        _preview_of(budget.preview(waiter.scopes, waiter.priority, source=waiter.source, now=now)) for waiter in calls
    ]


def _preview_of(answer: Wait | Rejected | None) -> CapacityPreview:
    if answer is None:
        return CapacityPreview(0.0)
    if isinstance(answer, Rejected):
        return CapacityPreview(answer.retry_after, answer.reason)
    return CapacityPreview(answer.seconds, answer.reason, is_queueing=answer.seconds <= MAX_POLL_SECONDS)
