"""The step `follow_alarms`: counts how many alarms of fatigue were followed by two weeks with a lower rate."""

from datetime import timedelta
from typing import Any

from adwarm.foundation.clock import Clock
from adwarm.maintenance.runner import Step, StepBudget, StepResult
from adwarm.store import Context
from adwarm.store.scores import count_followed_alarms


def make_follow_alarms(context: Context, clock: Clock) -> Step:
    """Return the step; recommendations read its counts from the state of the step."""

    def follow_alarms(cursor: Any, budget: StepBudget) -> StepResult:
        """Count all alarms whose two weeks are over and whose scores are stored."""
        del cursor, budget  # one bounded read
        until = clock.now().date() - timedelta(days=1)
        known, followed = count_followed_alarms(context.engine, until)
        return StepResult({"known": known, "followed": followed})

    return follow_alarms
