"""What the booster looks at, for any pairs of key and quarter of an hour. Nothing at or after the quarter is read.

`how_*` are the key's shrunk weekly rhythm: its own weeks lean on its own days, those on its account, that on everybody.
The windows are quarters of an hour relative to now: the coming one, hour and three hours, and what lies around them.
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
_LEAN = 1.0
_WEEK_LEAN = 3.0


def build_features(grid: OpenGrid, key: Ints, column: Ints, siblings: SiblingReports) -> tuple[Floats32, list[str]]:
    """Return pairs x features, and the features' names."""
    asked = FeatureContext(grid, key, column)
    local = grid.local(key, column)
    asked.features["time_of_day"], asked.features["weekday"] = local % SLOTS_PER_DAY, local // SLOTS_PER_DAY % 7
    _levels(asked)
    _rhythms(asked)
    _recency(asked)
    _today(asked, column - local % SLOTS_PER_DAY)
    add_recent_opens(asked)
    add_company(asked)
    add_arrivals(asked)
    add_sibling_recency(asked, siblings)
    found = asked.features
    result: Floats32 = np.empty((len(key), len(found)), np.float32)
    for place, values in enumerate(found.values()):
        result[:, place] = values
    return result, list(found)


def _levels(asked: FeatureContext) -> None:
    grid, column = asked.grid, asked.column
    for days in (1, 3, 7, 28):
        opens = asked.count_between(grid.firsts, asked.key, column - SLOTS_PER_DAY * days, column)
        watched = (
            asked.working_days.count_worked(days)
            if days >= 7
            else np.minimum((column - grid.start) / SLOTS_PER_DAY, days)
        )
        asked.features[f"level_{days}"] = opens / np.maximum(watched, 0.5)
    asked.features["level"] = grid.firsts[asked.key, column] / np.maximum(asked.working_days.count_worked(DAYS), 1.0)
    everybody = grid.population.firsts[column] / grid.population.keys[column]
    asked.features["share"] = grid.firsts[asked.key, column] / np.maximum(everybody, 1e-9)
    asked.features["weeks"] = asked.working_days.count_worked(DAYS) // 7
    asked.features["siblings"] = grid.account_keys[asked.account, column]


@dataclass
class _Sums:
    """Weighted sums over earlier days or weeks."""

    own: Floats
    account: Floats
    everybody: Floats
    watched: Floats

    @classmethod
    def of(cls, size: int) -> "_Sums":
        return cls(*np.zeros((4, size)))


def _rhythms(asked: FeatureContext) -> None:
    """The chance of a first open in each window: everybody's, the account's, the key's by day, the key's by week."""
    by_day, by_week = ({window: _Sums.of(len(asked.key)) for window in WINDOWS} for _ in range(2))
    for lag in range(1, _DAYS + 1):
        _add_day(asked, lag, by_day)
    for week in range(1, _WEEKS + 1):
        _add_week(asked, week, by_week)
    for window in WINDOWS:
        _rhythm(asked, window, by_day[window], by_week[window])


def _add_day(asked: FeatureContext, lag: int, sums: dict[Window, _Sums]) -> None:
    grid, place, worked = asked.grid, asked.columns_before(lag), asked.working_days.was_worked(lag)
    opens = asked.count_windows(grid.firsts, asked.key, place, WINDOWS)
    for (begin, end), day in sums.items():
        known = (place + begin >= grid.start) & worked
        opened = np.minimum(opens[begin, end], 1.0)
        day.own += DAY_DECAY**lag * known * opened
        day.watched += DAY_DECAY**lag * known
        if lag in _LAGS and (begin, end) == _LAGGED:
            asked.features[f"lag_{lag}"] = np.where(known, opened, np.nan)


def _add_week(asked: FeatureContext, week: int, sums: dict[Window, _Sums]) -> None:
    grid, place, worked = asked.grid, asked.columns_before(7 * week), asked.working_days.was_worked(7 * week)
    own = asked.count_windows(grid.firsts, asked.key, place, WINDOWS)
    account = asked.count_windows(grid.account_firsts, asked.account, place, WINDOWS)
    everybody = asked.count_windows(grid.population.firsts, None, place, WINDOWS)
    for window, seen in sums.items():
        weight = WEEK_DECAY**week * ((place + window[0] >= grid.start) & worked)
        seen.own += weight * np.minimum(own[window], 1.0)
        seen.account += weight * account[window]
        seen.everybody += weight * everybody[window]
        seen.watched += weight


def _rhythm(asked: FeatureContext, window: Window, by_day: _Sums, by_week: _Sums) -> None:
    """Let each rate lean on the one of more people."""
    grid, name, weeks = asked.grid, f"{window[0]}_{window[1]}", by_week.watched
    population = np.minimum(by_week.everybody / grid.population.keys[asked.column] / np.maximum(weeks, 1e-9), 1.0)
    per_key = by_week.account / grid.account_keys[asked.account, asked.column]
    accounts = np.minimum((per_key + 0.5 * population) / (weeks + 0.5), 1.0)
    daily = (by_day.own + 0.5 * accounts) / (by_day.watched + 0.5)
    asked.features |= {f"population_{name}": population, f"account_{name}": accounts, f"day_{name}": daily}
    asked.features[f"how_{name}"] = (by_week.own + _LEAN * daily) / (weeks + _LEAN)
    at_own_rate = np.minimum(population * asked.features["share"], 1.0)
    asked.features[f"week_{name}"] = (by_week.own + _WEEK_LEAN * at_own_rate) / (weeks + _WEEK_LEAN)


def _recency(asked: FeatureContext) -> None:
    grid, key, column = asked.grid, asked.key, asked.column
    asked.features["since_open"] = np.minimum(column - grid.last_open[key, column], MAX_AGE_SLOTS)
    asked.features["since_first"] = np.minimum(column - grid.last_first[key, column], MAX_AGE_SLOTS)
    asked.features["account_since"] = np.minimum(column - grid.account_last[asked.account, column], MAX_AGE_SLOTS)
    streak, unbroken = np.zeros(len(key)), np.ones(len(key), bool)
    for lag in range(1, 11):
        place = asked.columns_before(lag)
        unbroken &= asked.count_between(grid.firsts, key, place - 2, place + 6) > 0
        streak += unbroken
    asked.features["streak"] = streak


def _today(asked: FeatureContext, midnight: Ints) -> None:
    """Opens since the reader's midnight against what is usual on that weekday by now."""
    grid, key, column, account = asked.grid, asked.key, asked.column, asked.account
    elapsed = column - midnight
    today = asked.count_between(grid.firsts, key, midnight, column)
    usual, usually, others, crowd, weeks = (np.zeros(len(key)) for _ in range(5))
    for week in range(1, _WEEKS + 1):
        place = asked.columns_before(7 * week)
        weight = WEEK_DECAY**week * ((place - elapsed >= grid.start) & asked.working_days.was_worked(7 * week))
        opens = asked.count_between(grid.firsts, key, place - elapsed, place)
        usual += weight * opens
        usually += weight * (opens > 0)
        others += weight * asked.count_between(grid.account_firsts, account, place - elapsed, place)
        crowd += weight * asked.count_between(grid.population.opens, None, place - 4, place)
        weeks += weight
    weeks = np.maximum(weeks, 1e-9)
    lately = asked.count_between(grid.population.opens, None, column - 4, column)
    asked.features |= {
        "today": today,
        "usual": usual / weeks,
        "usually_opened": usually / weeks,
        "account_today": asked.count_between(grid.account_firsts, account, midnight, column) - today,
        "account_usual": others / weeks,
        "crowd": (lately + 1.0) / (crowd / weeks + 1.0),
        "crowd_today": asked.count_between(grid.population.firsts, None, midnight, column)
        / grid.population.keys[column],
        "yesterday": asked.count_between(grid.firsts, key, midnight - SLOTS_PER_DAY, midnight),
    }
