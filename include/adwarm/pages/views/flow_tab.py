"""The tab *Flow*: what limits the calls to the platform, what waits, and what has failed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Final

from adwarm.backpressure.machine_load import list_machines
from adwarm.charts import Series
from adwarm.foundation.clock import floor_to
from adwarm.foundation.gate import to_datetime
from adwarm.foundation.wording import describe_scope
from adwarm.maintenance.platform_watch import (
    TIER_CALLS,
    TIER_DAYS,
    TIER_ERRORS,
    list_apps,
    list_connections,
    list_refused,
)
from adwarm.model import Priority
from adwarm.pages.rendering import describe_gated
from adwarm.pages.tab import Tab, Tile, TileRequest
from adwarm.pages.views.now_tab import list_parked, show_scope
from adwarm.queries.operation import list_grants, list_short_groups
from adwarm.recovery.alerts import get_next_step
from adwarm.store.capacity import CapacitySample, list_samples
from adwarm.store.error_events import ErrorFilter
from adwarm.store.gates import list_closed
from adwarm.store.healing_runs import HealingStore
from adwarm.store.read_traffic import get_day_totals
from adwarm.store.requests import list_unfulfilled

REFRESH_SECONDS: Final = 30
DAY, HALF_HOUR = timedelta(days=1), timedelta(minutes=30)
_PLACES: Final = 48
_MAX_ROWS: Final = 20
_MOST_GATES: Final = 40
_COLORS: Final = ("c1", "c2", "c3", "c4", "c5", "c6")
_CLASSES: Final = {
    Priority.CRITICAL: "critical: a reader waits",
    Priority.HIGH: "high",
    Priority.NORMAL: "normal",
    Priority.LOW: "low: warming",
}
Values = Mapping[str, Any]


def load_limits(request: TileRequest) -> Values:
    """Return the shared capacity scopes as they are now, and their limits and quotas over the last day."""
    services, now = request.services, request.now.timestamp()
    shared, parked = services.admission.status(0, now).shared, list_parked(services.context.engine, now)
    scopes = [show_scope(scope, parked) for scope in shared[:_MAX_ROWS]]
    shown = [scope["name"] for scope in scopes][: len(_COLORS)]
    start = floor_to(request.now, HALF_HOUR) - (_PLACES - 1) * HALF_HOUR
    samples = list_samples(services.context.engine, start, shown)
    return {
        "scopes": scopes,
        "has_samples": bool(samples),
        "limits": _draw_series(samples, shown, start, "limit"),
        "usages": _draw_series(samples, shown, start, "usage"),
        "labels": [f"{start + place * HALF_HOUR:%H:%M}" for place in range(_PLACES)],
        "ranges": [_describe_range(samples, name) for name in shown],
        "day": get_day_totals(services.context.engine, request.now),
    }


def load_gates(request: TileRequest) -> Values:
    """Return what is not called now, and why: what the platform, failures or a person have closed."""
    gates = list_closed(request.services.context.engine, request.now.timestamp())
    items = [{**gate.to_dict(), "words": describe_gated(gate.scope)} for gate in gates[:_MOST_GATES]]
    return {"items": items, "total": len(gates)}


def load_platform(request: TileRequest) -> Values:
    """Return when versions and tokens end, how apps use it, which fields it refuses, and which groups do not add up."""
    engine, settings = request.services.context.engine, request.services.context.settings
    short, short_total = list_short_groups(engine, settings, request.now, _MAX_ROWS)
    return {
        "short": short,
        "short_total": short_total,
        "connections": list_connections(engine, request.now),
        "refused": list_refused(engine, request.now),
        "apps": [(describe_scope(app.app), app) for app in list_apps(engine, request.now)],
        "tier_days": TIER_DAYS,
        "tier_calls": TIER_CALLS,
        "tier_errors": TIER_ERRORS,
    }


def load_queue(request: TileRequest) -> Values:
    """Return the request queue by class, with the oldest wait."""
    queue = request.services.queue.status()
    classes = [{"name": _CLASSES[priority], **asdict(status)} for priority, status in queue.classes.items()]
    is_empty = not any(status.pending or status.processing for status in queue.classes.values())
    return {"classes": classes, "pending": queue.pending, "size": queue.size, "is_empty": is_empty}


def load_dead(request: TileRequest) -> Values:
    """Return the reports whose newest request ended in the last day without them."""
    dead, total = list_unfulfilled(request.services.context.engine, request.now - DAY, _MAX_ROWS)
    rows = [
        {
            "key": item.key,
            "status": item.status,
            "finished_at": to_datetime(item.finished_at),
            "attempts": item.attempts,
            "error": item.error,
        }
        for item in dead
    ]
    return {"requests": rows, "total": total}


def load_grants(request: TileRequest) -> Values:
    """Return the calls in flight by worker and class, and the load of their machines."""
    engine = request.services.context.engine
    rows = list_grants(engine, request.now)
    grants = [
        {
            "owner": row.owner,
            "class": _CLASSES.get(row.priority, row.priority),
            "calls": row.calls,
            "probes": row.probes,
            "oldest": to_datetime(row.oldest),
            "expires_at": to_datetime(row.expires_at),
        }
        for row in rows
    ]
    machines = list_machines(engine, request.now)
    return {"grants": grants, "total": sum(row.calls for row in rows), "machines": machines}


def load_errors(request: TileRequest) -> Values:
    """Return the errors of the last day by kind and source, and the newest ones."""
    errors, recent = request.services.errors, ErrorFilter(since=request.now - DAY)
    counts, newest = errors.count_by_kind(recent, _MAX_ROWS), errors.list_recent(_MAX_ROWS, recent)
    connections = {(event.kind, event.source): event.connection_name for event in reversed(newest)}
    steps = [get_next_step(row.kind, connections.get((row.kind, row.source), row.source)) for row in counts]
    return {"counts": list(zip(counts, steps, strict=True)), "newest": newest}


def load_healing(request: TileRequest) -> Values:
    """Return the newest healing actions of the last day."""
    store = HealingStore(request.services.context.engine)
    return {"runs": store.list_recent(_MAX_ROWS, since=request.now - DAY)}


def _draw_series(
    samples: Sequence[CapacitySample], scopes: Sequence[str], start: datetime, column: str
) -> list[Series]:
    """Return a line per scope over half hours: the last sample of each; a gap where none was taken."""
    lines: dict[str, list[float | None]] = {name: [None] * _PLACES for name in scopes}
    for row in samples:
        place = int((row.at - start) / HALF_HOUR)
        if 0 <= place < _PLACES:
            lines[row.scope][place] = getattr(row, column)
    return [Series(describe_scope(name), lines[name], kind) for name, kind in zip(scopes, _COLORS, strict=False)]


def _describe_range(samples: Sequence[CapacitySample], scope: str) -> dict[str, Any]:
    """Return the least and greatest figures of a scope, which say in text what the charts show."""
    own = [row for row in samples if row.scope == scope]
    usages = [row.usage for row in own if row.usage is not None]
    limits = [row.limit for row in own]
    return {
        "words": describe_scope(scope),
        "limit": (min(limits), max(limits)) if limits else None,
        "usage": (min(usages), max(usages)) if usages else None,
        "parked": sum(row.is_parked for row in own),
        "samples": len(own),
    }


TABS: Final = (
    Tab(
        "flow",
        "Flow",
        (
            Tile("limits", "Limits and quota over the last day", load_limits, refresh_seconds=60, is_wide=True),
            Tile("gates", "Not called now", load_gates, refresh_seconds=REFRESH_SECONDS, is_wide=True),
            Tile(
                "platform",
                "Versions, tokens, fields and access tier",
                load_platform,
                refresh_seconds=300,
                is_wide=True,
            ),
            Tile("queue", "Request queue", load_queue, refresh_seconds=REFRESH_SECONDS),
            Tile("grants", "Calls in flight", load_grants, refresh_seconds=REFRESH_SECONDS),
            Tile("errors", "Errors", load_errors, refresh_seconds=REFRESH_SECONDS, is_wide=True),
            Tile(
                "healing", "Repairs that ran by themselves", load_healing, refresh_seconds=REFRESH_SECONDS, is_wide=True
            ),
            Tile(
                "dead", "Requested reports that did not come", load_dead, refresh_seconds=REFRESH_SECONDS, is_wide=True
            ),
        ),
    ),
)
