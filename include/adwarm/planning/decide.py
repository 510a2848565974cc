"""The decision of one run: reads forecast, store and budget, plans the warms, and stores the plan.

The plan is a function of (decision time, log, settings, snapshot, store): nothing here reads a clock.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Engine

from adwarm.forecast.protocol import KEY_COLUMNS, Forecast, RecentOpens, data_cutoff_at
from adwarm.forecast.snapshot import OnProblem, get_live_forecast
from adwarm.foundation import telemetry
from adwarm.foundation.clock import floor_to
from adwarm.foundation.errors import Corrupt, NotFound
from adwarm.foundation.redaction import log_context
from adwarm.foundation.wording import format_count
from adwarm.model import Mode, ReportKey
from adwarm.patterns.open_history import load_opens
from adwarm.planning.call_budget import build_outlook, split_by_budget
from adwarm.planning.further_warms import (
    PlanState,
    find_closing_accounts,
    finish_further,
    plan_further,
    recommend_day_close,
)
from adwarm.planning.plan import (
    LOOKAHEAD,
    MIN_PROBABILITY,
    START_LATENCY,
    PlanTiming,
    SlotArrays,
    find_likely_keys,
    get_lead_time,
    plan_likely_keys,
)
from adwarm.planning.price import CallQuota
from adwarm.planning.recommendation import (
    MAX_LISTED_CUTS,
    ROUNDING,
    Recommendation,
    WarmPlan,
    batch_by_account,
    save_batches,
)
from adwarm.planning.rule_sentences import leave_out
from adwarm.planning.store_view import StoreView
from adwarm.store import Context, warms
from adwarm.store.aggregates import find_log_end
from adwarm.store.snapshots import PlanHour, save_outlook
from adwarm.store.switches import find_stop

_BATCH_KEYS = 50
"""Keys of a mapped task, or more where `max_batches` requires it: some minutes of work beside seconds to start it."""
_HOUR = timedelta(hours=1)
log = logging.getLogger(__name__)
_COUNTED = ("considered", "planned", "closing", "cut", "expiring", "stopped_warms", "fresh", "batches")
LIVE_DAG = "adwarm_intelligent_warming"
"""A plan outside any run counts against the hourly budget of this DAG."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSummary:
    """A stored plan in numbers; small enough for an XCom.

    Attributes:
        without_forecast: why no open was predicted; empty when a forecast is live.
        stopped: why nothing is planned although there is something to warm; empty while warming is switched on.
        cut: warms that the hourly budget rejects.
        expiring: reports whose entry would expire before the session that is predicted for them ends.
        stopped_warms: warms that are left out because warming is switched off.
        arrived: reports whose data has arrived.
        prepared: reports that are warmed under a changed query.
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
    stopped: str = ""
    arrived: int = 0
    prepared: int = 0
    expiring: int = 0
    stopped_warms: int = 0

    @property
    def warms(self) -> int:
        """How many warms the run is to carry out, for all reasons."""
        return self.planned + self.closing + self.arrived + self.prepared

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "run_id": self.run_id,
            "decided_at": self.decided_at.isoformat(),
            "mode": str(self.mode),
            **{name: getattr(self, name) for name in _COUNTED},
        }

    def __str__(self) -> str:
        keys = f"{self.planned:,} of {format_count(self.considered, 'report')} that may be opened soon"
        days = f", and {format_count(self.closing, 'account')} whose day has ended" if self.closing else ""
        days += f", and {format_count(self.arrived, 'report')} whose data has arrived" if self.arrived else ""
        days += f", and {format_count(self.prepared, 'report')} under a changed query" if self.prepared else ""
        left_out = f"{self.fresh:,} fresh already, {self.cut:,} cut by the hourly budget"
        if self.expiring:
            left_out += f", {self.expiring:,} that would expire before the session ends"
        if self.stopped_warms:
            left_out += f", {self.stopped_warms:,} left out while it is stopped"
        where = f" in {format_count(self.batches, 'batch', 'batches')}" if self.batches else ""
        shadow = " (shadow mode: no call is made)" if self.mode is Mode.SHADOW else ""
        stopped = f"; nothing is fetched: {self.stopped}" if self.stopped else ""
        return f"planned {keys}{days}{where}{shadow}; {left_out}{stopped}"


class PlanScope(StrEnum):
    """What a run plans: everything; everything but the outlook (for the past); arrived data and changed queries."""

    ALL = "all"
    WITHOUT_OUTLOOK = "without_outlook"
    ONLY_FURTHER = "only_further"


def decide(
    context: Context,
    decided_at: datetime,
    run_id: str,
    mode: Mode,
    on_problem: OnProblem | None = None,
    scope: PlanScope = PlanScope.ALL,
) -> PlanSummary:
    """Plan the warms of the run at `decided_at`, store them, and return the plan in numbers.

    In shadow mode no batch carries the plan out. Without a forecast that can be read, it holds only the accounts whose
    day is closed; `on_problem` is called when the live one cannot be read. While warming is switched off, everything in
    a live plan is cut. The outlook on 24 hours is stored, unless the scope or a later decision leaves it out.
    """
    view = StoreView(context, decided_at)
    plan, without_forecast = WarmPlan(), ""
    closings: list[Recommendation] = []
    over_budget: list[Recommendation] = []
    if scope is not PlanScope.ONLY_FURTHER:
        try:
            plan, slots = _plan_forecast(context, decided_at, run_id, view=view, on_problem=on_problem)
            if scope is PlanScope.ALL:
                _save_outlook(context, slots, plan, decided_at)
        except (NotFound, Corrupt) as error:
            without_forecast = str(error)
        closings, over_budget = _close_days(context, decided_at, run_id, plan, view)
    chosen = [*plan.recommendations, *closings]
    state = PlanState(decided_at, chosen, _get_quota(context, decided_at, run_id), view.get_account, view)
    further = plan_further(context, state, lambda: _keep_open(_predict(context, decided_at, on_problem), view))
    chosen += further.planned
    stop = find_stop(context.engine) if mode is Mode.LIVE else None
    stopped = [leave_out(item, "stopped", why=stop) for item in chosen] if stop else []
    cut = [*stopped, *[*plan.cut, *over_budget, *further.arrivals.cut][:MAX_LISTED_CUTS]]
    batches = save_plan(context, run_id, decided_at, mode=mode, chosen=[] if stop else chosen, left_out=cut)
    if not stop:  # what has arrived waits for the first plan after the switch
        finish_further(context, further, run_id, decided_at, mode)
    summary = PlanSummary(
        run_id=run_id,
        decided_at=decided_at,
        mode=mode,
        considered=plan.considered,
        planned=0 if stop else len(plan.recommendations),
        closing=0 if stop else len(closings),
        cut=plan.cut_total + len(over_budget) + len(further.arrivals.cut),
        fresh=plan.fresh_total,
        batches=batches,
        without_forecast=without_forecast,
        stopped=stop or "",
        arrived=0 if stop else len(further.arrivals.planned),
        prepared=0 if stop else len(further.switch.planned),
        expiring=plan.expiring_total,
        stopped_warms=len(stopped),
    )
    _report(summary)
    return summary


def _close_days(
    context: Context, decided_at: datetime, run_id: str, plan: WarmPlan, view: StoreView
) -> tuple[list[Recommendation], list[Recommendation]]:
    """Return the closings of ended days that the calls left by a plan pay for, and those that they do not."""
    settings = context.settings
    closing = find_closing_accounts(view.list_closing(), decided_at, decided_at + settings.step)
    candidates = [recommend_day_close(account, day, decided_at) for account, day in closing]
    spent = math.ceil(sum(item.calls for item in plan.recommendations) - ROUNDING)
    calls_left = get_calls_left_this_hour(context, decided_at, run_id) - spent
    closings, over_budget = split_by_budget(candidates, calls_left)
    return list(closings), list(over_budget)


def _report(summary: PlanSummary) -> None:
    """Log a plan, and report its counts."""
    with log_context(run=summary.run_id):
        log.info("%s", summary)
    telemetry.report(telemetry.PLANS, mode=str(summary.mode))
    for name in ("planned", "closing", "arrived", "prepared", "cut", "expiring", "fresh"):
        telemetry.report(telemetry.PLANNED, getattr(summary, name), result=name)


def save_plan(
    context: Context,
    run_id: str,
    decided_at: datetime,
    mode: Mode,
    chosen: Sequence[Recommendation],
    left_out: Sequence[Recommendation] = (),
) -> int:
    """Store a run's recommendations in batches and return how many batches there are to carry out (0 in shadow mode).

    All keys of an account share a batch. What is left out is stored with its reason.
    """
    batches = batch_by_account(chosen, _BATCH_KEYS, context.settings.max_batches)
    return save_batches(context.engine, run_id, decided_at, mode=mode, batches=batches, left_out=left_out)


def build_forecast_plan(context: Context, decided_at: datetime) -> WarmPlan:
    """Return the plan of the forecast at `decided_at` without storing it.

    Raises:
        NotFound: no forecast has been trained yet.
        Corrupt: neither the live forecast nor an older one can be read.
    """
    return _plan_forecast(context, decided_at, LIVE_DAG, view=StoreView(context, decided_at), on_problem=None)[0]


def _plan_forecast(
    context: Context,
    decided_at: datetime,
    run_id: str,
    view: StoreView,
    on_problem: OnProblem | None,
) -> tuple[WarmPlan, SlotArrays]:
    """Return the plan of the forecast, and the probabilities that it rests on."""
    probabilities = _keep_open(_predict(context, decided_at, on_problem), view)
    min_confidence = context.settings.planning.min_confidence
    likely = find_likely_keys(get_timing(context, decided_at), probabilities, view, min_confidence)
    return plan_likely_keys(likely, view, _get_quota(context, decided_at, run_id)), likely.slots


def get_timing(context: Context, decided_at: datetime) -> PlanTiming:
    """Return the times of a run that decides at `decided_at`."""
    horizon = context.settings.step + START_LATENCY
    return PlanTiming(decided_at, horizon, _get_lead_time(context))


def _predict(context: Context, decided_at: datetime, on_problem: OnProblem | None = None) -> pd.DataFrame:
    """Return the live forecast's probabilities."""
    # A function of its own so that the forecast and the opens it reads, which are large, are freed before planning.
    forecast = get_live_forecast(context, on_problem)
    recent = get_recent_opens(context, forecast, decided_at)
    return forecast.predict(decided_at, LOOKAHEAD, recent, floor=MIN_PROBABILITY)


def _save_outlook(context: Context, slots: SlotArrays, plan: WarmPlan, decided_at: datetime) -> None:
    """Store what a run expects of each of the next 24 hours, unless a later decision has stored its own."""
    save_outlook(context.engine, _build_outlook(context, slots, plan, decided_at))


def _build_outlook(context: Context, slots: SlotArrays, plan: WarmPlan, decided_at: datetime) -> list[PlanHour]:
    fresh = warms.list_fresh_until(context.engine, decided_at - LOOKAHEAD, decided_at)
    return build_outlook(slots, decided_at, plan, fresh, context.settings)


def find_next_due(context: Context, decided_at: datetime) -> PlanHour | None:
    """Return the first hour, of the week from `decided_at` on, in which warms are expected to fall due; None without.

    Raises:
        NotFound: no forecast has been trained yet.
        Corrupt: neither the live forecast nor an older one can be read.
    """
    for at in (decided_at + day * LOOKAHEAD for day in range(7)):
        plan, slots = _plan_forecast(context, at, LIVE_DAG, view=StoreView(context, at), on_problem=None)
        due = next((hour for hour in _build_outlook(context, slots, plan, at) if hour.due_warms), None)
        if due is not None:
            return due
    return None


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


def _keep_open(predictions: pd.DataFrame, view: StoreView) -> pd.DataFrame:
    """Keep the accounts that exist and are not closed: a closed one delivers nothing new, and is answered on demand."""
    open_ids = [account.id for account in view.list_accounts() if account.status != "closed"]
    return predictions[predictions["account_id"].isin(open_ids)].reset_index(drop=True)


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


def get_calls_left_this_hour(context: Context, at: datetime, run_id: str) -> int:
    """Return the upstream calls that plans of the DAG of `run_id` may still make in the hour of `at`.

    Each DAG has its own count, so that a backfill does not use up the calls of live warming.
    """
    spent = sum(_get_spent_calls(context.engine, at, run_id).values())
    return max(0, context.settings.planning.max_calls_per_hour - spent)


def _get_spent_calls(engine: Engine, at: datetime, run_id: str) -> dict[str, int]:
    hour = floor_to(at, _HOUR)
    return warms.get_calls_by_account(engine, hour, hour + _HOUR, run_id, at)


def _get_lead_time(context: Context) -> timedelta:
    return get_lead_time(timedelta(seconds=warms.get_p95_seconds(context.engine)))
