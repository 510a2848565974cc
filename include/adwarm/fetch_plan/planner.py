"""The fetch planner: wanted windows become the fewest requests.

Spans of days cover exactly what is missing or due by the settle calendar; days that are final are never among them. Two
spans are joined where the days between are not final and cost less than a request. Every wanted window of more than one
day has a range summary, because reach and frequency do not add up over days; the summaries of an account travel in one
request, together with its days where these are few.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from adwarm.fetch_plan.refetch_schedule import RefetchSchedule
from adwarm.model import Window
from adwarm.model.windows import ONE_DAY
from adwarm.sources.protocol import Capabilities
from adwarm.store.partitions import PartitionState

BLOCK_DAYS = 30
PAGE_ROWS = 500
_BLOCK_EPOCH = date(2000, 1, 1)


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """What to ask for: spans of days, oldest first, and the windows that have a summary."""

    spans: tuple[Window, ...]
    summary_windows: tuple[Window, ...]

    @property
    def is_empty(self) -> bool:
        """Whether no day has to be fetched; which summaries are due is known when the days are there."""
        return not self.spans


def plan_fetch(
    windows: Sequence[Window],
    stored: Mapping[date, PartitionState],
    schedule: RefetchSchedule,
    now: datetime,
    history: Sequence[Window] = (),
    page_rows: int = PAGE_ROWS,
) -> FetchPlan:
    """Return the fewest requests that make `wanted` complete and fresh at `now`.

    Args:
        wanted: windows whose entries are absent or stale.
        have: the partitions there are, by day.
        calendar: the account's; days after its today are left out.
        now: the moment of the fetch.
        history: further days to complete, without an entry of their own.
        page_rows: days that are there and not final are read along while they fit one page.
    """
    today = schedule.today(now)
    days = {day for window in (*windows, *history) for day in window.days() if day <= today}
    due = sorted(day for day in days if needs_fetch(day, stored.get(day), schedule, now))
    ranges = tuple(sorted({window for window in windows if len(window) > 1}))
    return FetchPlan(tuple(_spans(due, stored, schedule, page_rows)), ranges)


def combine_request(
    spans: Sequence[Window],
    due_summaries: Sequence[Window],
    caps: Capabilities,
    rows_per_day: int = 0,
    max_rows: int = PAGE_ROWS,
) -> tuple[Window, ...]:
    """Return the windows of the one request that answers days and summaries together; none when they go apart.

    A day is a window of one day: where the source answers people reached over any window, both can be asked at once.
    Days that are expected to have more than `most_rows` together save no page that way, and may go as a report.
    """
    days = [Window(day, day) for span in spans for day in span.days()]
    fits = len(days) + len(due_summaries) <= caps.max_windows_per_request and len(days) * rows_per_day <= max_rows
    return (*days, *due_summaries) if days and due_summaries and fits and caps.unique_metrics else ()


def needs_fetch(day: date, state: PartitionState | None, schedule: RefetchSchedule, now: datetime) -> bool:
    """Whether a day is missing, incomplete, or due by the calendar."""
    return state is None or not state.complete or schedule.is_due(day, state.fetched_at, now)


def _spans(
    due: Sequence[date], have: Mapping[date, PartitionState], calendar: RefetchSchedule, page_rows: int
) -> list[Window]:
    spans: list[Window] = []
    for day in due:
        if spans and _joins(spans[-1].until, day, have, calendar, page_rows):
            spans[-1] = Window(spans[-1].since, day)
        else:
            spans.append(Window(day, day))
    return spans


def _joins(
    before: date, day: date, have: Mapping[date, PartitionState], calendar: RefetchSchedule, page_rows: int
) -> bool:
    """Whether reading the days between along is allowed, and no dearer than a request of its own."""
    between = [before + timedelta(days=offset) for offset in range(1, (day - before).days)]
    known = [have[day] for day in between if day in have]
    if len(known) < len(between) or any(calendar.is_final(state.day, state.fetched_at) for state in known):
        return False  # a day that nobody asked for is not fetched along either
    return sum(state.rows for state in known) <= page_rows


def aligned_block(day: date) -> Window:
    """Return the 30-day block that holds `day`; every caller sees the same blocks, so backfills share their fetches."""
    start = _BLOCK_EPOCH + timedelta(days=(day - _BLOCK_EPOCH).days // BLOCK_DAYS * BLOCK_DAYS)
    return Window(start, start + timedelta(days=BLOCK_DAYS - 1))


def aligned_blocks(window: Window) -> list[Window]:
    """Return the aligned blocks that `window` touches, oldest first, each cut to the window."""
    blocks: list[Window] = []
    since = window.since
    while since <= window.until:
        until = min(aligned_block(since).until, window.until)
        blocks.append(Window(since, until))
        since = until + ONE_DAY
    return blocks


def get_day_close_windows(day: date, history_days: int, last_closed: date) -> tuple[Window, Window]:
    """Return what closing `day` needs: the week that ends on it, and the days of history to complete.

    The history is the score's look-back together with the day's aligned block, as far as its days have closed.
    """
    block = aligned_block(day)
    since = min(block.since, day - timedelta(days=history_days - 1))
    return Window(day - timedelta(days=6), day), Window(since, max(day, min(block.until, last_closed)))
