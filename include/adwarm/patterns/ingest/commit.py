"""Publishes what the shares of a run came to: all of it in one transaction, or nothing.

Hours are replaced, never added to, so adopting twice is adopting once. A day that one share alone holds is published
as that share has stored it; only days that several hold are added up, day by day.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Engine

from adwarm.access_log.checkpoints import Checkpoints
from adwarm.access_log.quarantine import Quarantine, describe_unreadable
from adwarm.access_log.timestamps import HOUR, to_micros
from adwarm.foundation.errors import BadRequest, Transient
from adwarm.patterns.ingest.plan import IngestPlan, archived_rows, expired_paths
from adwarm.patterns.ingest.read_split import SplitResult, save_day
from adwarm.patterns.ingest.splits import LogSplit
from adwarm.patterns.slot_counts import SlotAggregator
from adwarm.store import aggregates
from adwarm.store.aggregates import HourAggregate, LogFileProgress
from adwarm.store.database import write_transaction
from adwarm.store.objects import ObjectStore


def combine_results(objects: ObjectStore, splits: Sequence[LogSplit], results: Sequence[SplitResult]) -> SplitResult:
    """Return what the shares of a run come to together.

    What was read of a file beyond the place where it could not be read is left out, as one reader would not have come
    there.
    """
    found = list(_readable_results(splits, results))
    if len(found) == 1:
        return found[0]
    quarantine = Quarantine()
    for part in found:
        quarantine.merge(part.by_reason, part.samples)
    unreadable = sorted({path for part in found for path in part.unreadable})
    return SplitResult(
        days=_merge_days(objects, found),
        files=[row for row in _merge_progress(found) if row.path not in unreadable],
        unreadable=unreadable,
        events=sum(part.events for part in found),
        keys=None if found else 0,
        ignored=sum(part.ignored for part in found),
        by_reason=dict(sorted(quarantine.by_reason.items())),
        samples=quarantine.samples,
    )


def commit_hours(
    engine: Engine, plan: IngestPlan, result: SplitResult, now: datetime, watermark: datetime | None, *, live: bool
) -> datetime | None:
    """Publish what was read; return the start of the hours that were replaced, None when none were.

    Args:
        watermark: as it stood when the plan was made.
        live: whether files and watermark move; not for a window that was asked for.

    Raises:
        Transient: another run moved the watermark meanwhile.
    """
    new = [row for hours in result.days.values() for row in hours]
    since = plan.since if plan.since is not None else min((row.hour for row in new), default=None)
    since = None if plan.idle else since
    target = max(now, watermark or now)
    with write_transaction(engine) as connection:
        current = aggregates.get_watermark(connection)
        if live and current not in {watermark, target}:
            raise Transient("another run has read the access log meanwhile; run again")
        if live and current != watermark:
            return since  # an earlier try of this very run has published it
        rows = aggregates.list_log_files(connection)
        gone = [*plan.gone, *(rows[path] for path in result.unreadable if path in rows)]
        if since is not None:
            old = aggregates.list_hours(connection, since, plan.until)
            aggregates.replace_hours(connection, since, plan.until, _choose_hours(old, new, gone), now)
        if live:
            aggregates.save_log_files(connection, [*result.files, *archived_rows(gone, result.files)])
            aggregates.delete_log_files(connection, expired_paths(gone, plan.since))
            aggregates.set_watermark(connection, target, now)
    return since


def require_readable(plan: IngestPlan, result: SplitResult) -> None:
    """Raise when not one file of the plan could be read.

    Raises:
        BadRequest: with what was wrong.
    """
    paths = {part.file.path for part in plan.ranges}
    if paths and not plan.idle and paths <= set(result.unreadable):
        raise BadRequest(f"no file of the access log can be read: {describe_unreadable(result.samples)}")


def _readable_results(splits: Sequence[LogSplit], results: Sequence[SplitResult]) -> list[SplitResult]:
    found, lost = [], False
    for share, part in zip(splits, results, strict=True):
        lost = lost and share.continues
        if not lost:
            found.append(part)
        lost = lost or bool(part.unreadable)
    return found


def _merge_days(objects: ObjectStore, results: Sequence[SplitResult]) -> dict[int, list[HourAggregate]]:
    held: dict[int, list[list[HourAggregate]]] = defaultdict(list)
    for part in results:
        for day, hours in part.days.items():
            held[day].append(hours)
    return {day: _merge_day(objects, parts) for day, parts in sorted(held.items())}


def _merge_day(objects: ObjectStore, parts: list[list[HourAggregate]]) -> list[HourAggregate]:
    if len(parts) == 1:
        return parts[0]
    slots = SlotAggregator()
    for hours in parts:
        slots.add_slots(pq.read_table(pa.BufferReader(objects.get(hours[0].object_hash))))
    return [row for _, table in slots.days() for row in save_day(table, objects)]


def _merge_progress(results: Sequence[SplitResult]) -> list[LogFileProgress]:
    """Return one row per file, whichever shares have read it."""
    rows: dict[str, LogFileProgress] = {}
    for row in (row for part in results for row in part.files):
        before = rows.get(row.path)
        rows[row.path] = row if before is None else _continue_progress(before, row)
    return list(rows.values())


def _continue_progress(first: LogFileProgress, then: LogFileProgress) -> LogFileProgress:
    """Return the row of a file of which `then` was read behind `first`."""
    latest = Checkpoints(first.checkpoints).latest
    later = [entry for entry in then.checkpoints if latest is None or entry[0] > latest]
    return replace(
        first,
        offset=max(first.offset, then.offset),
        checkpoints=Checkpoints([*first.checkpoints, *later]).to_rows(),
        events=first.events + then.events,
        rejected=first.rejected + then.rejected,
    )


def _choose_hours(old: list[HourAggregate], new: list[HourAggregate], gone: list[LogFileProgress]) -> list[HourAggregate]:
    """Return the new hours, but for those a vanished file may have filled better: good data is not replaced by less."""
    found = {row.hour: row for row in new}
    last = max((hour for row in gone if (hour := Checkpoints(row.checkpoints).latest) is not None), default=None)
    for row in old:
        if last is None or to_micros(row.hour) // HOUR > last:
            continue
        if row.hour not in found or found[row.hour].opens < row.opens:
            found[row.hour] = row
    return [found[hour] for hour in sorted(found)]
