"""Tasks of `adwarm_daily_insights`: which accounts a day is closed for, what that takes, and order in the store."""

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
from adwarm_airflow.run_window import RunWindow, get_day_param, resolve_run_window, was_cleared
from adwarm_airflow.task_context import DEFAULT_CONNECTION, open_runtime

DAY = timedelta(days=1)
log = logging.getLogger(__name__)


def plan_day(context: Mapping[str, Any]) -> list[int]:
    """Plan what completes the run's day, and return the numbers of the batches to carry out.

    Says before anything is called how many requests and hours it will take; the figures are the XCom `estimate`.
    Accounts whose day is still open are left out and named in the log. A scheduled run also takes the day before, which
    was still open in the west when its own run came. The calls are of low priority, so live warming goes first.

    Raises:
        BadRequest: an account id is not valid, the day is older than the source keeps, or in the future everywhere.
    """
    run = resolve_run_window(context, DAY)
    runtime = open_runtime(run.clock)
    now = run.clock.now()
    day = get_day_param(context["params"], "day") or run.day
    validate_range(Window(day, day), now + DAY, _source_factories(run, context) if day.year < now.year - 2 else ())
    days = [day] if run.is_explicit or run.is_backfill or context["params"].get("day") else [day - DAY, day]
    asked = context["params"].get("accounts") or []
    if was_cleared(context):
        lift_denials(runtime.engine, run.run_id)
    chosen = accounts.list_selected(runtime.engine, asked, now, runtime.settings.default_zone)
    pairs = [(item, each) for each in days for item in chosen if local_day(now, item.data_zone) > each]
    still_open = len(chosen) * len(days) - len(pairs)
    if still_open:
        log.info("%d account-days are still open and are left to a later run", still_open)
    if chosen and not pairs:
        raise BadRequest(f"{day} has not ended for any account; choose an earlier day")
    with_week = not run.is_backfill or bool(context["params"].get("frequency"))
    context["ti"].xcom_push("estimate", _estimate_pairs(runtime, now, pairs, with_week=with_week))
    return _save_plan(runtime, run, now, pairs, with_week=with_week)


def compact_store(context: Mapping[str, Any]) -> dict[str, Any]:
    """Bring final months together and delete what nothing has pointed at for a day; left out in backfills."""
    run = resolve_run_window(context, DAY)
    if run.is_backfill:
        return {"compacted": False, "why": "a backfill leaves this to the daily run"}
    runtime = open_runtime()
    report = compact(runtime.engine, runtime.objects, runtime.clock.now())
    for text in report.errors:
        log.warning("%s", text)
    log.info("compacted: %s", report.to_dict())
    return {"compacted": True, **report.to_dict(), "errors": len(report.errors)}


def _source_factories(run: RunWindow, context: Mapping[str, Any]) -> list[SourceFactory]:
    """Return what builds the sources that the run will ask; none where that cannot be told."""
    try:
        opened = open_runtime(run.clock, str(context["params"].get("connection") or DEFAULT_CONNECTION))
    except BadRequest as error:
        log.warning("how far back the source goes is not known: %s", error)
        return []
    return [make for make in (opened.make_source, *(opened.sources or {}).values()) if make]


def _estimate_pairs(
    runtime: Runtime, now: datetime, pairs: list[tuple[Account, date]], *, with_week: bool
) -> dict[str, Any]:
    """Return and log what completing the days will take."""
    history: dict[str, list[Window]] = {}
    known = {item.id: item for item, _ in pairs}
    for item, day in pairs:
        yesterday = local_day(now, item.data_zone) - DAY
        history.setdefault(item.id, []).append(
            get_day_close_windows(day, runtime.settings.planning.history_days, yesterday)[1]
        )
    wishes = []
    for name, windows in history.items():
        hull = Window(min(window.since for window in windows), max(window.until for window in windows))
        wishes.append((
            known[name],
            get_account_missing_spans(runtime.engine, runtime.settings, known[name], hull, now, "default"),
        ))
    weeks = sum(bool(spans) for _, spans in wishes) if with_week else 0
    found = estimate(runtime.engine, runtime.settings, wishes, "default", summaries=weeks)
    log.info("estimate: %s", found)
    return found.to_dict()


def _save_plan(
    runtime: Runtime, run: RunWindow, now: datetime, pairs: list[tuple[Account, date]], *, with_week: bool
) -> list[int]:
    items = [recommend_day_close(item, each, now, with_week_summary=with_week) for item, each in pairs]
    batches = save_plan(runtime.engine, runtime.settings, run.run_id, now, Mode.LIVE, items)
    jobs.start(runtime.engine, run.run_id, run.run_id.partition("/")[0], len(items), now)
    log.info("%d account-days in %d batches", len(items), batches)
    return list(range(batches))
