"""Parts of `adwarm status`: integrity, one id, requests, and what people did."""

import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from adwarm.cli.terminal import print_json, print_table
from adwarm.cli.warm_queue import describe_request, request_fields
from adwarm.foundation.errors import NotFound

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from adwarm.runtime import Runtime


FIGURES: Final[Mapping[str, Mapping[str, str]]] = {
    "entries": {
        "entries": "stored reports",
        "raw_bytes": "their bytes before compression",
        "stored_bytes": "their bytes as stored",
    },
    "warms": {
        "planned": "planned, not carried out yet",
        "cut": "left out, because they were over budget",
        "shadow": "planned in shadow mode, not fetched",
        "fetched": "fetched",
        "fresh": "not fetched, because the report was fresh",
        "stale": "failed; the older report is served",
        "failed": "failed, and nothing is stored",
        "denied": "refused: the token may not read the account",
        "used": "of the fetched: opened by a person before they expired",
        "wasted": "of the fetched: expired unopened",
        "superseded": "of the fetched: replaced by a newer warm of their report before anybody opened them",
        "open": "of the fetched: not known yet, or fetched for no reader",
    },
    "forecast": {
        "live": "start of the forecast's id; empty when nothing is live",
        "why": "why nothing is live",
        "kind": "kind of forecast",
        "trained_until": "end of the opens that it learned from",
        "keys": "reports that it knows",
        "chosen_by": "who chose the kind; absent when training did",
        "chosen_at": "when",
        "chosen_why": "why",
        "hits": "share of first opens found fresh in the tested week, at 1.25 to 3 times the calls of no warming",
        "brier": "mean squared error of the stated chances; 0 is perfect",
        "skill": "how much smaller that error is than when always stating the mean; 1 is perfect, 0 no better",
        "log_loss": "mean surprise at what happened, which punishes sure errors most; 0 is perfect",
        "ece": "mean gap between stated chances of 10 % or more and the share that came true; good: below 0.03",
        "likely_share": "share of the tested cases that had such a chance",
        "base_rate": "share of the tested cases with a first open",
        "cases": "reports times decisions that were tested",
        "problem": "what is wrong with its stored bytes",
    },
    "review": {
        "verdict": "how the newest review ended; empty before the first one",
        "why": "its reason",
        "at": "when it ran",
        "live_kind": "kind of forecast that was live",
        "proposed_kind": "kind of forecast that is better",
        "decided_by": "who decided on the proposal",
        "decided_at": "when",
        "report": "file of its page",
    },
    "traffic_24h": {
        "hits": "reads that found a fresh report",
        "stale": "reads that were served a stale report",
        "misses": "reads that found no report",
        "first_opens": "reads by people of reports that nobody had opened for 30 minutes",
        "first_hits": "those of them that found a fresh report",
        "first_hit_ratio": "their share; empty before the first one",
        "errors": "fetches that failed",
        "upstream_calls": "calls to the platform",
        "throttles": "calls that the platform throttled",
        "postponed": "fetches that adwarm's own limits and gates put off; no call was made",
        "median_latency_ms": "half of the reads took at most so many milliseconds; within 5 %",
        "p95_latency_ms": "95 of 100 reads took at most so many milliseconds",
        "mean_latency_ms": "mean milliseconds of a read",
    },
    "integrity": {
        "since": "first UTC day that is counted",
        "checked": "reports, stored days, counts and forecasts that were verified",
        "damaged": "found damaged",
        "healed": "replaced by whole data",
        "bytes": "bytes read to verify them",
        "last_full_pass": "when the last pass over everything ended",
        "open": "damaged, and not replaced yet",
    },
}
"""What each figure of a part of the document says, in words. The reference shows the same."""
_MAX_ITEMS = 20
_DAYS = 7
_REQUEST_ID = re.compile(r"(?:request-)?(\d{1,18})", re.ASCII)
_REQUEST_COLUMNS = ("id", "report", "status", "class", "enqueued", "ended", "error")
_ACTION_COLUMNS = ("id", "at", "who", "via", "action", "what", "done", "detail")


def print_figures(title: str, part: str, fields: Mapping[str, Any]) -> None:
    """Print the figures of a part of the document, each with what it says."""
    print_table(title, ("", "", ""), [(name, value, FIGURES[part].get(name, "")) for name, value in fields.items()])


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
    counted = {name: value for name, value in fields.items() if name != "open_items"}
    print_figures("Integrity, last 7 days", "integrity", counted)
    if fields["open_items"]:
        rows = [tuple(item.values()) for item in fields["open_items"]]
        print_table("Damaged data that is not replaced yet", ("kind", "name", "account", "found", "why"), rows)


def print_id(runtime: "Runtime", identifier: str, *, as_json: bool) -> None:
    """Follow an id from plan or request over errors and fetch to the stored entry and its reads.

    Of a request, its state, position, deadline and error come first, and where its answer is.

    Raises:
        BadRequest: it is not an id.
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


def print_actions(runtime: "Runtime", limit: int, *, as_json: bool) -> None:
    """List the actions of people on the page and the command line, newest first, failed ones included."""
    from adwarm.store.action_events import list_actions

    listed = list_actions(runtime.engine, limit=limit)
    if as_json:
        print_json([asdict(item) for item in listed])
        return
    rows = [(x.id, x.at, x.actor, x.via, x.action, x.subject, "yes" if x.succeeded else "no", x.detail) for x in listed]
    print_table("Actions, the newest first", _ACTION_COLUMNS, rows, "none yet")
