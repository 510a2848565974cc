"""Commits the results of a run's splits in one transaction.

Hours are replaced, never added to, so committing twice has the effect of committing once. A day that only one split
holds is published as that split stored it; days that several splits hold are merged, one day at a time.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq

from adwarm.access_log.lines import Checkpoints
from adwarm.access_log.quarantine import Quarantine, describe_unreadable
from adwarm.access_log.timestamps import HOUR, to_micros
from adwarm.foundation.errors import BadRequest, Transient
from adwarm.patterns.ingest.open_matching import add_zones
from adwarm.patterns.ingest.plan import IngestPlan, archived_rows, expired_paths
from adwarm.patterns.ingest.read_split import SplitResult, save_day
from adwarm.patterns.ingest.splits import LogSplit
from adwarm.patterns.slot_counts import SlotAggregator
from adwarm.store import Context, accounts, aggregates
from adwarm.store.aggregates import HourAggregate, LogFileProgress
from adwarm.store.database import write_transaction
from adwarm.store.objects import ObjectStore


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
        watermark: its value when the plan was made.
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
    """Return the new hours, except where the old hour has more opens and may come from a file that is gone.

    A file that was rotated away must not take its events with it when its hours are read again.
    """
    chosen = {row.hour: row for row in new}
    last = max((hour for row in gone if (hour := Checkpoints(row.checkpoints).latest) is not None), default=None)
    for row in old:
        if last is None or to_micros(row.hour) // HOUR > last:
            continue
        if row.hour not in chosen or chosen[row.hour].opens < row.opens:
            chosen[row.hour] = row
    return [chosen[hour] for hour in sorted(chosen)]
