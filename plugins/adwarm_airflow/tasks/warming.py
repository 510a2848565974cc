"""Tasks of the warming DAGs: plan, close the job, score closed days, account for use, read back."""

import logging
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from adwarm.fatigue.account_scores import ScoringResult, score_accounts
from adwarm.foundation.errors import AdwarmError, Denied, NotFound, Permanent
from adwarm.model import Mode, Strategy, WarmReason, WarmStatus, normalize_account_id
from adwarm.planning.decide import decide
from adwarm.planning.strategy_plan import decide_strategies, list_enabled_strategies
from adwarm.planning.warm_outcomes import mark_warm_outcomes
from adwarm.prefetch.warm_batch import lift_denials
from adwarm.runtime import Runtime
from adwarm.serving import read_back
from adwarm.store import accounts, denials, jobs, warms
from adwarm_airflow.run_window import RunWindow, resolve_decision, resolve_run_window, was_cleared
from adwarm_airflow.task_context import open_runtime

HOUR = timedelta(hours=1)
log = logging.getLogger(__name__)


def plan(context: Mapping[str, Any]) -> list[int]:
    """Plan the run and return the numbers of the batches to carry out; none while no forecast is trained."""
    run = resolve_run_window(context, HOUR)
    runtime = open_runtime(run.clock)
    decided_at, mode = resolve_decision(context, runtime.settings.step)
    if was_cleared(context):
        lift_denials(runtime.engine, run.run_id)
    try:
        made = decide(
            runtime.engine, runtime.objects, runtime.settings, decided_at, run.run_id, mode, runtime.request_costs
        )
    except NotFound as error:
        log.warning("nothing is planned: %s", error)
        _start_job(runtime, run, 0)
        return []
    log.info("decided: %s", made.to_dict())
    for row in warms.list_by_run(runtime.engine, run.run_id)[:5]:
        log.info("%s %s at %s: %s", row.key.account_id, row.key.date_range, row.warm_at, row.explanation.get("why"))
    _start_job(runtime, run, 0 if made.batches == 0 else made.planned + made.closing)
    return list(range(made.batches))


def plan_strategies(context: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Plan the enabled strategies, or the one that the trigger form describes, and return arguments for each batch.

    Raises:
        BadRequest: the form names an account, a range or a priority that is not valid.
        Denied: every account that the form names was denied less than a day ago; a clear of the task lifts that.
    """
    run = resolve_run_window(context, timedelta(hours=6))
    runtime = open_runtime(run.clock)
    params = context["params"]
    by_hand = _strategies_from_form(params)
    if was_cleared(context):
        lift_denials(runtime.engine, run.run_id)
        denials.lift(runtime.engine, _strategy_account_ids(by_hand))
    _check_denials(runtime, _strategy_account_ids(by_hand))
    chosen = by_hand or list_enabled_strategies(runtime.engine)
    decided_at, _ = resolve_decision(context, timedelta(minutes=1))
    made = decide_strategies(
        runtime.engine,
        runtime.settings,
        chosen,
        decided_at,
        run.run_id,
        dry_run=bool(params.get("dry_run")),
        is_manual=bool(by_hand),
    )
    log.info("decided: %s", made.to_dict())
    _start_job(runtime, run, 0 if made.batches == 0 else made.planned)
    pace = {
        "slice_size": min((item.batch_size for item in chosen), default=5),
        "pause_seconds": max((item.delay_seconds for item in chosen), default=5.0),
    }
    return [{"batch": number, **pace} for number in range(made.batches)]


def score_closed_days(context: Mapping[str, Any]) -> dict[str, Any]:
    """Score the accounts whose day this run has closed."""
    run = resolve_run_window(context, HOUR)
    runtime = open_runtime(run.clock)
    rows = warms.list_by_run(runtime.engine, run.run_id)
    closed = [row.key for row in rows if row.reason is WarmReason.DAY_CLOSED and row.status.is_served]
    pairs = [(key.account_id, date.fromisoformat(key.date_range.partition("..")[2])) for key in closed]
    report = score_accounts(runtime.engine, runtime.objects, runtime.settings, pairs, run.clock.now())
    return summarize_scores(report)


def summarize_scores(report: ScoringResult) -> dict[str, Any]:
    """Log what scoring came to and return it.

    Raises:
        Permanent: not one account could be scored, though there is something to score.
    """
    log.info("scored: %s", report.to_dict())
    if report.errors and not report.accounts + report.unchanged:
        raise Permanent("no account could be scored: " + " | ".join(report.errors[:3]))
    return report.to_dict()


def close_run(context: Mapping[str, Any]) -> dict[str, Any]:
    """Close the run's job, judge earlier warms by the opens since, and read some warmed keys back.

    Raises:
        AdwarmError: a warmed key could not be read back; what was warmed is not what is requested.
        Permanent: every key of the run failed; this task fetches none, so its own retry would not help.
    """
    run = resolve_run_window(context, HOUR)
    runtime = open_runtime(run.clock)
    job = jobs.finish(runtime.engine, run.run_id, run.clock.now())
    rows = warms.list_by_run(runtime.engine, run.run_id)
    keys = [row.key for row in rows if row.status is WarmStatus.FETCHED]
    canary = read_back(runtime.reader, keys)
    settled = mark_warm_outcomes(runtime.engine, runtime.objects, run.clock.now())
    shadow = mark_warm_outcomes(runtime.engine, runtime.objects, run.clock.now(), mode=Mode.SHADOW)
    for text in job.errors[:10]:
        log.warning("%s", text)
    figures = {name: getattr(job, name) for name in ("status", "total", "done", "failed", "requests")}
    log.info("job: %s; canary read %d; used %d, wasted %d", figures, canary.read, settled.used, settled.wasted)
    if canary.misses:
        raise AdwarmError("warmed keys could not be read back: " + " | ".join(canary.misses[:5]))
    if job.status == "failed":
        raise Permanent("every key of the run failed: " + " | ".join(job.errors[:3]))
    would = {"shadow_used": shadow.used, "shadow_wasted": shadow.wasted}
    return {**figures, "canary": canary.read, "used": settled.used, "wasted": settled.wasted, **would}


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
    """Return the ids of the accounts that strategies name."""
    return [normalize_account_id(text) for strategy in strategies for text in strategy.accounts or ()]


def _check_denials(runtime: Runtime, ids: list[str]) -> None:
    """Fail when nothing would be planned because every account asked for is denied; log when some are."""
    known = accounts.list_as_of(runtime.engine, runtime.clock.now())
    denied = [name for name in ids if name in known and known[name].status == "denied"]
    if not denied:
        return
    words = f"denied to this token and left alone for a day, unless you clear this task: {', '.join(denied[:10])}"
    if len(denied) == len(ids):
        raise Denied(words, account_id=denied[0])
    log.warning("%s", words)


def _start_job(runtime: Runtime, run: RunWindow, total: int) -> None:
    jobs.start(runtime.engine, run.run_id, run.run_id.partition("/")[0], total, runtime.clock.now())
