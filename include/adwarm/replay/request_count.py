"""Counts upstream requests instead of fetched keys: those that the fetch planner would send, given the fetched days.

Keys of an account that are fetched at the same moment share the spans of their missing or due days, and one request for
the due range summaries; few days and summaries go in one request.
"""

from collections.abc import Iterable
from datetime import timedelta
from functools import lru_cache

import numpy as np

from adwarm.access_log.timestamps import from_micros
from adwarm.fetch_plan.refetch_schedule import refetch_weekday
from adwarm.fetch_plan.request_cost import RequestCost
from adwarm.foundation.arrow_arrays import Ints32
from adwarm.foundation.local_time import local_day
from adwarm.model import FreshnessRules, resolve_window
from adwarm.patterns.opens import Opens
from adwarm.replay.cache_simulation import WEEK, EvaluationPeriod, SimulationCounts
from adwarm.sources.protocol import Capabilities

QUARTER = 900_000_000
_TICK = timedelta(microseconds=1)
_MAX_WINDOWS = Capabilities().max_windows_per_request

Span = tuple[int, int]
"""First and last day, as ordinals."""

FetchTime = tuple[int, int]
"""When something was fetched: the account's day as an ordinal, and microseconds since 1970."""


class FetchedDays:
    """When the days and range summaries of one account were last fetched.

    Assumes that today's figures change with every fetch, and that no other day is restated between two midnights.
    """

    def __init__(self, rules: FreshnessRules, weekday: int = 0) -> None:
        self._rules, self._weekday = rules, weekday
        self._days: dict[int, FetchTime] = {}
        self._summaries: dict[Span, FetchTime] = {}

    def fetch(self, spans: Iterable[Span], today: int, now: int) -> int:
        """Fetch `spans` at `now` (microseconds since 1970) and return how many requests that takes."""
        windows = set(spans)
        ranges = [span for span in windows if span[1] > span[0]]
        early = [span for span in ranges if self._is_summary_due(span, today)]
        requests, fetched = self._fetch_days(windows, today, now)
        self._summaries.update((span, (today, now)) for span in early)
        late = [span for span in ranges if self._is_summary_due(span, today)]
        self._summaries.update((span, (today, now)) for span in late)
        if fetched and early and fetched + len(early) <= _MAX_WINDOWS:
            return 1 + bool(late)
        return requests + bool(early or late)

    def get_cost(self, span: Span, today: int, now: int) -> RequestCost:
        """Return which requests a fetch of `span` at `now` would take; changes nothing."""
        since, until = span
        days = any(self._is_due(day, today, now) for day in range(since, min(until, today) + 1))
        if until == since:
            return RequestCost(days, summary=False)
        is_today_due = since <= today <= until and self._is_due(today, today, now)
        return RequestCost(days, is_today_due or self._is_summary_due(span, today))

    def _fetch_days(self, spans: Iterable[Span], today: int, now: int) -> tuple[int, int]:
        """Fetch the due days; return how many spans and how many days that takes."""
        days = sorted({day for since, until in spans for day in range(since, min(until, today) + 1)})
        due = [day for day in days if self._is_due(day, today, now)]
        requests, fetched = 0, 0
        for position, day in enumerate(due):
            first = day
            if position and self._joins(due[position - 1], day):
                first = due[position - 1] + 1
            else:
                requests += 1
            self._days.update((each, (today, now)) for each in range(first, day + 1))
            fetched += day - first + 1
        return requests, fetched

    def _is_due(self, day: int, today: int, now: int) -> bool:
        fetched = self._days.get(day)
        if fetched is None:
            return True
        if self._is_final(day, fetched):
            return False
        age = today - day
        if fetched[0] <= day < today:
            return True
        if age <= 1:
            return fetched[1] + _max_age(self._rules, age) <= now
        return fetched[0] < (today if age <= self._rules.daily_days else self._last_weekly(today))

    def _is_summary_due(self, span: Span, today: int) -> bool:
        fetched = self._summaries.get(span)
        if fetched is None or (fetched[0] < today and not self._is_final(span[1], fetched)):
            return True
        return span[0] <= today <= span[1] and self._days[today][1] > fetched[1]

    def _is_final(self, day: int, fetched: FetchTime) -> bool:
        return fetched[0] - day > self._rules.settle_days

    def _joins(self, before: int, day: int) -> bool:
        between = [self._days.get(number) for number in range(before + 1, day)]
        return all(
            fetch is not None and not self._is_final(before + 1 + offset, fetch) for offset, fetch in enumerate(between)
        )

    def _last_weekly(self, today: int) -> int:
        return today - ((today - 1) % 7 - self._weekday) % 7


class PlannedRequestCounter:
    """Counts the requests of a simulation whose fetches were all recorded."""

    def __init__(self, opens: Opens, rules: FreshnessRules) -> None:
        self._opens, self._rules = opens, rules

    def __call__(self, counts: SimulationCounts, period: EvaluationPeriod) -> Ints32:
        """Return the requests, cells x columns; see `SimulationCounts`."""
        requests: Ints32 = np.zeros(counts.warms.shape, np.int32)
        weeks = int(-(-(period.end - period.start) // WEEK))
        fetched_days: dict[tuple[int, int], FetchedDays] = {}
        for column, account, at, keys in self._groups(counts):
            zone = str(self._opens.zone[keys[0]])
            today = local_today(zone, at // QUARTER)
            spans = [covered_days(str(self._opens.date_range[key]), zone, at // QUARTER) for key in keys]
            cell = account * weeks + min((at - period.start) // WEEK, weeks - 1)
            if (column, account) not in fetched_days:
                fetched_days[column, account] = FetchedDays(
                    self._rules, refetch_weekday(str(self._opens.account_id[keys[0]]))
                )
            requests[cell, column] += fetched_days[column, account].fetch(spans, today, at)
        return requests

    def _groups(self, counts: SimulationCounts) -> Iterable[tuple[int, int, int, list[int]]]:
        """Yield column, account, moment and keys of fetches that happen together, in the order of time."""
        if not counts.fetches:
            return
        column, key, at = (
            np.concatenate([getattr(batch, name) for batch in counts.fetches]) for name in ("column", "key", "at")
        )
        account = self._opens.account[key]
        order = np.lexsort((key, account, at, column))
        column, key, at, account = column[order], key[order], at[order], account[order]
        new = np.ones(len(key), bool)
        new[1:] = (np.diff(column) != 0) | (np.diff(at) != 0) | (np.diff(account) != 0)
        starts = np.flatnonzero(new)
        ends = [*starts[1:].tolist(), len(key)]
        keys = key.tolist()
        heads = zip(column[starts].tolist(), account[starts].tolist(), at[starts].tolist(), strict=True)
        for (col, acc, moment), start, end in zip(heads, starts.tolist(), ends, strict=True):
            yield col, acc, moment, keys[start:end]


@lru_cache(maxsize=64)
def _max_age(rules: FreshnessRules, age: int) -> int:
    return (rules.today if age <= 0 else rules.yesterday) // _TICK


@lru_cache(maxsize=65_536)
def local_today(zone: str, quarter: int) -> int:
    """Return the local day in a quarter of an hour since 1970, as an ordinal."""
    return local_day(from_micros(quarter * QUARTER), zone).toordinal()


@lru_cache(maxsize=262_144)
def covered_days(date_range: str, zone: str, quarter: int) -> Span:
    """Return the days that a date range covers in a quarter of an hour since 1970."""
    window = resolve_window(date_range, zone, from_micros(quarter * QUARTER))
    return window.since.toordinal(), window.until.toordinal()
