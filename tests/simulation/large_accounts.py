"""The accounts of the large simulation: their days in store, and the calls that a report takes by the fetch planner."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from random import Random

from adwarm.fetch_plan import (
    RefetchSchedule,
    aligned_block,
    combine_request,
    get_day_close_windows,
    plan_fetch,
)
from adwarm.foundation.local_time import local_day
from adwarm.model import Account, FreshnessRules, Window, resolve_window
from adwarm.model.keys import expires_at, is_settled
from adwarm.planning.further_warms import get_close_time
from adwarm.sources.protocol import Capabilities
from adwarm.sources.units import PAGE_ROWS
from adwarm.store.partitions import PartitionState
from adwarm_client.date_ranges import ONE_DAY

ZONES = {
    "America/New_York": 0.22,
    "Europe/Berlin": 0.18,
    "America/Los_Angeles": 0.16,
    "Europe/London": 0.12,
    "Asia/Kolkata": 0.10,
    "America/Sao_Paulo": 0.08,
    "Australia/Sydney": 0.06,
    "Asia/Tokyo": 0.05,
    "UTC": 0.03,
}
"""Share of the accounts in each data zone: made up, so that every hour of the day has an account's midnight near."""

RANGES = {"today": 0.35, "last_7d": 0.3, "yesterday": 0.2, "last_30d": 0.15}
"""Share of each range in the opens."""

MEDIAN_ADS, ADS_SPREAD = 20, 1.0
"""Median of the ads of an account, and the deviation of their logarithm."""

FRESHNESS = FreshnessRules()


def at(moment: float) -> datetime:
    """Return seconds since 1970 as UTC."""
    return datetime.fromtimestamp(moment, UTC)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a fetch, and what is known once it has succeeded."""

    days: tuple[date, ...] = ()
    summaries: tuple[Window, ...] = ()


@dataclass(slots=True)
class SimulatedAccount:
    """An account: what is stored of it, and how many rows a day has.

    Attributes:
        opens: opens of its reports on a working day.
        stored: state of each stored day, as the partition table has it.
        summaries: when each range summary was fetched.
        entries: when the entry of each range was last built.
        is_busy: whether a thread is fetching for it; one at a time, as the fetch lease has it.
    """

    account: Account
    ads: int
    opens: float
    schedule: RefetchSchedule
    stored: dict[date, PartitionState] = field(default_factory=dict)
    summaries: dict[Window, datetime] = field(default_factory=dict)
    entries: dict[str, tuple[Window, datetime]] = field(default_factory=dict)
    is_busy: bool = False

    def is_fresh(self, date_range: str, now: datetime) -> bool:
        """Whether the entry of a range covers its window and is fresh."""
        window, fetched_at = self.entries.get(date_range, (None, now))
        if window is None or window != resolve_window(date_range, self.account.data_zone, now):
            return False
        end = expires_at(window, self.account.data_zone, fetched_at, FRESHNESS)
        return end is None or end > now

    def plan_report(self, date_range: str, now: datetime) -> list[Call]:
        """Return the calls that the report of a range takes now; empty when stored days are enough."""
        return self._plan([resolve_window(date_range, self.account.data_zone, now)], (), now)

    def count_alone(self, date_range: str, now: datetime) -> int:
        """Return the calls that the report takes when nothing is stored: every page of its days, and its summary."""
        window = resolve_window(date_range, self.account.data_zone, now)
        pages = math.ceil(len(window) * self.ads / PAGE_ROWS)
        return pages + (math.ceil(self.ads / PAGE_ROWS) if len(window) > 1 else 0)

    def plan_close(self, day: date, now: datetime) -> list[Call]:
        """Return the calls that close `day`: the summary of its week, and the days that are due."""
        last_closed = local_day(now, self.account.data_zone) - ONE_DAY
        week, history = get_day_close_windows(day, last_closed)
        return self._plan([week], [history], now)

    def plan_backfill(self, day: date, now: datetime) -> list[Call]:
        """Return the calls that complete the 30-day block of `day`."""
        return self._plan([], [aligned_block(day)], now)

    def store(self, call: Call, now: datetime) -> None:
        """Store what a call brought."""
        zone = self.account.data_zone
        rounded = now.replace(minute=now.minute - now.minute % 15, second=0, microsecond=0)
        for day in call.days:
            self.stored[day] = partition_state(day, zone, rounded, self.ads)
        for window in call.summaries:
            self.summaries[window] = now

    def store_entry(self, date_range: str, now: datetime) -> None:
        """Store the entry of a range. Of older summaries only those that may still be read are kept."""
        self.entries[date_range] = (resolve_window(date_range, self.account.data_zone, now), now)
        oldest = now - timedelta(days=2)
        self.summaries = {window: moment for window, moment in self.summaries.items() if moment >= oldest}

    def _plan(self, windows: Sequence[Window], history: Sequence[Window], now: datetime) -> list[Call]:
        plan = plan_fetch(windows, self.stored, self.schedule, now, history)
        due = [window for window in plan.summary_windows if self._is_due(window, now)]
        both = combine_request(plan.spans, due, CAPABILITIES, self.ads)
        if both:
            return [Call(tuple(day for span in plan.spans for day in span.days()), tuple(due))]
        calls = [Call(page) for span in plan.spans for page in self._pages(span)]
        if due:
            calls += [Call()] * (math.ceil(len(due) * self.ads / PAGE_ROWS) - 1)
            calls.append(Call(summaries=tuple(due)))
        return calls

    def _is_due(self, window: Window, now: datetime) -> bool:
        fetched_at = self.summaries.get(window)
        if fetched_at is None or self.schedule.is_summary_due(window, fetched_at, now):
            return True
        return any(day in self.stored and self.stored[day].fetched_at > fetched_at for day in window.days())

    def _pages(self, span: Window) -> Iterator[tuple[date, ...]]:
        """Yield the days that each page of a span completes; a page has at most `PAGE_ROWS` rows."""
        days, done = list(span.days()), 0
        for page in range(1, math.ceil(len(days) * self.ads / PAGE_ROWS) + 1):
            complete = min(len(days), page * PAGE_ROWS // self.ads)
            yield tuple(days[done:complete])
            done = complete


CAPABILITIES = Capabilities()


@lru_cache(maxsize=200_000)
def partition_state(day: date, zone: str, fetched_at: datetime, rows: int) -> PartitionState:
    """Return the state of a day; equal ones are shared, so that 100,000 accounts fit into memory."""
    settled = is_settled(day, zone, fetched_at, FRESHNESS)
    complete = local_day(fetched_at, zone) > day
    return PartitionState(day, "", rows, "", fetched_at, complete, settled, 1, "")


def make_accounts(number: int, opens: float, start: float, seed: int) -> list[SimulatedAccount]:
    """Return accounts with the last 40 days in store, as a fleet that has run for weeks has them at `start`.

    Args:
        number: how many.
        opens: mean opens of an account on a working day; they are spread over accounts like ads are.
        start: seconds since 1970.
        seed: of all that is drawn.
    """
    rng, now = Random(seed), at(start)
    zones, shares = list(ZONES), list(ZONES.values())
    median = opens / math.exp(ADS_SPREAD**2 / 2)
    accounts = []
    for index in range(number):
        zone = rng.choices(zones, shares)[0]
        account = Account(f"act_{index + 1}", zone, zone)
        ads = max(1, round(MEDIAN_ADS * rng.lognormvariate(0.0, ADS_SPREAD)))
        item = SimulatedAccount(
            account, ads, median * rng.lognormvariate(0.0, ADS_SPREAD), RefetchSchedule.for_account(account, FRESHNESS)
        )
        _fill(item, now)
        accounts.append(item)
    return accounts


def _fill(item: SimulatedAccount, now: datetime) -> None:
    """Store the days of the last weeks as their closes have fetched them."""
    zone, today = item.account.data_zone, local_day(now, item.account.data_zone)
    last = today - ONE_DAY
    while get_close_time(item.account, last) > now:
        last -= ONE_DAY
    # A close comes the day after the day that it closes, and counts for the week when that is the account's weekday.
    weekly = last - timedelta(days=(last.weekday() + 1 - item.schedule.weekday) % 7)
    for age in range(40):
        day = last - timedelta(days=age)
        # Until it is a week old a day is fetched at each close; then on the account's weekday, until it is settled.
        closed = last if age < FRESHNESS.daily_days else max(weekly, day + ONE_DAY * (FRESHNESS.daily_days - 1))
        closed = min(closed, day + timedelta(days=FRESHNESS.settle_days + 6))
        moment = get_close_time(item.account, closed).replace(second=0, microsecond=0)
        moment = moment.replace(minute=moment.minute - moment.minute % 15)
        item.stored[day] = partition_state(day, zone, moment, item.ads)
