"""One run's decision: what the forecast, the store, the budget and the clock say together, written down as a plan.

The plan is a function of (decision time, log, settings, snapshot, what is stored): nothing in here reads a clock.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import pandas as pd
from sqlalchemy import Engine

from adwarm.fetch_plan.request_cost import FetchNeeds, Need, nothing_is_there
from adwarm.forecast.data_cutoff import data_cutoff_at
from adwarm.forecast.protocol import Forecast, RecentOpens
from adwarm.forecast.snapshot import get_live_forecast
from adwarm.foundation.clock import floor_to
from adwarm.model import Account, Mode, PlannedWarm, Priority, ReportKey, WarmReason, WarmStatus, resolve_key
from adwarm.patterns.open_history import find_log_end, load_opens
from adwarm.planning.call_budget import get_calls_left, split_by_budget
from adwarm.planning.day_close import find_closing_accounts
from adwarm.planning.expiry import useful_until
from adwarm.planning.plan import LOOKAHEAD, MAX_LISTED_CUTS, plan_warms
from adwarm.planning.price import CallQuota
from adwarm.planning.recommendation import Recommendation, WarmPlan
from adwarm.planning.strategies import batch_by_account
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, accounts, entries, warms

MIN_PROBABILITY = 0.01
_HOUR = timedelta(hours=1)
_ROUNDING = 1e-6
LIVE_DAG = "adwarm_intelligent_warming"
"""Whose hourly count a plan outside any run goes by."""


@dataclass(frozen=True, slots=True)
class PlanSummary:
    """A stored plan in numbers; small enough for an XCom."""

    run_id: str
    decided_at: datetime
    mode: Mode
    considered: int
    planned: int
    closing: int
    cut: int
    fresh: int
    batches: int

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "run_id": self.run_id,
            "decided_at": self.decided_at.isoformat(),
            "mode": str(self.mode),
            **{name: getattr(self, name) for name in ("considered", "planned", "closing", "cut", "fresh", "batches")},
        }


class StoreView:
    """What the planner asks of accounts, entries and requests, answered in few queries."""

    def __init__(
        self, engine: Engine, settings: Settings, at: datetime, request_pricer: FetchNeeds = nothing_is_there
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._request_pricer = request_pricer
        self._accounts = accounts.list_as_of(engine, at)

    def get_account(self, account_id: str) -> Account:
        """Return an account as known, or one in the default zone."""
        zone = self._settings.default_zone
        return self._accounts.get(account_id) or Account(account_id, zone, zone)

    def list_accounts(self) -> list[Account]:
        """Return every known account, as it stands."""
        return list(self._accounts.values())

    def get_expiries(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> list[datetime]:
        """Return until when an entry fetched at each moment would answer its key."""
        rules = self._settings.freshness_rules
        pairs = zip(keys, moments, strict=True)
        return [useful_until(key, self.get_account(key.account_id), at, rules) for key, at in pairs]

    def get_fresh_until(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> list[datetime | None]:
        """Return until when the entry that each key means at its moment is fresh; None when nothing is stored."""
        resolved = [
            resolve_key(key, self.get_account(key.account_id), self._settings.spec(key.report), at)
            for key, at in zip(keys, moments, strict=True)
        ]
        found = entries.find_expiries(self._engine, resolved)
        return [found.get(key) for key in resolved]

    def get_request_costs(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> list[Need]:
        """Return which requests a fetch of each key at its moment would take."""
        return self._request_pricer(keys, [self.get_account(key.account_id) for key in keys], moments)


def decide(
    engine: Engine,
    objects: ObjectStore,
    settings: Settings,
    decided_at: datetime,
    run_id: str,
    mode: Mode,
    request_pricer: FetchNeeds = nothing_is_there,
) -> PlanSummary:
    """Plan the warms of the run at `decided_at`, store them, and return the plan in numbers.

    In shadow mode the plan is stored and nothing will carry it out.

    Args:
        fetch_needs: says which requests a key would take; by default as if no day were stored.

    Raises:
        NotFound: no forecast has been trained yet.
    """
    view = StoreView(engine, settings, decided_at, request_pricer)
    plan = build_forecast_plan(engine, objects, settings, decided_at, run_id, view)
    closing = find_closing_accounts(view.list_accounts(), decided_at, decided_at + settings.step, settings.planning)
    wanted = [recommend_day_close(account, day, decided_at) for account, day in closing]
    spent = math.ceil(sum(item.calls for item in plan.recommendations) - _ROUNDING)
    closings, left_over = split_by_budget(
        wanted, get_calls_left_this_hour(engine, settings, decided_at, run_id) - spent
    )
    cut = [*plan.cut, *left_over][:MAX_LISTED_CUTS]
    batches = save_plan(engine, settings, run_id, decided_at, mode, [*plan.recommendations, *closings], cut)
    return PlanSummary(
        run_id,
        decided_at,
        mode,
        plan.considered,
        len(plan.recommendations),
        len(closings),
        plan.cut_total + len(left_over),
        plan.fresh_total,
        batches,
    )


def save_plan(
    engine: Engine,
    settings: Settings,
    run_id: str,
    decided_at: datetime,
    mode: Mode,
    chosen: Sequence[Recommendation],
    cut: Sequence[Recommendation] = (),
) -> int:
    """Write a run's recommendations down in batches and return how many batches there are to carry out (0 in shadow).

    All keys of an account share a batch.
    """
    shards = batch_by_account(chosen, settings.batch_size, settings.max_batches)
    status = WarmStatus.SHADOW if mode is Mode.SHADOW else WarmStatus.PLANNED
    rows = [
        _planned_warm(item, decided_at, mode, status, number) for number, shard in enumerate(shards) for item in shard
    ]
    rows += [_planned_warm(item, decided_at, mode, WarmStatus.CUT, 0) for item in cut]
    warms.replace_plan(engine, run_id, rows)
    return 0 if mode is Mode.SHADOW else len(shards)


def build_forecast_plan(
    engine: Engine,
    objects: ObjectStore,
    settings: Settings,
    decided_at: datetime,
    run_id: str = LIVE_DAG,
    view: StoreView | None = None,
) -> WarmPlan:
    """Return the plan of the forecast at `decided_at` without storing it.

    Raises:
        NotFound: no forecast has been trained yet.
    """
    return plan_warms(
        decided_at,
        settings.step + timedelta(seconds=settings.planning.lead_seconds),
        _probabilities(engine, objects, settings, decided_at),
        view or StoreView(engine, settings, decided_at),
        _get_lead_time(engine, settings),
        settings,
        _quota(engine, settings, decided_at, run_id),
    )


def _probabilities(engine: Engine, objects: ObjectStore, settings: Settings, decided_at: datetime) -> pd.DataFrame:
    """Ask the live forecast; it and the opens it looked at are let go of before anything is planned, being large."""
    forecast = get_live_forecast(Context(engine, objects, settings))
    recent = _get_recent_opens(engine, objects, settings, forecast, decided_at)
    return forecast.predict(decided_at, LOOKAHEAD, recent, floor=MIN_PROBABILITY)


def _get_recent_opens(
    engine: Engine, objects: ObjectStore, settings: Settings, forecast: Forecast, decided_at: datetime
) -> RecentOpens | None:
    """Return the opens the forecast looks back on, as far as they are known; None when it looks at none."""
    if not forecast.lookback:
        return None
    until = data_cutoff_at(decided_at, settings)
    zone = settings.default_zone
    opens = load_opens(engine, objects, until - forecast.lookback, until, default_zone=zone)
    return RecentOpens(opens, min(until, find_log_end(engine) or until))


def _quota(engine: Engine, settings: Settings, at: datetime, run_id: str) -> CallQuota:
    planning = settings.planning
    spent = _get_spent_calls(engine, at, run_id)
    return CallQuota(
        planning.open_value,
        planning.max_calls_per_hour,
        sum(spent.values()),
        planning.max_account_calls_per_hour,
        spent,
    )


def get_calls_left_this_hour(
    engine: Engine, settings: Settings, at: datetime, run_id: str, cap: int | None = None
) -> int:
    """Return the upstream calls that plans of the DAG of `run_id` may still make in the hour of `at`.

    Each DAG has its own count, so that a backfill does not use up what live warming may plan.
    """
    return get_calls_left(settings, sum(_get_spent_calls(engine, at, run_id).values()), cap=cap)


def _get_spent_calls(engine: Engine, at: datetime, run_id: str) -> dict[str, int]:
    hour = floor_to(at, _HOUR)
    return warms.get_calls_by_account(engine, hour, hour + _HOUR, run_id, at)


def _get_lead_time(engine: Engine, settings: Settings) -> timedelta:
    """Return the start latency plus the p95 of a fetch, in steps of 5 s so that noise moves no plan."""
    fetch = math.ceil(warms.get_p95_seconds(engine) / 5) * 5
    return timedelta(seconds=settings.planning.lead_seconds + fetch)


def recommend_day_close(
    account: Account, day: date, decided_at: datetime, *, with_week_summary: bool = True
) -> Recommendation:
    """Return the warm that settles an account's closed day: its week's summary and the score's history.

    Without the week no summary is fetched, so the score has no audience component, and the days of a block that is
    there cost nothing.
    """
    span = f"{day - timedelta(days=6) if with_week_summary else day}..{day}"
    why = f"{day} has ended in {account.data_zone}: settle and score it"
    return Recommendation(
        ReportKey(account.id, span),
        decided_at,
        1.0,
        decided_at,
        WarmReason.DAY_CLOSED,
        1.0,
        2.0,
        {"why": why},
        "planned",
        Priority.LOW,
        2.0,
    )


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
    )
