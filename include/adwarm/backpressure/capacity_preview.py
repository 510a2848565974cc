"""Whether calls would be made now, asked by whoever plans them; takes no capacity."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from sqlalchemy import Connection, Engine

from adwarm.backpressure.admission import CallRequest, Rejected, Wait
from adwarm.backpressure.breakers import breaker_names
from adwarm.backpressure.machine_load import WAIT_SECONDS, count_free_calls
from adwarm.backpressure.shared_budget import MAX_POLL_SECONDS, SharedBudget
from adwarm.backpressure.sql_admission import Rows
from adwarm.foundation.gate import OpenedBy, Rule, may_call
from adwarm.model import Priority
from adwarm.settings import BackpressureSettings
from adwarm.store.database import database_time, read_transaction
from adwarm.store.gates import SqlGates


@dataclass(frozen=True, slots=True)
class CapacityPreview:
    """Whether a call would be admitted now.

    Attributes:
        wait_seconds: 0 when it would be, else the time after which to check again.
        is_queueing: whether it lacks only a free slot or its turn, which may come at any time.
        free_calls: how many more calls its machine may have in flight; None for as many as other limits allow.
    """

    wait_seconds: float
    reason: str = ""
    is_queueing: bool = False
    free_calls: int | None = None


def preview_capacity(
    engine: Engine,
    settings: BackpressureSettings,
    calls: Sequence[CallRequest],
    *,
    database_time: Callable[[Connection], float] = database_time,
) -> list[CapacityPreview]:
    """Preview calls: whether each would be made now and, if not, when to check again. Only reads.

    Any number of calls takes the same few queries. Everything that may refuse a call is asked: admission by its own
    rules, the isolation of its connection and account, and the limit of its machine. So a previewed call is made unless
    another caller takes the capacity first.
    """
    budget = SharedBudget(settings, Random(0))  # noqa: S311 -- spreads the ends of parks, and a preview parks nothing
    scopes = [scope for call in calls for scope in call.scopes]
    breakers = [name for call in calls for name in breaker_names(call.source, call.scopes)]
    with read_transaction(engine) as connection:
        now = Rows(connection, budget).load(database_time, scopes, breakers)
    # A dead token may have been renewed, which only a call finds out.
    isolations = {
        gate.scope: gate
        for gate in SqlGates(engine).list_gates(now, Rule.ISOLATION)
        if gate.opened_by is not OpenedBy.CREDENTIAL
    }
    machines = {call.machine for call in calls} - {""}
    free_calls_of = {machine: count_free_calls(engine, machine, time=database_time) for machine in machines}
    previews = []
    for call in calls:
        refusal = budget.preview(call, now)
        names = [f"connection:{call.connection}", *map(str, call.scopes)]
        isolation = may_call((isolations[name] for name in names if name in isolations), now)
        if isolation is not None:
            refusal = Wait(isolation.remaining_seconds(now), f"{isolation.scope} is isolated", isolation.scope)
        free_calls = None if call.priority is Priority.CRITICAL else free_calls_of.get(call.machine)
        if refusal is None and free_calls == 0:
            refusal = Wait(WAIT_SECONDS, f"{call.machine} is loaded")
        previews.append(replace(_preview_of(refusal), free_calls=free_calls))
    return previews


def _preview_of(refusal: Wait | Rejected | None) -> CapacityPreview:
    if refusal is None:
        return CapacityPreview(0.0)
    if isinstance(refusal, Rejected):
        return CapacityPreview(refusal.retry_after, refusal.reason)
    return CapacityPreview(refusal.seconds, refusal.reason, is_queueing=refusal.seconds <= MAX_POLL_SECONDS)
