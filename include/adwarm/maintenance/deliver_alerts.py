"""The step `deliver_alerts`: resolves quiet alerts, repeats old ones, and sends the notices that are left."""

from typing import Any

from adwarm.maintenance.step import Step, StepBudget, StepResult
from adwarm.recovery import StoredAlerts


def make_deliver_alerts(alerts: StoredAlerts) -> Step:
    """Return the step for the maintenance of a process that can use the channels of `alerts`."""

    def deliver_alerts(cursor: Any, budget: StepBudget) -> StepResult:
        """Resolve, repeat and send; what the budget leaves is sent by the next run."""
        del cursor  # the outbox itself says what is left
        resolved, repeated = alerts.resolve_quiet(), alerts.repeat_open()
        sent, problems = alerts.deliver(lambda: not budget.is_used_up)
        return StepResult({"resolved": resolved, "repeated": repeated, "sent": sent}, problems=problems)

    return deliver_alerts
