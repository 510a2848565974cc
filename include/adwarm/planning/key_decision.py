"""What a run decides about one key, and which rule leaves it out. A pure function of its arguments.

It uses the same functions as the plan of a run. A plan with a row for the key says more: it knows what the calls of
other accounts had used of the budget, which this does not look at.
"""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd

from adwarm.foundation.arrow_arrays import Floats, Ints
from adwarm.foundation.clock import utc
from adwarm.model import ReportKey
from adwarm.planning.plan import (
    MIN_PROBABILITY,
    PlanningView,
    PlanTiming,
    SlotArrays,
    find_candidates,
    find_due,
    find_likely_keys,
    recommend,
    select_likely_keys,
    to_ms,
)
from adwarm.planning.price import CallQuota
from adwarm.planning.recommendation import Recommendation
from adwarm.planning.why_not_warm import KeyDecision
from adwarm.settings import PlanningSettings


def decide_key(
    key: ReportKey, timing: PlanTiming, every_hour: pd.DataFrame, view: PlanningView, planning: PlanningSettings
) -> KeyDecision:
    """Return what a run decides about a key while no call of the hour is spent.

    Args:
        every_hour: the probabilities of the key's account, whose keys share requests: also of the least likely hours.
    """
    hours = _select(every_hour, key)
    if hours.empty:
        return KeyDecision("unknown")
    stated = every_hour[every_hour["probability"] > MIN_PROBABILITY].reset_index(drop=True)
    likely = find_likely_keys(timing, stated, view, planning.min_confidence)
    if key not in likely.keys:
        every, due = (SlotArrays.from_frame(frame, timing.decided_at) for frame in (hours, _select(stated, key)))
        return _decide_unlikely(timing, every, due, view, planning)
    quota = CallQuota(
        planning.open_value, planning.max_calls_per_hour, max_account_calls=planning.max_account_calls_per_hour
    )
    selected = select_likely_keys(likely, view, quota)
    if key in selected.fresh.keys:
        index = selected.fresh.keys.index(key)
        return KeyDecision("fresh", recommend(selected.fresh, index, quota.open_value), selected.stored[index])
    if key not in selected.stale.keys:
        return KeyDecision("too_short", recommend(likely, likely.keys.index(key), quota.open_value))
    index, selection = selected.stale.keys.index(key), selected.selection
    pays = bool(selection.chosen[index] or selection.cut[index])
    item = recommend(selected.stale, index, quota.open_value, selection.get_cost(index))
    return KeyDecision("worth" if pays else "not_worth", item)


def _decide_unlikely(
    timing: PlanTiming, every: SlotArrays, stated: SlotArrays, view: PlanningView, planning: PlanningSettings
) -> KeyDecision:
    """Return the decision on a key that is not among the likely ones, given each of its hours and those of a plan."""
    rows = find_due(stated, timing)
    if not len(rows):
        return _decide_without_due_hour(timing, every, stated, view, planning)
    candidates, _ = find_candidates(stated, rows, view, timing)
    best = int(np.argmax(candidates.chance))
    item = recommend(candidates, best, planning.open_value)
    if item.confidence < planning.min_confidence:
        return KeyDecision("unlikely", item)
    until = to_ms([candidates.ends[best]], timing.decided_at)[0]
    hours = np.flatnonzero((np.arange(len(stated.start)) >= rows[best]) & (stated.start < until))
    return _wait_for_peak("later", item, stated, hours if len(hours) else rows[[best]], timing)


def _decide_without_due_hour(
    timing: PlanTiming, every: SlotArrays, stated: SlotArrays, view: PlanningView, planning: PlanningSettings
) -> KeyDecision:
    """Return the decision on a key none of whose due hours reaches the floor of a plan."""
    candidates, _ = find_candidates(every, np.zeros(1, np.int64), view, timing)
    soon = np.flatnonzero(stated.open < to_ms(candidates.ends, timing.decided_at)[0])
    chance = -float(np.expm1(np.log1p(-stated.probability[soon]).sum()))
    chances: Floats = np.array([max(chance, float(every.probability[0]))])
    item = recommend(replace(candidates, chance=chances), 0, planning.open_value)
    if chance < planning.min_confidence:
        return KeyDecision("unlikely", item)
    return _wait_for_peak("not_due", item, stated, soon, timing)


def _wait_for_peak(rule: str, item: Recommendation, slots: SlotArrays, rows: Ints, timing: PlanTiming) -> KeyDecision:
    """Return the decision to wait for the likeliest of some hours."""
    peak = int(rows[np.argmax(slots.probability[rows])])
    opens = utc(timing.decided_at) + timedelta(milliseconds=int(slots.open[peak]))
    return KeyDecision(rule, item, peak_probability=float(slots.probability[peak]), peak_at=opens)


def _select(frame: pd.DataFrame, key: ReportKey) -> pd.DataFrame:
    """Return the rows of a key."""
    is_key = (frame["date_range"] == key.date_range) & (frame["report"] == key.report)
    return frame[is_key & (frame["account_id"] == key.account_id)].reset_index(drop=True)
