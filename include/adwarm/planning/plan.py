"""From probabilities to a plan: what this run warms, when and why. A pure function of its arguments.

A key is a candidate when it is likely enough to be opened between its predicted open and the end of the life the
fetched entry would have. One warm stands for all the hours that life covers. It belongs to this run when its warm time
falls before the next run can act; a later hour in the same life that is much likelier is waited for. Of the candidates
those are warmed that are worth their price; see `adwarm.planning.price`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
import pandas as pd

from adwarm.fetch_plan.request_cost import Need
from adwarm.foundation.arrow_arrays import Floats, Ints
from adwarm.foundation.clock import utc
from adwarm.model import ReportKey
from adwarm.planning.expiry import NEVER
from adwarm.planning.explanations import Evidence, explain_chance, explain_cut, explain_opens, explain_price
from adwarm.planning.price import CallQuota, WarmCandidates, WarmCost, select_warms
from adwarm.planning.recommendation import Recommendation, WarmPlan
from adwarm.planning.slot_arrays import KEY_COLUMNS, SlotArrays
from adwarm.settings import Settings

LOOKAHEAD = timedelta(hours=24)
"""How far ahead of the decision the probabilities should reach."""
MIN_PEAK_RATIO = 0.25
"""A slot is warmed for when its chance is at least this share of the highest in the life of the entry."""
MAX_LISTED_CUTS = 200
"""Keys turned down that a plan tells about, the best of them."""


class PlanningView(Protocol):
    """What the planner asks about keys, each at a moment of its own."""

    def get_expiries(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> Sequence[datetime]:
        """Return when an entry fetched then would stop answering the key; `NEVER` when it would not."""
        ...

    def get_fresh_until(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> Sequence[datetime | None]:
        """Return when the stored entry that the key means then stops being fresh; None when nothing is stored."""
        ...

    def get_request_costs(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> Sequence[Need]:
        """Return which requests a fetch then would take."""
        ...


@dataclass(frozen=True)
class _Candidates:
    """Likely keys, one row of the slots each; arrays and lists of equal length."""

    slots: SlotArrays
    rows: Ints
    chance: Floats
    keys: list[ReportKey]
    warm_at: list[datetime]
    ends: list[datetime]

    def take(self, places: Ints) -> "_Candidates":
        at = places.tolist()
        lists = ([values[place] for place in at] for values in (self.keys, self.warm_at, self.ends))
        return _Candidates(self.slots, self.rows[places], self.chance[places], *lists)

    @property
    def opens(self) -> list[datetime]:
        found = self.slots.frame["predicted_open"].iloc[self.rows]
        return [utc(moment) for moment in found.dt.to_pydatetime()]


def plan_warms(
    decided_at: datetime,
    horizon: timedelta,
    probabilities: pd.DataFrame,
    view: PlanningView,
    lead: timedelta,
    settings: Settings,
    quota: CallQuota,
) -> WarmPlan:
    """Return the plan of one run.

    Args:
        decided_at: the run's decision time, UTC.
        horizon: warms due in `[decided_at, decided_at + horizon)` belong to this run: the time to the next decision
            plus the start latency.
        probabilities: as `Forecast.probabilities` gives them, from `decided_at` over LOOKAHEAD.
        view: answers about lives, stored entries and requests.
        lead: how long before the predicted open the fetch must start.
        settings: section `planning`.
        quota: the calls of the hour.
    """
    decided_at = utc(decided_at)
    slots = SlotArrays.from_frame(probabilities, decided_at)
    rows = _due(slots, _ms(lead), _ms(horizon), settings.planning.min_confidence)
    found = _likely(slots, rows, view, decided_at, _ms(lead), settings.planning.min_confidence)
    session = timedelta(minutes=settings.planning.session_minutes)
    over = np.array([end < open_ + session for end, open_ in zip(found.ends, found.opens, strict=True)], bool)
    lasting = found.take(np.flatnonzero(~over))
    late = found.take(np.flatnonzero(over & (found.chance * quota.open_value > 1.0)))
    wanted, fresh = _split_off_fresh(lasting, view, session)
    kept, cut, cut_total = _select_by_value(wanted, view, quota)
    short = [_too_short(late, place) for place in range(min(len(late.keys), MAX_LISTED_CUTS))]
    return WarmPlan(
        tuple(kept),
        (*cut, *short),
        tuple(fresh),
        slots.key_count,
        cut_total + len(late.keys),
        len(lasting.keys) - len(wanted.keys),
    )


def _due(slots: SlotArrays, lead: int, horizon: int, min_confidence: float) -> Ints:
    """Rows whose warm falls due in this run and whose key could become likely enough."""
    due = (slots.open >= 0) & (slots.open - lead < horizon)
    return np.flatnonzero(due & (slots.get_remaining_chance() >= min_confidence))


def _likely(
    slots: SlotArrays, rows: Ints, view: PlanningView, decided_at: datetime, lead: int, min_confidence: float
) -> _Candidates:
    """Return the first row of each key that is likely enough and that no much likelier hour should be waited for."""
    names = slots.frame.iloc[rows][KEY_COLUMNS].itertuples(index=False, name=None)
    keys = [ReportKey(*name) for name in names]
    warm_at = [decided_at + timedelta(milliseconds=ms) for ms in np.maximum(slots.open[rows] - lead, 0).tolist()]
    ends = list(view.get_expiries(keys, warm_at))
    expiry: Ints = np.array([min(_ms(end - decided_at), 10**12) for end in ends], np.int64)
    chance, highest = slots.get_coverage(rows, expiry)
    chance = np.where(expiry <= slots.open[rows], slots.probability[rows], chance)
    good = np.flatnonzero((chance >= min_confidence) & (slots.probability[rows] >= MIN_PEAK_RATIO * highest))
    _, first = np.unique(slots.key[rows][good], return_index=True)
    return _Candidates(slots, rows, chance, keys, warm_at, ends).take(good[first])


def _split_off_fresh(
    candidates: _Candidates, view: PlanningView, session: timedelta
) -> tuple[_Candidates, list[Recommendation]]:
    """Split off those whose stored entry stays fresh through the predicted session."""
    opens = candidates.opens
    stored = view.get_fresh_until(candidates.keys, opens)
    fresh = np.array(
        [end is not None and end >= open_ + session for end, open_ in zip(stored, opens, strict=True)], bool
    )
    told = [
        _still_fresh(candidates, place, stored[place]) for place in np.flatnonzero(fresh)[:MAX_LISTED_CUTS].tolist()
    ]
    return candidates.take(np.flatnonzero(~fresh)), told


def _select_by_value(
    wanted: _Candidates, view: PlanningView, quota: CallQuota
) -> tuple[list[Recommendation], list[Recommendation], int]:
    """Return those that are worth their price, the best of those that only the quota cuts, and the number of these."""
    needs = np.array(view.get_request_costs(wanted.keys, wanted.warm_at), bool).reshape(-1, 2)
    travel = [(key.account_id, key.report) for key in wanted.keys]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(travel))}
    group = np.array([numbers[name] for name in travel], np.int64)
    benefit = wanted.chance * quota.open_value
    choice = select_warms(
        WarmCandidates(benefit, group, needs[:, 0], needs[:, 1], [name for name, _ in numbers]), quota
    )
    kept = [
        _recommend(wanted, place, quota.open_value, choice.get_cost(place))
        for place in np.flatnonzero(choice.chosen).tolist()
    ]
    cut = np.flatnonzero(choice.cut)
    best = cut[np.argsort(-benefit[cut], kind="stable")][:MAX_LISTED_CUTS]
    turned_down = [_cut(wanted, place, quota, choice.get_cost(place)) for place in best.tolist()]
    return sorted(kept, key=lambda item: (item.warm_at, item.key)), turned_down, len(cut)


def _cut(wanted: _Candidates, place: int, quota: CallQuota, cost: WarmCost) -> Recommendation:
    limit = (
        f"{quota.max_account_calls} calls of its account"
        if cost.is_account_limit
        else f"{quota.max_calls} calls of all accounts"
    )
    item = _recommend(wanted, place, quota.open_value, cost)
    return item.with_status("cut", explain_cut(cost, item.benefit, limit))


def _still_fresh(found: _Candidates, place: int, end: datetime | None) -> Recommendation:
    until = "for good" if end == NEVER else f"until {end:%Y-%m-%d %H:%M} UTC, past the predicted session"
    return _recommend(found, place).with_status("fresh", f"what is stored stays fresh {until}")


def _too_short(found: _Candidates, place: int) -> Recommendation:
    end = found.ends[place]
    why = f"an entry fetched for it would stop answering it at {end:%Y-%m-%d %H:%M} UTC, before the session is over"
    return _recommend(found, place).with_status("cut", why)


def _recommend(found: _Candidates, place: int, value: float = 1.0, cost: WarmCost | None = None) -> Recommendation:
    values = found.slots.frame.iloc[found.rows[place]]
    evidence = Evidence(
        int(values["opens"]), int(values["weeks"]), int(values["hour_of_week"]), str(values["time_zone"])
    )
    chance, end = round(float(found.chance[place]), 6), found.ends[place]
    benefit = round(chance * value, 6)
    told = {} if cost is None else {"cost": explain_price(cost), "calls": round(cost.calls, 4)}
    return Recommendation(
        key=found.keys[place],
        predicted_open=utc(values["predicted_open"].to_pydatetime()),
        confidence=chance,
        warm_at=found.warm_at[place],
        benefit=benefit,
        price=0.0 if cost is None else round(cost.price, 6),
        calls=0.0 if cost is None else cost.calls,
        expires_at=None if end == NEVER else end,
        explanation={
            "why": f"{explain_opens(evidence)}; {explain_chance(chance, None if end == NEVER else end)}",
            "probability": round(float(values["probability"]), 6),
            "evidence": evidence._asdict(),
            "benefit": f"saves {chance:.2f} waits on average, worth {benefit:.2f} calls",
            **told,
        },
    )


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)
