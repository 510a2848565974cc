"""Backfills of history: which days are missing, what fetching them will cost, and the fetch itself.

The range is cut into the aligned blocks that every caller shares, newest first, so that an interrupted backfill leaves
complete blocks and the most useful days first. Stored days that are not due are never fetched, so a rerun fetches only
what is missing, and one over settled days makes no call.

The estimate counts calls from the rows that the account had on its stored days; without any, from those of all
accounts; without those, from an assumption that the estimate names. Breakdowns multiply the rows of the report
`default`.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from adwarm.fetch_plan import (
    RefetchSchedule,
    aligned_blocks,
    count_calls,
    expect_rows,
    is_large,
    list_similar,
    plan_fetch,
)
from adwarm.foundation.errors import BadRequest, Transient
from adwarm.foundation.local_time import local_day
from adwarm.foundation.wording import format_count, format_duration
from adwarm.model import Account, CallCause, CauseKind, Priority, ReportKey, Window
from adwarm.prefetch.batch_result import BatchResult, KeyOutcome, KeyRequest, KeyStatus, with_message
from adwarm.prefetch.engine import PrefetchEngine, WarmingStopped
from adwarm.prefetch.progress_log import ProgressLog, Write
from adwarm.settings import Settings
from adwarm.sources.pool import SourceFactory
from adwarm.store import Context, jobs, partitions, warms

log = logging.getLogger(__name__)
PLATFORM_RETENTION_DAYS = 1122
"""37 months: how long the platform keeps data."""
DAG = "backfill"
_STORED_DAYS, _SIMILAR, _ASSUMED = "stored days", "other reports", "assumed"
_SOURCES = {
    _STORED_DAYS: "as in the stored days",
    _SIMILAR: "by the stored days of other reports, the level and the breakdowns",
    _ASSUMED: "an assumption",
}
ASSUMED_SECONDS = 1.0
"""Seconds per request while none was measured."""
_MAX_ROUNDS = 50

AccountSpans = tuple[Account, Sequence[Window]]
"""An account and the spans of days to fetch for it."""


@dataclass(frozen=True, slots=True)
class MissingSpans:
    """The missing or due days of an account in one block, as spans, oldest first."""

    account: Account
    block: Window
    spans: tuple[Window, ...]

    @property
    def days(self) -> int:
        """Number of days in the spans."""
        return sum(len(span) for span in self.spans)


@dataclass
class BackfillResult:
    """The result of a backfill.

    Attributes:
        blocks: account-blocks with missing days.
        ended: number of account-blocks by how they ended.
    """

    blocks: int = 0
    requests: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"blocks": self.blocks, "requests": self.requests, **self.ended, "reasons": self.reasons}


@dataclass(frozen=True, slots=True)
class Estimate:
    """The expected cost of a backfill.

    Attributes:
        spans: spans to fetch; each takes a request per page.
        requests: pages, starts and polls of async reports, range summaries, and look-ups of accounts that were never
            fetched.
        rows_per_day: average rows of an account-day.
        rows_from: where that number comes from: `stored days`, `other reports` or `assumed`.
        seconds_per_request: how long a request took recently, waiting included; assumed when none was measured.
        hours_alone: with every slot and the whole rate.
        hours_shared: with only the capacity of low priority, while all other classes are busy.
        async_reports: spans that are too large for pages alone.
    """

    accounts: int
    days: int
    spans: int
    requests: int
    rows_per_day: float
    rows_from: str
    seconds_per_request: float
    hours_alone: float
    hours_shared: float
    async_reports: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values, rounded."""
        return {name: round(value, 5) if isinstance(value, float) else value for name, value in asdict(self).items()}

    def __str__(self) -> str:
        if not self.requests:
            return "nothing is missing, so no request is needed"
        if not self.days:
            return f"no day is missing; range summaries take about {format_count(self.requests, 'request')}"
        lack = format_count(self.accounts, "account lacks", "accounts lack")
        calls = format_count(self.requests, "request")
        reports = f", {format_count(self.async_reports, 'async report')} among them" if self.async_reports else ""
        return (
            f"{lack} {format_count(self.days, 'day')} in all; fetching them takes about "
            f"{calls}{reports}, which is {format_duration(self.hours_alone * 3600)} if nothing else runs and "
            f"{format_duration(self.hours_shared * 3600)} beside a full load of other work "
            f"(at {self.rows_per_day:.0f} rows a day, {_SOURCES[self.rows_from]})"
        )


def validate_range(window: Window, now: datetime, factories: Iterable[SourceFactory] = ()) -> None:
    """Check that a range can be backfilled.

    Args:
        factories: what builds the sources to fetch from; they are built only to check old days. Without any, the
            platform's retention applies.

    Raises:
        BadRequest: the range begins before what the sources keep (37 months for the platform), or has not begun.
    """
    today = now.date()
    if (today - window.since).days > PLATFORM_RETENTION_DAYS:
        retentions = [make().capabilities.retention_days for make in factories] or [PLATFORM_RETENTION_DAYS]
        oldest = today - timedelta(days=max(days or 0 for days in retentions))
        if None not in retentions and window.since < oldest:
            raise BadRequest(f"the platform keeps 37 months; {window.since} is older, begin on {oldest} or later")
    if window.since >= today:
        raise BadRequest(f"{window.since} has not ended yet; end on {today - timedelta(days=1)} or earlier")


def find_missing_spans(
    context: Context, accounts: Iterable[Account], window: Window, now: datetime, report: str
) -> list[MissingSpans]:
    """Return the missing or due spans of the closed days of `window`, the newest block first, then by account."""
    gaps = [gap for account in accounts for gap in _missing_by_block(context, account, window, now, report)]
    return sorted(gaps, key=lambda gap: (-gap.block.since.toordinal(), gap.account.id))


def get_account_missing_spans(
    context: Context, account: Account, window: Window, now: datetime, report: str
) -> tuple[Window, ...]:
    """Return the spans of `window` that are missing for an account, or due."""
    stored = partitions.list_states(context.engine, account.id, context.settings.spec(report).hash, window)
    schedule = RefetchSchedule.for_account(account, context.settings.freshness_rules)
    return plan_fetch([], stored, schedule, now, [window]).spans


def estimate(context: Context, account_spans: Iterable[AccountSpans], report: str, summaries: int = 0) -> Estimate:
    """Return what fetching `account_spans` will cost.

    Args:
        summaries: range summaries to fetch besides, one request each.
    """
    settings = context.settings
    missing = [(account, spans) for account, spans in account_spans if spans]
    rows, average, rows_from = _expect_rows(context, report)
    expected = [(len(span), rows.get(account.id, average)) for account, spans in missing for span in spans]
    accounts = {account.id: account for account, _ in missing}
    requests = (
        sum(count_calls(*item) for item in expected)
        + summaries
        + sum(not account.is_verified for account in accounts.values())
    )
    seconds = warms.get_seconds_per_request(context.engine) or ASSUMED_SECONDS
    return Estimate(
        accounts=len(accounts),
        days=sum(len(span) for _, spans in missing for span in spans),
        spans=sum(len(spans) for _, spans in missing),
        requests=requests,
        async_reports=sum(is_large(*item) for item in expected),
        rows_per_day=average,
        rows_from=rows_from,
        seconds_per_request=seconds,
        hours_alone=_hours(requests, seconds, settings, 1.0),
        hours_shared=_hours(requests, seconds, settings, settings.backpressure.shares[Priority.LOW]),
    )


def run_backfill(
    prefetch: PrefetchEngine,
    accounts: Sequence[Account],
    window: Window,
    *,
    report: str = "default",
    batch_size: int = 50,
    write: Write = log.log,
) -> BackfillResult:
    """Fetch what is missing, block by block and batch by batch of accounts, at low priority.

    A parked account is tried again after its wait; a denied one is left out from then on.

    Args:
        batch_size: accounts in one batch.
        write: writes the progress every 10 seconds; to the log by default.

    Raises:
        BadRequest: the range cannot be backfilled.
        WarmingStopped: warming is switched off; what was fetched stays, and a rerun fetches the rest.
        AdwarmError: a whole batch failed; of the class of its most severe error, with the first reasons. What was
            fetched stays.
    """
    validate_range(window, prefetch.clock.now(), [prefetch.sources.make_default, *prefetch.sources.factories.values()])
    gaps = find_missing_spans(prefetch.context, accounts, window, prefetch.clock.now(), report)
    run_id = f"{DAG}/{window}"
    jobs.start(prefetch.engine, run_id, DAG, len(gaps), prefetch.clock.now())
    result = BackfillResult(len(gaps))
    denied: set[str] = set()
    with ProgressLog(len(gaps), write, "account-block", is_listing=False) as progress:
        for batch in _batches(gaps, batch_size):
            left = [gap for gap in batch if gap.account.id not in denied]
            ended = []
            try:
                for gap, outcome in _fetch_batch(prefetch, left, report, progress):
                    ended.append(outcome)
                    _record_outcome(prefetch.engine, run_id, result, gap, outcome)
                    if outcome.status is KeyStatus.DENIED:
                        denied.add(gap.account.id)
            except WarmingStopped as stop:
                raise _end_stopped(prefetch, run_id, stop) from None
            _raise_if_all_failed(ended)
    jobs.finish(prefetch.engine, run_id, prefetch.clock.now())
    return result


def _missing_by_block(
    context: Context, account: Account, window: Window, now: datetime, report: str
) -> Iterator[MissingSpans]:
    last_closed = local_day(now, account.data_zone) - timedelta(days=1)
    if window.since > last_closed:
        return
    for block in aligned_blocks(Window(window.since, min(window.until, last_closed))):
        spans = get_account_missing_spans(context, account, block, now, report)
        if spans:
            yield MissingSpans(account, block, spans)


def _batches(gaps: Sequence[MissingSpans], size: int) -> Iterator[list[MissingSpans]]:
    """Yield batches of one block each, so that an account is in a batch only once."""
    blocks: dict[date, list[MissingSpans]] = {}
    for gap in gaps:
        blocks.setdefault(gap.block.until, []).append(gap)
    for block in blocks.values():
        yield from (block[start : start + size] for start in range(0, len(block), size))


def _fetch_batch(
    prefetch: PrefetchEngine, gaps: Sequence[MissingSpans], report: str, progress: ProgressLog
) -> Iterator[tuple[MissingSpans, KeyOutcome]]:
    """Yield each gap with its final outcome, after waiting for the parked ones."""
    left = list(gaps)
    for _ in range(_MAX_ROUNDS):
        if not left:
            return
        requests = [_to_request(gap, report) for gap in left]
        prefetch.kill_switch.check()
        beat = prefetch.kill_switch.watch(progress.tick)
        outcomes = prefetch.run(requests, Priority.LOW, progress=progress.add, heartbeat=beat).outcomes
        pairs = list(zip(left, outcomes, strict=True))
        parked = [(gap, outcome) for gap, outcome in pairs if outcome.status is KeyStatus.PARKED]
        yield from (pair for pair in pairs if pair[1].status is not KeyStatus.PARKED)
        left = [gap for gap, _ in parked]
        if left:
            prefetch.clock.sleep(min(max(1.0, outcome.retry_after or 1.0) for _, outcome in parked))
    yield from parked


def _end_stopped(prefetch: PrefetchEngine, run_id: str, stop: WarmingStopped) -> WarmingStopped:
    """End the job of a backfill that warming stopped, and return the error to raise."""
    message = f"the backfill stops: {stop}; run it again once warming is on, and it fetches what is missing"
    jobs.add_progress(prefetch.engine, run_id, errors=[message])
    jobs.finish(prefetch.engine, run_id, prefetch.clock.now())
    return WarmingStopped(message)


def _to_request(gap: MissingSpans, report: str) -> KeyRequest:
    """Return the request for a gap: its newest day as an entry, and the other days as history."""
    newest = gap.spans[-1].until
    key, cause = ReportKey(gap.account.id, f"{newest}..{newest}", report), CallCause(CauseKind.BACKFILL)
    return KeyRequest(key, history=gap.block, cause=cause)


def _raise_if_all_failed(outcomes: Sequence[KeyOutcome]) -> None:
    failing = {KeyStatus.FAILED, KeyStatus.STALE, KeyStatus.PARKED}
    failed = [outcome for outcome in outcomes if outcome.status in failing]
    if len(outcomes) > 1 and len(failed) == len(outcomes):
        reasons = " | ".join(dict.fromkeys(str(outcome.reason) for outcome in failed[:20]))
        message = f"a whole batch of {len(outcomes)} accounts failed, so the backfill stops: {reasons[:500]}"
        error = BatchResult(failed).most_severe_error()
        raise with_message(error, message) if error else Transient(message)


def _record_outcome(
    engine: Engine, run_id: str, result: BackfillResult, gap: MissingSpans, outcome: KeyOutcome
) -> None:
    served = outcome.status.is_served
    result.requests += outcome.calls
    result.ended[str(outcome.status)] += 1
    if not served:
        result.reasons[f"{gap.account.id} {gap.block}"] = str(outcome.reason)
    errors = [] if served else [f"{gap.account.id} {gap.block}: {outcome.reason}"]
    jobs.add_progress(engine, run_id, done=int(served), failed=int(not served), requests=outcome.calls, errors=errors)


def _expect_rows(context: Context, report: str) -> tuple[dict[str, float], float, str]:
    """Return the rows of a day by account, those of other accounts, and where the numbers come from."""
    spec = context.settings.spec(report)
    own = partitions.get_rows_per_day(context.engine, spec.hash)
    others = list_similar(spec, context.settings)
    similar = [(other.level, partitions.get_rows_per_day(context.engine, other.hash)) for other in others]
    names = set(own).union(*(means for _, means in similar))
    rows = {
        name: expect_rows(spec, own.get(name), ((level, means.get(name)) for level, means in similar)) for name in names
    }
    if not rows:
        return {}, expect_rows(spec, None), _ASSUMED
    return rows, sum(rows.values()) / len(rows), _STORED_DAYS if own else _SIMILAR


def _hours(requests: int, seconds: float, settings: Settings, share: float) -> float:
    """Return the hours that `requests` take with a share of rate and slots, whichever limits more."""
    pressure = settings.backpressure
    slots = max(1.0, min(settings.workers, pressure.max_concurrent * share))
    rate = min(pressure.rate_per_second * max(share, 1e-3), slots / seconds)
    return requests / rate / 3600
