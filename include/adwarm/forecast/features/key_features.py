"""The features of the boosted model for pairs of key and column; nothing at or after the column is read.

`how_*` are the key's shrunk weekly profile: its own weeks are shrunk towards its own days, those towards its account,
that towards the population. The windows are slots relative to now: the coming slot, hour and three hours, and their
surroundings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adwarm.forecast.features.feature_context import DAY_DECAY, DAYS, WEEK_DECAY, FeatureContext, Window
from adwarm.forecast.features.grid import SLOTS_PER_DAY, OpenGrid
from adwarm.foundation.arrow_arrays import Floats, Floats32, Ints, Ints32

MAX_KINDS = 8
"""Report kinds that become features; an account seldom has more than a handful."""
NO_KIND = -1
NO_VALUE = -1.0
"""Of a feature that a pair does not have; all others are 0 or more, so trees can tell them apart."""
MAX_AGE_SLOTS = 4000
"""Longer ago counts as this long ago; slots of 15 minutes, about six weeks."""
_DAYS = 28
_COMPANY_PRIOR = 10.0
_ARRIVAL_WINDOWS: tuple[Window, ...] = ((0, 4), (0, 12))
_TINY = 1e-9
WINDOWS: tuple[Window, ...] = ((0, 1), (0, 4), (0, 12), (-1, 2), (-4, 0), (12, 16))
_LAGGED = (0, 12)
_LAGS = (1, 2, 3, 7, 14)
_PRIOR = 1.0
_WEEK_PRIOR = 3.0
_ROWS_PER_BLOCK = 30_000
_ARRIVAL_DAYS, _ARRIVAL_WEEKS = 14, 8
_DAYS, _WEEKS = 28, 8


@dataclass(frozen=True)
class SiblingReports:
    """The most opened report kinds, `date_range/report`, the most opened first.

    They are the same for all accounts, so what is learned from one account applies to every other.
    """

    report_kinds: tuple[str, ...] = ()

    @classmethod
    def most_opened(cls, grid: OpenGrid) -> "SiblingReports":
        """Return the report kinds with most first opens in `grid`."""
        opened = np.bincount(grid.report_kind_of, weights=grid.firsts[:, -1], minlength=len(grid.report_kinds))
        order = np.argsort(-opened, kind="stable")[:MAX_KINDS]
        return cls(tuple(grid.report_kinds[index] for index in order.tolist()))

    def rank(self, grid: OpenGrid) -> Ints:
        """Return, per key, the index of its kind in `report_kinds`, or `NO_KIND`."""
        ranks = {kind: rank for rank, kind in enumerate(self.report_kinds)}
        return np.array([ranks.get(kind, NO_KIND) for kind in grid.report_kinds], np.int64)[grid.report_kind_of]

    def keys(self, grid: OpenGrid) -> Ints:
        """Return accounts x kinds: the account's key of that kind, or `NO_KIND`."""
        rank = self.rank(grid)
        keys = np.full((int(grid.account.max(initial=0)) + 1, len(self.report_kinds)), NO_KIND, np.int64)
        ranked = np.flatnonzero(rank != NO_KIND)
        keys[grid.account[ranked], rank[ranked]] = ranked
        return keys


def add_recent_opens(context: FeatureContext) -> None:
    """Add opens of the last hours, of the key and of the account's other keys."""
    grid, column = context.grid, context.column
    for slots in (1, 4, 12):
        own = grid.opens.count(context.key, np.maximum(column - slots, 0), column).astype(np.float64)
        context.features[f"own_{slots}"] = own
        context.features[f"others_{slots}"] = (
            context.count_between(grid.account_opens, context.account, column - slots, column) - own
        )


def add_company(context: FeatureContext) -> None:
    """Add how often the key is opened while other keys of the account are in use, and while they are not."""
    grid, key, column = context.grid, context.key, context.column
    start = np.maximum(column - SLOTS_PER_DAY * _DAYS, 0)
    firsts, busy, joined, not_joinable = (
        marks.count(key, start, column).astype(np.float64)
        for marks in (grid.first_opens, grid.busy, grid.joined, grid.not_joinable)
    )
    quiet = column - start - busy
    joinable = context.count_between(grid.account_company, context.account, start, column) - not_joinable
    usual = firsts / np.maximum(quiet, 1.0)
    context.features |= {
        "rate_in_company": (joined + _COMPANY_PRIOR * usual) / (joinable + _COMPANY_PRIOR),
        "rate_alone": (firsts - joined + _COMPANY_PRIOR * usual) / (quiet - joinable + _COMPANY_PRIOR),
        "share_in_company": joined / np.maximum(firsts, 1.0),
    }


def add_arrivals(context: FeatureContext) -> None:
    """Add how likely the account becomes active at this time, or is active, by day and by week, and since when it is.

    A single key is opened too rarely to show when the account's readers arrive; all its keys together show it.
    """
    representatives, index = context.once_per_account()
    grid = context.grid
    by_day = [(lag, DAY_DECAY**lag) for lag in range(1, _ARRIVAL_DAYS + 1)]
    by_week = [(7 * week, WEEK_DECAY**week) for week in range(1, _ARRIVAL_WEEKS + 1)]
    last_arrival = grid.arrivals.last_before(representatives.account, representatives.column)
    arrivals = {"since_arrival": np.minimum(representatives.column - last_arrival, MAX_AGE_SLOTS)}
    for name, totals, lags in (
        ("arrival_day", grid.arrival_totals, by_day),
        ("there_day", grid.account_opens, by_day),
        ("arrival_week", grid.arrival_totals, by_week),
    ):
        shares = _shares_of_days(representatives, totals, lags)
        arrivals |= {f"{name}_{end}": share for (_, end), share in shares.items()}
    context.features |= {name: values[index] for name, values in arrivals.items()}


def _shares_of_days(context: FeatureContext, totals: Ints32, lags: Sequence[tuple[int, float]]) -> dict[Window, Floats]:
    """Return, per window, the share of working days with a count above 0 in it."""
    counted = {window: np.zeros(len(context.key)) for window in _ARRIVAL_WINDOWS}
    observed = np.zeros(len(context.key))
    for lag, decay in lags:
        column = context.columns_before(lag)
        weight = decay * ((column >= context.grid.start) & context.working_days.was_worked(lag))
        observed += weight
        for window, opens in context.count_windows(totals, context.account, column, _ARRIVAL_WINDOWS).items():
            counted[window] += weight * (opens > 0)
    return {window: share / np.maximum(observed, _TINY) for window, share in counted.items()}


def add_sibling_recency(context: FeatureContext, siblings: SiblingReports) -> None:
    """Add the key's kind, and how long ago the account opened each sibling report; `NO_VALUE` if long ago or never."""
    grid = context.grid
    rank = siblings.rank(grid)[context.key].astype(np.float64)
    context.features["kind"] = np.where(rank == NO_KIND, NO_VALUE, rank)
    keys = siblings.keys(grid)[context.account]
    for index in range(len(siblings.report_kinds)):
        since = context.column - grid.opens.last_before(keys[:, index], context.column)
        context.features[f"since_kind_{index}"] = np.where(
            (keys[:, index] == NO_KIND) | (since > MAX_AGE_SLOTS), NO_VALUE, since
        )


def build_features(grid: OpenGrid, key: Ints, column: Ints, siblings: SiblingReports) -> tuple[Floats32, list[str]]:
    """Return pairs x features, and the names of the features; works block by block to bound memory."""
    result: Floats32 = np.empty((len(key), 0), np.float32)
    for start in range(0, max(len(key), 1), _ROWS_PER_BLOCK):
        block = slice(start, start + _ROWS_PER_BLOCK)
        features = _measure(grid, key[block], column[block], siblings)
        if not start:
            result = np.empty((len(key), len(features)), np.float32)
        for index, values in enumerate(features.values()):
            result[block, index] = values
    return result, list(features)


def _measure(grid: OpenGrid, key: Ints, column: Ints, siblings: SiblingReports) -> dict[str, Any]:
    context = FeatureContext(grid, key, column)
    local = grid.local(key, column)
    context.features["time_of_day"], context.features["weekday"] = local % SLOTS_PER_DAY, local // SLOTS_PER_DAY % 7
    _add_levels(context)
    _add_seasonal_rates(context)
    _add_recency(context)
    _add_today(context, column - local % SLOTS_PER_DAY)
    add_recent_opens(context)
    add_company(context)
    add_arrivals(context)
    add_sibling_recency(context, siblings)
    return context.features


def _add_levels(context: FeatureContext) -> None:
    grid, column = context.grid, context.column
    for days in (1, 3, 7, 28):
        opens = context.count_between(grid.firsts, context.key, column - SLOTS_PER_DAY * days, column)
        observed = (
            context.working_days.count_worked(days)
            if days >= 7
            else np.minimum((column - grid.start) / SLOTS_PER_DAY, days)
        )
        context.features[f"level_{days}"] = opens / np.maximum(observed, 0.5)
    context.features["level"] = grid.firsts[context.key, column] / np.maximum(
        context.working_days.count_worked(DAYS), 1.0
    )
    population = grid.population.firsts[column] / grid.population.keys[column]
    context.features["share"] = grid.firsts[context.key, column] / np.maximum(population, 1e-9)
    context.features["weeks"] = context.working_days.count_worked(DAYS) // 7
    context.features["siblings"] = grid.account_keys[context.account, column]


@dataclass
class _Sums:
    """Weighted sums over earlier days or weeks, per pair."""

    own: Floats
    account: Floats
    population: Floats
    observed: Floats

    @classmethod
    def zeros(cls, size: int) -> "_Sums":
        return cls(*np.zeros((4, size)))


def _add_seasonal_rates(context: FeatureContext) -> None:
    """Add the rate of first opens per window: the population's, the account's, the key's by day, the key's by week."""
    by_day, by_week = ({window: _Sums.zeros(len(context.key)) for window in WINDOWS} for _ in range(2))
    for lag in range(1, _DAYS + 1):
        _add_day(context, lag, by_day)
    for week in range(1, _WEEKS + 1):
        _add_week(context, week, by_week)
    for window in WINDOWS:
        _add_window_rates(context, window, by_day[window], by_week[window])


def _add_day(context: FeatureContext, lag: int, sums: dict[Window, _Sums]) -> None:
    grid, earlier, worked = context.grid, context.columns_before(lag), context.working_days.was_worked(lag)
    opens = context.count_windows(grid.firsts, context.key, earlier, WINDOWS)
    for (begin, end), day in sums.items():
        is_observed = (earlier + begin >= grid.start) & worked
        opened = np.minimum(opens[begin, end], 1.0)
        day.own += DAY_DECAY**lag * is_observed * opened
        day.observed += DAY_DECAY**lag * is_observed
        if lag in _LAGS and (begin, end) == _LAGGED:
            context.features[f"lag_{lag}"] = np.where(is_observed, opened, NO_VALUE)


def _add_week(context: FeatureContext, week: int, sums: dict[Window, _Sums]) -> None:
    grid, earlier, worked = context.grid, context.columns_before(7 * week), context.working_days.was_worked(7 * week)
    own = context.count_windows(grid.firsts, context.key, earlier, WINDOWS)
    account = context.count_windows(grid.account_firsts, context.account, earlier, WINDOWS)
    population = context.count_windows(grid.population.firsts, None, earlier, WINDOWS)
    for window, week_sums in sums.items():
        weight = WEEK_DECAY**week * ((earlier + window[0] >= grid.start) & worked)
        week_sums.own += weight * np.minimum(own[window], 1.0)
        week_sums.account += weight * account[window]
        week_sums.population += weight * population[window]
        week_sums.observed += weight


def _add_window_rates(context: FeatureContext, window: Window, by_day: _Sums, by_week: _Sums) -> None:
    """Add the rates of one window, each shrunk towards that of the wider group."""
    grid, name, weeks = context.grid, f"{window[0]}_{window[1]}", by_week.observed
    population = np.minimum(by_week.population / grid.population.keys[context.column] / np.maximum(weeks, 1e-9), 1.0)
    per_key = by_week.account / grid.account_keys[context.account, context.column]
    accounts = np.minimum((per_key + 0.5 * population) / (weeks + 0.5), 1.0)
    daily = (by_day.own + 0.5 * accounts) / (by_day.observed + 0.5)
    context.features |= {f"population_{name}": population, f"account_{name}": accounts, f"day_{name}": daily}
    context.features[f"how_{name}"] = (by_week.own + _PRIOR * daily) / (weeks + _PRIOR)
    at_own_rate = np.minimum(population * context.features["share"], 1.0)
    context.features[f"week_{name}"] = (by_week.own + _WEEK_PRIOR * at_own_rate) / (weeks + _WEEK_PRIOR)


def _add_recency(context: FeatureContext) -> None:
    grid, key, column = context.grid, context.key, context.column
    context.features["since_open"] = np.minimum(column - grid.opens.last_before(key, column), MAX_AGE_SLOTS)
    context.features["since_first"] = np.minimum(column - grid.first_opens.last_before(key, column), MAX_AGE_SLOTS)
    account_last = grid.opens_of_account.last_before(context.account, column)
    context.features["account_since"] = np.minimum(column - account_last, MAX_AGE_SLOTS)
    streak, unbroken = np.zeros(len(key)), np.ones(len(key), bool)
    for lag in range(1, 11):
        earlier = context.columns_before(lag)
        unbroken &= context.count_between(grid.firsts, key, earlier - 2, earlier + 6) > 0
        streak += unbroken
    context.features["streak"] = streak


def _add_today(context: FeatureContext, midnight: Ints) -> None:
    """Add opens since the reader's midnight, and what is usual by now on that weekday."""
    grid, key, column, account = context.grid, context.key, context.column, context.account
    elapsed = column - midnight
    today = context.count_between(grid.firsts, key, midnight, column)
    usual, usually, others, busy, weeks = (np.zeros(len(key)) for _ in range(5))
    for week in range(1, _WEEKS + 1):
        earlier = context.columns_before(7 * week)
        weight = WEEK_DECAY**week * ((earlier - elapsed >= grid.start) & context.working_days.was_worked(7 * week))
        opens = context.count_between(grid.firsts, key, earlier - elapsed, earlier)
        usual += weight * opens
        usually += weight * (opens > 0)
        others += weight * context.count_between(grid.account_firsts, account, earlier - elapsed, earlier)
        busy += weight * context.count_between(grid.population.opens, None, earlier - 4, earlier)
        weeks += weight
    weeks = np.maximum(weeks, 1e-9)
    recent = context.count_between(grid.population.opens, None, column - 4, column)
    context.features |= {
        "today": today,
        "usual": usual / weeks,
        "usually_opened": usually / weeks,
        "account_today": context.count_between(grid.account_firsts, account, midnight, column) - today,
        "account_usual": others / weeks,
        "crowd": (recent + 1.0) / (busy / weeks + 1.0),
        "crowd_today": context.count_between(grid.population.firsts, None, midnight, column)
        / grid.population.keys[column],
        "yesterday": context.count_between(grid.firsts, key, midnight - SLOTS_PER_DAY, midnight),
    }
