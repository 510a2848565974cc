"""The decision of one run: reads forecast, store and budget, plans the warms, and stores the plan.

The plan is a function of (decision time, log, settings, snapshot, store): nothing here reads a clock.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Engine

from adwarm.fetch_plan.refetch_schedule import RefetchSchedule
from adwarm.fetch_plan.request_cost import RequestCost, get_request_cost
from adwarm.forecast.data_cutoff import data_cutoff_at
from adwarm.forecast.protocol import KEY_COLUMNS, Forecast, RecentOpens
from adwarm.forecast.snapshot import OnProblem, get_live_forecast
from adwarm.foundation.clock import floor_to
from adwarm.foundation.errors import Corrupt, NotFound
from adwarm.foundation.wording import format_count
from adwarm.model import Account, Mode, PlannedWarm, ReportKey, WarmReason, WarmStatus, Window, resolve_key
from adwarm.patterns.open_history import find_log_end, load_opens
from adwarm.planning.call_budget import get_calls_left, split_by_budget
from adwarm.planning.day_close import find_closing_accounts, recommend_day_close
from adwarm.planning.expiry import useful_until
from adwarm.planning.outlook import build_outlook
from adwarm.planning.plan import (
    LOOKAHEAD,
    MAX_LISTED_CUTS,
    PlanTiming,
    SlotArrays,
    find_likely_keys,
    plan_likely_keys,
    plan_warms,
)
from adwarm.planning.price import CallQuota
from adwarm.planning.recommendation import Recommendation, WarmPlan, batch_by_account
from adwarm.store import Context, accounts, entries, partitions, plan_hours, warms

MIN_PROBABILITY = 0.01
_HOUR = timedelta(hours=1)
_ROUNDING = 1e-6
_ACCOUNTS_PER_QUERY = 500
LIVE_DAG = "adwarm_intelligent_warming"
"""A plan outside any run counts against the hourly budget of this DAG."""


@dataclass(frozen=True, slots=True)
class PlanSummary:
    """A stored plan in numbers; small enough for an XCom.

    Attributes:
        without_forecast: why no open was predicted; empty when a forecast is live.
    """

    run_id: str
    decided_at: datetime
    mode: Mode
    considered: int
    planned: int
    closing: int
    cut: int
    fresh: int
    batches: int
    without_forecast: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "run_id": self.run_id,
            "decided_at": self.decided_at.isoformat(),
            "mode": str(self.mode),
            **{name: getattr(self, name) for name in ("considered", "planned", "closing", "cut", "fresh", "batches")},
        }

    def __str__(self) -> str:
        keys = f"{self.planned:,} of {format_count(self.considered, 'report')} that may be opened soon"
        days = f", and {format_count(self.closing, 'account')} whose day has ended" if self.closing else ""
        left_out = f"{self.fresh:,} fresh already, {self.cut:,} cut by the hourly budget"
        where = f" in {format_count(self.batches, 'batch', 'batches')}" if self.batches else ""
        shadow = " (shadow mode: no call is made)" if self.mode is Mode.SHADOW else ""
        return f"planned {keys}{days}{where}{shadow}; {left_out}"


class StoreView:
    """What the planner reads from the store: accounts, entries and stored days, in few queries.

    Args:
        context: database, objects and settings.
        at: the decision time; accounts are read as of then.
        known_at: leave out entries and days that were fetched later; None leaves out nothing.
    """

    def __init__(self, context: Context, at: datetime, known_at: datetime | None = None) -> None:
        self._known_at = known_at
        self._engine = context.engine
        self._settings = context.settings
        self._accounts = accounts.list_as_of(context.engine, at)

    def get_account(self, account_id: str) -> Account:
        """Return the stored account, or one in the default zone."""
        zone = self._settings.default_zone
        return self._accounts.get(account_id) or Account(account_id, zone, zone)

    def list_accounts(self) -> list[Account]:
        """Return every stored account."""
        return list(self._accounts.values())

    def is_verified(self, account_id: str) -> bool:
        """Whether the account is stored with the zone and currency that the upstream reports."""
        return account_id in self._accounts and self._accounts[account_id].is_verified

    def get_expiries(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> list[datetime]:
        """Return until when an entry fetched at each moment would answer its key."""
        rules = self._settings.freshness_rules
        pairs = zip(keys, moments, strict=True)
        return [useful_until(key, self.get_account(key.account_id), at, rules) for key, at in pairs]

    def get_fresh_until(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> list[datetime | None]:
        """Return until when the entry stored for each key at its moment is fresh; None when nothing is stored."""
        return [lifetime and lifetime.expires_at for lifetime in self.get_lifetimes(keys, moments)]

    def get_lifetimes(
        self, keys: Sequence[ReportKey], moments: Sequence[datetime]
    ) -> list[entries.EntryLifetime | None]:
        """Return when the entry stored for each key at its moment was fetched and expires; None when none is stored."""
        resolved = [
            resolve_key(key, self.get_account(key.account_id), self._settings.spec(key.report), at)
            for key, at in zip(keys, moments, strict=True)
        ]
        lifetimes = entries.find_lifetimes(self._engine, resolved)
        found = [lifetimes.get(key) for key in resolved]
        return [item if item is not None and self._was_known(item.fetched_at) else None for item in found]

    def get_request_costs(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> list[RequestCost]:
        """Return which requests a fetch of each key at its moment would take, given the stored days."""
        costs: dict[int, RequestCost] = {}
        for report, indexes in _group_by_report(keys).items():
            for group in _split_by_account(keys, indexes):
                costs.update(self._get_costs_of(report, {index: (keys[index], moments[index]) for index in group}))
        return [costs[index] for index in range(len(keys))]

    def _get_costs_of(
        self, report: str, requests: dict[int, tuple[ReportKey, datetime]]
    ) -> Iterator[tuple[int, RequestCost]]:
        spec, rules = self._settings.spec(report), self._settings.freshness_rules
        by_id = {key.account_id: self.get_account(key.account_id) for key, _ in requests.values()}
        schedules = {name: RefetchSchedule.for_account(account, rules) for name, account in by_id.items()}
        windows = {i: resolve_key(key, by_id[key.account_id], spec, at).window for i, (key, at) in requests.items()}
        hull = Window(min(w.since for w in windows.values()), max(w.until for w in windows.values()))
        stored = partitions.list_states_by_account(self._engine, by_id, spec.hash, hull)
        for index, (key, at) in requests.items():
            name = key.account_id
            days = {day: state for day, state in stored.get(name, {}).items() if self._was_known(state.fetched_at)}
            yield index, get_request_cost(windows[index], days, schedules[name], at)

    def _was_known(self, fetched_at: datetime) -> bool:
        return self._known_at is None or fetched_at <= self._known_at


def decide(
    context: Context,
    decided_at: datetime,
    run_id: str,
    mode: Mode,
    on_problem: OnProblem | None = None,
    *,
    with_outlook: bool = True,
) -> PlanSummary:
    """Plan the warms of the run at `decided_at`, store them, and return the plan in numbers.

    In shadow mode the plan is stored and no batch carries it out. Before a forecast is trained, and while none can be
    read, the plan holds only the accounts whose day is closed. `on_problem` is called when the live one cannot be read.
    With `with_outlook` the outlook on the next 24 hours is stored as well, unless that of a later decision is.
    """
    settings = context.settings
    view = StoreView(context, decided_at)
    without_forecast = ""
    try:
        plan, slots = _plan_forecast(context, decided_at, run_id, view, on_problem)
        if with_outlook:
            _save_outlook(context, slots, plan, decided_at)
    except (NotFound, Corrupt) as error:
        plan, without_forecast = WarmPlan(), str(error)
    closing = find_closing_accounts(view.list_accounts(), decided_at, decided_at + settings.step, settings.planning)
    candidates = [recommend_day_close(account, day, decided_at) for account, day in closing]
    spent = math.ceil(sum(item.calls for item in plan.recommendations) - _ROUNDING)
    calls_left = get_calls_left_this_hour(context, decided_at, run_id) - spent
    closings, over_budget = split_by_budget(candidates, calls_left)
    cut = [*plan.cut, *over_budget][:MAX_LISTED_CUTS]
    batches = save_plan(context, run_id, decided_at, mode, [*plan.recommendations, *closings], cut)
    return PlanSummary(
        run_id,
        decided_at,
        mode,
        plan.considered,
        len(plan.recommendations),
        len(closings),
        plan.cut_total + len(over_budget),
        plan.fresh_total,
        batches,
        without_forecast,
    )


def save_plan(
    context: Context,
    run_id: str,
    decided_at: datetime,
    mode: Mode,
    chosen: Sequence[Recommendation],
    cut: Sequence[Recommendation] = (),
) -> int:
    """Store a run's recommendations in batches and return how many batches there are to carry out (0 in shadow mode).

    All keys of an account share a batch.
    """
    batches = batch_by_account(chosen, context.settings.batch_size, context.settings.max_batches)
    return save_batches(context.engine, run_id, decided_at, mode, batches, cut)


def save_batches(
    engine: Engine,
    run_id: str,
    decided_at: datetime,
    mode: Mode,
    batches: Sequence[Sequence[Recommendation]],
    cut: Sequence[Recommendation] = (),
) -> int:
    """Store a run's plan, whose batches are numbered from 0, and return how many of them are to be carried out."""
    status = WarmStatus.SHADOW if mode is Mode.SHADOW else WarmStatus.PLANNED
    planned = [
        _planned_warm(item, decided_at, mode, status, number) for number, batch in enumerate(batches) for item in batch
    ]
    planned += [_planned_warm(item, decided_at, mode, WarmStatus.CUT, 0) for item in cut]
    warms.replace_plan(engine, run_id, planned)
    return 0 if mode is Mode.SHADOW else len(batches)


def build_forecast_plan(
    context: Context,
    decided_at: datetime,
    run_id: str = LIVE_DAG,
    view: StoreView | None = None,
    on_problem: OnProblem | None = None,
) -> WarmPlan:
    """Return the plan of the forecast at `decided_at` without storing it.

    Args:
        context: database, objects and settings.
        decided_at: the decision time, UTC.
        run_id: the run, or its DAG, whose hourly count of calls applies.
        view: a view of the store as of `decided_at`; made here by default.
        on_problem: called when the live forecast cannot be read; an older one takes over.

    Raises:
        NotFound: no forecast has been trained yet.
        Corrupt: neither the live forecast nor an older one can be read.
    """
    view = view or StoreView(context, decided_at)
    probabilities = _without_closed(_predict(context, decided_at, on_problem), view)
    timing, planning = get_timing(context, decided_at), context.settings.planning
    return plan_warms(timing, probabilities, view, planning, _get_quota(context, decided_at, run_id))


def _plan_forecast(
    context: Context, decided_at: datetime, run_id: str, view: StoreView, on_problem: OnProblem | None
) -> tuple[WarmPlan, SlotArrays]:
    """Return the plan of the forecast, and the probabilities that it rests on."""
    planning = context.settings.planning
    probabilities = _without_closed(_predict(context, decided_at, on_problem), view)
    likely = find_likely_keys(get_timing(context, decided_at), probabilities, view, planning.min_confidence)
    plan = plan_likely_keys(likely, view, planning, _get_quota(context, decided_at, run_id))
    return plan, likely.slots


def get_timing(context: Context, decided_at: datetime) -> PlanTiming:
    """Return the times of a run that decides at `decided_at`."""
    horizon = context.settings.step + timedelta(seconds=context.settings.planning.lead_seconds)
    return PlanTiming(decided_at, horizon, _get_lead_time(context))


def _predict(context: Context, decided_at: datetime, on_problem: OnProblem | None = None) -> pd.DataFrame:
    """Return the live forecast's probabilities.

    A function of its own so that the forecast and the opens it reads, which are large, are freed before planning.
    """
    forecast = get_live_forecast(context, on_problem)
    recent = get_recent_opens(context, forecast, decided_at)
    return forecast.predict(decided_at, LOOKAHEAD, recent, floor=MIN_PROBABILITY)


def _save_outlook(context: Context, slots: SlotArrays, plan: WarmPlan, decided_at: datetime) -> None:
    """Store what a run expects of each of the next 24 hours, unless a later decision has stored its own."""
    fresh = warms.list_fresh_until(context.engine, decided_at - LOOKAHEAD, decided_at)
    hours = build_outlook(slots, decided_at, plan, fresh, context.settings)
    plan_hours.replace_outlook(context.engine, hours)


def get_open_chances(context: Context, at: datetime) -> dict[ReportKey, float]:
    """Return, by report key, the live forecast's chance of a first open within `LOOKAHEAD` of `at`.

    Keys with no hour above `MIN_PROBABILITY` are left out.

    Raises:
        NotFound: no forecast is live yet.
        Corrupt: its snapshot cannot be read.
    """
    slots = SlotArrays.from_frame(_predict(context, at), at)
    first = np.flatnonzero(np.diff(slots.key, prepend=-1))
    names = slots.frame.iloc[first][KEY_COLUMNS].itertuples(index=False, name=None)
    chances = slots.get_remaining_chance()[first].tolist()
    return {ReportKey(*map(str, name)): chance for name, chance in zip(names, chances, strict=True)}


def _without_closed(predictions: pd.DataFrame, view: StoreView) -> pd.DataFrame:
    """Leave out closed accounts: they deliver nothing new, and a reader who asks for one is answered on demand."""
    closed = [account.id for account in view.list_accounts() if account.status == "closed"]
    return predictions[~predictions["account_id"].isin(closed)].reset_index(drop=True) if closed else predictions


def get_recent_opens(context: Context, forecast: Forecast, decided_at: datetime) -> RecentOpens | None:
    """Return the opens within the forecast's look-back, as far as the log was read; None when it uses none."""
    if not forecast.lookback:
        return None
    until = data_cutoff_at(decided_at, context.settings)
    opens = load_opens(context, until - forecast.lookback, until)
    return RecentOpens(opens, min(until, find_log_end(context.engine) or until))


def _get_quota(context: Context, at: datetime, run_id: str) -> CallQuota:
    planning = context.settings.planning
    spent = _get_spent_calls(context.engine, at, run_id)
    return CallQuota(
        planning.open_value,
        planning.max_calls_per_hour,
        sum(spent.values()),
        planning.max_account_calls_per_hour,
        spent,
    )


def get_calls_left_this_hour(context: Context, at: datetime, run_id: str, cap: int | None = None) -> int:
    """Return the upstream calls that plans of the DAG of `run_id` may still make in the hour of `at`.

    Each DAG has its own count, so that a backfill does not use up the calls of live warming.
    """
    return get_calls_left(context.settings, sum(_get_spent_calls(context.engine, at, run_id).values()), cap=cap)


def _get_spent_calls(engine: Engine, at: datetime, run_id: str) -> dict[str, int]:
    hour = floor_to(at, _HOUR)
    return warms.get_calls_by_account(engine, hour, hour + _HOUR, run_id, at)


def _get_lead_time(context: Context) -> timedelta:
    """Return the start latency plus the p95 of a fetch, in steps of 5 s so that noise does not change the plan."""
    fetch = math.ceil(warms.get_p95_seconds(context.engine) / 5) * 5
    return timedelta(seconds=context.settings.planning.lead_seconds + fetch)


def _group_by_report(keys: Sequence[ReportKey]) -> dict[str, list[int]]:
    """Return the indexes of each report's keys."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        groups[key.report].append(index)
    return groups


def _split_by_account(keys: Sequence[ReportKey], indexes: Sequence[int]) -> Iterator[list[int]]:
    """Yield the indexes of a limited number of accounts at a time, so that memory does not grow with the accounts."""
    by_account: dict[str, list[int]] = defaultdict(list)
    for index in indexes:
        by_account[keys[index].account_id].append(index)
    names = list(by_account)
    for start in range(0, len(names), _ACCOUNTS_PER_QUERY):
        yield [index for name in names[start : start + _ACCOUNTS_PER_QUERY] for index in by_account[name]]


def _planned_warm(
    item: Recommendation, decided_at: datetime, mode: Mode, status: WarmStatus, batch: int
) -> PlannedWarm:
    return PlannedWarm(
        key=item.key,
        reason=item.reason,
        mode=mode,
        status=status,
        batch=batch,
        priority=item.priority,
        decided_at=decided_at,
        predicted_open=item.predicted_open if item.reason is WarmReason.PREDICTED_OPEN else None,
        warm_at=item.warm_at,
        confidence=item.confidence,
        benefit=item.benefit,
        price=item.price,
        explanation=item.explanation,
        expires_at=item.expires_at,
        strategy=item.strategy,
    )
