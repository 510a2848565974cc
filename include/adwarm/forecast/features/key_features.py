"""The features of the boosted model for pairs of key and column; nothing at or after the column is read.

`how_*` are the key's shrunk weekly profile: its own weeks are shrunk towards its own days, those towards its account,
that towards the population. The windows are slots relative to now: the coming slot, hour and three hours, and their
surroundings.
"""

from dataclasses import dataclass

import numpy as np

from adwarm.forecast.features.account_features import (
    MAX_AGE_SLOTS,
    add_arrivals,
    add_company,
    add_recent_opens,
    add_sibling_recency,
)
from adwarm.forecast.features.feature_context import DAY_DECAY, WEEK_DECAY, FeatureContext, Window
from adwarm.forecast.features.grid import SLOTS_PER_DAY, OpenGrid
from adwarm.forecast.features.sibling_reports import SiblingReports
from adwarm.forecast.features.working_days import DAYS
from adwarm.foundation.arrow_arrays import Floats, Floats32, Ints

WINDOWS: tuple[Window, ...] = ((0, 1), (0, 4), (0, 12), (-1, 2), (-4, 0), (12, 16))
_LAGGED = (0, 12)
_LAGS = (1, 2, 3, 7, 14)
_DAYS, _WEEKS = 28, 8
_PRIOR = 1.0
_WEEK_PRIOR = 3.0


def build_features(grid: OpenGrid, key: Ints, column: Ints, siblings: SiblingReports) -> tuple[Floats32, list[str]]:
    """Return pairs x features, and the names of the features."""
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
    result: Floats32 = np.empty((len(key), len(context.features)), np.float32)
    for index, values in enumerate(context.features.values()):
        result[:, index] = values
    return result, list(context.features)


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
            context.features[f"lag_{lag}"] = np.where(is_observed, opened, np.nan)


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
    context.features["since_open"] = np.minimum(column - grid.last_open[key, column], MAX_AGE_SLOTS)
    context.features["since_first"] = np.minimum(column - grid.last_first[key, column], MAX_AGE_SLOTS)
    context.features["account_since"] = np.minimum(column - grid.account_last[context.account, column], MAX_AGE_SLOTS)
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
