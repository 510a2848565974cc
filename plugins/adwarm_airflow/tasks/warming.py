"""Tasks of the warming DAGs: plan, score settled days, finish the job, mark warm outcomes, read keys back.

Each task is a process of its own, so what only one of them uses is imported there.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from adwarm.foundation.errors import AdwarmError, BadRequest, Denied, NotFound, Permanent
from adwarm.foundation.wording import format_count, format_some
from adwarm.model import Mode, Strategy, Warm, WarmReason, WarmStatus
from adwarm.planning.strategies import StrategyPlanSummary, decide_strategies
from adwarm.planning.strategy_schedule import (
    StrategySelection,
    list_enabled_names,
    select_due,
    select_enabled,
    select_named,
)
from adwarm.planning.strategy_use import check_unused, report_strategies
from adwarm.planning.warm_outcomes import mark_warm_outcomes
from adwarm.prefetch.outcome_texts import describe_denied, describe_left_out
from adwarm.prefetch.warm_batch import lift_denials
from adwarm.runtime import Runtime
from adwarm.serving import read_back
from adwarm.store import accounts, denials, jobs, partitions, quarantine, scores, warms
from adwarm.store.switches import find_stop
from adwarm_airflow.assets import DAY_COMPLETE, SCORES, announce, announce_if, withhold
from adwarm_airflow.params import get_lines_param, get_window_param
from adwarm_airflow.run_window import RunWindow, resolve_decision, resolve_run_window, was_cleared
from adwarm_airflow.task_context import open_runtime
from adwarm_airflow.tasks.skipping import skip_task

if TYPE_CHECKING:
    from adwarm.fatigue.account_scores import ScoringResult

HOUR = timedelta(hours=1)
_SHOWN_WARMS = 5
_SHOWN_ERRORS = 10
_RESCORED_AT_ONCE = 500
_ANNOUNCED_DAYS = 400
log = logging.getLogger(__name__)


def plan(context: Mapping[str, Any]) -> list[int]:
    """Plan the run, and return the numbers of its batches; without a forecast, only those of ended days."""
    from adwarm.forecast.snapshot import ALERT_KIND
    from adwarm.planning.decide import PlanScope, decide

    run = resolve_run_window(context, HOUR)
    runtime = open_runtime(run.clock)
    decided_at, mode = resolve_decision(context, runtime.settings.step, runtime.engine)
    if was_cleared(context):
        lift_denials(runtime.engine, run.run_id)
    on_problem = partial(runtime.pipeline.alert, "forecast", ALERT_KIND)
    only_further = record_arrivals(context, runtime)
    whole = PlanScope.WITHOUT_OUTLOOK if run.is_backfill else PlanScope.ALL
    scope = PlanScope.ONLY_FURTHER if only_further else whole
    summary = decide(runtime.context, decided_at, run.run_id, mode=mode, on_problem=on_problem, scope=scope)
    if summary.without_forecast:
        log.warning("no open is predicted, only ended days are completed: %s", summary.without_forecast)
    log.log(logging.WARNING if summary.stopped else logging.INFO, "%s", summary)
    for row in warms.list_by_run(runtime.engine, run.run_id)[:_SHOWN_WARMS]:
        log.info("%s, to be fetched at %s: %s", row.key, f"{row.warm_at:%H:%M} UTC", row.explanation.get("why"))
    _start_job(runtime, run, summary.warms if summary.batches else 0, summary.stopped)
    return list(range(summary.batches))


def plan_strategies(context: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Plan the strategies of the run, and return the arguments of each task.

    A scheduled run plans what is due, and again what expired or was cut since its due time. A triggered one plans what
    its form says, or every enabled strategy when the form names neither accounts nor strategies. Once a day it also
    checks whether anybody uses the strategies.

    Raises:
        AirflowSkipException: no strategy is due, or none is enabled, or what was to be planned again is fresh by now,
            or warming is switched off; then every due time waits until it is on.
        BadRequest: the form contains a value that is not valid, or no strategy could be planned.
        Denied: every account in the form was denied less than a day ago; clearing the task lifts the denials.
    """
    run = resolve_run_window(context, HOUR)
    runtime = open_runtime(run.clock)
    decided_at, mode = resolve_decision(context, timedelta(minutes=1), runtime.engine)
    dry_run = bool(context["params"].get("dry_run")) or mode is Mode.SHADOW
    if not dry_run and (stop := find_stop(runtime.engine)):
        skip_task(stop)
    form = _strategy_from_form(context["params"])
    form_accounts = [accounts.find_id(runtime.context, text) for text in (form and form.accounts) or ()]
    if was_cleared(context):
        lift_denials(runtime.engine, run.run_id)
        denials.lift(runtime.engine, form_accounts)
    _check_denials(runtime, form_accounts)
    selection = _select_strategies(context, runtime, run.run_id, decided_at, dry_run=dry_run)
    if form is None and selection.is_empty:
        skip_task("no strategy is due")
    summary = decide_strategies(runtime.context, selection, decided_at, run.run_id, form=form, dry_run=dry_run)
    _log_strategies(runtime, summary)
    if form is None and set(selection.rechecks) == set(summary.strategies) and not summary.total("planned"):
        skip_task("no strategy is due, and no report was left to warm since the latest due times")
    _start_job(runtime, run, summary.total("planned") if summary.tasks else 0, summary.stopped)
    return [asdict(task) for task in summary.tasks]


def score_warmed_accounts(context: Mapping[str, Any]) -> dict[str, Any]:
    """Score each account that this run has warmed, as of the newest complete day that is stored for it.

    Raises:
        AirflowSkipException: the report `default` has no rows of ads.
    """
    run = resolve_run_window(context, HOUR)
    runtime = open_runtime(run.clock)
    _skip_without_ads(runtime)
    rows = warms.list_by_run(runtime.engine, run.run_id)
    ids = sorted({row.key.account_id for row in rows if row.status.is_served})
    days = partitions.find_newest_complete_days(runtime.engine, ids, runtime.settings.spec("default").hash)
    # An account whose days were all damaged has no newest day; it must not be left out in silence.
    lost = {item.account_id: item.window.until for item in quarantine.list_lost_days(runtime.engine)}
    pairs = sorted({**{name: lost[name] for name in ids if name in lost}, **days}.items())
    _log_unscored(ids, dict(pairs), "no complete day of them is stored")
    return score_and_announce(context, runtime, pairs)


def score_closed_days(context: Mapping[str, Any]) -> dict[str, Any]:
    """Score the accounts whose day this run has settled.

    Raises:
        AirflowSkipException: the report `default` has no rows of ads.
    """
    run = resolve_run_window(context, HOUR)
    runtime = open_runtime(run.clock)
    _skip_without_ads(runtime)
    rows = warms.list_by_run(runtime.engine, run.run_id)
    planned = [row for row in rows if row.reason is WarmReason.DAY_CLOSED]
    closed = [row.key for row in planned if row.status.is_served]
    pairs = [(key.account_id, date.fromisoformat(key.date_range.partition("..")[2])) for key in closed]
    _log_unscored([row.key.account_id for row in planned], dict(pairs), "this run stored no day of them")
    return score_and_announce(context, runtime, pairs)


def _log_unscored(ids: Sequence[str], scored: Mapping[str, date], reason: str) -> None:
    """Log which accounts of a run are not scored, and why."""
    if left := sorted({*ids} - scored.keys()):
        log.warning("%s not scored, because %s: %s", format_count(len(left), "account"), reason, format_some(left, 5))


def score_and_announce(
    context: Mapping[str, Any], runtime: Runtime, pairs: Sequence[tuple[str, date]]
) -> dict[str, Any]:
    """Score accounts, send events of what was written and of days that are complete now, and return the counts.

    Accounts whose newest scores are of another calculator version are scored again too, some at a time and without a
    call. Readers get an account's earlier scores until its new ones replace them.
    """
    from adwarm.fatigue.account_scores import score_accounts
    from adwarm.fatigue.score import CALCULATOR_VERSION

    now = runtime.clock.now()
    outdated = scores.list_outdated(runtime.engine, CALCULATOR_VERSION, _RESCORED_AT_ONCE, now.isoformat())
    result = score_accounts(runtime.context, sorted({*pairs, *outdated}), now, runtime.pipeline)
    counts = summarize_scores(result)
    days = sorted({day for _, day in pairs})
    event = {"days": [day.isoformat() for day in days], "accounts": result.accounts, "creatives": result.creatives}
    announce_if(context, SCORES, event, is_written=result.accounts > 0)
    announce_complete_days(context, runtime, days, is_written=result.accounts > 0)
    return counts


def announce_complete_days(
    context: Mapping[str, Any], runtime: Runtime, days: Sequence[date], *, is_written: bool
) -> None:
    """Send an event for each of `days` that is complete and scored for every active account.

    It is sent when this run wrote scores, or when the day was not announced before; so a run that only finds that the
    last missing account is closed meanwhile announces the day as well.
    """
    from adwarm.fatigue.day_completeness import check_day

    checks = [check_day(runtime.context, day, runtime.clock.now()) for day in days]
    for item in checks:
        log.info("%s", item)
    complete = [item for item in checks if item.is_complete]
    memory = _get_announced(context)
    announced = [item for item in complete if is_written or item.day.isoformat() not in memory]
    if not announced:
        withhold(context, DAY_COMPLETE)
        return
    names = [item.day.isoformat() for item in announced]
    announce(context, DAY_COMPLETE, {"days": [item.to_dict() for item in announced]}, names)
    _set_announced(context, [*(name for name in memory if name not in names), *names])


def _get_announced(context: Mapping[str, Any]) -> list[str]:
    """Return the days whose completeness was announced before, the latest announcement last."""
    state = context.get("asset_state_store")
    return list(state[DAY_COMPLETE].get("announced", [])) if state is not None else []


def _set_announced(context: Mapping[str, Any], days: Sequence[str]) -> None:
    state = context.get("asset_state_store")
    if state is not None:
        state[DAY_COMPLETE].set("announced", list(days[-_ANNOUNCED_DAYS:]))


def record_arrivals(context: Mapping[str, Any], runtime: Runtime) -> bool:
    """Record the arrivals of data that started the run, and return whether assets started it, not the clock.

    An event names an account and its days: `{"account_id": "act_1234", "days": "2026-11-24..2026-11-25"}`. One that
    does not is logged and left out.
    """
    from adwarm.planning.arrival_notice import Reporter, notify_data

    now = runtime.clock.now()
    for key, events in dict(context.get("triggering_asset_events") or {}).items():
        name = str(getattr(key, "name", key))
        for event in events:
            extra = event.extra or {}
            account, days = str(extra.get("account_id", "")), str(extra.get("days", ""))
            by, at = Reporter(f"asset:{name}"[:80]), min(event.timestamp, now)
            try:
                log.info("%s", notify_data(runtime.context, account, days, now=now, by=by, arrived_at=at))
            except (BadRequest, NotFound) as error:
                log.warning("an event of the asset %s is left out: %s", name, error)
    run_type = context["dag_run"].run_type
    return str(getattr(run_type, "value", run_type)) == "asset_triggered"


def summarize_scores(result: "ScoringResult") -> dict[str, Any]:
    """Log the result of scoring, and return it as plain values.

    Raises:
        Permanent: there are accounts to score, and none could be scored.
    """
    log.info("%s", result)
    for text in result.errors[:_SHOWN_ERRORS]:
        log.warning("%s", text)
    if result.errors and not result.accounts + result.unchanged:
        raise Permanent("no account could be scored: " + " | ".join(result.errors[:3]))
    return result.to_dict()


def close_run(context: Mapping[str, Any]) -> dict[str, Any]:
    """Finish the run's job, mark earlier warms as used or wasted, and read some warmed keys back.

    Raises:
        AdwarmError: a warmed key could not be read back, so readers would miss it too.
        Permanent: every key of the run failed; this task fetches nothing, so its own retry would not help.
    """
    run = resolve_run_window(context, HOUR)
    runtime = open_runtime(run.clock)
    job = jobs.finish(runtime.engine, run.run_id, run.clock.now())
    rows = warms.list_by_run(runtime.engine, run.run_id)
    keys = [row.key for row in rows if row.status is WarmStatus.FETCHED]
    read, misses = read_back(runtime.reader, keys)
    outcomes = mark_warm_outcomes(runtime.context, run.clock.now())
    shadow = mark_warm_outcomes(runtime.context, run.clock.now(), status=WarmStatus.SHADOW)
    log.info("%s", job)
    log.info("read %s back as a reader would: %d failed", format_count(read, "report"), len(misses))
    log.info("earlier warms: %s", outcomes)
    _log_failures(context, runtime, rows)
    figures = {name: getattr(job, name) for name in ("status", "total", "done", "failed", "requests")}
    if misses:
        raise AdwarmError("warmed keys could not be read back: " + " | ".join(misses[:5]))
    if job.status == "failed":
        raise Permanent("every key of the run failed: " + " | ".join(job.errors[:3]))
    would = {"shadow_used": shadow.used, "shadow_wasted": shadow.wasted}
    return {**figures, "canary": read, "used": outcomes.used, "wasted": outcomes.wasted, **would}


def _log_failures(context: Mapping[str, Any], runtime: Runtime, rows: Sequence[Warm]) -> None:
    """Log which reports failed, and which accounts were denied in the run or left out because they had been before."""
    params = context["params"]
    failed = [f"{row.key}: {row.error}" for row in rows if row.status in {WarmStatus.FAILED, WarmStatus.STALE}]
    for text in failed[:_SHOWN_ERRORS]:
        log.warning("%s", text)
    denied = {row.key.account_id: str(row.error) for row in rows if row.status is WarmStatus.DENIED}
    if denied:
        log.warning("%s", describe_denied(denied, params.get("connection")))
    before = {} if get_lines_param(params, "accounts") else denials.list_denied(runtime.engine, runtime.clock.now())
    if left_out := {name: reason for name, reason in before.items() if name not in denied}:
        log.warning("%s", describe_left_out(left_out))


def _select_strategies(
    context: Mapping[str, Any], runtime: Runtime, run_id: str, at: datetime, *, dry_run: bool
) -> StrategySelection:
    """Return the stored strategies that the run plans. A dry run leaves the schedule as it is."""
    params, run = context["params"], context["dag_run"]
    if names := get_lines_param(params, "strategies"):
        return select_named(runtime.engine, names, at)
    if get_lines_param(params, "accounts"):
        return StrategySelection()
    if not dry_run:
        for name, text in check_unused(runtime.context, at).items():
            log.warning("strategy %s: %s", name, text)
    is_triggered = str(getattr(run.run_type, "value", run.run_type)) == "manual"
    if dry_run:
        return select_named(runtime.engine, list_enabled_names(runtime.engine, at), at)
    return (select_enabled if is_triggered else select_due)(runtime.engine, run_id, at)


def _skip_without_ads(runtime: Runtime) -> None:
    level = runtime.settings.spec("default").level
    if level != "ad":
        skip_task(
            f"no scores: they need rows of ads, and the report `default` has rows of the level {level}; "
            "set ADWARM_REPORTS__DEFAULT__LEVEL=ad to get them"
        )


def _log_strategies(runtime: Runtime, summary: StrategyPlanSummary) -> None:
    log.info("%s", summary)
    for report in report_strategies(runtime.context, runtime.clock.now(), is_brief=True):
        if report.about and report.stored.name in summary.strategies:
            log.info("strategy %s: %s", report.stored.name, report.about)
    for name, problem in summary.problems.items():
        log.error("strategy %s is left out: %s; mend it with `adwarm strategy set --file`", name, problem)


def _strategy_from_form(params: Mapping[str, Any]) -> Strategy | None:
    """Return the strategy that the form describes for this run alone; None when it names no account.

    Raises:
        BadRequest: a value is not valid, there is no date range, or days are given without accounts.
    """
    ids = get_lines_param(params, "accounts")
    window = get_window_param(params, "first_day", "last_day")
    if not ids:
        if window:
            raise BadRequest(
                f"first_day and last_day ({window}) apply to the accounts of the form, and it names none; name some or "
                "leave both days empty"
            )
        return None
    ranges = [*get_lines_param(params, "date_ranges"), *([window] if window else ())]
    if not ranges:
        raise BadRequest("the form names accounts and no date range; choose one, or give first_day and last_day")
    return Strategy(
        "trigger form",
        tuple(dict.fromkeys(ranges)),
        priority=str(params.get("priority") or "low"),
        accounts=tuple(ids),
        batch_size=int(params.get("batch_size", 5)),
        delay_seconds=float(params.get("delay_seconds", 5)),
        max_calls_per_hour=int(params.get("max_calls") or 100),
    )


def _check_denials(runtime: Runtime, ids: list[str]) -> None:
    """Raise Denied when all accounts are denied, so that nothing would be planned; log a warning when some are."""
    reasons = denials.list_denied(runtime.engine, runtime.clock.now())
    denied = {account_id: reasons[account_id] for account_id in ids if account_id in reasons}
    if not denied:
        return
    message = f"{describe_left_out(denied)}; clear this task to try again before the day is over"
    if len(denied) == len(set(ids)):
        raise Denied(message, account_id=next(iter(denied)))
    log.warning("%s", message)


def _start_job(runtime: Runtime, run: RunWindow, total: int, stopped: str = "") -> None:
    jobs.start(runtime.engine, run.run_id, run.run_id.partition("/")[0], total, runtime.clock.now())
    if stopped:
        jobs.add_progress(runtime.engine, run.run_id, errors=[stopped])
