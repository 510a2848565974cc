"""What the deployed plan would have done: production's selection by price, with the cache and the quota simulated.

At each decision the plan gets the likely keys of a `ForecastPolicy`, the simulated entries, and which requests a fetch
would take. What it chooses is warmed in the simulation; a warm's calls count against the hour's quota.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np

from adwarm.access_log.timestamps import to_micros
from adwarm.fetch_plan.refetch_schedule import refetch_weekday
from adwarm.fetch_plan.request_cost import RequestCost
from adwarm.foundation.arrow_arrays import Ints
from adwarm.model import ReportKey
from adwarm.planning.plan import LikelyKeys, select_likely_keys
from adwarm.planning.price import CallQuota
from adwarm.replay.cache_simulation import CacheSimulation, EvaluationPeriod, SimulationCounts, SimulationInputs
from adwarm.replay.forecast_policy import KeyLifetimes, to_expiry
from adwarm.replay.policy import Ranking
from adwarm.replay.request_count import QUARTER, FetchedDays, PlannedRequestCounter, covered_days, local_today
from adwarm.settings import Settings

_HOUR = 3_600_000_000
_ROUNDING = 1e-6
_NONE, _PLAN = 0, 1
"""The simulated caches: without warming, and with the plan's warms."""


class DeployedPlan:
    """Simulates the plan over a period, beside a cache in which nothing is warmed.

    Args:
        inputs: the log and how the cache works.
        period: decisions and opens outside it are not simulated.
        settings: those of planning and freshness.
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

    def get_request_costs(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> list[RequestCost]:
        """Return which requests a fetch of each key then would take."""
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
