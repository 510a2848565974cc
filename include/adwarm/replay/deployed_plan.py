"""What the deployed plan would have done: production's selection by price, with the cache and the quota simulated.

Counts upstream requests instead of fetched keys: those that the fetch planner would send, given the fetched days.

Keys of an account that are fetched at the same moment share the spans of their missing or due days, and one request for
the due range summaries; few days and summaries go in one request.

At each decision the plan gets the likely keys of a `ForecastPolicy`, the simulated entries, and which requests a fetch
would take. What it chooses is warmed in the simulation; a warm's calls count against the hour's quota.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np

from adwarm.access_log.timestamps import from_micros, to_micros
from adwarm.fetch_plan import RequestCost, refetch_weekday
from adwarm.foundation.arrow_arrays import Ints, Ints32
from adwarm.foundation.local_time import local_day
from adwarm.model import FreshnessRules, ReportKey, resolve_window
from adwarm.patterns.opens import Opens
from adwarm.planning.plan import LikelyKeys, select_likely_keys
from adwarm.planning.price import CallQuota
from adwarm.replay.cache_simulation import WEEK, CacheSimulation, EvaluationPeriod, SimulationCounts, SimulationInputs
from adwarm.replay.policies import KeyLifetimes, to_expiry
from adwarm.replay.policy import Ranking
from adwarm.settings import Settings
from adwarm.sources.protocol import Capabilities

QUARTER = 900_000_000
_TICK = timedelta(microseconds=1)
_MAX_WINDOWS = Capabilities().max_windows_per_request

Span = tuple[int, int]
"""First and last day, as ordinals."""

FetchTime = tuple[int, int]
"""When something was fetched: the account's day as an ordinal, and microseconds since 1970."""
_HOUR = 3_600_000_000
_ROUNDING = 1e-6
_NONE, _PLAN = 0, 1
"""The simulated caches: without warming, and with the plan's warms."""


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


class DeployedPlan:
    """Simulates the plan over a period, beside a cache in which nothing is warmed.

    Args:
        inputs: the log and how the cache works.
        period: decisions and opens outside it are not simulated.
    """

    def __init__(self, inputs: SimulationInputs, period: EvaluationPeriod, settings: Settings) -> None:
        self._counter = PlannedRequestCounter(inputs.opens, settings.freshness_rules)
        self._inputs, self._period, self._settings = replace(inputs, count_requests=self._counter), period, settings
        columns: Ints = np.array([_NONE, _PLAN], np.int64)
        self._cache = CacheSimulation(self._inputs, period, np.array([np.inf, 0.5]), columns)
        opens = inputs.opens.since(period.start).before(period.end)
        self._coming = zip(opens.ts.tolist(), opens.key.tolist(), opens.first.tolist(), strict=True)
        self._next = next(self._coming, None)
        self._store = _SimulatedStore(self._inputs, self._cache, settings)
        self._hour, self._spent = -1, dict[str, float]()

    def decide(self, at: int, likely: LikelyKeys) -> None:
        """Plan and carry out the decision at `at`, microseconds since 1970; decisions come in the order of time.

        A decision without a likely key may be left out.
        """
        if not self._period.start <= at < self._period.end:
            return
        self._open_until(at)
        self._store.update()
        selected = select_likely_keys(likely, self._store, self._get_quota(at))
        indexes = np.flatnonzero(selected.selection.chosen)
        chosen = selected.stale.take(indexes)
        for name, calls in zip(chosen.keys, selected.selection.calls[indexes].tolist(), strict=True):
            self._spent[name.account_id] = self._spent.get(name.account_id, 0.0) + calls
        key = self._store.get_numbers(chosen.keys).astype(np.int32)
        warm_at = np.array([to_micros(moment) for moment in chosen.warm_at], np.int64)
        ranking = Ranking(0, key, np.ones(len(key)), chosen.chance, warm_at, renew_at_expiry=True)
        self._cache.decide(at, min(at + self._inputs.timing.step, self._period.end), ranking)

    def finish(self) -> dict[str, Any]:
        """Simulate the opens after the last decision, and return the figures as JSON values."""
        self._open_until(self._period.end)
        counts = self._cache.counts
        requests = self._counter(counts, self._period).sum(axis=0)
        return _figures(counts, requests)

    def _open_until(self, at: int) -> None:
        while self._next is not None and self._next[0] < at:
            self._cache.open(*self._next)
            self._next = next(self._coming, None)

    def _get_quota(self, at: int) -> CallQuota:
        if at // _HOUR != self._hour:
            self._hour, self._spent = at // _HOUR, {}
        planning = self._settings.planning
        spent = {name: math.ceil(calls - _ROUNDING) for name, calls in self._spent.items()}
        return CallQuota(
            planning.open_value,
            planning.max_calls_per_hour,
            sum(spent.values()),
            planning.max_account_calls_per_hour,
            spent,
        )


class _SimulatedStore(KeyLifetimes):
    """What the plan reads from the store, answered by the simulated cache; a `PlanningView`."""

    def __init__(self, inputs: SimulationInputs, cache: CacheSimulation, settings: Settings) -> None:
        super().__init__(inputs.opens, inputs.lifetime)
        self._opens, self._cache, self._rules = inputs.opens, cache, settings.freshness_rules
        self._days: dict[int, FetchedDays] = {}
        self._read = 0

    def update(self) -> None:
        """Count the days that the fetches since the last call have stored."""
        fetches, self._read = self._cache.counts.fetches[self._read :], len(self._cache.counts.fetches)
        pairs = [
            (int(at), int(key))
            for batch in fetches
            for column, key, at in zip(batch.column, batch.key, batch.at, strict=True)
            if column == _PLAN
        ]
        for at, key in sorted(pairs):
            span, today = self._span(key, at)
            self._fetched_days(key).fetch([span], today, at)

    def get_fresh_until(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> list[datetime | None]:
        """Return until when the simulated entry of each key is fresh; None when it has none."""
        until = self._cache.get_fresh_until(self.get_numbers(keys), _PLAN)
        return [to_expiry(end) if end > 0 else None for end in until.tolist()]

    def get_request_costs(
        self, keys: Sequence[ReportKey], moments: Sequence[datetime], until: Sequence[datetime] | None = None
    ) -> list[RequestCost]:
        """Return which requests a fetch of each key then would take; days that are due by `until` are not counted."""
        costs = []
        for key, moment in zip(self.get_numbers(keys).tolist(), moments, strict=True):
            at = to_micros(moment)
            span, today = self._span(key, at)
            costs.append(self._fetched_days(key).get_cost(span, today, at))
        return costs

    def _span(self, key: int, at: int) -> tuple[tuple[int, int], int]:
        zone, quarter = str(self._opens.zone[key]), at // QUARTER
        return covered_days(str(self._opens.date_range[key]), zone, quarter), local_today(zone, quarter)

    def _fetched_days(self, key: int) -> FetchedDays:
        account = int(self._opens.account[key])
        if account not in self._days:
            self._days[account] = FetchedDays(self._rules, refetch_weekday(str(self._opens.account_id[key])))
        return self._days[account]


def _figures(counts: SimulationCounts, requests: Ints) -> dict[str, Any]:
    calls = counts.calls().sum(axis=0)
    first_opens = max(int(counts.first_opens.sum()), 1)
    ratios = counts.first_hits.sum(axis=0) / first_opens
    warms, used = int(counts.warms[:, _PLAN].sum()), int(counts.used[:, _PLAN].sum())
    return {
        "multiple": float(calls[_PLAN] / max(int(calls[_NONE]), 1)),
        "calls": int(calls[_PLAN]),
        "requests": int(requests[_PLAN]),
        "requests_multiple": float(requests[_PLAN] / max(int(requests[_NONE]), 1)),
        "first_open_hit_ratio": float(ratios[_PLAN]),
        "warms": warms,
        "used": used,
        "cache_efficiency": used / warms if warms else None,
    }
