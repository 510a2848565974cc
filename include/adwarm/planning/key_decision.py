"""What a run decides about one key, and which rule leaves it out. A pure function of its arguments.

It uses the same functions as the plan of a run. A plan with a row for the key says more: it knows what the calls of
other accounts had used of the budget, which this does not look at.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

import numpy as np
import pandas as pd

from adwarm.foundation.arrow_arrays import Ints
from adwarm.foundation.clock import utc
from adwarm.model import ReportKey
from adwarm.planning.explanations import Evidence
from adwarm.planning.plan import (
    LikelyKeys,
    PlanningView,
    PlanTiming,
    SlotArrays,
    find_likely_keys,
    select_likely_keys,
)
from adwarm.planning.price import CallQuota
from adwarm.settings import PlanningSettings

_MILLISECOND = timedelta(milliseconds=1)
_MAX_AHEAD_MS = 10**10


class Rule(StrEnum):
    """The rule that decides about a key in a run.

    | rule        | the key                                                                              |
    |-------------|--------------------------------------------------------------------------------------|
    | `unknown`   | was never opened in the log that the forecast learned from                           |
    | `not_due`   | is expected soon, but later than this run warms for                                  |
    | `unlikely`  | is less likely to be opened than `planning.min_confidence`                           |
    | `later`     | waits for an hour before the entry's expiry that is much likelier                    |
    | `fresh`     | has an entry that stays fresh through the predicted session                          |
    | `too_short` | would get an entry that expires before the predicted session ends                    |
    | `not_worth` | gains less than the call that it costs, even while no call is spent                  |
    | `worth`     | is planned, unless the hourly budget cuts it                                         |
    """

    UNKNOWN = "unknown"
    NOT_DUE = "not_due"
    UNLIKELY = "unlikely"
    LATER = "later"
    FRESH = "fresh"
    TOO_SHORT = "too_short"
    NOT_WORTH = "not_worth"
    WORTH = "worth"


@dataclass(frozen=True, slots=True)
class KeyDecision:
    """What a run decides about one key.

    Attributes:
        probability: of an open in the hour that the key is considered for, or its part that is left.
        chance: of an open between then and the expiry of the entry that would be fetched.
        evidence: how often the key was opened in that hour of its readers' week; None for an unknown key.
        predicted_open: an early estimate of the open in that hour, UTC.
        warm_at: when a fetch for it should start, UTC.
        expires_at: until when an entry fetched then answers the key, UTC.
        benefit: what a warm is worth, in upstream calls.
        calls: its share of the upstream calls that it takes.
        fresh_until: until when the stored entry is fresh, UTC; only of the rule `fresh`.
        peak_probability: probability of the likeliest hour before the expiry; of `later` and `not_due`.
        peak_at: predicted open of that hour, UTC.
    """

    rule: Rule
    decided_at: datetime
    probability: float = 0.0
    chance: float = 0.0
    evidence: Evidence | None = None
    predicted_open: datetime | None = None
    warm_at: datetime | None = None
    expires_at: datetime | None = None
    benefit: float = 0.0
    calls: float = 0.0
    fresh_until: datetime | None = None
    peak_probability: float = 0.0
    peak_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class KeyFrames:
    """Probabilities around one key, as `Forecast.predict` returns them.

    Attributes:
        account: the key's account, with the floor of a plan; its keys share requests, which decides about the price.
        key: the key alone, with every hour, however unlikely. Empty when the forecast does not know the key.
    """

    account: pd.DataFrame
    key: pd.DataFrame


def decide_key(
    key: ReportKey, timing: PlanTiming, frames: KeyFrames, view: PlanningView, planning: PlanningSettings
) -> KeyDecision:
    """Return what a run decides about a key while no call of the hour is spent."""
    decided_at = utc(timing.decided_at)
    if frames.key.empty:
        return KeyDecision(Rule.UNKNOWN, decided_at)
    likely = find_likely_keys(timing, frames.account, view, planning.min_confidence)
    if key not in likely.keys:
        return _decide_unlikely(key, timing, frames, view, planning)
    decision = _describe(likely, likely.keys.index(key), planning, decided_at)
    quota = CallQuota(
        planning.open_value, planning.max_calls_per_hour, max_account_calls=planning.max_account_calls_per_hour
    )
    selected = select_likely_keys(likely, view, quota)
    if key in selected.fresh.keys:
        return replace(decision, rule=Rule.FRESH, fresh_until=selected.stored[selected.fresh.keys.index(key)])
    if key not in selected.stale.keys:
        return replace(decision, rule=Rule.TOO_SHORT)
    index, selection = selected.stale.keys.index(key), selected.selection
    pays = bool(selection.chosen[index] or selection.cut[index])
    calls = selection.get_cost(index).calls
    return replace(decision, rule=Rule.WORTH if pays else Rule.NOT_WORTH, calls=calls)


def _decide_unlikely(
    key: ReportKey, timing: PlanTiming, frames: KeyFrames, view: PlanningView, planning: PlanningSettings
) -> KeyDecision:
    """Return the decision on a key that is not among the likely ones."""
    stated = select_key(frames.account, key)
    due = SlotArrays.from_frame(stated, timing.decided_at)
    rows = _find_due(due, timing)
    if not len(rows):
        every = SlotArrays.from_frame(frames.key, timing.decided_at)
        return _decide_without_due_hour(key, timing, (every, due), view, planning.min_confidence)
    candidates = _candidates(key, due, rows, view, timing)
    best = int(np.argmax(candidates.chance))
    decision = _describe(candidates, best, planning, utc(timing.decided_at))
    if candidates.chance[best] < planning.min_confidence:
        return replace(decision, rule=Rule.UNLIKELY)
    probability, opens = _find_peak(due, int(rows[best]), candidates.ends[best], timing)
    return replace(decision, rule=Rule.LATER, peak_probability=probability, peak_at=opens)


def _decide_without_due_hour(
    key: ReportKey,
    timing: PlanTiming,
    slots: tuple[SlotArrays, SlotArrays],
    view: PlanningView,
    min_confidence: float,
) -> KeyDecision:
    """Return the decision on a key none of whose due hours reaches the floor of a plan."""
    every, stated = slots
    decided_at = utc(timing.decided_at)
    candidates = _candidates(key, every, np.zeros(1, np.int64), view, timing)
    soon = np.flatnonzero(stated.open < _to_ms(candidates.ends, decided_at)[0])
    chance = -float(np.expm1(np.log1p(-stated.probability[soon]).sum()))
    decision = replace(_describe(candidates, 0, None, decided_at), chance=max(chance, float(every.probability[0])))
    if chance < min_confidence:
        return replace(decision, rule=Rule.UNLIKELY)
    peak = int(soon[np.argmax(stated.probability[soon])])
    opens = decided_at + timedelta(milliseconds=int(stated.open[peak]))
    return replace(decision, rule=Rule.NOT_DUE, peak_probability=float(stated.probability[peak]), peak_at=opens)


def _find_due(slots: SlotArrays, timing: PlanTiming) -> Ints:
    due = (slots.open >= 0) & (slots.open - timing.lead // _MILLISECOND < timing.horizon // _MILLISECOND)
    return np.flatnonzero(due)


def _candidates(key: ReportKey, slots: SlotArrays, rows: Ints, view: PlanningView, timing: PlanTiming) -> LikelyKeys:
    """Return the rows of one key as candidates, each with the chance of an open until the expiry of its entry."""
    decided_at, lead = utc(timing.decided_at), timing.lead // _MILLISECOND
    starts = np.maximum(slots.open[rows] - lead, 0).tolist()
    warm_at = [decided_at + timedelta(milliseconds=start) for start in starts]
    keys = [key] * len(rows)
    ends = list(view.get_expiries(keys, warm_at))
    expiry = _to_ms(ends, decided_at)
    chance = slots.get_coverage(rows, expiry)[0]
    chance = np.where(expiry <= slots.open[rows], slots.probability[rows], chance).round(6)
    return LikelyKeys(slots=slots, rows=rows, chance=chance, keys=keys, warm_at=warm_at, ends=ends)


def _find_peak(slots: SlotArrays, row: int, end: datetime, timing: PlanTiming) -> tuple[float, datetime]:
    """Return the probability and the predicted open of the likeliest hour between a row and the entry's expiry."""
    decided_at = utc(timing.decided_at)
    until = int(_to_ms([end], decided_at)[0])
    rows = np.flatnonzero((np.arange(len(slots.start)) >= row) & (slots.start < until))
    peak = int(rows[np.argmax(slots.probability[rows])]) if len(rows) else row
    return float(slots.probability[peak]), decided_at + timedelta(milliseconds=int(slots.open[peak]))


def _describe(
    candidates: LikelyKeys, index: int, planning: PlanningSettings | None, decided_at: datetime
) -> KeyDecision:
    row = {name: values[index] for name, values in candidates.evidence.items()}
    chance = float(candidates.chance[index])
    return KeyDecision(
        Rule.UNLIKELY,
        decided_at,
        probability=float(row["probability"]),
        chance=chance,
        evidence=Evidence(int(row["opens"]), int(row["weeks"]), int(row["hour_of_week"]), str(row["time_zone"])),
        predicted_open=row["predicted_open"],
        warm_at=candidates.warm_at[index],
        expires_at=candidates.ends[index],
        benefit=round(chance * planning.open_value, 6) if planning else 0.0,
    )


def select_key(frame: pd.DataFrame, key: ReportKey) -> pd.DataFrame:
    """Return the rows of a key."""
    is_key = (frame["date_range"] == key.date_range) & (frame["report"] == key.report)
    return frame[is_key & (frame["account_id"] == key.account_id)].reset_index(drop=True)


def _to_ms(moments: Sequence[datetime], origin: datetime) -> Ints:
    return np.array([min((moment - origin) // _MILLISECOND, _MAX_AHEAD_MS) for moment in moments], np.int64)
