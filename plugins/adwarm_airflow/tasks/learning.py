"""Tasks of `adwarm_access_patterns`: read the log, in one task or split, store access patterns, train the forecast."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from adwarm.access_log.formats import describe_path_pattern
from adwarm.access_log.log_files import list_skipped
from adwarm.forecast.training.train import train_and_promote
from adwarm.foundation.errors import NotFound
from adwarm.foundation.wording import format_count
from adwarm.patterns.access_profiles import update_patterns
from adwarm.patterns.ingest.run import (
    IngestResult,
    commit_saved_plan,
    plan_ingest,
    read_saved_split,
    run_locally,
    save_plan,
)
from adwarm.runtime import Runtime
from adwarm.store import aggregates, read_transaction
from adwarm.store.snapshots import get_live_snapshot
from adwarm_airflow.assets import AGGREGATES, FORECAST, announce, announce_if, withhold
from adwarm_airflow.run_window import RunWindow, resolve_run_window
from adwarm_airflow.task_context import open_runtime

HOUR = timedelta(hours=1)
TRAINING_INTERVAL = timedelta(hours=24)
_SKIPPED_SHOWN = 5
log = logging.getLogger(__name__)


def read_log(context: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Read the log into aggregates; when there is much to read, return its splits for mapped tasks instead.

    A window from the params or of a backfill is read whole; any other run reads only the new part of the log.
    """
    run = resolve_run_window(context, HOUR)
    runtime = open_runtime(run.clock)
    window = run.window if run.is_explicit else None
    planned = plan_ingest(runtime.context, run.clock.now(), window=window)
    if len(planned.splits) > 1:
        count = len(planned.splits)
        log.info(
            "there is much to read: %d mapped tasks read a split of the log each, and publish_splits publishes", count
        )
        plan = save_plan(runtime.objects, planned)
        withhold(context, AGGREGATES)  # publish_splits writes them
        return [{"plan": plan, "number": n, "label": f"split {n + 1} of {count}"} for n in range(count)]
    figures = _summarize_ingest(run_locally(runtime.context, planned), runtime)
    _announce_aggregates(context, figures)
    context["ti"].xcom_push(key="figures", value=figures)
    return []


def read_split(split: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """Read one split of the log. `commit_splits` publishes the result."""
    runtime = open_runtime(resolve_run_window(context, HOUR).clock)
    partial = read_saved_split(runtime.context, split["plan"], split["number"])
    return {**split, "partial": partial}


def commit_splits(splits: Iterable[Mapping[str, Any]], context: Mapping[str, Any]) -> dict[str, Any]:
    """Publish the results of all splits in one transaction."""
    runtime = open_runtime(resolve_run_window(context, HOUR).clock)
    ordered = sorted(splits, key=lambda split: int(split["number"]))
    partials = [split["partial"] for split in ordered]
    figures = _summarize_ingest(commit_saved_plan(runtime.context, ordered[0]["plan"], partials), runtime)
    _announce_aggregates(context, figures)
    return figures


def _announce_aggregates(context: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
    """Send an event with the counts of what was read; none when there was nothing new."""
    counts = {name: figures[name] for name in ("events", "opens", "hours", "keys")}
    announce_if(context, AGGREGATES, counts, is_written=bool(figures["hours"]))


def _summarize_ingest(result: IngestResult, runtime: Runtime) -> dict[str, Any]:
    names = ("events", "opens", "rejected", "hours", "keys", "duplicates")
    figures = {name: getattr(result, name) for name in names}
    for level, line in describe_ingest(result, runtime):
        log.log(level, "%s", line)
    return {**figures, "rejected_by_reason": result.rejected_by_reason}


def describe_ingest(result: IngestResult, runtime: Runtime) -> Iterator[tuple[int, str]]:
    """Yield the lines of the task's log, each with its level: the figures, what was not read, and where samples are."""
    yield logging.INFO, str(result)
    for sample in result.samples:
        yield logging.WARNING, f"quarantined: {sample}"
    if result.quarantine_hash:
        place = runtime.objects.describe_location(result.quarantine_hash, ".jsonl")
        yield logging.WARNING, f"all samples are in {place}"
    pattern = runtime.settings.access_log.pattern
    if not result.events and (hint := describe_path_pattern(result.ignored, result.unmatched_paths, pattern)):
        yield logging.WARNING, f"{hint}; try `adwarm log check`"
    url = runtime.settings.access_log.url
    skipped = list_skipped(url, _SKIPPED_SHOWN) if url else None
    if skipped is not None and skipped.count:
        names = "; ".join(f"{path}: {reason}" for path, reason in skipped.samples)
        yield logging.INFO, f"skipped {skipped.count:,} files of the log's folder: {names}"


def train_forecast(context: Mapping[str, Any]) -> dict[str, Any]:
    """Train the forecast once a day, or when the form asks for it; a backfill does not train."""
    run = resolve_run_window(context, HOUR)
    if run.is_backfill:
        withhold(context, FORECAST)
        log.info("not trained: a backfill trains nothing")
        return {"trained": False, "why": "a backfill trains nothing"}
    runtime = open_runtime(run.clock)
    until = _training_cutoff(run, runtime)
    if not _is_forced(context) and (reason := _skip_reason(runtime, until)):
        withhold(context, FORECAST)
        log.info("not trained: the live forecast is less than a day old, %s", reason)
        return {"trained": False, "why": reason}
    log.info("training on the opens up to %s; this may take some minutes", f"{until:%Y-%m-%d %H:%M} UTC")
    figures = train_and_promote(runtime.context, until, run.clock.now())
    log.info(
        "trained on %s of %s; the forecast %s is live: %s",
        format_count(figures["first_opens"], "first open"),
        format_count(figures["keys"], "report"),
        figures["kind"],
        figures["why"],
    )
    log.info("its metrics: %s", ", ".join(f"{name} {value:g}" for name, value in figures["metrics"].items()) or "none")
    event = {"kind": figures["kind"], "keys": figures["keys"], "first_opens": figures["first_opens"]}
    announce(context, FORECAST, {**event, "trained_until": until.isoformat()})
    return {"trained": True, **figures}


def store_patterns(context: Mapping[str, Any]) -> dict[str, Any]:
    """Store the access patterns in SQL once a day, or when the form asks for it; a backfill does not."""
    run = resolve_run_window(context, HOUR)
    if run.is_backfill:
        return {"stored": False, "why": "a backfill stores no patterns"}
    runtime = open_runtime(run.clock)
    until = _training_cutoff(run, runtime)
    update = update_patterns(runtime.context, until, run.clock.now(), force=_is_forced(context))
    if update.why:
        log.info("patterns not stored: %s", update.why)
        return {"stored": False, "why": update.why}
    log.info(
        "stored the patterns of %d accounts (%d with busy hours, %d with quiet hours); removed %d accounts",
        update.accounts,
        update.busy,
        update.quiet,
        update.removed,
    )
    return {"stored": True, **asdict(update)}


def _is_forced(context: Mapping[str, Any]) -> bool:
    return bool((context.get("params") or {}).get("train_now"))


def _skip_reason(runtime: Runtime, until: datetime) -> str | None:
    try:
        live = get_live_snapshot(runtime.engine)
    except NotFound:
        return None
    age = until - live.trained_until
    return f"trained until {live.trained_until:%Y-%m-%d %H:%M} UTC" if timedelta(0) <= age < TRAINING_INTERVAL else None


def _training_cutoff(run: RunWindow, runtime: Runtime) -> datetime:
    """Return the end of the training data: the run's window if it is explicit, else the watermark of the aggregates."""
    if run.is_explicit:
        return run.window[1]
    with read_transaction(runtime.engine) as connection:
        watermark = aggregates.get_watermark(connection)
    return min(run.clock.now(), watermark) if watermark else run.clock.now()
