"""`adwarm status`: a verdict in five lines; what is stored, queued, running and limited with `--all`."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adwarm.cli.errors import print_digest
from adwarm.cli.gate import print_gates, print_switches, switch_fields
from adwarm.cli.maintain import maintenance_fields, print_maintenance
from adwarm.cli.status_parts import (
    print_actions,
    print_figures,
    print_id,
    print_integrity,
    print_requests,
    report_integrity,
)
from adwarm.cli.strategy import COLUMNS, report_fields, table_row
from adwarm.cli.terminal import JsonOption, print_json, print_lines, print_note, print_table
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.wording import format_ago, format_count, format_utc

if TYPE_CHECKING:
    from adwarm.backpressure import AdmissionStatus
    from adwarm.model import Job, Snapshot
    from adwarm.runtime import Runtime

_JOB_COLUMNS = ("dag", "started", "status", "done", "failed", "requests", "left")
_COMPRESSION_COLUMNS = (
    "codec",
    "packed",
    "unpacked",
    "cache_hits",
    "saved_bytes",
    "ratio",
    "median_pack_ms",
    "p95_pack_ms",
    "median_unpack_ms",
    "p95_unpack_ms",
    "errors",
)
_USAGE_COLUMNS = ("mode", "reason", "used", "wasted", "superseded", "open", "age")
_MAX_ROWS = 20
"""Rows to show of each table of limits."""


def status(
    identifier: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="Follow a run (DAG/RUN), a planned warm (warm-12) or a request (7)."),
    ] = None,
    *,
    requests: Annotated[bool, typer.Option("--requests", help="List the newest requests instead.")] = False,
    actions: Annotated[
        bool, typer.Option("--actions", help="List what people did on the page and the command line instead.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Show every figure, which --json does as well.")] = False,
    digest: Annotated[
        bool, typer.Option("--digest", help="Print the weekly digest as it would be sent now instead.")
    ] = False,
    limit: Annotated[int, typer.Option(help="With --requests or --actions: how many to list.", min=1, max=1000)] = 50,
    as_json: JsonOption = False,
) -> None:
    """Say in five lines whether the cache is warm, what it saves and costs, and what to do; or follow one id.

    With ID: each step from plan or request over errors and fetch to the stored entry and its reads; of a request also
    its state, position and deadline, and where its answer is. Log lines carry the same ids: `ADWARM_LOG__FORMAT=json`
    and `ADWARM_LOG__LEVEL=DEBUG` show each call.
    """
    from adwarm.runtime import Runtime

    if (identifier is not None) + requests + actions + digest + everything > 1:
        raise BadRequest("an ID, --requests, --actions, --digest and --all are different questions; ask one of them")
    runtime = Runtime()
    if identifier is not None:
        print_id(runtime, identifier, as_json=as_json)
    elif requests:
        print_requests(runtime, limit, as_json=as_json)
    elif actions:
        print_actions(runtime, limit, as_json=as_json)
    elif digest:
        print_digest(runtime, as_json=as_json)
    elif everything or as_json:
        _print_status(runtime, as_json=as_json)
    else:
        _print_summary(runtime)


def _print_summary(runtime: "Runtime") -> None:
    """Print the verdict, and what a person asks first, each in a line."""
    from adwarm.queries.digest import describe_cost, list_needs
    from adwarm.queries.headline import State, evaluate_situation, load_situation
    from adwarm.queries.worth import get_worth
    from adwarm.store.read_traffic import get_week_totals

    now = runtime.clock.now()
    situation = load_situation(runtime.engine, runtime.queue.status(), now)
    headline, needs = evaluate_situation(situation, now), list_needs(runtime.engine, now)
    first = headline.next_step if not needs or headline.state in {State.STOPPED, State.STUCK} else needs[0]
    others = sum(need != first for need in needs)
    more = f" And {others:,} more: adwarm status --digest" if others else ""
    run = "never" if situation.newest_run is None else format_ago(situation.newest_run, now)
    lines = {
        "Worth": get_worth(runtime.engine, get_week_totals(runtime.engine, now), now)
        or "nobody opened a report through adwarm in the last 7 days",
        "Cost": f"{describe_cost(runtime.context, now)} (last 7 days)",
        "Work": f"last plan {run}; {format_count(situation.waiting, 'request waits', 'requests wait')}",
        "Forecast": _describe_forecast(_forecast_fields(runtime)),
        "To do": f"{first or 'nothing'}{more}",
    }
    note = [(2, runtime.simulation.text)] if runtime.simulation else []
    verdict = (2, f"{headline.sentence} {headline.reason}")
    print_lines([*note, verdict, *((12, f"  {name + ':':9} {text}") for name, text in lines.items())])
    print_note("adwarm status --all shows every figure")


def _describe_forecast(fields: dict[str, Any]) -> str:
    """Return which forecast is live, in a line."""
    if fields["live"] is None:
        return str(fields["why"])
    kind, until = str(fields["kind"]).replace("_", " "), format_utc(fields["trained_until"])
    damage = f"; {fields['problem']}" if "problem" in fields else ""
    return f"{kind}, {fields['keys']:,} reports, trained until {until}{damage}"


def _print_status(runtime: "Runtime", *, as_json: bool) -> None:
    from adwarm.backpressure.machine_load import list_machines
    from adwarm.cli.report import list_preparing_fields
    from adwarm.compression import get_compression_totals
    from adwarm.planning.strategy_use import report_strategies
    from adwarm.store import entries, jobs, read_traffic, warm_usage
    from adwarm.store.gates import list_closed
    from adwarm.store.healing_runs import HealingStore
    from adwarm.store.read_traffic import get_day_calls

    now, admission = runtime.clock.now(), runtime.admission.status()
    strategies = report_strategies(runtime.context, now)
    document: dict[str, Any] = {
        "at": now,
        "switches": switch_fields(runtime.engine),
        "entries": entries.get_totals(runtime.engine),
        "compression_7d": get_compression_totals(runtime.engine, now - timedelta(days=6)).to_dict(),
        "warms": warm_usage.count_by_status(runtime.engine),
        "usage_7d": [asdict(usage) for usage in warm_usage.get_usage(runtime.engine, now - timedelta(days=7))],
        "forecast": _forecast_fields(runtime),
        "review": _review_fields(runtime),
        "strategies": [report_fields(report, now) for report in strategies],
        "traffic_24h": {
            **read_traffic.get_day_totals(runtime.engine, now),
            **read_traffic.get_day_latency(runtime.engine, now),
        },
        "calls_24h": get_day_calls(runtime.engine, now).to_dict(),
        "jobs": [_job_fields(job, now) for job in jobs.list_latest(runtime.engine, running_at=now)],
        "maintenance": maintenance_fields(runtime.context, now),
        "queue": runtime.queue.status().to_dict(),
        "preparing": list_preparing_fields(runtime.engine),
        "admission": admission.to_dict(),
        "machines": [asdict(machine) for machine in list_machines(runtime.engine, now)],
        "gates": [gate.to_dict() for gate in list_closed(runtime.engine)],
        "healing": [asdict(run) for run in HealingStore(runtime.engine).list_recent(_MAX_ROWS)],
        "integrity": report_integrity(runtime.engine, now),
    }
    if as_json:
        print_json(document)
    else:
        _print_document(document, [table_row(report, now) for report in strategies], admission)


def _print_document(
    document: dict[str, Any], strategies: Sequence[Sequence[object]], admission: "AdmissionStatus"
) -> None:
    from adwarm.cli.report import print_preparing

    print_switches(document["switches"])
    print_figures("Stored", "entries", document["entries"])
    _print_compression(document["compression_7d"])
    print_figures("Warms", "warms", document["warms"])
    print_table(
        "Warms of the last 7 days by reason; shadow warms as if they had been fetched",
        _USAGE_COLUMNS,
        [[item[name] for name in _USAGE_COLUMNS] for item in document["usage_7d"]],
        "none yet",
    )
    print_table("Strategies; used, wasted and calls of the last 30 days", COLUMNS, strategies, "none")
    print_figures("Forecast", "forecast", document["forecast"])
    print_figures("Review", "review", document["review"])
    print_figures("Last 24 hours", "traffic_24h", document["traffic_24h"])
    _print_calls(document["calls_24h"])
    print_table("Jobs", _JOB_COLUMNS, [_job_row(job) for job in document["jobs"]], "none yet")
    print_maintenance(document["maintenance"])
    print_integrity(document["integrity"])
    _print_queue(document["queue"])
    print_preparing(document["preparing"])
    _print_limits(admission)
    _print_machines(document["machines"])
    print_gates(document["gates"][:_MAX_ROWS], _truncation_note(document["gates"]))
    _print_healing(document["healing"])


def _forecast_fields(runtime: "Runtime") -> dict[str, Any]:
    from adwarm.foundation.errors import NotFound
    from adwarm.store.snapshots import get_live_snapshot

    try:
        live = get_live_snapshot(runtime.engine)
    except NotFound as error:
        return {"live": None, "why": str(error)}
    return {
        "live": live.id[:12],
        "kind": live.kind,
        "trained_until": live.trained_until,
        "keys": live.keys,
        **_choice_fields(runtime),
        **live.metrics,
        **_damage_fields(runtime, live),
    }


def _damage_fields(runtime: "Runtime", live: "Snapshot") -> dict[str, Any]:
    """Return what is wrong with the stored bytes of the live forecast; empty when nothing is."""
    from adwarm.foundation.errors import AdwarmError

    try:
        runtime.objects.get(live.object_hash)
    except AdwarmError as error:
        return {"problem": f"{error}; an older forecast takes over until the next training"}
    return {}


def _choice_fields(runtime: "Runtime") -> dict[str, Any]:
    """Return who chose the live kind, when and why; empty when training chose it."""
    from adwarm.store import read_transaction
    from adwarm.store.snapshots import find_policy

    with read_transaction(runtime.engine) as connection:
        policy = find_policy(connection)
    if policy is None or not policy.chosen_kind:
        return {}
    return {"chosen_by": policy.chosen_by, "chosen_at": policy.chosen_at, "chosen_why": policy.chosen_why}


def _review_fields(runtime: "Runtime") -> dict[str, Any]:
    """Return the result of the newest policy review, and the path of its page."""
    from adwarm.store import read_transaction
    from adwarm.store.snapshots import find_newest_review

    with read_transaction(runtime.engine) as connection:
        review = find_newest_review(connection)
    if review is None:
        return {"verdict": None, "why": "no review yet; the DAG adwarm_policy_review runs one every Monday"}
    fields = {
        "why": review.figures["why"],
        "at": review.at,
        "verdict": review.result,
        "live_kind": review.live_kind,
        "proposed_kind": review.proposed_kind,
        "decided_by": review.decided_by,
        "decided_at": review.decided_at,
        "report": review.page,
    }
    return {name: value for name, value in fields.items() if value is not None or name == "why"}


def _job_fields(job: "Job", now: datetime) -> dict[str, Any]:
    return {**asdict(job), "status": job.get_state(now), "remaining_seconds": job.remaining_seconds(now)}


def _job_row(job: dict[str, Any]) -> tuple[Any, ...]:
    left = job["remaining_seconds"]
    return (
        job["dag_id"],
        job["started_at"],
        job["status"],
        f"{job['done']:,} of {job['total']:,}",
        job["failed"],
        job["requests"],
        "-" if left is None else f"{left:,.0f} s",
    )


def _print_calls(calls: dict[str, Any]) -> None:
    print_table(
        f"Calls to the platform in the last 24 hours: {calls['made']:,}",
        ("calls", "cause"),
        [(row["calls"], row["text"]) for row in calls["causes"]],
        "none",
    )


def _print_compression(totals: dict[str, Any]) -> None:
    """Print one row per codec, and one of them all when there are several."""
    rows = [*totals["codecs"], {"codec": "all", **totals}] if len(totals["codecs"]) > 1 else totals["codecs"]
    print_table(
        "Compression of the last 7 days; ratio: bytes after per byte before",
        [name.replace("_", " ") for name in _COMPRESSION_COLUMNS],
        [[row[name] for name in _COMPRESSION_COLUMNS] for row in rows],
        "nothing was compressed",
    )


def _print_queue(queue: dict[str, Any]) -> None:
    classes = {name: row for name, row in queue.items() if isinstance(row, dict)}
    print_table(
        f"Queue: {queue['pending']} of {queue['size']} pending",
        ("class", "pending", "processing", "oldest seconds"),
        [(name, row["pending"], row["processing"], row["oldest_seconds"]) for name, row in classes.items()],
    )


def _print_limits(admission: "AdmissionStatus") -> None:
    """Print the limits of shared and busy scopes. Idle accounts are left out, because they may be thousands."""
    busy = [scope for scope in admission.scopes if scope.in_flight or scope.is_shared]
    print_table(
        f"Limits{_truncation_note(busy)}",
        ("scope", "limit", "in flight", "pace", "% used", "tokens"),
        [(s.scope, s.limit, s.in_flight, s.pace, s.usage, s.tokens) for s in busy[:_MAX_ROWS]],
        "nothing was called yet",
    )


def _print_machines(machines: Sequence[dict[str, Any]]) -> None:
    columns = ("machine", "read_at", "memory_percent", "cpu_percent", "effect")
    rows = [[machine[name] for name in columns] for machine in machines]
    print_table("Machines that made a call within an hour", columns, rows, "none")


def _print_healing(healing: Sequence[dict[str, Any]]) -> None:
    print_table(
        "Healing: the last actions",
        ("at", "action", "of", "after", "result", "detail"),
        [
            (
                row["at"],
                row["action"],
                row["scope"],
                row["error_kind"],
                "succeeded" if row["succeeded"] else "failed",
                row["detail"],
            )
            for row in healing
        ],
        "none yet",
    )


def _truncation_note(rows: Sequence[object]) -> str:
    return f": the first {_MAX_ROWS} of {len(rows):,}; --json shows all" if len(rows) > _MAX_ROWS else ""
