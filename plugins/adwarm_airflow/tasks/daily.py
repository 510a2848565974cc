"""Tasks of `adwarm_daily_insights`: plan the accounts of a day, estimate the requests."""

import logging
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from adwarm.fetch_plan import get_day_close_windows
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.local_time import local_day
from adwarm.foundation.wording import format_count, format_some
from adwarm.model import Account, Mode, Window, resolve_key
from adwarm.planning.decide import save_plan
from adwarm.planning.further_warms import recommend_day_close
from adwarm.planning.recommendation import Recommendation, require_warming, resolve_mode
from adwarm.planning.store_view import StoreView
from adwarm.prefetch.backfill import estimate, get_account_missing_spans, validate_range
from adwarm.prefetch.warm_batch import lift_denials
from adwarm.runtime import Runtime
from adwarm.sources.pool import SourceFactory
from adwarm.store import accounts, entries, jobs
from adwarm_airflow.connections import DEFAULT_CONNECTION
from adwarm_airflow.params import get_day_param, get_lines_param
from adwarm_airflow.run_window import RunWindow, resolve_run_window, was_cleared
from adwarm_airflow.task_context import open_runtime
from adwarm_airflow.tasks.skipping import skip_task

DAY = timedelta(days=1)
NO_ACCOUNT = (
    "no account is known yet: no connection has listed one. The DAG adwarm_maintenance lists them every 15 minutes; "
    "name some under Accounts to go ahead without it"
)
"""Why a run that names no account has nothing to do."""
log = logging.getLogger(__name__)


def plan_day(context: Mapping[str, Any]) -> list[int]:
    """Plan the fetches that complete the run's day, and return the numbers of their batches.

    Before the first call the log says which accounts the run covers and what it takes, for the day alone and with the
    rest of its 30-day block; the XCom `estimate` holds the figures of the block. Accounts whose day has not ended
    are left out and counted in the log. A scheduled run also takes the day before, which had not ended in western zones
    when its own run started. The calls have low priority, so live warming goes first.

    Raises:
        AirflowSkipException: no account is known yet; nothing is done.
        BadRequest: an account id is not valid, the day is older than the source keeps, it has ended for no account, or
            a backfill of all accounts has to be confirmed.
        Refused: warming is switched off.
    """
    run = resolve_run_window(context, DAY)
    runtime = open_runtime(run.clock)
    mode = resolve_mode(runtime.engine, Mode.LIVE)
    if mode is Mode.LIVE:
        require_warming(runtime.engine)
    now = run.clock.now()
    day = get_day_param(context["params"], "day") or run.day
    validate_range(Window(day, day), now + DAY, _source_factories(run, context) if day.year < now.year - 2 else ())
    days = [day] if run.is_explicit or run.is_backfill or context["params"].get("day") else [day - DAY, day]
    account_ids = get_lines_param(context["params"], "accounts")
    if was_cleared(context):
        lift_denials(runtime.engine, run.run_id)
    accounts.add_named(runtime.context, account_ids, now)
    closing = {item.id for item in StoreView(runtime.context, now).list_closing()}
    selected = accounts.list_selected(runtime.context, account_ids, now)
    chosen = [item for item in selected if item.id in closing]
    log.info("%s", describe_selection([item.id for item in chosen], is_named=bool(account_ids)))
    pairs = [(item, each) for each in days for item in chosen if local_day(now, item.data_zone) > each]
    still_open = len(chosen) * len(days) - len(pairs)
    if still_open:
        log.info(
            "%s not ended yet; left to a later run", format_count(still_open, "account-day has", "account-days have")
        )
    if not chosen:
        skip_task(NO_ACCOUNT)
    if not pairs:
        raise BadRequest(f"{day} has not ended for any account; choose an earlier day")
    with_week = not run.is_backfill or bool(context["params"].get("frequency"))
    context["ti"].xcom_push("estimate", _estimate_pairs(runtime, now, pairs, with_week=with_week))
    if run.is_backfill:
        log.info("the backfill's runs for other days of the block find those days stored, and fetch none again")
    items = [recommend_day_close(item, each, now, with_week_summary=with_week) for item, each in pairs]
    return _save_plan(runtime, run, now, mode, items)


def describe_selection(ids: Sequence[str], *, is_named: bool) -> str:
    """Return which accounts a run covers, such as `400 accounts, none named: every active account`."""
    if not ids:
        return NO_ACCOUNT
    if is_named:
        return f"{format_count(len(ids), 'account')} named: {format_some(ids, 5)}"
    return f"{format_count(len(ids), 'account')}, none named: every active account"


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
    """Estimate the requests that complete the days and their blocks, and log both estimates."""
    days = sorted({day for _, day in pairs})
    alone = [
        (item, get_account_missing_spans(runtime.context, item, Window(day, day), now, "default"))
        for item, day in pairs
    ]
    named = " and ".join(map(str, days)) or "no day"
    log.info("for %s: %s", named, estimate(runtime.context, alone, "default"))
    history: dict[str, list[Window]] = {}
    by_id = {item.id: item for item, _ in pairs}
    for item, day in pairs:
        yesterday = local_day(now, item.data_zone) - DAY
        history.setdefault(item.id, []).append(get_day_close_windows(day, yesterday)[1])
    missing = []
    for account_id, windows in history.items():
        account = by_id[account_id]
        hull = Window(min(window.since for window in windows), max(window.until for window in windows))
        spans = get_account_missing_spans(runtime.context, account, hull, now, "default")
        missing.append((account, spans))
    weeks = _count_due_weeks(runtime, now, pairs) if with_week else 0
    cost = estimate(runtime.context, missing, "default", summaries=weeks)
    log.info("for %s with the rest of the 30-day block and the earlier days that the scores need: %s", named, cost)
    return cost.to_dict()


def _count_due_weeks(runtime: Runtime, now: datetime, pairs: list[tuple[Account, date]]) -> int:
    """Return how many weeks that end on the days have no fresh entry; each takes a request for its range summary."""
    spec = runtime.settings.spec("default")
    weeks = [resolve_key(recommend_day_close(item, day, now).key, item, spec, now) for item, day in pairs]
    lifetimes = entries.find_lifetimes(runtime.engine, weeks)
    return sum(key not in lifetimes or lifetimes[key].expires_at <= now for key in weeks)


def _save_plan(
    runtime: Runtime, run: RunWindow, now: datetime, mode: Mode, items: Sequence[Recommendation]
) -> list[int]:
    batches = save_plan(runtime.context, run.run_id, now, mode, items)
    jobs.start(runtime.engine, run.run_id, run.run_id.partition("/")[0], len(items) if batches else 0, now)
    planned = f"planned {format_count(len(items), 'account-day')} in {format_count(batches, 'batch', 'batches')}"
    log.info("%s%s", planned, " (shadow mode: no call is made)" if mode is Mode.SHADOW else "")
    return list(range(batches))
