"""Measures what warming gains, one ended week after the other, while live impact is switched on."""

from typing import Any

from adwarm.foundation.clock import Clock
from adwarm.maintenance.step import Step, StepBudget, StepResult
from adwarm.planning.impact_measurement import list_due_weeks, measure_week
from adwarm.store import Context


def make_measure_impact(context: Context, clock: Clock) -> Step:
    """Return the step `measure_impact`.

    Args:
        context: database, objects and settings.
        clock: the time of the run.
    """

    def step(cursor: Any, budget: StepBudget) -> StepResult:
        del cursor  # what is measured is stored, so a run goes on with the first week that is not
        weeks = list_due_weeks(context, clock.now())
        result = StepResult(skipped=None if weeks else "no ended week is to be measured")
        for number, week in enumerate(weeks, start=1):
            measure_week(context, week, clock.now())
            result.counts["weeks"] = number
            if number < len(weeks) and budget.is_used_up:
                result.cursor = weeks[number].isoformat()
                break
        return result

    return step
