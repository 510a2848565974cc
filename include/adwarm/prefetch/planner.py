"""The fetch planner: wanted windows become the fewest requests.

One span of days covers everything that is missing or no longer fresh, and every wanted window of more than one day adds
a range summary, because reach and frequency do not add up over days. The summaries of an account travel in one request.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from adwarm.model import FreshnessRules, Window, expires_at, local_day
from adwarm.store.partitions import PartitionState

BLOCK_DAYS = 30
_BLOCK_EPOCH = date(2000, 1, 1)


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """What to ask for: one span of days, if any, and the windows to summarise."""

    daily: Window | None
    ranges: tuple[Window, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing has to be fetched."""
        return self.daily is None and not self.ranges


def plan_fetch(
    wanted: Sequence[Window],
    have: Mapping[date, PartitionState],
    data_zone: str,
    now: datetime,
    rules: FreshnessRules,
    history: Window | None = None,
) -> FetchPlan:
    """Return the fewest requests that make `wanted` complete and fresh at `now`.

    Args:
        wanted: windows whose entries are absent or stale.
        have: the partitions there are, by day.
        data_zone: the account's zone; days after its today are left out.
        now: the moment of the fetch.
        rules: how long each day stays fresh.
        history: further days to complete, without an entry of their own.
    """
    today = local_day(now, data_zone)
    days = {day for window in (*wanted, *([history] if history else [])) for day in window.days() if day <= today}
    stale = sorted(day for day in days if needs_fetch(day, have.get(day), data_zone, now, rules))
    ranges = tuple(sorted({window for window in wanted if len(window) > 1}))
    return FetchPlan(Window(stale[0], stale[-1]) if stale else None, ranges)


def needs_fetch(day: date, state: PartitionState | None, data_zone: str, now: datetime, rules: FreshnessRules) -> bool:
    """Whether a day is missing, incomplete, or older than its freshness class allows."""
    if state is None or not state.complete:
        return True
    expiry = expires_at(Window(day, day), data_zone, state.fetched_at, rules)
    return expiry is not None and expiry <= now


def aligned_block(day: date) -> Window:
    """Return the 30-day block that holds `day`; every caller sees the same blocks, so backfills share their fetches."""
    start = _BLOCK_EPOCH + timedelta(days=(day - _BLOCK_EPOCH).days // BLOCK_DAYS * BLOCK_DAYS)
    return Window(start, start + timedelta(days=BLOCK_DAYS - 1))


def closing_windows(day: date, history_days: int, last_closed: date) -> tuple[Window, Window]:
    """Return what closing `day` needs: the week that ends on it, and the days of history to complete.

    The history is the score's look-back together with the day's aligned block, as far as its days have closed.
    """
    block = aligned_block(day)
    since = min(block.since, day - timedelta(days=history_days - 1))
    return Window(day - timedelta(days=6), day), Window(since, max(day, min(block.until, last_closed)))
