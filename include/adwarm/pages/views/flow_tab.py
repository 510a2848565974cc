"""The tab *Flow*: what limits the calls to the platform, what waits, and what has failed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row

from adwarm.backpressure.machine_load import list_machines
from adwarm.backpressure.quota_usage import CEILING_PERCENT, SLOW_PERCENT
from adwarm.foundation.charts import Series
from adwarm.foundation.clock import floor_to
from adwarm.model import Priority
from adwarm.pages.queries import flow_queries
from adwarm.pages.tab import Tab, Tile, TileRequest
from adwarm.pages.views.now_tab import read_scope
from adwarm.pages.views.scope_names import describe_breaker, describe_scope
from adwarm.recovery.next_steps import get_next_step
from adwarm.store.capacity_samples import CapacitySample, list_samples
from adwarm.store.error_events import ErrorFilter
from adwarm.store.healing_runs import HealingStore
from adwarm.store.requests import list_dead

REFRESH_SECONDS: Final = 30
DAY, HALF_HOUR = timedelta(days=1), timedelta(minutes=30)
_PLACES: Final = 48
_COLORS: Final = ("c1", "c2", "c3", "c4", "c5", "c6")
_LATEST: Final = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
_CLASSES: Final = {
    Priority.CRITICAL: "critical: a reader waits",
    Priority.HIGH: "high",
    Priority.NORMAL: "normal",
    Priority.LOW: "low: warming",
}
Values = Mapping[str, Any]


def load_limits(request: TileRequest) -> Values:
    """Return the shared capacity scopes as they are now, and their limits and quotas over the last day."""
    services, now = request.services, request.now
    engine, settings = services.context.engine, services.context.settings.backpressure
    scopes = [read_scope(row, settings, now.timestamp()) for row in flow_queries.list_shared_scopes(engine)]
    shown = [scope["name"] for scope in scopes][: len(_COLORS)]
    start = floor_to(now, HALF_HOUR) - (_PLACES - 1) * HALF_HOUR
    samples = list_samples(engine, start, shown)
    return {
        "scopes": scopes,
        "has_samples": bool(samples),
        "limits": _draw_series(samples, shown, start, "limit"),
        "usages": _draw_series(samples, shown, start, "usage"),
        "labels": [f"{start + place * HALF_HOUR:%H:%M}" for place in range(_PLACES)],
        "ranges": [_describe_range(samples, name) for name in shown],
        "slow_percent": SLOW_PERCENT,
        "ceiling_percent": CEILING_PERCENT,
    }


def load_parked(request: TileRequest) -> Values:
    """Return what must not be called until a time that the platform has named, and why."""
    rows = flow_queries.list_parked(request.services.context.engine, request.now)
    items = [
        {
            "words": describe_scope(row.scope),
            "since": _to_datetime(row.state.get("parked_since")),
            "until": _to_datetime(row.parked_until),
            "why": row.parked_why,
        }
        for row in rows
    ]
    return {"items": items, "total": rows[0].total if rows else 0}


def load_barred(request: TileRequest) -> Values:
    """Return breakers, and isolated connections, accounts and fallbacks."""
    rows = flow_queries.list_barred(request.services.context.engine)
    items = [_describe_barred(row) for row in rows]
    return {"items": items, "total": rows[0].total if rows else 0}


def load_queue(request: TileRequest) -> Values:
    """Return the request queue by class, with the oldest wait."""
    queue = request.services.queue.status()
    classes = [{"name": _CLASSES[priority], **asdict(status)} for priority, status in queue.classes.items()]
    is_empty = not any(status.pending or status.processing for status in queue.classes.values())
    pending = sum(status.pending for status in queue.classes.values())
    return {"classes": classes, "pending": pending, "size": queue.size, "is_empty": is_empty}


def load_dead(request: TileRequest) -> Values:
    """Return the requests of the last day that ended without a report."""
    dead, total = list_dead(request.services.context.engine, request.now - DAY, flow_queries.MAX_ROWS)
    rows = [
        {
            "key": item.key,
            "status": item.status,
            "finished_at": _to_datetime(item.finished_at),
            "attempts": item.attempts,
            "error": item.error,
        }
        for item in dead
    ]
    return {"requests": rows, "total": total}


def load_grants(request: TileRequest) -> Values:
    """Return the calls that workers may make now, by worker and class, and the load of their machines."""
    engine = request.services.context.engine
    rows = flow_queries.list_grants(engine, request.now)
    grants = [
        {
            "owner": row.owner,
            "class": _CLASSES.get(row.priority, row.priority),
            "permits": row.permits,
            "probes": row.probes,
            "oldest": _to_datetime(row.oldest),
            "expires_at": _to_datetime(row.expires_at),
        }
        for row in rows
    ]
    machines = list_machines(engine, request.now)
    return {"grants": grants, "total": sum(row.permits for row in rows), "machines": machines}


def load_errors(request: TileRequest) -> Values:
    """Return the errors of the last day by kind and source, and the newest ones."""
    errors, recent = request.services.errors, ErrorFilter(since=request.now - DAY)
    counts = errors.count_by_kind(recent, flow_queries.MAX_ROWS)
    steps = [get_next_step(row.kind, row.source) for row in counts]
    return {
        "counts": list(zip(counts, steps, strict=True)),
        "newest": errors.list_recent(flow_queries.MAX_ROWS, recent),
    }


def load_healing(request: TileRequest) -> Values:
    """Return the newest healing actions of the last day."""
    store = HealingStore(request.services.context.engine)
    return {"runs": store.list_recent(flow_queries.MAX_ROWS, since=request.now - DAY)}


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


def _describe_barred(row: Row[Any]) -> dict[str, Any]:
    is_breaker = row.kind == "breaker"
    return {
        "is_breaker": is_breaker,
        "words": describe_breaker(row.name) if is_breaker else row.name.replace(":", " ", 1),
        "state": row.state,
        "since": _to_datetime(row.changed_at),
        "until": _to_datetime(row.until) if row.state != "closed" else None,
        "why": (row.data or {}).get("why") if is_breaker else row.reason,
    }


def _to_datetime(seconds: float | None) -> datetime | None:
    """Return seconds since the epoch as UTC; a stored number may exceed what a datetime can hold."""
    return None if seconds is None else datetime.fromtimestamp(min(max(seconds, 0.0), _LATEST), UTC)


TABS: Final = (
    Tab(
        "flow",
        "Flow",
        (
            Tile("limits", "Limits and quota over the last day", load_limits, refresh_seconds=60, is_wide=True),
            Tile("parked", "Paused by the platform", load_parked, refresh_seconds=REFRESH_SECONDS, is_wide=True),
            Tile("barred", "Not called after failures", load_barred, refresh_seconds=REFRESH_SECONDS, is_wide=True),
            Tile("queue", "Request queue", load_queue, refresh_seconds=REFRESH_SECONDS),
            Tile("grants", "Calls that workers may make now", load_grants, refresh_seconds=REFRESH_SECONDS),
            Tile("errors", "Errors", load_errors, refresh_seconds=REFRESH_SECONDS, is_wide=True),
            Tile(
                "healing", "Repairs that ran by themselves", load_healing, refresh_seconds=REFRESH_SECONDS, is_wide=True
            ),
            Tile(
                "dead", "Requests that ended without a report", load_dead, refresh_seconds=REFRESH_SECONDS, is_wide=True
            ),
        ),
        summary="What limits the calls to the platform, what waits, and what has failed.",
    ),
)
