"""From probabilities to a plan: what this run warms, when and why. A pure function of its arguments.

A key is a candidate when it is likely enough to be opened between its predicted open and the end of the life the
fetched entry would have. One warm stands for all the hours that life covers. It belongs to this run when its warm time
falls before the next run can act; a later hour in the same life that is much likelier is waited for.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from adwarm.clock import utc
from adwarm.model import ReportKey
from adwarm.planning.budget import within_budget
from adwarm.planning.life import NEVER
from adwarm.planning.recommendation import Plan, Recommendation
from adwarm.planning.slots import KEY_COLUMNS, Ints, Slots
from adwarm.planning.why import Evidence, why_now, why_opened
from adwarm.settings import Settings

LOOKAHEAD = timedelta(hours=24)
"""How far ahead of the decision the probabilities should reach."""
PEAK_SHARE = 0.25
"""A slot is warmed for when its chance is at least this share of the highest in the life of the entry."""

Lookup = Callable[[Sequence[ReportKey], Sequence[datetime]], Sequence[datetime | None]]


def plan_warms(
    decided_at: datetime,
    horizon: timedelta,
    probabilities: pd.DataFrame,
    fresh_until: Lookup,
    expires: Lookup,
    lead: timedelta,
    settings: Settings,
    *,
    max_calls: int,
) -> Plan:
    """Return the plan of one run.

    Args:
        decided_at: the run's decision time, UTC.
        horizon: warms due in `[decided_at, decided_at + horizon)` belong to this run: the time to the next decision
            plus the start latency.
        probabilities: as `Forecast.probabilities` gives them, from `decided_at` over LOOKAHEAD.
        fresh_until: for keys and moments, when the stored entry that the key means at that moment stops being fresh;
            None when nothing is stored, `NEVER` when it does not.
        expires: for keys and moments, when an entry fetched at that moment would stop answering the key
            (see `useful_until`); None or `NEVER` when it would not.
        lead: how long before the predicted open the fetch must start.
        settings: section `planning`.
        max_calls: upstream calls this run may plan.
    """
    decided_at = utc(decided_at)
    slots = Slots.of(probabilities, decided_at)
    lead_ms = _ms(lead)
    rows = _due(slots, lead_ms, _ms(horizon), settings.planning.min_confidence)
    candidates, late = _candidates(slots, rows, expires, decided_at, lead_ms, settings.planning.min_confidence)
    wanted, fresh = _without_fresh(candidates, fresh_until, timedelta(minutes=settings.planning.session_minutes))
    kept, cut = within_budget(wanted, max_calls)
    return Plan(tuple(sorted(kept, key=lambda item: (item.warm_at, item.key))), (*cut, *late), tuple(fresh), slots.keys)


def _due(slots: Slots, lead: int, horizon: int, min_confidence: float) -> Ints:
    """Rows whose warm falls due in this run and whose key could become likely enough."""
    due = (slots.open >= 0) & (slots.open - lead < horizon)
    return np.flatnonzero(due & (slots.chance_to_the_end() >= min_confidence))


def _candidates(
    slots: Slots, rows: Ints, expires: Lookup, decided_at: datetime, lead: int, min_confidence: float
) -> tuple[list[Recommendation], list[Recommendation]]:
    """Return the likely ones, one per key, and those whose life would be over before the predicted open."""
    names = slots.frame.iloc[rows][KEY_COLUMNS].itertuples(index=False, name=None)
    keys = [ReportKey(*name) for name in names]
    warm_at = [decided_at + timedelta(milliseconds=int(ms)) for ms in np.maximum(slots.open[rows] - lead, 0)]
    ends = [end or NEVER for end in expires(keys, warm_at)]
    expiry: Ints = np.array([min(_ms(end - decided_at), 10**12) for end in ends], np.int64)
    chance, highest = slots.covered(rows, expiry)
    over = expiry <= slots.open[rows]
    chance = np.where(over, slots.probability[rows], chance)
    chosen = (chance >= min_confidence) & (slots.probability[rows] >= PEAK_SHARE * highest)
    likely: list[Recommendation] = []
    late: list[Recommendation] = []
    seen = -1
    for place in np.flatnonzero(chosen):
        row = int(rows[place])
        if slots.key[row] == seen:
            continue
        seen = int(slots.key[row])
        found = _recommend(slots, row, keys[place], warm_at[place], ends[place], float(chance[place]))
        if over[place]:
            late.append(found.turned_down("cut", _too_short(ends[place])))
        else:
            likely.append(found)
    return likely, late


def _recommend(
    slots: Slots, row: int, key: ReportKey, warm_at: datetime, end: datetime, chance: float
) -> Recommendation:
    values = slots.frame.iloc[row]
    evidence = Evidence(
        int(values["opens"]), int(values["weeks"]), int(values["hour_of_week"]), str(values["time_zone"])
    )
    chance = round(chance, 6)
    return Recommendation(
        key=key,
        predicted_open=values["predicted_open"].to_pydatetime(),
        confidence=chance,
        warm_at=warm_at,
        benefit=chance,
        explanation={
            "why": f"{why_opened(evidence)}; {why_now(chance, None if end == NEVER else end)}",
            "probability": round(float(values["probability"]), 6),
            "evidence": evidence._asdict(),
            "benefit": f"saves {chance:.2f} waits on average",
            "cost": "1 upstream call",
        },
    )


def _too_short(end: datetime) -> str:
    return f"an entry fetched for it would stop answering it at {end:%Y-%m-%d %H:%M} UTC, before the predicted open"


def _without_fresh(
    candidates: list[Recommendation], fresh_until: Lookup, session: timedelta
) -> tuple[list[Recommendation], list[Recommendation]]:
    """Split off those whose stored entry stays fresh through the predicted session."""
    stored = fresh_until([item.key for item in candidates], [item.predicted_open for item in candidates])
    wanted: list[Recommendation] = []
    fresh: list[Recommendation] = []
    for item, end in zip(candidates, stored, strict=True):
        if end is None or end < item.predicted_open + session:
            wanted.append(item)
        else:
            until = "for good" if end == NEVER else f"until {end:%Y-%m-%d %H:%M} UTC, past the predicted session"
            fresh.append(item.turned_down("fresh", f"what is stored stays fresh {until}"))
    return wanted, fresh


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)
