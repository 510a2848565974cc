"""Which requests do report keys take? Pure functions over partition states that are passed in as values.

The refetch schedule: when a stored day has to be fetched again, and when it is final.

| age of the day     | fetched again                                                               |
|--------------------|-----------------------------------------------------------------------------|
| any, not settled   | when its freshness ends                                                     |
| up to a week       | once a day                                                                  |
| older, not settled | once a week, on the account's own weekday                                   |
| settled            | once after the platform has stopped restating it, then never                |
| has groups that do | the same, and once a week when it would be settled; at once when other days |
| not add up         | that were read later have groups, and none that were read before            |

An entry is as fresh as the days in it: it expires when the first of them does, see `find_expiry`.

The fetch planner: turns windows into the fewest requests.

Spans of days cover exactly the days that are missing or due by the refetch schedule; final days are never fetched
again. Two spans are joined when the days between them are not final and cost less than another request. Every window
of more than one day also needs a range summary, because reach and frequency do not add up over days. The summaries of
an account share one request, and a few days may travel with them.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import NamedTuple

from adwarm.foundation.local_time import local_day, local_midnight
from adwarm.model import Account, FreshnessRules, QuerySpec, Window, expires_at, is_settled
from adwarm.model.breakdowns import count_groups
from adwarm.settings import Settings
from adwarm.sources.protocol import Capabilities
from adwarm.sources.units import PAGE_ROWS
from adwarm.store.partitions import PartitionState
from adwarm_client.date_ranges import ONE_DAY

REPORT_CALLS = 10
"""Calls of an async report beside its pages: one starts it, and in two minutes nine ask for its progress."""
TYPICAL_OBJECTS = {"ad": 50.0, "adset": 15.0, "campaign": 5.0, "account": 1.0}
"""Objects of an account with rows on a day while nothing is stored: about three ads in an ad set, and three of these in
a campaign, which lies within what guides to the platform advise (two to five of each)."""
SESSION = timedelta(minutes=30)
"""An entry must stay fresh for this long after the predicted open: whoever opens one report opens others after it."""
BLOCK_DAYS = 30
HISTORY_DAYS = 37
"""Days of rows that closing a day completes: what the score of the day looks at, a month and the week before it."""
_BLOCK_EPOCH = date(2000, 1, 1)


@dataclass(frozen=True, slots=True)
class RefetchSchedule:
    """The schedule of one account.

    Attributes:
        data_zone: the zone in which its days are counted.
        weekday: 0 (Monday) to 6; the day on which its older unsettled days are fetched again.
        rules: ages at which data goes stale and settles.
    """

    data_zone: str
    weekday: int = 0
    rules: FreshnessRules = field(default_factory=FreshnessRules)

    @classmethod
    def for_account(cls, account: Account, rules: FreshnessRules) -> "RefetchSchedule":
        """Return the account's schedule; the weekday comes from its id, which spreads accounts over the week."""
        return cls(account.data_zone, refetch_weekday(account.id), rules)

    def today(self, now: datetime) -> date:
        """Return the account's day at `now`."""
        return local_day(now, self.data_zone)

    def is_final(self, day: date, fetched_at: datetime) -> bool:
        """Whether data of `day` fetched at `fetched_at` is never fetched again."""
        return is_settled(day, self.data_zone, fetched_at, self.rules)

    def is_due(self, day: date, fetched_at: datetime, now: datetime) -> bool:
        """Whether data of `day` fetched at `fetched_at` has to be fetched again at `now`."""
        end = self.find_day_expiry(day, fetched_at, now)
        return end is not None and end <= now

    def find_day_expiry(self, day: date, fetched_at: datetime, now: datetime) -> datetime | None:
        """Return when data of `day` stops being fresh: None when it is final, and not after `now` when it is due."""
        end = expires_at(Window(day, day), self.data_zone, fetched_at, self.rules, at=now)
        return min(end, now) if end is not None and self._is_turn_missed(day, fetched_at, now) else end

    def _is_turn_missed(self, day: date, fetched_at: datetime, now: datetime) -> bool:
        """Whether an unfinished day was fetched before it ended, or before its last turn of every day or week."""
        today = self.today(now)
        if day >= today:
            return False
        if fetched_at < self._midnight(day + ONE_DAY):
            return True
        is_daily = (today - day).days <= self.rules.daily_days
        return fetched_at < self._midnight(today) if is_daily else self.is_week_over(fetched_at, now)

    def is_week_over(self, fetched_at: datetime, now: datetime) -> bool:
        """Whether the account's weekday has come since `fetched_at`."""
        return fetched_at < self._midnight(self._last_weekly(self.today(now)))

    def is_summary_due(self, window: Window, fetched_at: datetime, now: datetime) -> bool:
        """Whether a summary of `window` fetched at `fetched_at` is due, given that none of its days was restated."""
        return not self.is_final(window.until, fetched_at) and fetched_at < self._midnight(self.today(now))

    def _midnight(self, day: date) -> datetime:
        return local_midnight(day, self.data_zone)

    def _last_weekly(self, today: date) -> date:
        return today - timedelta(days=(today.weekday() - self.weekday) % 7)


def refetch_weekday(account_id: str) -> int:
    """Return the weekday of an account, 0 for Monday; it depends only on the id."""
    return hashlib.sha256(account_id.encode()).digest()[0] % 7


REPORT_DAYS, REPORT_ROWS = 45, 10_000
"""More days or expected rows than these go as an async report: by pages they take minutes, one call after another."""


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """What to fetch.

    Attributes:
        spans: spans of days, oldest first.
        summary_windows: the windows that need a range summary.
    """

    spans: tuple[Window, ...]
    summary_windows: tuple[Window, ...]

    @property
    def is_empty(self) -> bool:
        """Whether no day has to be fetched. Which summaries are due depends on the days once they are stored."""
        return not self.spans


def plan_fetch(
    windows: Sequence[Window],
    stored: Mapping[date, PartitionState],
    schedule: RefetchSchedule,
    now: datetime,
    history: Sequence[Window] = (),
    page_rows: int = PAGE_ROWS,
    until: datetime | None = None,
) -> FetchPlan:
    """Return the fewest requests that make `windows` complete and fresh at `now`.

    Args:
        windows: windows whose entries are absent or stale.
        schedule: the account's refetch schedule; days after its today are left out.
        history: further days to complete; they get no entry of their own.
        until: when the windows are still to be fresh; days that would not be, and are when fetched now, are due too.
        page_rows: stored days that are not final are fetched again between two spans while they fit into one page.
    """
    today = schedule.today(now)
    own = {day for window in windows for day in window.days()}
    days = own.union(*(window.days() for window in history))
    changed = _list_answered_since(stored)
    due = sorted(
        day
        for day in days
        if day <= today
        and (day in changed or needs_fetch(day, stored.get(day), schedule, now, until if day in own else None))
    )
    ranges = tuple(sorted({window for window in windows if len(window) > 1}))
    return FetchPlan(tuple(_join_days(due, stored, schedule, page_rows)), ranges)


def combine_request(
    spans: Sequence[Window],
    due_summaries: Sequence[Window],
    caps: Capabilities,
    rows_per_day: int = 0,
    max_rows: int = PAGE_ROWS,
) -> tuple[Window, ...]:
    """Return the windows of the one request that covers days and summaries together; empty when they need two.

    A day is a window of one day, so a source that reports unique users over any window can cover both at once. Days
    with more than `max_rows` expected rows together save no page that way and may go as an async report instead.
    """
    days = [Window(day, day) for span in spans for day in span.days()]
    fits = len(days) + len(due_summaries) <= caps.max_windows_per_request and len(days) * rows_per_day <= max_rows
    return (*days, *due_summaries) if days and due_summaries and fits and caps.unique_metrics else ()


def needs_fetch(
    day: date, state: PartitionState | None, schedule: RefetchSchedule, now: datetime, until: datetime | None = None
) -> bool:
    """Whether a day is missing, incomplete, restated since it was fetched, or due by the schedule.

    Args:
        until: when it is still to be fresh; see `plan_fetch`.
    """
    end = now if state is None else _find_state_expiry(state, schedule, now)
    if end is None or end <= now:
        return end is not None
    if until is None or until < end:
        return False
    renewed = schedule.find_day_expiry(day, now, now)
    return renewed is None or renewed > until


def find_expiry(
    window: Window, stored: Mapping[date, PartitionState], schedule: RefetchSchedule, now: datetime
) -> datetime | None:
    """Return when an entry of the stored days of `window` stops being fresh: when the first of its days does.

    That is `now` when a day has to be fetched already, and never (None) when all of them are final.
    """
    today = schedule.today(now)
    states = [stored.get(day) for day in window.days() if day <= today]
    ends = [now if state is None else _find_state_expiry(state, schedule, now) for state in states]
    return min((end for end in ends if end is not None), default=None)


def _find_state_expiry(state: PartitionState, schedule: RefetchSchedule, now: datetime) -> datetime | None:
    if not state.complete or state.is_restated:
        return now
    if state.is_short and schedule.is_final(state.day, state.fetched_at):
        return now if schedule.is_week_over(state.fetched_at, now) else state.fetched_at + schedule.rules.settling
    return schedule.find_day_expiry(state.day, state.fetched_at, now)


def _list_answered_since(stored: Mapping[date, PartitionState]) -> set[date]:
    """Return the days whose groups did not add up before a breakdown was answered for the first time."""
    answered = min((state.fetched_at for state in stored.values() if state.rows and not state.is_short), default=None)
    return {day for day, state in stored.items() if state.is_short and answered and state.fetched_at < answered}


def _join_days(
    due: Sequence[date], stored: Mapping[date, PartitionState], schedule: RefetchSchedule, page_rows: int
) -> list[Window]:
    spans: list[Window] = []
    for day in due:
        if spans and _can_join(spans[-1].until, day, stored, schedule, page_rows):
            spans[-1] = Window(spans[-1].since, day)
        else:
            spans.append(Window(day, day))
    return spans


def _can_join(
    end: date, day: date, stored: Mapping[date, PartitionState], schedule: RefetchSchedule, page_rows: int
) -> bool:
    """Whether the days between `end` and `day` may be fetched again and cost no more than another request."""
    between = [end + timedelta(days=offset) for offset in range(1, (day - end).days)]
    states = [stored[day] for day in between if day in stored]
    if len(states) < len(between) or any(schedule.is_final(state.day, state.fetched_at) for state in states):
        return False  # days outside the requested windows are not fetched
    return sum(state.rows for state in states) <= page_rows


def aligned_block(day: date) -> Window:
    """Return the 30-day block that contains `day`; blocks are the same for every caller, so backfills share fetches."""
    start = _BLOCK_EPOCH + timedelta(days=(day - _BLOCK_EPOCH).days // BLOCK_DAYS * BLOCK_DAYS)
    return Window(start, start + timedelta(days=BLOCK_DAYS - 1))


def aligned_blocks(window: Window) -> list[Window]:
    """Return the aligned blocks that overlap `window`, oldest first, each cut to the window."""
    blocks: list[Window] = []
    since = window.since
    while since <= window.until:
        until = min(aligned_block(since).until, window.until)
        blocks.append(Window(since, until))
        since = until + ONE_DAY
    return blocks


def get_day_close_windows(day: date, last_closed: date) -> tuple[Window, Window]:
    """Return what closing `day` needs: the week that ends on it, and the days of history to complete.

    The history is the look-back of the fatigue score plus the day's aligned block, up to `last_closed`.
    """
    block = aligned_block(day)
    since = min(block.since, day - timedelta(days=HISTORY_DAYS - 1))
    return Window(day - timedelta(days=6), day), Window(since, max(day, min(block.until, last_closed)))


class RequestCost(NamedTuple):
    """The requests of one key; keys of the same account and report share both.

    Attributes:
        days: one request for the days that are missing or due.
        summary: one request for the range summary.
        pages: calls of a request: one for each page of its result, and what an async report takes beside them; the
            mean of both requests.
    """

    days: bool
    summary: bool
    pages: int = 1

    @property
    def calls(self) -> set[tuple[str, int]]:
        """The calls, by their request and page, so that keys which share them are counted once."""
        needed = {"days": self.days, "summary": self.summary}
        return {(name, page) for name, is_due in needed.items() if is_due for page in range(self.pages)}


def get_request_cost(
    window: Window,
    stored: Mapping[date, PartitionState],
    schedule: RefetchSchedule,
    at: datetime,
    rows_per_day: float = 0,
    until: datetime | None = None,
) -> RequestCost:
    """Return the requests that a fetch of `window` at `at` takes.

    Args:
        window: the days that the key covers at that moment.
        stored: the account's stored partitions by day; empty when nothing is stored.
        schedule: the account's refetch schedule.
        rows_per_day: expected rows, by which the calls of a request are counted; 0 for one call.
        until: when the key is still to be fresh; see `plan_fetch`.
    """
    if not stored:  # most keys of a new installation; the planner gives the same answer more slowly
        days, summary = len(window), len(window) > 1
    else:
        plan = plan_fetch([window], stored, schedule, at, until=until)
        days, summary = sum(map(len, plan.spans)), bool(plan.summary_windows)
    if not rows_per_day:
        return RequestCost(days > 0, summary)
    # A summary has about the rows of one day. Both requests count alike, so each gets half of what they take together.
    calls = (count_calls(days, rows_per_day) if days else 0) + (count_calls(1, rows_per_day) if summary else 0)
    return RequestCost(days > 0, summary, math.ceil(calls / max(1, (days > 0) + summary)) or 1)


def count_calls(days: int, rows_per_day: float) -> int:
    """Return the calls of a request of days: its pages and, where it goes as an async report, what that takes."""
    calls = max(1, math.ceil(days * rows_per_day / PAGE_ROWS))
    return calls + REPORT_CALLS if is_large(days, rows_per_day) else calls


def is_large(days: int, rows_per_day: float) -> bool:
    """Whether a request of days goes as an async report, where the source has them."""
    return days > REPORT_DAYS or days * rows_per_day > REPORT_ROWS


def list_similar(spec: QuerySpec, settings: Settings) -> list[QuerySpec]:
    """Return the queries without breakdowns by which the rows of `spec` are expected, those of the nearest level first.

    Reports by account tell nothing about other levels and are left out.
    """
    others = {other.hash: other for other in map(settings.spec, ("default", *settings.reports))}
    plain = [other for other in others.values() if not other.breakdowns and other.level != "account" and other != spec]
    objects = TYPICAL_OBJECTS[spec.level]
    return sorted(plain, key=lambda other: abs(math.log(TYPICAL_OBJECTS[other.level] / objects)))


def expect_rows(spec: QuerySpec, own: float | None, similar: Iterable[tuple[str, float | None]] = ()) -> float:
    """Return the rows of an account-day that a fetch has to expect.

    Args:
        own: rows of the stored days of this query; None without any.
        similar: level and rows of the queries of `list_similar` in their order, of which the first with rows counts.
    """
    if own is not None:
        return own
    objects = TYPICAL_OBJECTS[spec.level]
    if spec.level != "account":
        for level, rows in similar:
            if rows is not None:
                objects = max(rows * objects / TYPICAL_OBJECTS[level], min(rows, 1.0))
                break
    return objects * count_groups(spec.breakdowns)
