"""The warms of a run beside its predicted opens and closed days: arrived data, then changed queries.

Both share what those leave of the hour's calls, and one further prediction, made only when there is something to plan.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import pandas as pd

from adwarm.foundation.errors import Corrupt, NotFound
from adwarm.model import Account, Mode
from adwarm.planning.data_arrival import KEEP_TRYING, ArrivalPlan, ArrivalPlanner
from adwarm.planning.plan import PlanningView
from adwarm.planning.price import CallQuota
from adwarm.planning.recommendation import Recommendation
from adwarm.planning.spec_switch import SwitchPlan, list_preparing, plan_switch, switch_covered
from adwarm.store import Context, data_arrivals
from adwarm.store.report_versions import ReportVersion


@dataclass(frozen=True)
class FurtherWarms:
    """The further warms of a run.

    Attributes:
        arrivals: the warms of arrived data, and which arrivals need no further plan.
        switch: the warms of changed queries, and how much of them is covered.
        versions: these queries.
    """

    arrivals: ArrivalPlan = field(default_factory=ArrivalPlan)
    switch: SwitchPlan = field(default_factory=SwitchPlan)
    versions: tuple[ReportVersion, ...] = ()

    @property
    def planned(self) -> list[Recommendation]:
        """All warms, those of arrived data first."""
        return [*self.arrivals.planned, *self.switch.planned]


@dataclass(frozen=True)
class PlanState:
    """What a run has decided so far.

    Attributes:
        at: the decision time, UTC.
        chosen: the warms that are planned for other reasons.
        quota: the calls of the hour, without those of `chosen`.
        get_account: returns an account.
        view: reads the store as of the decision.
    """

    at: datetime
    chosen: Sequence[Recommendation]
    quota: CallQuota
    get_account: Callable[[str], Account]
    view: PlanningView


def plan_further(context: Context, state: PlanState, predict: Callable[[], pd.DataFrame]) -> FurtherWarms:
    """Return the further warms of a run; none without a forecast, and then all of them wait.

    Args:
        context: the store and the settings.
        state: what the run has decided so far.
        predict: returns the probabilities of the forecast from the decision on.
    """
    arrivals = data_arrivals.list_pending(context.engine, state.at - KEEP_TRYING)
    versions = list_preparing(context, state.at)
    if not arrivals and not versions:
        return FurtherWarms()
    data_arrivals.mark_again(context.engine, arrivals)
    try:
        probabilities = predict()
    except (NotFound, Corrupt):
        return FurtherWarms()
    planner = ArrivalPlanner(
        arrivals,
        state.at,
        state.view,
        lambda name: state.get_account(name).data_zone,
        frozenset(item.key for item in state.chosen),
    )
    quota = add_spent(state.quota, state.chosen)
    arrival_plan = planner.plan(probabilities, quota, context.settings.planning.min_confidence)
    quota = add_spent(quota, arrival_plan.planned)
    switch = plan_switch(versions, probabilities, state.at, state.view, quota)
    return FurtherWarms(arrival_plan, switch, tuple(versions))


def finish_further(context: Context, further: FurtherWarms, run_id: str, at: datetime, mode: Mode) -> None:
    """Note what a stored plan has settled; a shadow plan settles nothing."""
    if mode is Mode.SHADOW:
        return
    data_arrivals.mark_planned(context.engine, further.arrivals.done, run_id, at)
    if further.versions:
        switch_covered(context, further.versions, further.switch.coverage, at)


def add_spent(quota: CallQuota, items: Sequence[Recommendation]) -> CallQuota:
    """Return the quota after the calls of `items`."""
    calls: dict[str, float] = defaultdict(float)
    for item in items:
        calls[item.key.account_id] += item.calls
    by_account = {**quota.spent_by_account}
    for name, count in calls.items():
        by_account[name] = by_account.get(name, 0) + round(count)
    return replace(quota, spent=quota.spent + round(sum(calls.values())), spent_by_account=by_account)
