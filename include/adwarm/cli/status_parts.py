"""Parts of `adwarm status`: live impact, integrity, one id, requests, and what people did."""

import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from adwarm.cli.terminal import print_fields, print_json, print_table
from adwarm.cli.warm_queue import describe_request, request_fields
from adwarm.foundation.errors import NotFound

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from adwarm.runtime import Runtime


def print_impact(report: Mapping[str, Any]) -> None:
    """Print the estimate with its interval, its width, and how long until it is useful."""
    print_fields("Live impact", get_impact_fields(report))


def get_impact_fields(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return names and values for people; `report` comes from `adwarm.planning.impact_measurement.report_impact`."""
    if "gain_per_call" not in report:
        return {"state": report["next"]}
    return {
        "hits_gained_per_call": _format_gain(report),
        "interval": _format_interval(report),
        "usefulness": f"{report['next']}; {report['why']}",
        "warmed": _format_group(report["treated"]),
        "held_out": _format_group(report["held_out"]),
        "weeks": f"{report['weeks']} whole weeks until the one of {report['week']}",
        "measurements_begun": report["designs"],
    }


def _format_gain(report: Mapping[str, Any]) -> str:
    gain = report["gain_per_call"]
    return "not known yet" if gain is None else f"{gain:.3f}"


def _format_interval(report: Mapping[str, Any]) -> str:
    if report["low"] is None:
        return "none yet"
    level = f"{report['confidence']:.4g}"
    return f"{report['low']:.3f} to {report['high']:.3f} (confidence {level}, {report['half_width']:.3f} to each side)"


def _format_group(group: Mapping[str, Any]) -> str:
    rate = "-" if group["hit_rate"] is None else f"{group['hit_rate']:.1%}"
    return f"{rate} of {group['first_opens']:,} first opens found a fresh report, in {group['units']:,} account weeks"


_MAX_ITEMS = 20
_DAYS = 7


def report_integrity(engine: "Engine", now: datetime) -> dict[str, Any]:
    """Return what was verified in the last 7 days, the last full pass, and what is damaged, as JSON values."""
    from adwarm.store import integrity_days, quarantine

    totals = integrity_days.get_totals(engine, now - timedelta(days=_DAYS - 1))
    return {
        "since": totals.since,
        "checked": totals.total.checked,
        "damaged": totals.total.damaged,
        "healed": totals.total.healed,
        "bytes": totals.total.bytes,
        "last_full_pass": totals.pass_ended,
        "open": sum(quarantine.count_open(engine).values()),
        "open_items": [
            {
                "kind": damaged.item.kind,
                "name": damaged.item.name[:12],
                "account_id": damaged.item.account_id,
                "found_at": damaged.item.found_at,
                "reason": damaged.item.reason,
            }
            for damaged in quarantine.list_open(engine, _MAX_ITEMS)
        ],
    }


def print_integrity(fields: dict[str, Any]) -> None:
    """Print the section."""
    print_fields("Integrity, last 7 days", {name: value for name, value in fields.items() if name != "open_items"})
    if fields["open_items"]:
        rows = [tuple(item.values()) for item in fields["open_items"]]
        print_table("Damaged data that is not replaced yet", ("kind", "name", "account", "found", "why"), rows)


_REQUEST_ID = re.compile(r"(?:request-)?(\d{1,18})", re.ASCII)
_REQUEST_COLUMNS = ("id", "report", "status", "class", "enqueued", "ended", "error")
_ACTION_COLUMNS = ("id", "at", "who", "via", "action", "what", "done", "detail")


def print_id(runtime: "Runtime", identifier: str, *, as_json: bool) -> None:
    """Follow an id from plan or request over errors and fetch to the stored entry and its reads.

    Of a request, its state, position, deadline and error come first, and where its answer is.

    Raises:
        BadRequest: it is no id.
        NotFound: nothing has it.
    """
    from adwarm.planning.trace import trace

    number = _REQUEST_ID.fullmatch(identifier)
    text = f"request-{number[1]}" if number else identifier
    fields: dict[str, Any] = {"id": text}
    if number:
        queued = runtime.queue.find(int(number[1]))
        if queued is None:
            raise NotFound(
                f"there is no request {number[1]}; `adwarm status --requests` lists the newest; each is kept a "
                "week after its end"
            )
        fields = request_fields(runtime, queued)
    steps = trace(runtime.context, text)
    if as_json:
        print_json({**fields, "steps": [asdict(step) for step in steps]})
        return
    if "answer" in fields:
        print_table(f"Request {fields['id']}", ("", ""), describe_request(fields).items())
    rows = [(step.at, step.step, step.id, step.detail) for step in steps]
    print_table(f"Trace of {text}", ("at", "step", "id", "detail"), rows)


def print_requests(runtime: "Runtime", limit: int, *, as_json: bool) -> None:
    """List the newest requests."""
    from adwarm.store.requests import to_datetime

    listed = runtime.queue.list_newest(limit)
    rows = [
        {
            "id": item.id,
            "key": str(item.key),
            "status": item.status.value,
            "priority": item.priority.name.lower(),
            "enqueued_at": to_datetime(item.enqueued_at),
            "finished_at": None if item.finished_at is None else to_datetime(item.finished_at),
            "error": item.error,
        }
        for item in listed
    ]
    if as_json:
        print_json(rows)
    else:
        print_table("Requests, the newest first", _REQUEST_COLUMNS, [tuple(row.values()) for row in rows], "none yet")


def print_actions(runtime: "Runtime", before: int | None, limit: int, *, as_json: bool) -> None:
    """List the actions of people on the page and the command line, newest first, failed ones included."""
    from adwarm.store.action_events import list_actions

    listed = list_actions(runtime.engine, before, limit)
    if as_json:
        print_json([asdict(item) for item in listed])
        return
    rows = [(x.id, x.at, x.actor, x.via, x.action, x.subject, "yes" if x.succeeded else "no", x.detail) for x in listed]
    print_table("Actions, the newest first", _ACTION_COLUMNS, rows, "none yet")
