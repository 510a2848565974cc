"""The steps of maintenance, in the order in which they run, and how often each is due.

`adwarm_maintenance` and `adwarm maintain` run the same steps through `adwarm.maintenance.runner`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from adwarm.backpressure import AdmissionStatus, RequestQueue, SqlAdmission
from adwarm.foundation.clock import Clock, floor_to
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.gate import Rule
from adwarm.maintenance.platform_calls import PlatformCalls
from adwarm.maintenance.runner import Step, StepBudget, StepReport, StepResult, find_pause, run_step
from adwarm.model import Scope, ScopeKind
from adwarm.recovery import IsolationTracker, RecoveryPipeline, StoredAlerts
from adwarm.store import Context, maintenance_steps
from adwarm.store.capacity import CapacitySample, save_samples
from adwarm.store.gates import list_closed
from adwarm.store.scores import count_followed_alarms

MAX_SCOPES: Final = 200
"""Scopes of one sample; an installation has a few tokens and apps, and accounts are left out."""
_ROUNDED_TO: Final = timedelta(minutes=1)
STEP_SECONDS = 120.0
"""Longest time of one step: the task runs several, and the next run goes on."""
ALWAYS, HOURLY, DAILY = timedelta(0), timedelta(hours=1), timedelta(days=1)


def make_follow_alarms(context: Context, clock: Clock) -> Step:
    """Return the step; recommendations read its counts from the state of the step."""

    def follow_alarms(cursor: Any, budget: StepBudget) -> StepResult:
        """Count all alarms whose two weeks are over and whose scores are stored."""
        del cursor, budget  # one bounded read
        until = clock.now().date() - timedelta(days=1)
        outcomes, followed = count_followed_alarms(context.engine, until)
        return StepResult({"known": outcomes, "followed": followed})

    return follow_alarms


def make_sample_capacity(context: Context, status: Callable[[], AdmissionStatus], clock: Clock) -> Step:
    """Return the step.

    Args:
        clock: the time of the samples, cut to the minute, so that a run that is repeated at once replaces its sample.
    """

    def sample_capacity(cursor: Any, budget: StepBudget) -> StepResult:
        """Store one sample of each shared scope."""
        del cursor, budget  # two small reads and one small write
        now = clock.now()
        closed = list_closed(context.engine, now.timestamp())
        parked = {gate.scope for gate in closed if gate.rule is Rule.PARK}
        shared = [scope for scope in status().scopes if Scope.parse(scope.scope).kind is not ScopeKind.ACCOUNT]
        if not shared:
            return StepResult(skipped="nothing was called yet")
        samples = [
            CapacitySample(
                at=floor_to(now, _ROUNDED_TO),
                scope=scope.scope,
                limit=float(scope.limit),
                in_flight=sum(scope.in_flight.values()),
                usage=scope.usage,
                is_parked=scope.scope in parked,
            )
            for scope in shared[:MAX_SCOPES]
        ]
        save_samples(context.engine, samples)
        left = len(shared) - len(samples)
        problems = [f"{left:,} more shared scopes are not sampled"] if left else []
        return StepResult({"scopes": len(samples)}, problems=problems)

    return sample_capacity


def make_deliver_alerts(alerts: StoredAlerts) -> Step:
    """Return the step for the maintenance of a process that can use the channels of `alerts`."""

    def deliver_alerts(cursor: Any, budget: StepBudget) -> StepResult:
        """Resolve, repeat and send; what the budget leaves is sent by the next run."""
        del cursor  # the outbox itself says what is left
        resolved, repeated = alerts.resolve_quiet(), alerts.repeat_open()
        sent, problems = alerts.deliver(lambda: not budget.is_used_up)
        return StepResult({"resolved": resolved, "repeated": repeated, "sent": sent}, problems=problems)

    return deliver_alerts


@dataclass(frozen=True, slots=True)
class StepInfo:
    """What a step does, and how often a pass over everything is due."""

    does: str
    every: timedelta


STEPS: dict[str, StepInfo] = {
    "check_health": StepInfo("probe what is isolated", ALWAYS),
    "scrub": StepInfo("verify what is stored", ALWAYS),
    "repair_degraded": StepInfo("request degraded answers again", ALWAYS),
    "compact": StepInfo("merge the final days of each month", DAILY),
    "evict_entries": StepInfo("delete entries that nobody will read", ALWAYS),
    "collect_garbage": StepInfo("delete objects that nothing refers to", DAILY),
    "apply_retention": StepInfo("delete old rows and files", HOURLY),
    "follow_alarms": StepInfo("count how alarms of fatigue turned out", DAILY),
    "read_creatives": StepInfo("read what scored ads show, with pictures", HOURLY),
    "deliver_alerts": StepInfo("send alerts and notices of their end", ALWAYS),
    "emit_metrics": StepInfo("report the state to Airflow's statistics", ALWAYS),
    "reconcile": StepInfo("compare sampled accounts with the platform", DAILY),
    "sample_capacity": StepInfo("record limits and quota of shared scopes", ALWAYS),
    "watch_platform": StepInfo("read when tokens and API versions end", HOURLY),
}
"""Every step by name, in their order."""


@dataclass(frozen=True, slots=True)
class MaintenanceParts:
    """What the steps work with.

    Attributes:
        admission: the shared budget, with the state of the breakers.
    """

    context: Context
    queue: RequestQueue
    admission: SqlAdmission
    calls: PlatformCalls
    pipeline: RecoveryPipeline
    isolations: IsolationTracker
    alerts: StoredAlerts
    clock: Clock
    owner: str


def build_steps(parts: MaintenanceParts) -> dict[str, Step]:
    """Return every step by name, in their order."""
    from adwarm.maintenance.compaction import make_compact
    from adwarm.maintenance.creative_reading import make_read_creatives
    from adwarm.maintenance.eviction import make_evict_entries
    from adwarm.maintenance.garbage_collection import make_collect_garbage
    from adwarm.maintenance.health import make_check_health
    from adwarm.maintenance.integrity import make_scrub, recording_damage
    from adwarm.maintenance.platform_watch import make_watch_platform
    from adwarm.maintenance.reconciliation import make_reconcile
    from adwarm.maintenance.repair import make_repair_degraded
    from adwarm.maintenance.retention import make_apply_retention
    from adwarm.maintenance.state_metrics import StateReader, make_emit_metrics

    context, clock = parts.context, parts.clock
    steps = {
        "check_health": make_check_health(parts.calls, parts.isolations),
        "scrub": make_scrub(context, clock, recording_damage(parts.pipeline)),
        "repair_degraded": make_repair_degraded(context, parts.queue, clock, parts.isolations),
        "compact": make_compact(context),
        "evict_entries": make_evict_entries(context, clock),
        "collect_garbage": make_collect_garbage(context, clock),
        "apply_retention": make_apply_retention(context, parts.queue, clock),
        "follow_alarms": make_follow_alarms(context, clock),
        "read_creatives": make_read_creatives(parts.calls, clock),
        "deliver_alerts": make_deliver_alerts(parts.alerts),
        "emit_metrics": make_emit_metrics(StateReader(context, clock, parts.queue)),
        "reconcile": make_reconcile(parts.calls, parts.pipeline, clock),
        "sample_capacity": make_sample_capacity(context, parts.admission.status, clock),
        "watch_platform": make_watch_platform(parts.calls, parts.pipeline, clock),
    }
    return {name: steps[name] for name in STEPS}


def check_step_names(names: Iterable[str]) -> list[str]:
    """Return the names in the order of the steps; every step for no name.

    Raises:
        BadRequest: one of them is not a step.
    """
    chosen = set(names)
    for name in sorted(chosen - set(STEPS)):
        raise BadRequest(f"{name!r} is not a step of maintenance; the steps are {', '.join(STEPS)}")
    return [name for name in STEPS if name in chosen or not chosen]


def run_if_due(parts: MaintenanceParts, name: str, *, run_now: bool = False) -> StepReport:
    """Run one step within `STEP_SECONDS`, unless its last complete pass is young.

    Args:
        run_now: whether it runs also when it is not due.
    """
    state = maintenance_steps.find_state(parts.context.engine, name)
    pause = None if run_now else find_pause(state, STEPS[name].every, parts.clock.now())
    if pause is not None:
        return StepReport(name, "skipped", reason=pause)
    return run_step(
        parts.context.engine, name, build_steps(parts)[name], clock=parts.clock, seconds=STEP_SECONDS, owner=parts.owner
    )


def describe_steps(context: Context, now: datetime) -> list[dict[str, Any]]:
    """Return each step with its last run, as JSON values: when, what it did, and what is left."""
    states = maintenance_steps.list_states(context.engine)
    rows = []
    for name, info in STEPS.items():
        state = states.get(name)
        result = (state.result if state else None) or {}
        rows.append({
            "step": name,
            "does": info.does,
            "started_at": state and state.started_at,
            "finished_at": state and state.finished_at,
            "seconds": state and state.seconds,
            "counts": result.get("counts", {}),
            "skipped": result.get("skipped"),
            "problems": result.get("problems", []),
            "has_more": bool(state and state.round_started_at and state.finished_at),
            "complete_at": state and state.round_finished_at,
            "error": state and state.error,
            "is_running": bool(state and state.lease_until and state.finished_at is None),
            "next": find_pause(state, info.every, now),
        })
    return rows
