"""The step `sample_capacity`: stores the state of the shared capacity scopes, which the page shows over time."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from adwarm.backpressure import AdmissionStatus
from adwarm.foundation.clock import Clock, floor_to
from adwarm.foundation.gate import Rule
from adwarm.maintenance.step import Step, StepBudget, StepResult
from adwarm.model import Scope, ScopeKind
from adwarm.store import Context
from adwarm.store.capacity import CapacitySample, save_samples
from adwarm.store.gates import list_closed

MAX_SCOPES: Final = 200
"""Scopes of one sample; an installation has a few tokens and apps, and accounts are left out."""
_RASTER: Final = timedelta(minutes=1)


def make_sample_capacity(context: Context, status: Callable[[], AdmissionStatus], clock: Clock) -> Step:
    """Return the step.

    Args:
        context: its database takes the samples.
        status: reads the shared budget.
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
                at=floor_to(now, _RASTER),
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
