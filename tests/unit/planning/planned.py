"""The plan of one run in one step, as `decide` makes it of its two."""

import pandas as pd

from adwarm.planning.plan import PlanningView, PlanTiming, find_likely_keys, plan_likely_keys
from adwarm.planning.price import CallQuota
from adwarm.planning.recommendation import WarmPlan
from adwarm.settings import PlanningSettings


def plan_warms(
    timing: PlanTiming, probabilities: pd.DataFrame, view: PlanningView, planning: PlanningSettings, quota: CallQuota
) -> WarmPlan:
    """Return the plan of one run over a frame of probabilities."""
    likely = find_likely_keys(timing, probabilities, view, planning.min_confidence)
    return plan_likely_keys(likely, view, quota)
