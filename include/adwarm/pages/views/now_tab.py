"""The tab *Now*: is the cache warm, what does it cost, what is stuck and why."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Engine, Row

from adwarm.backpressure import ScopeStatus
from adwarm.backpressure.quota_usage import SLOW_PERCENT
from adwarm.foundation.charts import Series
from adwarm.foundation.clock import floor_to
from adwarm.foundation.gate import Gate, Rule, to_datetime
from adwarm.model import Mode
from adwarm.pages.rendering import describe_scope, format_share
from adwarm.pages.tab import Tab, Tile, TileRequest
from adwarm.pages.views.headline import Situation, evaluate_situation
from adwarm.queries.operation import FetchCosts, get_fetch_costs, get_situation, list_failures
from adwarm.store import alerts, entries, jobs, warm_usage
from adwarm.store.gates import list_closed
from adwarm.store.read_traffic import add_up, get_day_calls, get_day_start, get_day_totals, list_hours
from adwarm.store.switches import to_switches

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


@dataclass(frozen=True, slots=True)
class CallEstimates:
    """Upstream calls of a day, estimated for two other ways to work; None where data lack.

    Attributes:
        without_warming: at most so many calls, had every first open fetched its report.
        warming_everything: calls to keep every known report fresh all day.
        keys: reports that the forecast knows.
        lifetime_seconds: mean time that a fetched report stayed fresh.
    """

    first_opens: int
    calls_per_fetch: float | None
    without_warming: float | None
    warming_everything: float | None
    keys: int | None
    lifetime_seconds: float | None


def load_headline(request: TileRequest) -> Values:
    """Return the state of everything, and the switches."""
    engine = request.services.context.engine
    day = get_day_totals(engine, request.now)
    figures = get_situation(engine, request.now)
    gates = list_closed(engine, request.now.timestamp(), also=Rule.SWITCH)
    situation = _build_situation(figures, gates, day)
    return {"headline": evaluate_situation(situation, request.now), "situation": situation}


def load_hits(request: TileRequest) -> Values:
    """Return the first-open hit ratio of a day and a week, and its trend by hour."""
    start = floor_to(request.now, HOUR) - WEEK + HOUR
    rows = list_hours(request.services.context.engine, start, request.now + HOUR)
    recent = [row for row in rows if row["hour"] >= get_day_start(request.now)]
    by_hour = {row["hour"]: row for row in recent}
    hours = [floor_to(request.now, HOUR) - (23 - place) * HOUR for place in range(24)]
    ratios = [add_up([by_hour[hour]] if hour in by_hour else [])["first_hit_ratio"] for hour in hours]
    day, week = add_up(recent), add_up(rows)
    points = [(hour, ratio) for hour, ratio in zip(hours, ratios, strict=True) if ratio is not None]
    return {
        "day": day,
        "week": week,
        "series": [Series("% found a fresh report", [None if r is None else 100 * r for r in ratios])],
        "labels": [f"{hour:%H}:00" for hour in hours],
        "texts": [f"{hour:%H}:00 {format_share(ratio)}" for hour, ratio in points],
    }


def load_efficiency(request: TileRequest) -> Values:
    """Return how many warms of the last week were used, by reason."""
    rows = warm_usage.get_usage(request.services.context.engine, request.now - WEEK)
    live = [row for row in rows if row.mode is not Mode.SHADOW]
    used, marked = sum(row.used for row in live), sum(row.used + row.wasted for row in live)
    share = used / marked if marked else None
    return {"rows": rows, "reasons": _REASONS, "used": used, "marked": marked, "share": share}


def load_calls(request: TileRequest) -> Values:
    """Return the calls of the last day by cause and by report, beside estimates for no warming and for all reports."""
    engine = request.services.context.engine
    costs, opens = get_fetch_costs(engine, get_day_start(request.now)), get_day_totals(engine, request.now)
    return {
        "calls": estimate_calls(costs, int(opens["first_opens"])),
        "day": get_day_calls(engine, request.now),
        "reports": costs.reports[:_MAX_REPORTS],
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
        "ended": [job for job in latest if job.is_over(request.now)][:5],
    }


def load_alerts(request: TileRequest) -> Values:
    """Return the open alerts."""
    engine = request.services.context.engine
    newest = alerts.list_alerts(engine, open_only=True, limit=_MAX_ROWS)
    return {"alerts": newest, "total": alerts.count_open(engine) if newest else 0}


def load_failures(request: TileRequest) -> Values:
    """Return the DAGs and steps of maintenance whose last run failed."""
    return {"failures": list_failures(request.services.context.engine, request.now - WEEK, 2 * _MAX_ROWS)}


def estimate_calls(costs: FetchCosts, first_opens: int) -> CallEstimates:
    """Return the estimates of a day's calls from its fetches and first opens; see `get_fetch_costs`.

    A fetch is counted with the calls that fetches of the same day took on average, so that shared requests and stored
    days count as they did. Without warming, a report that another reader has just fetched would still be
    fresh for the next one; the estimate leaves that out and is an upper bound.
    """
    per_fetch = float(costs.requests) / costs.fetches if costs.fetches and costs.requests is not None else None
    keys, lifetime = costs.keys, float(costs.lifetime) if costs.lifetime else None
    without = first_opens * per_fetch if per_fetch is not None and first_opens else None
    everything = (
        keys * DAY.total_seconds() / lifetime * per_fetch if keys and lifetime and per_fetch is not None else None
    )
    return CallEstimates(
        first_opens=first_opens,
        calls_per_fetch=per_fetch,
        without_warming=without,
        warming_everything=everything,
        keys=keys,
        lifetime_seconds=lifetime,
    )


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


def _build_situation(figures: Row[Any], gates: Sequence[Gate], day: Mapping[str, Any]) -> Situation:
    """Return the figures of the headline: of shared scopes that parked longest, of sources the one tested last."""
    shared = [gate for gate in gates if gate.account_id is None]
    parked = next((gate for gate in shared if gate.rule is Rule.PARK), None)
    broken = next((gate for gate in shared if gate.rule is Rule.BREAKER), None)
    names = ("mode", "newest_run", "open_alerts", "waiting", "oldest_wait")
    return Situation(
        first_opens=int(day["first_opens"]),
        first_hits=int(day["first_hits"]),
        has_entries=figures.any_entry is not None,
        switches={str(name): state for name, state in to_switches(gates).items() if state.changed_at is not None},
        parked_scope=parked.scope if parked else None,
        parked_until=to_datetime(parked.closed_until) if parked else None,
        parked_why=parked.why if parked else None,
        broken_source=broken.scope.removeprefix("source:") if broken else None,
        probe_at=to_datetime(broken.closed_until) if broken else None,
        **{name: figures._mapping[name] for name in names},
    )


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
        summary="Is the cache warm, what does it cost, and is anything stuck?",
    ),
)
