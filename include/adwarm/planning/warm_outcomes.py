"""Marks each warm as used, wasted or superseded, by the opens of its key while its entry was fresh.

An open is credited to the newest warm before it. Warms that failed, or whose batch found a fresh entry or served an old
one, are not marked at all.

Warms of a shadow plan are marked the same way, as if each had been fetched at its warm time. One that falls due before
an earlier one of its key expires would have found a fresh entry and is marked `fresh`: no call would have been made.

| state   | becomes | when                                                              |
|---------|---------|-------------------------------------------------------------------|
| fetched | used    | its key was opened between its fetch and its expiry, before a newer warm |
| fetched | superseded | a newer warm of its key was fetched before its expiry, and before any open |
| fetched | wasted  | it expired unopened, as far as the log was read                   |
| shadow  | fresh   | an earlier shadow warm of its key was still fresh at its warm time |
| shadow  | used or wasted | as for `fetched`, with the warm time as the fetch time      |
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from adwarm.foundation import telemetry
from adwarm.model import ReportKey, Warm, WarmReason, WarmStatus, WarmUse
from adwarm.store import Context, warms
from adwarm.store.aggregates import find_log_end

FINAL_DATA_LIFETIME = timedelta(days=7)
"""A warm of final data never expires; it is marked wasted after this long."""

TimeSpan = tuple[datetime, datetime]
_FETCHED = frozenset(WarmReason) - {WarmReason.DAY_CLOSED, WarmReason.SPEC_CHANGED}
"""Reasons of warms that are meant for readers now; a closed day is for its score, a changed query for later."""


@dataclass(frozen=True, slots=True)
class WarmOutcomes:
    """How many warms were marked used, wasted or superseded, and how many stay open for a later run."""

    used: int
    wasted: int
    open: int
    superseded: int = 0

    def __str__(self) -> str:
        if not self.used + self.wasted + self.open + self.superseded:
            return "none to evaluate"
        undecided = f"; {self.open:,} have not expired yet, or the log is not read that far" if self.open else ""
        replaced = f", {self.superseded:,} were replaced by a newer one unopened" if self.superseded else ""
        return f"{self.used:,} were opened while fresh, {self.wasted:,} expired unopened{replaced}{undecided}"


def mark_warm_outcomes(
    context: Context, now: datetime, log_end: datetime | None = None, *, status: WarmStatus = WarmStatus.FETCHED
) -> WarmOutcomes:
    """Mark every fetched warm as used, wasted or superseded, as far as the log has been read.

    A warm that the log does not cover yet stays open. Before any log was read, nothing is marked.

    Args:
        now: warms fetched after this moment are left open.
        log_end: the moment up to which the opens are complete; by default the end of the log as read.
        status: of the warms to mark. Those of shadow plans count as fetched at their warm time.
    """
    log_end = log_end or find_log_end(context.engine)
    now = min(now, log_end) if log_end else now
    reasons = _FETCHED if status is WarmStatus.FETCHED else {WarmReason.PREDICTED_OPEN}
    pending = [warm for warm in warms.list_unmarked(context.engine, now, status) if warm.reason in reasons]
    if not pending or log_end is None:
        return WarmOutcomes(0, 0, len(pending))
    covered: list[Warm] = []
    if status is WarmStatus.SHADOW:
        pending, covered = _simulate_fetches(pending)
    since = min((_start(warm) for warm in pending), default=now)
    opens = _load_opens(context, since - timedelta(minutes=15), now)
    is_real = status is WarmStatus.FETCHED
    newer = _find_successors(pending, warms.list_fetches(context.engine, since, now)) if is_real else {}
    marks = [mark for warm in pending if (mark := _evaluate(warm, opens, now, newer.get(warm.id)))]
    warms.mark_uses(context.engine, marks, [warm.id for warm in covered])
    counts = Counter(mark.used for mark in marks)
    if is_real:
        for value, name in ((True, "used"), (False, "wasted"), (None, "superseded")):
            telemetry.report(telemetry.WARM_OUTCOMES, counts[value], outcome=name)
    return WarmOutcomes(counts[True], counts[False], len(pending) - len(marks), counts[None])


def find_used_strategies(context: Context, at: datetime) -> set[str]:
    """Return the strategies that have an open warm which somebody opened already, as far as the log has been read."""
    log_end = find_log_end(context.engine)
    until = min(at, log_end) if log_end else at
    pending = [warm for warm in warms.list_unmarked(context.engine, until) if warm.strategy is not None]
    opens = _load_opens(context, min(map(_start, pending)) - timedelta(minutes=15), until) if pending else {}
    return {warm.strategy for warm in pending if warm.strategy is not None and _list_uses(warm, opens, _end(warm))}


def _find_successors(
    pending: list[Warm], fetches: Sequence[tuple[ReportKey, datetime, int]]
) -> dict[int, tuple[datetime, int]]:
    """Return, by id of a warm, when the next warm of its key was fetched, and that one's id."""
    by_key: dict[ReportKey, list[tuple[datetime, int]]] = defaultdict(list)
    for key, at, warm_id in fetches:
        by_key[key].append((at, warm_id))
    successors = {}
    for warm in pending:
        times = by_key.get(warm.key, [])
        index = bisect_right(times, (_start(warm), warm.id))
        if index < len(times):
            successors[warm.id] = times[index]
    return successors


def _simulate_fetches(shadow_warms: list[Warm]) -> tuple[list[Warm], list[Warm]]:
    """Return shadow warms as if fetched at their warm time, and those that would have found their key fresh."""
    # One that was marked has ended before every warm that is unmarked.
    fresh_until: dict[ReportKey, datetime] = {}
    fetched, covered = [], []
    for warm in sorted(shadow_warms, key=lambda warm: (_start(warm), warm.id)):
        at = _start(warm)
        end = warm.expires_at or at + FINAL_DATA_LIFETIME
        if at < fresh_until.get(warm.key, at):
            covered.append(warm)
            continue
        fresh_until[warm.key] = end
        fetched.append(replace(warm, fetched_at=at, expires_at=end))
    return fetched, covered


def _load_opens(context: Context, since: datetime, until: datetime) -> dict[ReportKey, list[TimeSpan]]:
    from adwarm.patterns.open_history import load_slots

    slots = load_slots(context, since, until)
    opens: dict[ReportKey, list[TimeSpan]] = defaultdict(list)
    columns = ["account_id", "date_range", "report", "first_ts", "last_ts"]
    for account, date_range, report, first, last in slots[columns].itertuples(index=False, name=None):
        key = ReportKey(str(account), str(date_range), str(report))
        opens[key].append((first.to_pydatetime(), last.to_pydatetime()))
    return opens


def _evaluate(
    warm: Warm, opens: dict[ReportKey, list[TimeSpan]], now: datetime, newer: tuple[datetime, int] | None
) -> WarmUse | None:
    """Return the mark of a warm; None while it is open."""
    end, replaced_by = _end(warm), None
    if newer is not None and newer[0] < end:
        end, replaced_by = newer
    if end > now:  # also when it was opened already: else the shares of used warms would lack those nobody opens
        return None
    uses = _list_uses(warm, opens, end)
    if uses:
        return WarmUse(warm.id, True, min(uses))
    return WarmUse(warm.id, False if replaced_by is None else None, superseded_by=replaced_by)


def _list_uses(warm: Warm, opens: dict[ReportKey, list[TimeSpan]], end: datetime) -> list[datetime]:
    """Return when its report was opened from its start to before `end`."""
    fetched = _start(warm)
    opens_since = (first if first >= fetched else last for first, last in opens.get(warm.key, []))
    return [moment for moment in opens_since if fetched <= moment < end]


def _end(warm: Warm) -> datetime:
    """Return until when a warm is fresh."""
    return warm.expires_at or _start(warm) + FINAL_DATA_LIFETIME


def _start(warm: Warm) -> datetime:
    """Return the moment from which a warm serves readers; a shadow warm counts as fetched at its warm time."""
    return warm.fetched_at or warm.warm_at or warm.decided_at
