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
from adwarm.foundation.clock import utc
from adwarm.model import ReportKey
from adwarm.planning.expiry import NEVER
from adwarm.planning.explanations import Evidence, why_cut, why_now, why_opened, why_price
from adwarm.planning.price import Cost, Quota, Wishes, choose
from adwarm.planning.recommendation import Plan, Recommendation
from adwarm.planning.slot_arrays import KEY_COLUMNS, Floats, Ints, Slots
from adwarm.settings import Settings

LOOKAHEAD = timedelta(hours=24)
"""How far ahead of the decision the probabilities should reach."""
PEAK_SHARE = 0.25
"""A slot is warmed for when its chance is at least this share of the highest in the life of the entry."""
KEPT_CUTS = 200
"""Keys turned down that a plan tells about, the best of them."""


class View(Protocol):
    """What the planner asks about keys, each at a moment of its own."""

    def expires(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> Sequence[datetime]:
        """Return when an entry fetched then would stop answering the key; `NEVER` when it would not."""
        ...

    def fresh_until(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> Sequence[datetime | None]:
        """Return when the stored entry that the key means then stops being fresh; None when nothing is stored."""
        ...

    def needs(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> Sequence[Need]:
        """Return which requests a fetch then would take."""
        ...


@dataclass(frozen=True)
class _Candidates:
    """Likely keys, one row of the slots each; arrays and lists of equal length."""

    slots: Slots
    rows: Ints
    chance: Floats
    keys: list[ReportKey]
    warm_at: list[datetime]
    ends: list[datetime]

    def some(self, places: Ints) -> "_Candidates":
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
    view: View,
    lead: timedelta,
    settings: Settings,
    quota: Quota,
) -> Plan:
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
    slots = Slots.of(probabilities, decided_at)
    rows = _due(slots, _ms(lead), _ms(horizon), settings.planning.min_confidence)
    found = _likely(slots, rows, view, decided_at, _ms(lead), settings.planning.min_confidence)
    session = timedelta(minutes=settings.planning.session_minutes)
    over = np.array([end < open_ + session for end, open_ in zip(found.ends, found.opens, strict=True)], bool)
    lasting = found.some(np.flatnonzero(~over))
    late = found.some(np.flatnonzero(over & (found.chance * quota.value > 1.0)))
    wanted, fresh = _without_fresh(lasting, view, session)
    kept, cut, cut_total = _worth_it(wanted, view, quota)
    short = [_too_short(late, place) for place in range(min(len(late.keys), KEPT_CUTS))]
    return Plan(
        tuple(kept), (*cut, *short), tuple(fresh), slots.keys, cut_total + len(late.keys),
        len(lasting.keys) - len(wanted.keys),
    )  # fmt: skip


def _due(slots: Slots, lead: int, horizon: int, min_confidence: float) -> Ints:
    """Rows whose warm falls due in this run and whose key could become likely enough."""
    due = (slots.open >= 0) & (slots.open - lead < horizon)
    return np.flatnonzero(due & (slots.chance_to_the_end() >= min_confidence))


def _likely(
    slots: Slots, rows: Ints, view: View, decided_at: datetime, lead: int, min_confidence: float
) -> _Candidates:
    """Return the first row of each key that is likely enough and that no much likelier hour should be waited for."""
    names = slots.frame.iloc[rows][KEY_COLUMNS].itertuples(index=False, name=None)
    keys = [ReportKey(*name) for name in names]
    warm_at = [decided_at + timedelta(milliseconds=ms) for ms in np.maximum(slots.open[rows] - lead, 0).tolist()]
    ends = list(view.expires(keys, warm_at))
    expiry: Ints = np.array([min(_ms(end - decided_at), 10**12) for end in ends], np.int64)
    chance, highest = slots.covered(rows, expiry)
    chance = np.where(expiry <= slots.open[rows], slots.probability[rows], chance)
    good = np.flatnonzero((chance >= min_confidence) & (slots.probability[rows] >= PEAK_SHARE * highest))
    _, first = np.unique(slots.key[rows][good], return_index=True)
    return _Candidates(slots, rows, chance, keys, warm_at, ends).some(good[first])


def _without_fresh(candidates: _Candidates, view: View, session: timedelta) -> tuple[_Candidates, list[Recommendation]]:
    """Split off those whose stored entry stays fresh through the predicted session."""
    opens = candidates.opens
    stored = view.fresh_until(candidates.keys, opens)
    fresh = np.array(
        [end is not None and end >= open_ + session for end, open_ in zip(stored, opens, strict=True)], bool
    )
    told = [_still_fresh(candidates, place, stored[place]) for place in np.flatnonzero(fresh)[:KEPT_CUTS].tolist()]
    return candidates.some(np.flatnonzero(~fresh)), told


def _worth_it(wanted: _Candidates, view: View, quota: Quota) -> tuple[list[Recommendation], list[Recommendation], int]:
    """Return those that are worth their price, the best of those that only the quota cuts, and the number of these."""
    needs = np.array(view.needs(wanted.keys, wanted.warm_at), bool).reshape(-1, 2)
    travel = [(key.account_id, key.report) for key in wanted.keys]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(travel))}
    group = np.array([numbers[name] for name in travel], np.int64)
    benefit = wanted.chance * quota.value
    choice = choose(Wishes(benefit, group, needs[:, 0], needs[:, 1], [name for name, _ in numbers]), quota)
    kept = [
        _recommend(wanted, place, quota.value, choice.cost(place)) for place in np.flatnonzero(choice.chosen).tolist()
    ]
    cut = np.flatnonzero(choice.cut)
    best = cut[np.argsort(-benefit[cut], kind="stable")][:KEPT_CUTS]
    turned_down = [_cut(wanted, place, quota, choice.cost(place)) for place in best.tolist()]
    return sorted(kept, key=lambda item: (item.warm_at, item.key)), turned_down, len(cut)


def _cut(wanted: _Candidates, place: int, quota: Quota, cost: Cost) -> Recommendation:
    limit = f"{quota.account} calls of its account" if cost.by_account else f"{quota.fleet} calls of all accounts"
    item = _recommend(wanted, place, quota.value, cost)
    return item.turned_down("cut", why_cut(cost, item.benefit, limit))


def _still_fresh(found: _Candidates, place: int, end: datetime | None) -> Recommendation:
    until = "for good" if end == NEVER else f"until {end:%Y-%m-%d %H:%M} UTC, past the predicted session"
    return _recommend(found, place).turned_down("fresh", f"what is stored stays fresh {until}")


def _too_short(found: _Candidates, place: int) -> Recommendation:
    end = found.ends[place]
    why = f"an entry fetched for it would stop answering it at {end:%Y-%m-%d %H:%M} UTC, before the session is over"
    return _recommend(found, place).turned_down("cut", why)


def _recommend(found: _Candidates, place: int, value: float = 1.0, cost: Cost | None = None) -> Recommendation:
    values = found.slots.frame.iloc[found.rows[place]]
    evidence = Evidence(
        int(values["opens"]), int(values["weeks"]), int(values["hour_of_week"]), str(values["time_zone"])
    )
    chance, end = round(float(found.chance[place]), 6), found.ends[place]
    benefit = round(chance * value, 6)
    told = {} if cost is None else {"cost": why_price(cost), "calls": round(cost.calls, 4)}
    return Recommendation(
        key=found.keys[place],
        predicted_open=utc(values["predicted_open"].to_pydatetime()),
        confidence=chance,
        warm_at=found.warm_at[place],
        benefit=benefit,
        price=0.0 if cost is None else round(cost.price, 6),
        calls=0.0 if cost is None else cost.calls,
        until=None if end == NEVER else end,
        explanation={
            "why": f"{why_opened(evidence)}; {why_now(chance, None if end == NEVER else end)}",
            "probability": round(float(values["probability"]), 6),
            "evidence": evidence._asdict(),
            "benefit": f"saves {chance:.2f} waits on average, worth {benefit:.2f} calls",
            **told,
        },
    )


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)
