"""Tasks of the warming DAGs: plan, score settled days, finish the job, mark warm outcomes, read keys back."""

import logging
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from adwarm.fatigue.account_scores import ScoringResult, score_accounts
from adwarm.foundation.errors import AdwarmError, Denied, NotFound, Permanent
from adwarm.foundation.wording import format_count
from adwarm.model import Mode, Strategy, Warm, WarmReason, WarmStatus, normalize_account_id
from adwarm.planning.decide import decide
from adwarm.planning.strategies import decide_strategies, list_enabled_strategies
from adwarm.planning.warm_outcomes import mark_warm_outcomes
from adwarm.prefetch.outcome_text import describe_denied, describe_left_out
from adwarm.prefetch.warm_batch import lift_denials
from adwarm.runtime import Runtime
from adwarm.serving import read_back
from adwarm.store import accounts, denials, jobs, warms
from adwarm_airflow.run_window import RunWindow, resolve_decision, resolve_run_window, was_cleared
from adwarm_airflow.task_context import open_runtime

HOUR = timedelta(hours=1)
_SHOWN_WARMS = 5
_SHOWN_ERRORS = 10
log = logging.getLogger(__name__)


def plan(context: Mapping[str, Any]) -> list[int]:
    """Plan the run, and return the numbers of its batches; none while no forecast is trained."""
    run = resolve_run_window(context, HOUR)
    runtime = open_runtime(run.clock)
    decided_at, mode = resolve_decision(context, runtime.settings.step)
    if was_cleared(context):
        lift_denials(runtime.engine, run.run_id)
    try:
        summary = decide(runtime.context, decided_at, run.run_id, mode)
    except NotFound as error:
        log.warning("nothing is planned: %s", error)
        _start_job(runtime, run, 0)
        return []
    log.info("%s", summary)
    for row in warms.list_by_run(runtime.engine, run.run_id)[:_SHOWN_WARMS]:
        log.info("%s, to be fetched at %s: %s", row.key, f"{row.warm_at:%H:%M} UTC", row.explanation.get("why"))
    _start_job(runtime, run, 0 if summary.batches == 0 else summary.planned + summary.closing)
    return list(range(summary.batches))


def plan_strategies(context: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Plan the enabled strategies, or the one in the trigger form, and return the arguments of each batch.

    Raises:
        BadRequest: the form contains an account, a range or a priority that is not valid.
        Denied: every account in the form was denied less than a day ago; clearing the task lifts the denials.
    """
    run = resolve_run_window(context, timedelta(hours=6))
    runtime = open_runtime(run.clock)
    params = context["params"]
    form_strategies = _strategies_from_form(params)
    if was_cleared(context):
        lift_denials(runtime.engine, run.run_id)
        denials.lift(runtime.engine, _strategy_account_ids(form_strategies))
    _check_denials(runtime, _strategy_account_ids(form_strategies))
    chosen = form_strategies or list_enabled_strategies(runtime.engine)
    decided_at, _ = resolve_decision(context, timedelta(minutes=1))
    summary = decide_strategies(
        runtime.context,
        chosen,
        decided_at,
        run.run_id,
        dry_run=bool(params.get("dry_run")),
        is_manual=bool(form_strategies),
    )
    log.info("%s", summary)
    _start_job(runtime, run, 0 if summary.batches == 0 else summary.planned)
    pace = {
        "slice_size": min((item.batch_size for item in chosen), default=5),
        "pause_seconds": max((item.delay_seconds for item in chosen), default=5.0),
    }
    return [{"batch": number, **pace} for number in range(summary.batches)]


def score_closed_days(context: Mapping[str, Any]) -> dict[str, Any]:
    """Score the accounts whose day this run has settled."""
    run = resolve_run_window(context, HOUR)
    runtime = open_runtime(run.clock)
    rows = warms.list_by_run(runtime.engine, run.run_id)
    closed = [row.key for row in rows if row.reason is WarmReason.DAY_CLOSED and row.status.is_served]
    pairs = [(key.account_id, date.fromisoformat(key.date_range.partition("..")[2])) for key in closed]
    report = score_accounts(runtime.context, pairs, run.clock.now())
    return summarize_scores(report)


def summarize_scores(result: ScoringResult) -> dict[str, Any]:
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
    canary = read_back(runtime.reader, keys)
    outcomes = mark_warm_outcomes(runtime.context, run.clock.now())
    shadow = mark_warm_outcomes(runtime.context, run.clock.now(), mode=Mode.SHADOW)
    log.info("%s", job)
    log.info("read %s back as a reader would: %d failed", format_count(canary.read, "report"), len(canary.misses))
    log.info("earlier warms: %s", outcomes)
    _log_failures(context, runtime, rows)
    figures = {name: getattr(job, name) for name in ("status", "total", "done", "failed", "requests")}
    if canary.misses:
        raise AdwarmError("warmed keys could not be read back: " + " | ".join(canary.misses[:5]))
    if job.status == "failed":
        raise Permanent("every key of the run failed: " + " | ".join(job.errors[:3]))
    would = {"shadow_used": shadow.used, "shadow_wasted": shadow.wasted}
    return {**figures, "canary": canary.read, "used": outcomes.used, "wasted": outcomes.wasted, **would}


def _log_failures(context: Mapping[str, Any], runtime: Runtime, rows: Sequence[Warm]) -> None:
    """Log which reports failed, and which accounts were denied in the run or left out because they had been before."""
    params = context["params"]
    failed = [f"{row.key}: {row.error}" for row in rows if row.status in {WarmStatus.FAILED, WarmStatus.STALE}]
    for text in failed[:_SHOWN_ERRORS]:
        log.warning("%s", text)
    denied = {row.key.account_id: str(row.error) for row in rows if row.status is WarmStatus.DENIED}
    if denied:
        log.warning("%s", describe_denied(denied, params.get("connection")))
    before = {} if params.get("accounts") else accounts.list_denied(runtime.engine, runtime.clock.now())
    if left_out := {name: reason for name, reason in before.items() if name not in denied}:
        log.warning("%s", describe_left_out(left_out))


def _strategies_from_form(params: Mapping[str, Any]) -> list[Strategy]:
    if not params.get("accounts"):
        return []
    ranges = tuple(params.get("date_ranges") or ("yesterday", "last_7d", "last_30d"))
    return [
        Strategy(
            "trigger form",
            ranges,
            priority=str(params.get("priority") or "low"),
            accounts=tuple(params["accounts"]),
            batch_size=int(params.get("batch_size", 5)),
            delay_seconds=float(params.get("delay_seconds", 5)),
            max_calls_per_hour=int(params.get("max_calls") or 100),
        )
    ]


def _strategy_account_ids(strategies: list[Strategy]) -> list[str]:
    """Return the ids of the accounts in `strategies`."""
    return [normalize_account_id(text) for strategy in strategies for text in strategy.accounts or ()]


def _check_denials(runtime: Runtime, ids: list[str]) -> None:
    """Raise Denied when all accounts are denied, so that nothing would be planned; log a warning when some are."""
    stored = accounts.list_as_of(runtime.engine, runtime.clock.now())
    denied = [account_id for account_id in ids if account_id in stored and stored[account_id].status == "denied"]
    if not denied:
        return
    message = f"denied to this token and not called for a day, unless you clear this task: {', '.join(denied[:10])}"
    if len(denied) == len(ids):
        raise Denied(message, account_id=denied[0])
    log.warning("%s", message)


def _start_job(runtime: Runtime, run: RunWindow, total: int) -> None:
    jobs.start(runtime.engine, run.run_id, run.run_id.partition("/")[0], total, runtime.clock.now())
