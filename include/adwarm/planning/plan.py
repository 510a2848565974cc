"""From probabilities to a plan: which keys this run warms, when and why. A pure function of its arguments.

A key is a candidate when an open is likely enough between its predicted open and the expiry of the entry that would be
fetched for it. One warm covers all the hours until that expiry. A warm belongs to this run when it falls due before
the next run can act; if a later hour before the expiry is much likelier, the key waits for that hour's run. Of the
candidates, those that are worth their price are planned; see `adwarm.planning.price`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final, Protocol

import numpy as np
import pandas as pd

from adwarm.fetch_plan import SESSION, RequestCost
from adwarm.forecast.protocol import KEY_COLUMNS
from adwarm.foundation.arrow_arrays import Bools, Floats, Ints
from adwarm.foundation.clock import utc
from adwarm.model import ReportKey
from adwarm.planning.explanations import (
    Chance,
    Evidence,
    WarmCost,
    explain_cut,
    explain_price,
    explain_warm,
    format_amount,
)
from adwarm.planning.price import CallQuota, WarmCandidates, WarmSelection, select_warms
from adwarm.planning.recommendation import MAX_LISTED_CUTS, Recommendation, WarmPlan
from adwarm.planning.rule_sentences import leave_out
from adwarm.planning.store_view import NEVER

LOOKAHEAD = timedelta(hours=24)
"""How far ahead of the decision the probabilities should reach."""
MIN_PROBABILITY = 0.01
"""Less likely hours are left out of a plan."""
MIN_PEAK_RATIO = 0.25
"""A slot is warmed for when its probability is at least this fraction of the highest before the entry's expiry."""
_STATED = ("probability", "opens", "weeks", "hour_of_week", "time_zone")
_DIGITS = 6
"""Digits of chances and benefits, as stated and as decided by; sums differ in the last digits with the other keys."""
_MAX_HORIZON_MS = 10**10
"""About four months in milliseconds: longer than any plan."""
_NEVER_MS = 10**12
_HOUR = timedelta(hours=1)
START_LATENCY: Final = timedelta(seconds=60)
"""From the decision until the tasks of a run fetch."""
_LEAD_STEP: Final = timedelta(seconds=30)
"""Fetches take longer on a busy machine, and a plan is not to depend on that."""


class ExpiryView(Protocol):
    """What finding likely keys reads."""

    def get_expiries(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> Sequence[datetime]:
        """Return when an entry fetched then (UTC) would stop answering the key; `NEVER` when it would not."""
        ...


class PlanningView(ExpiryView, Protocol):
    """What the planner reads about keys, each at its own moment (UTC)."""

    def get_fresh_until(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> Sequence[datetime | None]:
        """Return when the entry stored for the key then stops being fresh; None when nothing is stored."""
        ...

    def get_request_costs(
        self, keys: Sequence[ReportKey], moments: Sequence[datetime], until: Sequence[datetime] | None = None
    ) -> Sequence[RequestCost]:
        """Return which requests a fetch then would take, for an entry that is still fresh at `until`."""
        ...


@dataclass(frozen=True, slots=True)
class PlanTiming:
    """The times of one run.

    Attributes:
        horizon: warms due in `[decided_at, decided_at + horizon)` belong to this run: the time to the next decision
            plus the start latency.
        lead: how long before the predicted open the fetch must start.
    """

    decided_at: datetime
    horizon: timedelta
    lead: timedelta


def get_lead_time(fetch: timedelta) -> timedelta:
    """Return how long before an open its fetch starts: the start latency, and `fetch` rounded up to half minutes."""
    return START_LATENCY - (-fetch // _LEAD_STEP) * _LEAD_STEP


@dataclass(frozen=True)
class SlotArrays:
    """Rows of a frame of probabilities, sorted by key and time; times in milliseconds after the decision.

    Attributes:
        key: index of the row's key, ascending.
        open: predicted open within the slot.
        survival: cumulative log probability of no open in the rows before; one element longer than the rows.
        until: the end of the predicted time, UTC.
    """

    frame: pd.DataFrame
    key: Ints
    start: Ints
    end: Ints
    open: Ints
    probability: Floats
    survival: Floats
    until: datetime

    @classmethod
    def from_frame(cls, probabilities: pd.DataFrame, decided_at: datetime) -> "SlotArrays":
        """Return the arrays of a frame that `Forecast.predict` returned."""
        frame, changed = probabilities, _find_key_changes(probabilities)
        if not _is_sorted(frame, changed, _column_to_ms(frame["slot_start"], decided_at)):
            frame = frame.sort_values([*KEY_COLUMNS, "slot_start"], kind="stable")
            changed = _find_key_changes(frame)
        key: Ints = np.cumsum(changed, dtype=np.int64) - 1
        probability = np.clip(frame["probability"].to_numpy(np.float64), 0.0, 1.0 - 1e-9)
        survival = np.concatenate([[0.0], np.cumsum(np.log1p(-probability))])
        start, end, opens = (
            _column_to_ms(frame[name], decided_at) for name in ("slot_start", "slot_end", "predicted_open")
        )
        return cls(
            frame=frame,
            key=key,
            start=start,
            end=end,
            open=opens,
            probability=probability,
            survival=survival,
            until=utc(decided_at) + LOOKAHEAD,
        )

    @property
    def key_count(self) -> int:
        """Number of keys."""
        return int(self.key[-1]) + 1 if len(self.key) else 0

    def get_remaining_chance(self) -> Floats:
        """Return, per row, the probability of an open in it or in a later row of its key."""
        last = np.searchsorted(self.key, self.key, side="right")
        result: Floats = -np.expm1(self.survival[last] - self.survival[:-1])
        return result

    def get_coverage(self, rows: Ints, expiry: Ints) -> Floats:
        """Return, for each of `rows`, the probability of an open until `expiry`."""
        until = np.clip(expiry, 0, _MAX_HORIZON_MS - 1)
        stop = self._find_stop(rows, until)
        last = stop - 1
        covered = np.clip((until - self.start[last]) / (self.end[last] - self.start[last]), 0.0, 1.0)
        tail = (1.0 - covered) * np.log1p(-self.probability[last])
        chance: Floats = -np.expm1(self.survival[stop] - self.survival[rows] - tail)
        return np.maximum(chance, 0.0)

    def get_highest(self, rows: Ints, expiry: Ints) -> Floats:
        """Return, for each of `rows`, the highest probability of a slot until `expiry`."""
        stop = self._find_stop(rows, np.clip(expiry, 0, _MAX_HORIZON_MS - 1))
        ends = np.stack([rows, stop], axis=1).ravel()
        highest: Floats = np.maximum.reduceat(np.append(self.probability, 0.0), ends)[::2]
        return highest

    def _find_stop(self, rows: Ints, until: Ints) -> Ints:
        """Return, for each of `rows`, the row after the last that begins before `until`, at least the next one."""
        # One sorted axis for all keys: the key's index times the horizon, plus the time.
        stop = np.searchsorted(self.key * _MAX_HORIZON_MS + self.start, self.key[rows] * _MAX_HORIZON_MS + until)
        return np.maximum(stop, rows + 1)


def _find_key_changes(frame: pd.DataFrame) -> Bools:
    """Return, per row, whether it is the first or its key is another one than that of the row before."""
    changed: Bools = np.zeros(len(frame), np.bool_)
    changed[:1] = True
    for column in (frame[name].array for name in KEY_COLUMNS):  # as numbers of objects it takes 80 MB
        changed[1:] |= np.asarray(column[1:] != column[:-1], np.bool_)
    return changed


def _is_sorted(frame: pd.DataFrame, changed: Bools, start: Ints) -> bool:
    """Return whether the rows are in the order of key and time; forecasts return them so, and sorting takes longer."""
    key = np.zeros(int(changed.sum()), np.int64)
    for name in KEY_COLUMNS:
        codes, values = pd.factorize(frame[name].array[changed], sort=True)
        key = key * len(values) + codes
    return bool((changed[1:] | (start[1:] >= start[:-1])).all() and (key[1:] > key[:-1]).all())


@dataclass(frozen=True)
class LikelyKeys:
    """Keys that are due in a run and likely enough, one row of the slots each; arrays and lists of equal length.

    Attributes:
        rows: the row of each key's slot.
        chance: probability of an open between that slot and the expiry of the entry.
        warm_at: when the fetch of each should start, UTC.
        ends: until when an entry fetched then answers its key, UTC.
    """

    slots: SlotArrays
    rows: Ints
    chance: Floats
    keys: list[ReportKey]
    warm_at: list[datetime]
    ends: list[datetime]

    def get_lasting(self, session: timedelta) -> Bools:
        """Return, per key, whether an entry fetched for it lasts through the predicted session."""
        return np.array([end >= open_ + SESSION for end, open_ in zip(self.ends, self.opens, strict=True)], np.bool_)

    def take(self, indexes: Ints) -> "LikelyKeys":
        """Return the keys at `indexes`."""
        order = indexes.tolist()
        return LikelyKeys(
            slots=self.slots,
            rows=self.rows[indexes],
            chance=self.chance[indexes],
            keys=[self.keys[index] for index in order],
            warm_at=[self.warm_at[index] for index in order],
            ends=[self.ends[index] for index in order],
        )

    @property
    def opens(self) -> list[datetime]:
        """The predicted opens, UTC."""
        return self.evidence["predicted_open"]

    @cached_property
    def evidence(self) -> dict[str, list[Any]]:
        """The columns of the frame that recommendations state, one value per key."""
        frame = self.slots.frame
        columns = {name: frame[name].to_numpy()[self.rows].tolist() for name in _STATED}
        opens = [utc(moment) for moment in frame["predicted_open"].iloc[self.rows].dt.to_pydatetime()]
        return {**columns, "predicted_open": opens}


@dataclass(frozen=True)
class SelectedKeys:
    """The decision on the likely keys of a run.

    Attributes:
        stale: keys without an entry that stays fresh through the predicted session.
        selection: which of these are worth their price.
        fresh: keys with such an entry.
        stored: until when the entry of each of these is fresh.
        expiring: likely keys whose new entry would expire before the session ends.
    """

    stale: LikelyKeys
    selection: WarmSelection
    fresh: LikelyKeys
    stored: list[datetime | None]
    expiring: LikelyKeys


def find_likely_keys(
    timing: PlanTiming, probabilities: pd.DataFrame, view: ExpiryView, min_confidence: float
) -> LikelyKeys:
    """Return the keys whose warm falls due in the run and that are likely enough, each at its first such hour.

    Keys do not depend on each other, so a frame of some keys gives what the frame of all gives for them.
    """
    slots = SlotArrays.from_frame(probabilities, timing.decided_at)
    rows = find_due(slots, timing, min_confidence)
    candidates, highest = find_candidates(slots, rows, view, timing)
    likely = (candidates.chance >= min_confidence) & (slots.probability[rows] >= MIN_PEAK_RATIO * highest)
    good = np.flatnonzero(likely)
    _, first = np.unique(slots.key[rows][good], return_index=True)
    return candidates.take(good[first])


def find_expected_keys(
    probabilities: pd.DataFrame, decided_at: datetime, view: ExpiryView, accept: Callable[[ReportKey], ReportKey | None]
) -> LikelyKeys:
    """Return the keys that may be opened before an entry fetched at the decision would expire, one row each.

    Args:
        probabilities: returned by `Forecast.predict`, from the decision over `LOOKAHEAD`.
        accept: returns what to fetch for a key of the forecast, or None to leave it out.
    """
    slots = SlotArrays.from_frame(probabilities, decided_at)
    first = np.flatnonzero(np.diff(slots.key, prepend=-1))
    names = slots.frame.iloc[first][KEY_COLUMNS].itertuples(index=False, name=None)
    accepted = [accept(ReportKey(*map(str, name))) for name in names]
    rows: Ints = first[[key is not None for key in accepted]] if len(first) else first
    keys = [key for key in accepted if key is not None]
    now = [utc(decided_at)] * len(keys)
    ends = list(view.get_expiries(keys, now))
    expiry = to_ms(ends, decided_at)
    chance = slots.get_coverage(rows, expiry)
    return LikelyKeys(slots=slots, rows=rows, chance=chance.round(_DIGITS), keys=keys, warm_at=now, ends=ends)


def select_expected_keys(
    expected: LikelyKeys, view: PlanningView, quota: CallQuota
) -> tuple[list[Recommendation], list[Recommendation]]:
    """Return the keys that are worth their price now, and the best of those that only the quota rejects."""
    selected = _price_keys(expected, view, quota)
    return _describe_selection(selected, quota)


def plan_likely_keys(likely: LikelyKeys, view: PlanningView, quota: CallQuota) -> WarmPlan:
    """Return the plan of a run."""
    selected = select_likely_keys(likely, view, quota)
    planned, cut = _describe_selection(selected, quota)
    fresh, expiring = selected.fresh, selected.expiring
    still_fresh = [
        leave_out(recommend(fresh, index), "fresh", fresh_until=None if end == NEVER else end)
        for index, end in enumerate(selected.stored[:MAX_LISTED_CUTS])
    ]
    short = [
        leave_out(recommend(expiring, index), "too_short") for index in range(min(len(expiring.keys), MAX_LISTED_CUTS))
    ]
    return WarmPlan(
        tuple(planned),
        (*cut, *short),
        tuple(still_fresh),
        likely.slots.key_count,
        cut_total=int(selected.selection.cut.sum()),
        expiring_total=len(expiring.keys),
        fresh_total=len(fresh.keys),
    )


def select_likely_keys(likely: LikelyKeys, view: PlanningView, quota: CallQuota) -> SelectedKeys:
    """Return the decision on each likely key, without explanations; arguments as for `plan_likely_keys`."""
    lasts = likely.get_lasting(SESSION)
    lasting = likely.take(np.flatnonzero(lasts))
    expiring = likely.take(np.flatnonzero(~lasts & (likely.chance * quota.open_value > 1.0)))
    stored = view.get_fresh_until(lasting.keys, lasting.opens)
    fresh = np.array(
        [end is not None and end >= open_ + SESSION for end, open_ in zip(stored, lasting.opens, strict=True)], bool
    )
    stale = lasting.take(np.flatnonzero(~fresh))
    rows = np.flatnonzero(fresh)
    priced = _price_keys(stale, view, quota)
    return replace(
        priced, fresh=lasting.take(rows), stored=[stored[index] for index in rows.tolist()], expiring=expiring
    )


def _price_keys(stale: LikelyKeys, view: PlanningView, quota: CallQuota) -> SelectedKeys:
    """Return which keys are worth the requests that they share."""
    until = [open_ + SESSION for open_ in stale.opens]
    costs = np.array(view.get_request_costs(stale.keys, stale.warm_at, until), np.int64).reshape(-1, 3)
    groups = [(key.account_id, key.report) for key in stale.keys]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    group = np.array([numbers[name] for name in groups], np.int64)
    benefit = np.round(stale.chance * quota.open_value, _DIGITS)
    accounts = [account for account, _ in numbers]
    pages = np.ones(len(accounts), np.int64)
    np.maximum.at(pages, group, costs[:, 2])
    needs_days, needs_summary = costs[:, :2].astype(bool).T
    selection = select_warms(
        WarmCandidates(benefit, group, needs_days, needs_summary, accounts=accounts, pages=pages), quota
    )
    none = stale.take(np.zeros(0, np.int64))
    return SelectedKeys(stale, selection, none, [], none)


def find_due(slots: SlotArrays, timing: PlanTiming, min_confidence: float = 0.0) -> Ints:
    """Return the rows whose warm falls due in this run and whose key can still become likely enough."""
    due = (slots.open >= 0) & (slots.open - _ms(timing.lead) < _ms(timing.horizon))
    return np.flatnonzero(due & (slots.get_remaining_chance() >= min_confidence))


def find_candidates(slots: SlotArrays, rows: Ints, view: ExpiryView, timing: PlanTiming) -> tuple[LikelyKeys, Floats]:
    """Return rows as candidates, and the highest probability of an hour before the expiry of the entry of each."""
    decided_at = utc(timing.decided_at)
    names = slots.frame.iloc[rows][KEY_COLUMNS].itertuples(index=False, name=None)
    keys = [ReportKey(*name) for name in names]
    starts = np.maximum(slots.open[rows] - _ms(timing.lead), 0).tolist()
    warm_at = [decided_at + timedelta(milliseconds=start) for start in starts]
    ends = list(view.get_expiries(keys, warm_at))
    expiry = to_ms(ends, decided_at)
    chance, highest = slots.get_coverage(rows, expiry), slots.get_highest(rows, expiry)
    # An entry that expires before the predicted open covers nothing; its own slot says how likely the open is.
    chance = np.where(expiry <= slots.open[rows], slots.probability[rows], chance).round(_DIGITS)
    return LikelyKeys(slots=slots, rows=rows, chance=chance, keys=keys, warm_at=warm_at, ends=ends), highest


def _describe_selection(selected: SelectedKeys, quota: CallQuota) -> tuple[list[Recommendation], list[Recommendation]]:
    """Return the keys that are worth their price, and the best of those that only the quota rejects."""
    stale, selection = selected.stale, selected.selection
    planned = [
        recommend(stale, index, quota.open_value, selection.get_cost(index))
        for index in np.flatnonzero(selection.chosen).tolist()
    ]
    cut = np.flatnonzero(selection.cut)
    best = cut[np.argsort(-stale.chance[cut], kind="stable")][:MAX_LISTED_CUTS]
    rejected = [_reject_by_quota(stale, index, quota, selection.get_cost(index)) for index in best.tolist()]
    return sorted(planned, key=lambda item: (item.warm_at, item.key)), rejected


def _reject_by_quota(candidates: LikelyKeys, index: int, quota: CallQuota, cost: WarmCost) -> Recommendation:
    limit = (
        f"{quota.max_account_calls} calls of its account"
        if cost.is_account_limit
        else f"{quota.max_calls} calls of all accounts"
    )
    item = recommend(candidates, index, quota.open_value, cost)
    return leave_out(item, "budget", why=explain_cut(cost, item.benefit, limit))


def recommend(
    candidates: LikelyKeys, index: int, open_value: float = 1.0, cost: WarmCost | None = None
) -> Recommendation:
    """Return the candidate at `index` as planned; without its cost as one that takes no call."""
    row = {name: values[index] for name, values in candidates.evidence.items()}
    evidence = Evidence(int(row["opens"]), int(row["weeks"]), int(row["hour_of_week"]), str(row["time_zone"]))
    lifetime, end = float(candidates.chance[index]), candidates.ends[index]
    benefit = round(lifetime * open_value, _DIGITS)
    chance = _chance_of(candidates, index, lifetime, end)
    priced = {} if cost is None else {"cost": explain_price(cost), "calls": round(cost.calls, 4)}
    return Recommendation(
        key=candidates.keys[index],
        predicted_open=row["predicted_open"],
        confidence=lifetime,
        warm_at=candidates.warm_at[index],
        benefit=benefit,
        price=0.0 if cost is None else round(cost.price, _DIGITS),
        calls=0.0 if cost is None else cost.calls,
        expires_at=None if end == NEVER else end,
        explanation={
            "why": explain_warm(evidence, chance),
            "probability": round(chance.in_hour, 6),
            "evidence": evidence._asdict(),
            "benefit": f"saves {format_amount(lifetime)} waits on average, worth {format_amount(benefit)} calls",
            **priced,
        },
    )


def _chance_of(candidates: LikelyKeys, index: int, lifetime: float, end: datetime) -> Chance:
    """Return the probabilities that explain a candidate."""
    slots, row = candidates.slots, candidates.rows[index]
    share = int(slots.end[row] - slots.start[row]) / _ms(_HOUR)
    return Chance(float(slots.probability[row]), min(share, 1.0), lifetime, end if end <= slots.until else None)


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


def to_ms(moments: Sequence[datetime], origin: datetime) -> Ints:
    """Return UTC moments as milliseconds after `origin`; `NEVER` is longer than any plan."""
    return np.array([min(_ms(moment - utc(origin)), _NEVER_MS) for moment in moments], np.int64)


def _column_to_ms(moments: pd.Series, decided_at: datetime) -> Ints:
    """Return a column of UTC moments as milliseconds after `decided_at`."""
    origin = np.datetime64(utc(decided_at).replace(tzinfo=None), "ms")
    values = pd.DatetimeIndex(moments).tz_convert("UTC").tz_localize(None).to_numpy()
    result: Ints = (values.astype("datetime64[ms]") - origin).astype(np.int64)
    return result
