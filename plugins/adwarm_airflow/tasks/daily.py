"""Tasks of `adwarm_daily_insights`: plan the accounts of a day, estimate the requests, compact the store."""

import logging
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from adwarm.fetch_plan.planner import get_day_close_windows
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.local_time import local_day
from adwarm.maintenance.compaction import compact
from adwarm.model import Account, Mode, Window
from adwarm.planning.decide import recommend_day_close, save_plan
from adwarm.prefetch.backfill import get_account_missing_spans, validate_range
from adwarm.prefetch.estimate import estimate
from adwarm.prefetch.warm_batch import lift_denials
from adwarm.runtime import Runtime, SourceFactory
from adwarm.store import accounts, jobs
from adwarm_airflow.connections import DEFAULT_CONNECTION
from adwarm_airflow.params import get_day_param
from adwarm_airflow.run_window import RunWindow, resolve_run_window, was_cleared
from adwarm_airflow.task_context import open_runtime

DAY = timedelta(days=1)
log = logging.getLogger(__name__)


def plan_day(context: Mapping[str, Any]) -> list[int]:
    """Plan the fetches that complete the run's day, and return the numbers of their batches.

    The XCom `estimate` holds the number of requests and hours, before the first call. Accounts whose day has not ended
    are left out and counted in the log. A scheduled run also takes the day before, which had not ended in western zones
    when its own run started. The calls have low priority, so live warming goes first.

    Raises:
        BadRequest: an account id is not valid, the day is older than the source keeps, or it has ended for no account.
    """
    run = resolve_run_window(context, DAY)
    runtime = open_runtime(run.clock)
    now = run.clock.now()
    day = get_day_param(context["params"], "day") or run.day
    validate_range(Window(day, day), now + DAY, _source_factories(run, context) if day.year < now.year - 2 else ())
    days = [day] if run.is_explicit or run.is_backfill or context["params"].get("day") else [day - DAY, day]
    account_ids = context["params"].get("accounts") or []
    if was_cleared(context):
        lift_denials(runtime.engine, run.run_id)
    chosen = accounts.list_selected(runtime.engine, account_ids, now, runtime.settings.default_zone)
    pairs = [(item, each) for each in days for item in chosen if local_day(now, item.data_zone) > each]
    still_open = len(chosen) * len(days) - len(pairs)
    if still_open:
        log.info("%d account-days have not ended and are left to a later run", still_open)
    if chosen and not pairs:
        raise BadRequest(f"{day} has not ended for any account; choose an earlier day")
    with_week = not run.is_backfill or bool(context["params"].get("frequency"))
    context["ti"].xcom_push("estimate", _estimate_pairs(runtime, now, pairs, with_week=with_week))
    return _save_plan(runtime, run, now, pairs, with_week=with_week)


def compact_store(context: Mapping[str, Any]) -> dict[str, Any]:
    """Compact final months, and delete objects unreferenced for a day; skipped in backfills."""
    run = resolve_run_window(context, DAY)
    if run.is_backfill:
        return {"compacted": False, "why": "a backfill leaves this to the daily run"}
    runtime = open_runtime()
    result = compact(runtime.engine, runtime.objects, runtime.clock.now())
    for text in result.errors:
        log.warning("%s", text)
    log.info("compacted: %s", result.to_dict())
    return {"compacted": True, **result.to_dict(), "errors": len(result.errors)}


def _source_factories(run: RunWindow, context: Mapping[str, Any]) -> list[SourceFactory]:
    """Return factories of the run's sources; none when a connection is not valid."""
    try:
        runtime = open_runtime(run.clock, str(context["params"].get("connection") or DEFAULT_CONNECTION))
    except BadRequest as error:
        log.warning("the oldest day of the source is unknown: %s", error)
        return []
    return [make for make in (runtime.make_source, *(runtime.sources or {}).values()) if make]


def _estimate_pairs(
    runtime: Runtime, now: datetime, pairs: list[tuple[Account, date]], *, with_week: bool
) -> dict[str, Any]:
    """Estimate the requests that complete the days, and log the estimate."""
    history: dict[str, list[Window]] = {}
    by_id = {item.id: item for item, _ in pairs}
    for item, day in pairs:
        yesterday = local_day(now, item.data_zone) - DAY
        history.setdefault(item.id, []).append(
            get_day_close_windows(day, runtime.settings.planning.history_days, yesterday)[1]
        )
    missing = []
    for account_id, windows in history.items():
        account = by_id[account_id]
        hull = Window(min(window.since for window in windows), max(window.until for window in windows))
        spans = get_account_missing_spans(runtime.engine, runtime.settings, account, hull, now, "default")
        missing.append((account, spans))
    weeks = sum(bool(spans) for _, spans in missing) if with_week else 0
    cost = estimate(runtime.engine, runtime.settings, missing, "default", summaries=weeks)
    log.info("estimate: %s", cost)
    return cost.to_dict()


def _save_plan(
    runtime: Runtime, run: RunWindow, now: datetime, pairs: list[tuple[Account, date]], *, with_week: bool
) -> list[int]:
    items = [recommend_day_close(item, each, now, with_week_summary=with_week) for item, each in pairs]
    batches = save_plan(runtime.engine, runtime.settings, run.run_id, now, Mode.LIVE, items)
    jobs.start(runtime.engine, run.run_id, run.run_id.partition("/")[0], len(items), now)
    log.info("%d account-days in %d batches", len(items), batches)
    return list(range(batches))
