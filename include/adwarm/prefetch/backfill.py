"""Backfills of history: which days are still missing, and how the accounts are taken through them.

The range is cut into the aligned blocks that every caller shares, newest first, so that an interrupted backfill leaves
whole blocks and the most useful days first. What is there and not due is never asked for, so a rerun fetches only what
is missing, and one over finished, settled days makes no call.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from adwarm.fetch_plan.planner import aligned_blocks, plan_fetch
from adwarm.fetch_plan.refetch_schedule import RefetchSchedule
from adwarm.foundation.errors import BadRequest, Transient
from adwarm.foundation.local_time import local_day
from adwarm.model import Account, Priority, ReportKey, Window
from adwarm.prefetch.batch_result import BatchResult, KeyOutcome, KeyRequest, KeyStatus, with_message
from adwarm.prefetch.engine import PrefetchEngine
from adwarm.settings import Settings
from adwarm.sources.protocol import InsightsSource
from adwarm.store import jobs, partitions

PLATFORM_RETENTION_DAYS = 1122
"""37 months: what the platform keeps."""
DAG = "backfill"
_ROUNDS = 50


@dataclass(frozen=True, slots=True)
class MissingSpans:
    """What an account lacks of a block: spans of days to fetch, oldest first."""

    account: Account
    block: Window
    spans: tuple[Window, ...]

    @property
    def days(self) -> int:
        """How many days that is."""
        return sum(len(span) for span in self.spans)


@dataclass
class BackfillResult:
    """What a backfill did: account-blocks by how they ended, requests, and the reasons of those that failed."""

    blocks: int = 0
    requests: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"blocks": self.blocks, "requests": self.requests, **self.ended, "reasons": self.reasons}


def validate_range(window: Window, now: datetime, sources: Iterable[Callable[[], InsightsSource]] = ()) -> None:
    """Check that a range can be asked for.

    Args:
        window: the range.
        now: the present.
        sources: what builds the sources that will be asked, looked at for old days only; the platform when empty.

    Raises:
        BadRequest: it begins before what the sources keep, which is 37 months for the platform, or has not begun.
    """
    today = now.date()
    if (today - window.since).days > PLATFORM_RETENTION_DAYS:
        kept = [make().capabilities.retention_days for make in sources] or [PLATFORM_RETENTION_DAYS]
        oldest = today - timedelta(days=max(days or 0 for days in kept))
        if None not in kept and window.since < oldest:
            raise BadRequest(f"the platform keeps 37 months; {window.since} is older, begin on {oldest} or later")
    if window.since >= today:
        raise BadRequest(f"{window.since} has not ended yet; end on {today - timedelta(days=1)} or earlier")


def find_missing_spans(
    engine: Engine, settings: Settings, accounts: Iterable[Account], window: Window, now: datetime, report: str
) -> list[MissingSpans]:
    """Return what the accounts lack of the closed days of `window`, the newest block first, by account within it."""
    gaps = [gap for account in accounts for gap in _missing_by_block(engine, settings, account, window, now, report)]
    return sorted(gaps, key=lambda gap: (-gap.block.since.toordinal(), gap.account.id))


def get_account_missing_spans(
    engine: Engine, settings: Settings, account: Account, window: Window, now: datetime, report: str
) -> tuple[Window, ...]:
    """Return the spans of `window` that an account lacks, or that are due."""
    have = partitions.list_states(engine, account.id, settings.spec(report).hash, window)
    calendar = RefetchSchedule.for_account(account, settings.freshness_rules)
    return plan_fetch([], have, calendar, now, [window], settings.source.page_size).spans


def run_backfill(
    prefetch: PrefetchEngine,
    accounts: Sequence[Account],
    window: Window,
    *,
    report: str = "default",
    batch_size: int = 50,
    progress: Callable[[MissingSpans, KeyOutcome], None] | None = None,
) -> BackfillResult:
    """Fetch what is missing, block by block and batch by batch of accounts, at low priority.

    A parked account is taken up again when its time has come; one that was denied is left out from then on.

    Raises:
        BadRequest: the range cannot be asked for.
        AdwarmError: a whole batch failed, of the class of the gravest reason; the message holds the first ones. What
            was fetched stays.
    """
    validate_range(window, prefetch.clock.now(), [prefetch.make_source, *prefetch.sources.values()])
    gaps = find_missing_spans(prefetch.engine, prefetch.settings, accounts, window, prefetch.clock.now(), report)
    run_id = f"{DAG}/{window}"
    jobs.start(prefetch.engine, run_id, DAG, len(gaps), prefetch.clock.now())
    done = BackfillResult(len(gaps))
    denied: set[str] = set()
    for batch in _batches(gaps, batch_size):
        left = [gap for gap in batch if gap.account.id not in denied]
        ended = []
        for gap, outcome in _fetch_batch(prefetch, left, report):
            ended.append(outcome)
            _record_outcome(prefetch.engine, run_id, done, gap, outcome)
            if outcome.status is KeyStatus.DENIED:
                denied.add(gap.account.id)
            if progress:
                progress(gap, outcome)
        _raise_if_all_failed(ended)
    jobs.finish(prefetch.engine, run_id, prefetch.clock.now())
    return done


def _missing_by_block(
    engine: Engine, settings: Settings, account: Account, window: Window, now: datetime, report: str
) -> Iterator[MissingSpans]:
    last_closed = local_day(now, account.data_zone) - timedelta(days=1)
    if window.since > last_closed:
        return
    for block in aligned_blocks(Window(window.since, min(window.until, last_closed))):
        spans = get_account_missing_spans(engine, settings, account, block, now, report)
        if spans:
            yield MissingSpans(account, block, spans)


def _batches(gaps: Sequence[MissingSpans], size: int) -> Iterator[list[MissingSpans]]:
    """Yield batches of one block each, so that an account is in a batch once."""
    blocks: dict[date, list[MissingSpans]] = {}
    for gap in gaps:
        blocks.setdefault(gap.block.until, []).append(gap)
    for block in blocks.values():
        yield from (block[start : start + size] for start in range(0, len(block), size))


def _fetch_batch(
    prefetch: PrefetchEngine, gaps: Sequence[MissingSpans], report: str
) -> Iterator[tuple[MissingSpans, KeyOutcome]]:
    """Yield each gap with its final outcome, waiting out what is parked."""
    left = list(gaps)
    for _ in range(_ROUNDS):
        if not left:
            return
        outcomes = prefetch.run([_to_request(gap, report) for gap in left], Priority.LOW).outcomes
        pairs = list(zip(left, outcomes, strict=True))
        parked = [(gap, outcome) for gap, outcome in pairs if outcome.status is KeyStatus.PARKED]
        yield from (pair for pair in pairs if pair[1].status is not KeyStatus.PARKED)
        left = [gap for gap, _ in parked]
        if left:
            prefetch.clock.sleep(min(max(1.0, outcome.retry_after or 1.0) for _, outcome in parked))
    yield from parked


def _to_request(gap: MissingSpans, report: str) -> KeyRequest:
    """Return the wish for a gap: its newest day as an entry, and the other days behind it."""
    newest = gap.spans[-1].until
    return KeyRequest(ReportKey(gap.account.id, f"{newest}..{newest}", report), history=gap.block)


def _raise_if_all_failed(outcomes: Sequence[KeyOutcome]) -> None:
    lasting = {KeyStatus.FAILED, KeyStatus.STALE, KeyStatus.PARKED}
    failed = [outcome for outcome in outcomes if outcome.status in lasting]
    if len(outcomes) > 1 and len(failed) == len(outcomes):
        reasons = " | ".join(dict.fromkeys(str(outcome.reason) for outcome in failed[:20]))
        words = f"a whole batch of {len(outcomes)} accounts failed, so the backfill stops: {reasons[:500]}"
        error = BatchResult(failed).most_severe_error()
        raise with_message(error, words) if error else Transient(words)


def _record_outcome(engine: Engine, run_id: str, done: BackfillResult, gap: MissingSpans, outcome: KeyOutcome) -> None:
    served = outcome.status.is_served
    done.requests += outcome.calls
    done.ended[str(outcome.status)] += 1
    if not served:
        done.reasons[f"{gap.account.id} {gap.block}"] = str(outcome.reason)
    errors = [] if served else [f"{gap.account.id} {gap.block}: {outcome.reason}"]
    jobs.add_progress(engine, run_id, done=int(served), failed=int(not served), requests=outcome.calls, errors=errors)
