"""The tab *Actions*: what a visitor can do, and what was done. The forms are in `actions_forms`."""

from collections.abc import Mapping
from typing import Any, Final

from adwarm.actions.open_gates import EFFECTS, find_human_cause, list_gates
from adwarm.actions.warm_now import MAX_KEYS, find_failed_requests
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.gate import Rule
from adwarm.pages.access import Permission
from adwarm.pages.tab import Tab, Tile, TileRequest
from adwarm.pages.views import actions_forms
from adwarm.store import jobs
from adwarm.store.action_events import find_action, list_actions
from adwarm.store.requests import QueuedRequest, to_datetime
from adwarm.store.switches import Switch, list_switches
from adwarm_client.date_ranges import PRESETS

_PAGE_SIZE = 20
_MAX_REQUESTS = 200
_MAX_BLOCKS = 50
_MAX_REASONS = 5
_SHOWN_RUNS = 10
_SWITCH_TITLES = {Switch.CALLS: "Calls", Switch.WARMING: "Warming", Switch.SHADOW: "Shadow mode"}


def _show_switches(request: TileRequest) -> Mapping[str, Any]:
    states = list_switches(request.services.context.engine)
    rows = [
        {"state": state, "title": _SWITCH_TITLES[name], "effect": EFFECTS[name, not state.is_on]}
        for name, state in states.items()
    ]
    return {"switches": rows, **_access(request, Permission.CONTROL)}


def _show_warm_now(request: TileRequest) -> Mapping[str, Any]:
    reports = sorted(request.services.context.settings.reports)
    return {"presets": PRESETS, "reports": reports, "max_keys": MAX_KEYS, **_access(request, Permission.WARM)}


def _show_requests(request: TileRequest) -> Mapping[str, Any]:
    engine, action_id = request.services.context.engine, _number(request, "action")
    queue, now = request.services.queue, request.now.timestamp()
    if action_id is None:
        before = _number(request, "before_request")
        queued = queue.list_newest(_PAGE_SIZE + 1, before_id=before, now=now)
        older = queued[_PAGE_SIZE - 1].id if len(queued) > _PAGE_SIZE else None
        shown = [_describe_request(item) for item in queued[:_PAGE_SIZE]]
        return {"rows": shown, "action": None, "older": older, "open": 0, "forgotten": 0}
    event = find_action(engine, action_id)
    ids = [int(item) for item in event.arguments.get("requests") or []] if event else []
    queued = queue.list_newest(_MAX_REQUESTS, ids=ids, now=now) if ids else []
    rows, still_open = [_describe_request(item) for item in queued], sum(not item.status.is_final for item in queued)
    return {"rows": rows, "action": event, "older": None, "open": still_open, "forgotten": len(ids) - len(rows)}


def _describe_request(item: QueuedRequest) -> Mapping[str, Any]:
    return {
        "id": item.id,
        "report": str(item.key),
        "status": item.status,
        "enqueued_at": to_datetime(item.enqueued_at),
        "finished_at": None if item.finished_at is None else to_datetime(item.finished_at),
        "error": item.error,
    }


def _show_blocks(request: TileRequest) -> Mapping[str, Any]:
    gates = [gate for gate in list_gates(request.services.actions) if gate.rule is not Rule.SWITCH]
    shown = [{**gate.to_dict(), "human_cause": find_human_cause(gate)} for gate in gates[:_MAX_BLOCKS]]
    return {"blocks": shown, "more": len(gates) - len(shown), **_access(request, Permission.CONTROL)}


def _show_failed(request: TileRequest) -> Mapping[str, Any]:
    failed = find_failed_requests(request.services.actions)
    reasons = failed.count_reasons()
    return {
        "count": failed.total,
        "listed": len(failed.failures),
        "reasons": reasons[:_MAX_REASONS],
        "more_reasons": max(0, len(reasons) - _MAX_REASONS),
        "runs": jobs.list_failed(request.services.context.engine, _SHOWN_RUNS),
        **_access(request, Permission.WARM),
    }


def _show_done(request: TileRequest) -> Mapping[str, Any]:
    before = _number(request, "before")
    events = list_actions(request.services.context.engine, before, _PAGE_SIZE + 1)
    older = events[_PAGE_SIZE - 1].id if len(events) > _PAGE_SIZE else None
    return {"events": events[:_PAGE_SIZE], "older": older, "before": before}


def _access(request: TileRequest, permission: Permission) -> dict[str, Any]:
    """Return whether the visitor may use the forms of a tile, and who may if not."""
    return {"may": request.visitor.may(permission), "who_may": request.visitor.explain(permission)}


def _number(request: TileRequest, name: str) -> int | None:
    """Return a row number of the query; None when it is not given."""
    text = request.get(name)
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise BadRequest(f"{name} is not a number; open the tab again from the navigation")
    return int(text)


TABS: Final = (
    Tab(
        "actions",
        "Actions",
        (
            Tile("switches", "Stop and resume", _show_switches),
            Tile("warm-now", "Warm reports now", _show_warm_now),
            Tile("requests", "Requested reports", _show_requests, refresh_seconds=5, is_wide=True),
            Tile("blocks", "Held back", _show_blocks, is_wide=True),
            Tile("failed", "Try failed reports again", _show_failed),
            Tile("done", "What was done", _show_done, is_wide=True),
        ),
        actions_forms.FORMS,
    ),
)
