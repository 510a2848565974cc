"""Reads the access log into slots, hour by hour: the slots of an hour are replaced, never added to.

Objects are written first; hours, files and watermark are then published in one transaction. A run that is killed leaves
nothing behind but unreferenced objects, and the next one does its work.
"""

import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Engine

from adwarm.access_log.checkpoints import Checkpoints
from adwarm.access_log.files import list_files
from adwarm.access_log.moments import HOUR, from_micros, to_micros
from adwarm.access_log.quarantine import Quarantine
from adwarm.access_log.reader import LogReader, Piece, micros_of, parquet_span, require_readable, within
from adwarm.clock import utc
from adwarm.errors import BadRequest, Transient
from adwarm.patterns.lean import lean_memory
from adwarm.patterns.reading import Part, Plan, outlived, plan_live, plan_window, remembered
from adwarm.patterns.slots import SlotAggregator
from adwarm.settings import Settings
from adwarm.store import aggregates
from adwarm.store.aggregates import FileRow, HourRow
from adwarm.store.engine import reading, writing
from adwarm.store.objects import ObjectStore

_SAMPLES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What a run read.

    Attributes:
        events: read in the window, by anybody.
        opens: by persons, in the published hours.
        samples: some of the rejected lines: file, offset, reason, excerpt.
        hours: published, each with at least one open.
        keys: distinct account, range and report.
        since: start of the hours that were replaced; None when nothing was.
        quarantine_hash: the object (`.jsonl`) with up to 1000 rejected lines; None when there are none.
        ignored: requests in a web server's log that open no report.
    """

    events: int
    rejected: int
    rejected_by_reason: dict[str, int]
    samples: list[dict[str, str | int]]
    hours: int
    keys: int
    since: datetime | None
    until: datetime
    quarantine_hash: str | None
    opens: int = 0
    ignored: int = 0


@dataclass
class _Run:
    """What one run has gathered so far."""

    plan: Plan
    reader: LogReader
    now: datetime
    slots: SlotAggregator = field(default_factory=SlotAggregator)
    files: list[FileRow] = field(default_factory=list)
    hours: list[HourRow] = field(default_factory=list)
    events: int = 0


def ingest(
    engine: Engine,
    objects: ObjectStore,
    settings: Settings,
    now: datetime,
    *,
    window: tuple[datetime, datetime] | None = None,
) -> IngestReport:
    """Bring the slots up to date with the access log.

    With a window, the hours that touch it are read whole and replaced; an hour without an event loses its row, and the
    watermark stays. Without one, what came in since the watermark is read up to `now`; late events reopen their hour
    for `late_hours`, older ones are counted as rejected with the reason `late`.

    Raises:
        BadRequest: no access log is set, or none of its files can be read.
        NotFound: there is no log where the setting points.
        Transient: another run moved the watermark meanwhile.
    """
    if not settings.log_url:
        raise BadRequest("no access log is set; point ADWARM_ACCESS_LOG_URL at a file, a folder or a glob")
    now = utc(now)
    files = list_files(settings.log_url)
    with reading(engine) as connection:
        rows, watermark = aggregates.log_files(connection), aggregates.get_watermark(connection)
    late = timedelta(hours=settings.access_log.late_hours)
    if window:
        plan = plan_window(files, rows, utc(window[0]), utc(window[1]))
    else:
        plan = plan_live(files, rows, watermark, now, late)
    run = _Run(plan, LogReader(settings, Quarantine()), now)
    if not plan.idle:
        with lean_memory():
            for part in plan.parts:
                _read(run, part)
            require_readable([part.file for part in plan.parts], run.reader)
            run.hours = list(_written(run.slots, objects))
    samples = run.reader.quarantine.to_jsonl()
    digest = objects.put(samples, ".jsonl") if samples else None
    since = _publish(engine, run, rows, watermark, live=window is None)
    return _report(run, since, digest)


def _read(run: _Run, part: Part) -> None:
    """Count the events of one part, and note how far its file has been read."""
    since = None if run.plan.since is None else to_micros(run.plan.since)
    until = to_micros(run.plan.until)
    quarantine, rejected, events = run.reader.quarantine, run.reader.quarantine.count, run.events
    checkpoints, end = part.checkpoints, part.start
    for piece in _pieces(run, part):
        end = max(end, piece.end)
        if not piece.batch.num_rows:
            continue
        moments = micros_of(piece.batch)
        checkpoints.note(int(moments.max()), piece.start)
        if since is not None and part.late_from is not None and piece.start >= part.late_from:
            quarantine.tally("late", int(np.count_nonzero(moments < since)))
        batch = within(piece.batch, since, until)
        run.slots.add(batch)
        run.events += batch.num_rows
    file = part.file
    if file.path in run.reader.unreadable:
        return
    if file.format == "parquet" and (span := parquet_span(file)):
        checkpoints = Checkpoints()
        checkpoints.note(span[1], 0)
    counts = (run.events - events, quarantine.count - rejected)
    run.files.append(FileRow(file.path, file.size, file.mtime, end, checkpoints.rows(), *counts, run.now))


def _pieces(run: _Run, part: Part) -> Iterator[Piece]:
    """Yield the pieces of a part; none lies across the border of what was known before."""
    if part.file.format == "parquet":
        since = run.plan.since if part.late_from is None else None
        yield from run.reader.pieces(part.file, since=since, until=run.plan.until)
        return
    if part.start < part.known:
        yield from run.reader.pieces(part.file, start=part.start, stop=part.known, quiet_before=part.known)
    yield from run.reader.pieces(part.file, start=max(part.start, part.known))


def _written(slots: SlotAggregator, objects: ObjectStore) -> Iterator[HourRow]:
    """Store the slots day by day; yield the rows of the hours each object holds."""
    for _, table in slots.days():
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        digest = objects.put(buffer.getvalue())
        hour = table["slot"].cast(pa.int64()).to_numpy() // HOUR
        opens = table["opens"].to_numpy()
        key = pd.factorize(_key_codes(table))[0]
        for start, end in _runs(hour):
            keys = len(np.unique(key[start:end]))
            yield HourRow(from_micros(int(hour[start]) * HOUR), digest, int(opens[start:end].sum()), keys)


def _key_codes(table: pa.Table) -> npt.NDArray[np.int64]:
    codes = np.zeros(table.num_rows, np.int64)
    for name in ("account_id", "date_range", "report"):
        column = table[name].combine_chunks()
        codes = codes * len(column.dictionary) + column.indices.to_numpy(zero_copy_only=False)
    return codes


def _runs(sorted_values: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(sorted_values)) + 1
    bounds = [0, *edges.tolist(), len(sorted_values)]
    yield from pairwise(bounds)


def _publish(
    engine: Engine, run: _Run, rows: dict[str, FileRow], watermark: datetime | None, *, live: bool
) -> datetime | None:
    """Publish the run; return the start of the hours that were replaced."""
    plan = run.plan
    since = plan.since if plan.since is not None else min((row.hour for row in run.hours), default=None)
    since = None if plan.idle else since
    gone = [*plan.gone, *(rows[path] for path in run.reader.unreadable if path in rows)]
    with writing(engine) as connection:
        if live and aggregates.get_watermark(connection) != watermark:
            raise Transient("another run has read the access log meanwhile; run again")
        if since is not None:
            old = aggregates.hours(connection, since, plan.until)
            kept = _kept(old, run.hours, gone)
            aggregates.replace_hours(connection, since, plan.until, kept, run.now)
        if live:
            aggregates.save_log_files(connection, [*run.files, *remembered(gone, run.files)])
            aggregates.forget_log_files(connection, outlived(gone, plan.since))
            aggregates.set_watermark(connection, max(run.now, watermark or run.now), run.now)
    return since


def _kept(old: list[HourRow], new: list[HourRow], gone: list[FileRow]) -> list[HourRow]:
    """Return the new hours, but for those a vanished file may have filled better: good data is not replaced by less."""
    found = {row.hour: row for row in new}
    last = max((hour for row in gone if (hour := Checkpoints(row.checkpoints).latest) is not None), default=None)
    for row in old:
        if last is None or to_micros(row.hour) // HOUR > last:
            continue
        if row.hour not in found or found[row.hour].opens < row.opens:
            found[row.hour] = row
    return [found[hour] for hour in sorted(found)]


def _report(run: _Run, since: datetime | None, digest: str | None) -> IngestReport:
    quarantine = run.reader.quarantine
    return IngestReport(
        events=run.events,
        rejected=quarantine.count,
        rejected_by_reason=dict(sorted(quarantine.by_reason.items())),
        samples=[asdict(sample) for sample in quarantine.samples[:_SAMPLES_SHOWN]],
        hours=len(run.hours),
        keys=run.slots.count_keys(),
        since=since,
        until=run.plan.until,
        quarantine_hash=digest,
        opens=sum(row.opens for row in run.hours),
        ignored=quarantine.ignored,
    )
