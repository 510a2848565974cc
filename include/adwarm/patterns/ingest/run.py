"""Reads the access log into slots, hour by hour: the slots of an hour are replaced, never added to.

A run plans, reads its shares of the log, here or on many workers, and adopts what came of them: hours, files and
watermark in one transaction. A run that is killed leaves nothing behind but unreferenced objects, and the next one does
its work.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from adwarm.access_log.log_files import list_files
from adwarm.access_log.quarantine import Quarantine, files_first
from adwarm.foundation.clock import utc
from adwarm.foundation.errors import BadRequest
from adwarm.patterns.ingest.commit import combine_results, commit_hours, require_readable
from adwarm.patterns.ingest.plan import IngestPlan, plan_live, plan_window
from adwarm.patterns.ingest.read_split import SplitResult, read_split
from adwarm.patterns.ingest.splits import LogSplit, make_splits, single_split
from adwarm.store import Context, aggregates
from adwarm.store.database import read_transaction

_SAMPLES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What a run read.

    Attributes:
        events: read in the window, by anybody.
        opens: by persons, in the published hours.
        samples: some of the rejected files and lines: file, offset, reason, excerpt.
        hours: published, each with at least one open.
        keys: distinct account, range and report; None when several workers read, none of whom saw all.
        since: start of the hours that were replaced; None when nothing was.
        quarantine_hash: the object (`.jsonl`) with up to 1000 rejected lines; None when there are none.
        ignored: requests in a web server's log that open no report.
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


@dataclass(frozen=True, slots=True)
class IngestRun:
    """A run that was planned.

    Attributes:
        now: the time it acts at.
        live: whether it moves the watermark; a window that was asked for does not.
        watermark: as it stood at planning.
        shares: what is to be read, in order; several when there is much.
    """

    now: datetime
    live: bool
    watermark: datetime | None
    plan: IngestPlan
    splits: list[LogSplit]


def ingest(context: Context, now: datetime, *, window: tuple[datetime, datetime] | None = None) -> IngestResult:
    """Bring the slots up to date with the access log, here and now; see `plan_ingest`.

    Raises:
        BadRequest: no access log is set, or none of its files can be read.
        NotFound: there is no log where the setting points.
        Transient: another run moved the watermark meanwhile.
    """
    return run_locally(context, plan_ingest(context, now, window=window))


def plan_ingest(context: Context, now: datetime, *, window: tuple[datetime, datetime] | None = None) -> IngestRun:
    """Return what there is to read, in one share when it is little; reads nothing yet.

    With a window, the hours that touch it are read whole and replaced; an hour without an event loses its row, and the
    watermark stays. Without one, what came in since the watermark is read up to `now`; late events reopen their hour
    for `late_hours`, older ones are counted as rejected with the reason `late`.

    Raises:
        BadRequest: no access log is set.
        NotFound: there is no log where the setting points.
    """
    settings = context.settings
    if not settings.log_url:
        raise BadRequest("no access log is set; point ADWARM_ACCESS_LOG_URL at a file, a folder or a glob")
    now = utc(now)
    files = list_files(settings.log_url)
    with read_transaction(context.engine) as connection:
        rows, watermark = aggregates.list_log_files(connection), aggregates.get_watermark(connection)
    if window:
        plan = plan_window(files, rows, utc(window[0]), utc(window[1]))
    else:
        plan = plan_live(files, rows, watermark, now, timedelta(hours=settings.access_log.late_hours))
    cut = make_splits(plan, settings.access_log.share_events, settings.max_batches)
    return IngestRun(now, window is None, watermark, plan, cut)


def run_locally(context: Context, run: IngestRun) -> IngestResult:
    """Read all of a planned run here, and adopt it; raises what `ingest` does."""
    together = replace(run, splits=single_split(run.plan))
    partials = [read_split(context, run.plan, share, run.now) for share in together.splits]
    return commit_ingest(context, together, partials)


def commit_ingest(context: Context, run: IngestRun, results: Sequence[SplitResult]) -> IngestResult:
    """Publish what came of the shares of a run, in their order; once more changes nothing.

    Raises:
        BadRequest: none of the files can be read.
        Transient: another run moved the watermark meanwhile.
    """
    read = combine_results(context.objects, run.splits, results)
    require_readable(run.plan, read)
    lines = Quarantine(samples=read.samples).to_jsonl()
    digest = context.objects.put(lines, ".jsonl") if lines else None
    since = commit_hours(context.engine, run.plan, read, run.now, run.watermark, live=run.live)
    hours = [row for found in read.days.values() for row in found]
    return IngestResult(
        events=read.events,
        rejected=sum(read.by_reason.values()),
        rejected_by_reason=read.by_reason,
        samples=[asdict(sample) for sample in files_first(read.samples)[:_SAMPLES_SHOWN]],
        hours=len(hours),
        keys=read.keys,
        since=since,
        until=run.plan.until,
        quarantine_hash=digest,
        opens=sum(row.opens for row in hours),
        ignored=read.ignored,
    )
