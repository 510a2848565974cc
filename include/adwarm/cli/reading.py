"""Commands that look and change nothing: plan, status, patterns, fatigue."""

from dataclasses import asdict
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from adwarm.cli.arguments import AtOption, clock_at, parse_option
from adwarm.cli.output import JsonOption, print_fields, print_json, print_table
from adwarm.model import Job

_JOB_COLUMNS = ("dag", "started", "status", "done", "failed", "requests", "left")
_USAGE_COLUMNS = ("mode", "reason", "used", "wasted", "open", "age", "late")


def plan(
    at: AtOption = None,
    limit: Annotated[int, typer.Option(help="Rows to show of what is planned, and of what is cut.", min=1)] = 30,
    as_json: JsonOption = False,
) -> None:
    """Show what would be warmed at the next decision, why, and what it is worth and costs in upstream calls.

    Below it stands what the budget cuts, and why. Fetches and records nothing.
    """
    from adwarm.foundation.clock import floor_to
    from adwarm.planning.decide import StoreView, build_forecast_plan
    from adwarm.runtime import Runtime

    runtime = Runtime(clock=clock_at(at))
    decided_at = floor_to(runtime.clock.now(), runtime.settings.step)
    view = StoreView(runtime.engine, runtime.settings, decided_at, runtime.request_costs)
    made = build_forecast_plan(runtime.engine, runtime.objects, runtime.settings, decided_at, view=view)
    chosen = [*made.recommendations[:limit], *made.cut[:limit]]
    if as_json:
        counts = {"considered": made.considered, "planned": len(made.recommendations), "cut": made.cut_total}
        print_json({
            "decided_at": decided_at,
            **counts,
            "fresh": made.fresh_total,
            "items": [_plan_item(x) for x in chosen],
        })
        return
    print_table(
        f"Plan at {decided_at:%Y-%m-%d %H:%M} UTC: {len(made.recommendations):,} of {made.considered:,} keys, "
        f"{made.fresh_total:,} fresh already, {made.cut_total:,} cut",
        ("key", "expected", "p", "worth", "price", "warm at", "why"),
        [
            (str(x.key), x.predicted_open, x.confidence, x.benefit, x.price, x.warm_at, _plan_reason(x.explanation))
            for x in chosen
        ],
        "nobody is expected before the next decision",
    )


def status(as_json: JsonOption = False) -> None:
    """Show what is stored, planned, queued, running and limited."""
    from adwarm.cli.limits import print_limits
    from adwarm.cli.queueing import print_queue
    from adwarm.runtime import Runtime
    from adwarm.store import entries, jobs, read_traffic, warms

    runtime = Runtime()
    now, budget = runtime.clock.now(), runtime.admission.status()
    document: dict[str, Any] = {
        "at": now,
        "entries": entries.get_totals(runtime.engine),
        "warms": warms.count_by_status(runtime.engine),
        "usage_7d": [asdict(usage) for usage in warms.get_usage(runtime.engine, now - timedelta(days=7))],
        "forecast": _forecast_fields(runtime),
        "review": _review_fields(runtime),
        "traffic_24h": read_traffic.get_totals(runtime.engine, now - timedelta(hours=24), now + timedelta(hours=1)),
        "jobs": [_job_fields(job, now) for job in jobs.list_latest(runtime.engine)],
        "queue": runtime.queue.status().to_dict(),
        "admission": budget.to_dict(),
    }
    if as_json:
        print_json(document)
        return
    print_fields("Stored", document["entries"])
    print_fields("Warms", document["warms"])
    rows = [[item[name] for name in _USAGE_COLUMNS] for item in document["usage_7d"]]
    print_table(
        "Warms of 7 days, by reason; shadow warms as if they had been fetched", _USAGE_COLUMNS, rows, "none yet"
    )
    print_fields("Forecast", document["forecast"])
    print_fields("Review", document["review"])
    print_fields("Last 24 hours", document["traffic_24h"])
    print_table("Jobs", _JOB_COLUMNS, [_job_row(job) for job in document["jobs"]], "none yet")
    print_queue(document["queue"])
    print_limits(budget)


def patterns(
    log: Annotated[str | None, typer.Argument(help="A log to count by itself: file, folder, glob or URL.")] = None,
    days: Annotated[int, typer.Option(help="Days of log to look at, back from its last hour.", min=1)] = 56,
    out: Annotated[Path | None, typer.Option(help="With a log: write its table to this Parquet file.")] = None,
    limit: Annotated[int, typer.Option(help="With a log: reports to show.", min=1)] = 20,
    as_json: JsonOption = False,
) -> None:
    """Show when reports are opened: peak and quiet hours, the week, popular ranges.

    Given a log, count it by report and hour of the reader's week; nothing is stored, and all days count.
    """
    if log is not None:
        from adwarm.cli.counting import print_log_counts

        print_log_counts(log, limit, out, as_json=as_json)
        return
    from adwarm.foundation.errors import NotFound
    from adwarm.patterns.load_slots import load_slots
    from adwarm.patterns.profile import build_profile
    from adwarm.runtime import Runtime
    from adwarm.store import aggregates, read_transaction

    runtime = Runtime()
    with read_transaction(runtime.engine) as connection:
        known = aggregates.list_hours(connection)
    if not known:
        raise NotFound("no access log has been read yet; run the DAG adwarm_access_patterns")
    until = max(row.hour for row in known) + timedelta(hours=1)
    since, zone = until - timedelta(days=days), runtime.settings.default_zone
    found = build_profile(load_slots(runtime.engine, runtime.objects, since, until, default_zone=zone)).to_dict()
    if as_json:
        print_json(found)
        return
    print_fields(
        f"Opens in the {days} days before {until:%Y-%m-%d %H:%M} UTC", {k: _shorten(v) for k, v in found.items()}
    )


def fatigue(
    account: Annotated[str, typer.Argument(help="Account id, such as act_1234.")],
    as_of: Annotated[str | None, typer.Option(help="Not later than this day.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the newest fatigue scores of an account, the most worn ad first."""
    from adwarm.foundation.errors import NotFound
    from adwarm.model import normalize_account_id
    from adwarm.runtime import Runtime
    from adwarm.store import scores

    runtime = Runtime()
    name = normalize_account_id(account)
    rows = scores.list_latest(runtime.engine, name, _parse_day(as_of) if as_of else None)
    if not rows:
        raise NotFound(f"{name} has no scores yet; run the DAG adwarm_daily_insights for it")
    if as_json:
        print_json([row.to_dict() for row in rows])
        return
    columns = (
        "ad_id",
        "ad_name",
        "status",
        "total",
        "creative",
        "audience",
        "algorithm",
        "data_quality",
        "trend_per_day",
    )
    cells = [[getattr(row.score, column) for column in columns] for row in rows]
    print_table(f"{name} on {rows[0].score.as_of}", columns, cells)


def _parse_day(text: str) -> date:
    return parse_option(date.fromisoformat, text, "is not a day; write one such as 2026-11-25")


def _plan_item(item: Any) -> dict[str, Any]:
    return {
        "account_id": item.key.account_id,
        "date_range": item.key.date_range,
        "report": item.key.report,
        "status": item.status,
        "predicted_open": item.predicted_open,
        "confidence": item.confidence,
        "warm_at": item.warm_at,
        "worth": item.benefit,
        "price": item.price,
        **item.explanation,
    }


def _plan_reason(explanation: dict[str, Any]) -> str:
    return str(explanation.get("cut") or explanation.get("why") or "-")


def _job_fields(job: Job, now: datetime) -> dict[str, Any]:
    return {**asdict(job), "remaining_seconds": job.remaining_seconds(now)}


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


def _shorten(value: Any) -> Any:
    if isinstance(value, list):
        shown = ", ".join(str(item) for item in value[:12])
        return shown + (f" and {len(value) - 12} more" if len(value) > 12 else "") if value else "none"
    return value


def _forecast_fields(runtime: Any) -> dict[str, Any]:
    from adwarm.forecast.snapshot import get_live_snapshot
    from adwarm.foundation.errors import NotFound

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
    }


def _choice_fields(runtime: Any) -> dict[str, Any]:
    """Return who chose the live kind, when and why; nothing when training did."""
    from adwarm.store import read_transaction
    from adwarm.store.snapshots import find_policy

    with read_transaction(runtime.engine) as connection:
        policy = find_policy(connection)
    if policy is None or not policy.chosen_kind:
        return {}
    return {"chosen_by": policy.chosen_by, "chosen_at": policy.chosen_at, "chosen_why": policy.chosen_why}


def _review_fields(runtime: Any) -> dict[str, Any]:
    """Return what the newest review came to, and where its report is."""
    from adwarm.store import read_transaction
    from adwarm.store.reviews import find_newest_review

    with read_transaction(runtime.engine) as connection:
        review = find_newest_review(connection)
    if review is None:
        return {"verdict": None, "why": "no review yet; the DAG adwarm_policy_review makes one every Monday"}
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
