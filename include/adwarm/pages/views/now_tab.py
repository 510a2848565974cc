"""The tab *Now*: is the cache warm, what does it cost, what is stuck and why."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Engine

from adwarm.backpressure import ScopeStatus
from adwarm.backpressure.quota_usage import SLOW_PERCENT
from adwarm.charts import Series
from adwarm.foundation.clock import floor_to
from adwarm.foundation.gate import Rule
from adwarm.foundation.wording import describe_scope
from adwarm.pages.rendering import format_share
from adwarm.pages.tab import Tab, Tile, TileRequest
from adwarm.queries.headline import evaluate_situation, load_situation
from adwarm.queries.operation import compare_last_day, list_failures, list_report_costs
from adwarm.queries.worth import get_worth
from adwarm.store import alerts, entries, jobs, warm_usage
from adwarm.store.gates import list_closed
from adwarm.store.read_traffic import (
    add_up,
    get_day_calls,
    get_day_start,
    get_day_totals,
    get_week_start,
    list_hours,
)

REFRESH_SECONDS: Final = 15
_MAX_ROWS: Final = 10
_MAX_REPORTS: Final = 5
_SHOWN_PERCENT: Final = 0.5
"""Accounts below it use nothing that a reader of the page would act on."""
DAY, HOUR, WEEK = timedelta(days=1), timedelta(hours=1), timedelta(days=7)
_REASONS: Final = {
    "predicted_open": "a reader is expected",
    "strategy": "a strategy keeps it warm",
    "request": "somebody asked for it",
    "day_closed": "a day has ended",
}
Values = Mapping[str, Any]


def load_headline(request: TileRequest) -> Values:
    """Return the state of everything, and the switches."""
    engine = request.services.context.engine
    situation = load_situation(engine, request.services.queue.status(), request.now)
    return {
        "headline": evaluate_situation(situation, request.now),
        "situation": situation,
    }


def load_hits(request: TileRequest) -> Values:
    """Return the first-open hit ratio of a day and a week, its trend by hour, and what warms of the week were worth."""
    rows = list_hours(request.services.context.engine, get_week_start(request.now), request.now + HOUR)
    recent = [row for row in rows if row["hour"] >= get_day_start(request.now)]
    by_hour = {row["hour"]: row for row in recent}
    hours = [floor_to(request.now, HOUR) - (23 - place) * HOUR for place in range(24)]
    ratios = [add_up([by_hour[hour]] if hour in by_hour else [])["first_hit_ratio"] for hour in hours]
    day, week = add_up(recent), add_up(rows)
    points = [(hour, ratio) for hour, ratio in zip(hours, ratios, strict=True) if ratio is not None]
    return {
        "day": day,
        "week": week,
        "worth": get_worth(request.services.context.engine, week, request.now),
        "series": [Series("% found a fresh report", [None if r is None else 100 * r for r in ratios])],
        "labels": [f"{hour:%H}:00" for hour in hours],
        "texts": [f"{hour:%H}:00 {format_share(ratio)}" for hour, ratio in points],
    }


def load_efficiency(request: TileRequest) -> Values:
    """Return how many warms of the last week were used, by reason."""
    rows = warm_usage.get_usage(request.services.context.engine, request.now - WEEK)
    return {"rows": rows, "reasons": _REASONS, "total": warm_usage.add_up(rows)}


def load_calls(request: TileRequest) -> Values:
    """Return the calls of the last 24 hours by cause and report, and those of the last day beside all reports."""
    engine = request.services.context.engine
    return {
        "day": get_day_calls(engine, request.now),
        "reports": list_report_costs(engine, get_day_start(request.now), _MAX_REPORTS),
        "compared": compare_last_day(engine, request.now),
    }


def load_quota(request: TileRequest) -> Values:
    """Return what the platform reports as used of its quota, for shared scopes and the accounts that use most."""
    services, now = request.services, request.now.timestamp()
    limits, parked = services.admission.status(_MAX_ROWS, now), list_parked(services.context.engine, now)
    scopes = [show_scope(scope, parked) for scope in limits.scopes if scope.is_shared or scope.usage is not None]
    accounts = sorted((item for item in scopes if _is_busy_account(item)), key=lambda item: -item["usage"])
    return {
        "shared": [item for item in scopes if item["is_shared"]],
        "accounts": accounts[:_MAX_ROWS],
        "slow_percent": SLOW_PERCENT,
    }


def _is_busy_account(scope: Mapping[str, Any]) -> bool:
    """Whether it is an account that is paused, or uses enough of its quota to say so."""
    return not scope["is_shared"] and (scope["is_parked"] or scope["usage"] >= _SHOWN_PERCENT)


def list_parked(engine: Engine, now: float) -> set[str]:
    """Return the scopes that the platform has asked not to call."""
    return {gate.scope for gate in list_closed(engine, now) if gate.rule is Rule.PARK}


def load_stale(request: TileRequest) -> Values:
    """Return the answers of the last day that were not fresh, and the entries that are degraded now."""
    engine = request.services.context.engine
    served, degraded = get_day_totals(engine, request.now), entries.list_degraded(engine, _MAX_ROWS)
    reads = served["hits"] + served["stale"] + served["misses"]
    return {"served": served, "reads": reads, "degraded": degraded, "total": int(degraded[0].total) if degraded else 0}


def load_jobs(request: TileRequest) -> Values:
    """Return the running jobs with their progress, and the newest ones that ended."""
    latest = jobs.list_latest(request.services.context.engine, _MAX_ROWS, request.now)
    return {
        "running": [job for job in latest if not job.is_over(request.now)],
        "ended": [job for job in latest if job.is_over(request.now)][:3],
    }


def load_alerts(request: TileRequest) -> Values:
    """Return the open alerts."""
    engine = request.services.context.engine
    newest = alerts.list_alerts(engine, open_only=True, limit=_MAX_ROWS)
    return {"alerts": newest, "total": alerts.count_open(engine) if newest else 0}


def load_failures(request: TileRequest) -> Values:
    """Return the DAGs and steps of maintenance whose last run failed."""
    return {"failures": list_failures(request.services.context.engine, request.now - WEEK, 2 * _MAX_ROWS)}


def show_scope(scope: ScopeStatus, parked: AbstractSet[str]) -> dict[str, Any]:
    """Return a capacity scope as tiles show it, given those that are parked."""
    return {
        "name": scope.scope,
        "words": describe_scope(scope.scope),
        "limit": scope.limit,
        "in_flight": sum(scope.in_flight.values()),
        "usage": scope.usage,
        "pace": scope.pace,
        "is_parked": scope.scope in parked,
        "is_shared": scope.is_shared,
    }


TABS: Final = (
    Tab(
        "now",
        "Now",
        (
            Tile("headline", "At a glance", load_headline, refresh_seconds=REFRESH_SECONDS, is_wide=True),
            Tile("hits", "First opens that found a fresh report", load_hits, refresh_seconds=REFRESH_SECONDS),
            Tile("efficiency", "Were warms used?", load_efficiency, refresh_seconds=REFRESH_SECONDS),
            Tile("calls", "Calls to the platform", load_calls, refresh_seconds=REFRESH_SECONDS),
            Tile("quota", "Quota of the platform", load_quota, refresh_seconds=REFRESH_SECONDS),
            Tile("stale", "Old and incomplete answers", load_stale, refresh_seconds=REFRESH_SECONDS),
            Tile("jobs", "Warming runs", load_jobs, refresh_seconds=REFRESH_SECONDS, is_wide=True),
            Tile("alerts", "Open alerts", load_alerts, refresh_seconds=REFRESH_SECONDS, is_wide=True),
            Tile("failures", "Runs that failed", load_failures, refresh_seconds=REFRESH_SECONDS, is_wide=True),
        ),
    ),
)
