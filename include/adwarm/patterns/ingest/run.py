"""Reads the access log into slots, hour by hour: the slots of an hour are replaced, never added to.

Commits the results of a run's splits in one transaction.

Hours are replaced, never added to, so committing twice has the effect of committing once. A day that only one split
holds is published as that split stored it; days that several splits hold are merged, one day at a time.

A run has three steps: `plan_ingest` decides what to read, `read_split` reads each split of the log, here or on many
workers, and `commit_ingest` publishes hours, files and watermark in one transaction. A run that is killed leaves only
unreferenced objects behind, and the next run does its work.

On several workers, the plan and the results of its splits are exchanged as objects, by hash. A split that is read again
gives the same object, so a worker that dies or a task that is retried leaves nothing half done. Garbage collection
removes the objects once nothing refers to them.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from adwarm.access_log.lines import Checkpoints
from adwarm.access_log.log_files import list_files
from adwarm.access_log.quarantine import Quarantine, describe_unreadable, files_first
from adwarm.access_log.timestamps import HOUR, to_micros
from adwarm.foundation import telemetry
from adwarm.foundation.clock import utc
from adwarm.foundation.errors import BadRequest, Transient
from adwarm.foundation.wording import format_count
from adwarm.patterns.ingest.open_counting import count_open_log
from adwarm.patterns.ingest.open_days import OpenDay, OpenSources, has_open_files, list_open_files, read_open_days
from adwarm.patterns.ingest.open_matching import add_zones
from adwarm.patterns.ingest.plan import (
    ONE_HOUR,
    IngestPlan,
    LogSplit,
    archived_rows,
    expired_paths,
    find_live_start,
    find_window_hours,
    make_splits,
    plan_live,
    plan_window,
    single_split,
)
from adwarm.patterns.ingest.read_split import SplitResult, read_split, require_unchanged, save_day
from adwarm.patterns.slot_counts import SlotAggregator
from adwarm.store import Context, accounts, aggregates
from adwarm.store.aggregates import HourAggregate, LogFileProgress
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.objects import ObjectStore

_SAMPLES_SHOWN = 5
_SUFFIX = ".json"


def combine_results(objects: ObjectStore, readable: Sequence[SplitResult]) -> SplitResult:
    """Return the results of all splits, and what the open log adds to them, as one."""
    if len(readable) == 1:
        return readable[0]
    quarantine, zones = Quarantine(), dict[str, str]()
    for result in readable:
        add_zones(zones, result.zones)
        quarantine.merge(result.by_reason, result.samples)
        quarantine.add_unmatched_paths(result.unmatched_paths)
    unreadable = sorted({path for result in readable for path in result.unreadable})
    return SplitResult(
        days=_merge_days(objects, readable),
        files=[row for row in _merge_progress(readable) if row.path not in unreadable],
        unreadable=unreadable,
        events=sum(result.events for result in readable),
        keys=None if readable else 0,
        ignored=sum(result.ignored for result in readable),
        by_reason=dict(sorted(quarantine.by_reason.items())),
        samples=quarantine.samples,
        unmatched_paths=quarantine.unmatched_paths,
        duplicates=sum(result.duplicates for result in readable),
        zones=zones,
    )


def commit_hours(
    context: Context, plan: IngestPlan, result: SplitResult, now: datetime, watermark: datetime | None, *, live: bool
) -> datetime | None:
    """Publish what was read, and store the accounts of the user's log.

    Return the start of the hours that were replaced, None when none were.

    Args:
        live: whether the progress of files and the watermark are saved; False for an explicit window.

    Raises:
        Transient: another run moved the watermark in the meantime.
    """
    new = [row for hours in result.days.values() for row in hours]
    since = plan.since if plan.since is not None else min((row.hour for row in new), default=None)
    since = None if plan.idle else since
    target = max(now, watermark or now)
    with write_transaction(context.engine) as connection:
        current = aggregates.get_watermark(connection)
        if live and current not in {watermark, target}:
            raise Transient("another run has read the access log meanwhile; run again")
        if live and current != watermark:
            return since  # an earlier attempt of this run has committed it
        rows = aggregates.list_log_files(connection)
        gone = [*plan.gone, *(rows[path] for path in result.unreadable if path in rows)]
        accounts.add_logged(connection, result.zones, context.settings.default_zone, now)
        if since is not None:
            old = aggregates.list_hours(connection, since, plan.until)
            aggregates.replace_hours(connection, since, plan.until, _choose_hours(old, new, gone), now)
        if live:
            aggregates.save_log_files(connection, [*result.files, *archived_rows(gone, result.files)])
            aggregates.delete_log_files(connection, expired_paths(gone, plan.since))
            aggregates.set_watermark(connection, target, now)
    return since


def require_readable(plan: IngestPlan, result: SplitResult) -> None:
    """Raise when no file of the plan could be read.

    Raises:
        BadRequest: names the first file and why it could not be read.
    """
    paths = {file_range.file.path for file_range in plan.ranges}
    if paths and not plan.idle and paths <= set(result.unreadable):
        raise BadRequest(f"no file of the access log can be read: {describe_unreadable(result.samples)}")


def select_readable(splits: Sequence[LogSplit], results: Sequence[SplitResult]) -> list[SplitResult]:
    """Return the results without those of a file beyond the first split that could not read it.

    A single reader would have stopped there.
    """
    readable, is_lost = [], False
    for split, result in zip(splits, results, strict=True):
        is_lost = is_lost and split.continues
        if not is_lost:
            readable.append(result)
        is_lost = is_lost or bool(result.unreadable)
    return readable


def _merge_days(objects: ObjectStore, results: Sequence[SplitResult]) -> dict[int, list[HourAggregate]]:
    hours_by_day: dict[int, list[list[HourAggregate]]] = defaultdict(list)
    for result in results:
        for day, hours in result.days.items():
            hours_by_day[day].append(hours)
    merged = objects.map(lambda item: (item[0], _merge_day(objects, item[1])), sorted(hours_by_day.items()))
    return dict(merged)


def _merge_day(objects: ObjectStore, hours_by_split: list[list[HourAggregate]]) -> list[HourAggregate]:
    if len(hours_by_split) == 1:
        return hours_by_split[0]
    slots = SlotAggregator()
    for hours in hours_by_split:
        slots.add_slots(pq.read_table(pa.BufferReader(objects.get(hours[0].object_hash))))
    return [row for _, table in slots.days() for row in save_day(table, objects)]


def _merge_progress(results: Sequence[SplitResult]) -> list[LogFileProgress]:
    """Return one row per file, however many splits have read it."""
    rows: dict[str, LogFileProgress] = {}
    for row in (row for result in results for row in result.files):
        earlier = rows.get(row.path)
        rows[row.path] = row if earlier is None else _continue_progress(earlier, row)
    return list(rows.values())


def _continue_progress(first: LogFileProgress, then: LogFileProgress) -> LogFileProgress:
    """Return the progress of a file of which `first` and then `then` were read."""
    latest = Checkpoints(first.checkpoints).latest
    later = [entry for entry in then.checkpoints if latest is None or entry[0] > latest]
    return replace(
        first,
        offset=max(first.offset, then.offset),
        checkpoints=Checkpoints([*first.checkpoints, *later]).to_rows(),
        events=first.events + then.events,
        rejected=first.rejected + then.rejected,
    )


def _choose_hours(
    old: list[HourAggregate], new: list[HourAggregate], gone: list[LogFileProgress]
) -> list[HourAggregate]:
    """Return the new hours, except where the old hour has more opens and may come from a file that is gone."""
    # A file that was rotated away must not take its events with it when its hours are read again.
    chosen = {row.hour: row for row in new}
    last = max((hour for row in gone if (hour := Checkpoints(row.checkpoints).latest) is not None), default=None)
    for row in old:
        if last is None or to_micros(row.hour) // HOUR > last:
            continue
        if row.hour not in chosen or chosen[row.hour].opens < row.opens:
            chosen[row.hour] = row
    return [chosen[hour] for hour in sorted(chosen)]


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What a run has read and published.

    Attributes:
        events: events in the window, of any actor.
        rejected: lines and files that could not be read.
        samples: some of the rejected files and lines: file, offset, reason, excerpt.
        hours: published hours, each with at least one open.
        keys: distinct account, range and report; None when several splits or logs were read, whose keys overlap.
        since: start of the hours that were replaced; None when none were.
        quarantine_hash: the object (`.jsonl`) with up to 1000 rejected lines; None when there are none.
        ignored: requests in a web server's log that open no report.
        unmatched_paths: some of those that were answered and that the path pattern does not match.
        duplicates: opens that both the user's log and the open log hold, and that count once.
    """

    events: int
    rejected: int
    rejected_by_reason: dict[str, int]
    samples: list[dict[str, str | int]]
    hours: int
    keys: int | None
    since: datetime | None
    until: datetime
    quarantine_hash: str | None
    opens: int = 0
    ignored: int = 0
    unmatched_paths: list[str] = field(default_factory=list)
    duplicates: int = 0

    def __str__(self) -> str:
        reports = "" if self.keys is None else f" of {format_count(self.keys, 'report')}"
        hours = format_count(self.hours, "hour")
        parts = [f"read {format_count(self.events, 'event')}{reports}; {format_count(self.opens, 'open')} in {hours}"]
        parts += [f"{format_count(self.ignored, 'other request')} ignored"] if self.ignored else []
        parts += [f"{format_count(self.duplicates, 'open')} found in both logs"] if self.duplicates else []
        if self.rejected:
            why = ", ".join(f"{count:,} {reason}" for reason, count in self.rejected_by_reason.items())
            parts.append(f"{format_count(self.rejected, 'line')} rejected ({why})")
        return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class IngestRun:
    """A planned run.

    Attributes:
        live: whether it moves the watermark; False for an explicit window.
        watermark: its value at planning.
        splits: what to read, in the order of the log; several when there is more than `SPLIT_EVENTS`.
    """

    now: datetime
    live: bool
    watermark: datetime | None
    plan: IngestPlan
    splits: list[LogSplit]


def ingest(context: Context, now: datetime, *, window: tuple[datetime, datetime] | None = None) -> IngestResult:
    """Bring the slots up to date with the access log in this process; see `plan_ingest`.

    Raises:
        BadRequest: no access log is set and the read API has logged no opens, or no file can be read.
        NotFound: there is no log at the URL in the settings.
        Transient: another run moved the watermark in the meantime.
    """
    return run_locally(context, plan_ingest(context, now, window=window))


def plan_ingest(context: Context, now: datetime, *, window: tuple[datetime, datetime] | None = None) -> IngestRun:
    """Return what a run has to read; reads none of the user's log yet.

    With a window, the hours that touch it are recomputed and replaced; an hour without an event loses its row, and the
    watermark stays. Without a window, events added since the watermark are read up to `now`. A late event recomputes
    its hour for `LATE`; older ones are counted as rejected with the reason `late`. The open log of the read API,
    which is small, is read here, so that all splits see the same opens.

    Raises:
        BadRequest: no access log is set, and the read API has logged no opens.
        NotFound: there is no log at the URL in the settings.
    """
    settings, sources = context.settings, OpenSources.load(context)
    require_log(context, sources)
    now = utc(now)
    files = list_files(settings.access_log.url) if settings.access_log.url and sources.reads_user_log else []
    with read_transaction(context.engine) as connection:
        rows, watermark = aggregates.list_log_files(connection), aggregates.get_watermark(connection)
    if window:
        hours = find_window_hours(utc(window[0]), utc(window[1]))
        plan = plan_window(files, rows, hours, _read_open_log(context, sources, *hours), sources)
    else:
        since = find_live_start(files, rows, watermark)
        until = max(now, watermark or now)
        unread = IngestPlan(
            since, now, [], [], open_days=_read_open_log(context, sources, since, until), sources=sources
        )
        plan = plan_live(files, rows, watermark, now, unread)
    splits = make_splits(plan, settings.access_log, settings.max_batches)
    return IngestRun(now, window is None, watermark, plan, splits)


def require_log(context: Context, sources: OpenSources) -> None:
    """Raise an error when there is nothing to read: no log of the user's, and no opens of the read API.

    Raises:
        BadRequest: says how to set or get one.
    """
    if context.settings.access_log.url:
        return
    if not (sources.reads_open_log and has_open_files(context)):
        raise BadRequest(
            "no access log is set; point ADWARM_ACCESS_LOG__URL at a file, a folder or a glob, or serve reports with "
            "`adwarm serve`, which logs their opens"
        )


def _read_open_log(context: Context, sources: OpenSources, since: datetime | None, until: datetime) -> list[OpenDay]:
    """Return the days of the open log from the hour before `since` on; those of an earlier time match no opens."""
    if not sources.reads_open_log:
        return []
    first = None if since is None else since - ONE_HOUR
    return read_open_days(context, sources, list_open_files(context, first, until))


def run_locally(context: Context, run: IngestRun) -> IngestResult:
    """Read and commit a planned run in this process, as one split; raises what `ingest` does."""
    run = replace(run, splits=single_split(run.plan))
    results = [read_split(context, run.plan, split, run.now) for split in run.splits]
    return commit_ingest(context, run, results)


def commit_ingest(context: Context, run: IngestRun, results: Sequence[SplitResult]) -> IngestResult:
    """Publish the results of a run's splits, given in their order; doing so again changes nothing.

    Raises:
        BadRequest: none of the files can be read.
        Transient: another run moved the watermark in the meantime.
    """
    readable = select_readable(run.splits, results)
    opens = count_open_log(context.objects, run.plan, readable, run.now)
    result = combine_results(context.objects, readable if opens is None else [*readable, opens])
    require_readable(run.plan, result)
    lines = Quarantine(samples=result.samples).to_jsonl()
    digest = context.objects.put(lines, ".jsonl") if lines else None
    since = commit_hours(context, run.plan, result, run.now, run.watermark, live=run.live)
    hours = [row for day in result.days.values() for row in day]
    telemetry.report(telemetry.LOG_EVENTS, result.events, result="read")
    telemetry.report(telemetry.LOG_EVENTS, sum(result.by_reason.values()), result="rejected")
    return IngestResult(
        events=result.events,
        rejected=sum(result.by_reason.values()),
        rejected_by_reason=result.by_reason,
        samples=[asdict(sample) for sample in files_first(result.samples)[:_SAMPLES_SHOWN]],
        hours=len(hours),
        keys=result.keys,
        since=since,
        until=run.plan.until,
        quarantine_hash=digest,
        opens=sum(row.opens for row in hours),
        ignored=result.ignored,
        unmatched_paths=result.unmatched_paths,
        duplicates=result.duplicates,
    )


_PLANNED, _PARTIAL = TypeAdapter(IngestRun), TypeAdapter(SplitResult)


def save_plan(objects: ObjectStore, run: IngestRun) -> str:
    """Store the plan of a run; return its hash."""
    return objects.put(_PLANNED.dump_json(run), _SUFFIX)


def read_saved_split(context: Context, plan: str, number: int) -> str:
    """Read the split with this number of a stored plan, store the result, and return its hash.

    Raises:
        Transient: a file of the split has changed since planning.
    """
    run = _PLANNED.validate_json(context.objects.get(plan, _SUFFIX))
    split = run.splits[number]
    require_unchanged(split)
    result = read_split(context, run.plan, split, run.now)
    return context.objects.put(_PARTIAL.dump_json(result), _SUFFIX)


def commit_saved_plan(context: Context, plan: str, results: Sequence[str]) -> IngestResult:
    """Commit a stored plan with the results of its splits, given by hash in their order; see `commit_ingest`."""
    run = _PLANNED.validate_json(context.objects.get(plan, _SUFFIX))
    loaded = [_PARTIAL.validate_json(context.objects.get(digest, _SUFFIX)) for digest in results]
    return commit_ingest(context, run, loaded)
