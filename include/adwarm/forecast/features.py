"""What the booster looks at, for any pairs of key and quarter of an hour. Nothing at or after the quarter is read.

`how_*` are the key's shrunk weekly rhythm: its own weeks lean on its own days, those on its account, that on everybody.
The windows are quarters of an hour relative to now: the coming one, hour and three hours, and what lies around them.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from adwarm.forecast.grid import DAY, OpenGrid, Rows
from adwarm.forecast.working_days import DAYS, WorkingDays

Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]

Window = tuple[int, int]

WINDOWS: tuple[Window, ...] = ((0, 1), (0, 4), (0, 12), (-1, 2), (-4, 0), (12, 16))
_EDGES = sorted({edge for window in WINDOWS for edge in window})
_LAGGED = ((0, 1), (0, 4), (0, 12))
_LAGS = (1, 2, 3, 7, 14)
_DAYS, _WEEKS = 28, 8
_DAY_KEEP, _WEEK_KEEP = 0.93, 0.8
_LEAN = 1.0
_WEEK_LEAN = 3.0
_COMPANY_LEAN = 10.0
_LONG = 4000


@dataclass
class _Asked:
    """Pairs of key and column, and the features of them so far."""

    grid: OpenGrid
    key: Rows
    column: Rows
    account: Rows
    days: WorkingDays
    found: dict[str, Any] = field(default_factory=dict)
    places: dict[int, Rows] = field(default_factory=dict)

    def back(self, days: int) -> Rows:
        if days not in self.places:
            self.places[days] = self.grid.earlier(self.key, self.column, days)
        return self.places[days]

    def until(self, totals: npt.NDArray[Any], row: Rows | None, end: Rows) -> npt.NDArray[Any]:
        """Read running totals left of `end`, of which nothing at or after the asked column is read."""
        place = np.minimum(np.maximum(end, 0), self.column)
        return totals.ravel().take(place if row is None else place + row * totals.shape[1])

    def count(self, totals: npt.NDArray[Any], row: Rows | None, start: Rows, end: Rows) -> Floats:
        """Count in `[start, end)`; see `until`."""
        return np.asarray(self.until(totals, row, end) - self.until(totals, row, start), np.float64)

    def counts(self, totals: npt.NDArray[Any], row: Rows | None, place: Rows) -> dict[Window, Floats]:
        """Count in each of `WINDOWS` around `place`."""
        until = {edge: self.until(totals, row, place + edge) for edge in _EDGES}
        return {(begin, end): np.asarray(until[end] - until[begin], np.float64) for begin, end in WINDOWS}


def features(grid: OpenGrid, key: Rows, column: Rows) -> tuple[Matrix, list[str]]:
    """Return pairs x features, and the features' names."""
    asked = _Asked(grid, key, column, grid.account[key], WorkingDays(grid.crowd, column))
    local = grid.local(key, column)
    asked.found["time_of_day"], asked.found["weekday"] = local % DAY, local // DAY % 7
    _levels(asked)
    _rhythms(asked)
    _recency(asked)
    _today(asked, column - local % DAY)
    _account_now(asked)
    _company(asked)
    found = asked.found
    result: Matrix = np.empty((len(key), len(found)), np.float32)
    for place, values in enumerate(found.values()):
        result[:, place] = values
    return result, list(found)


def _levels(asked: _Asked) -> None:
    grid, column = asked.grid, asked.column
    for days in (1, 3, 7, 28):
        opens = asked.count(grid.firsts, asked.key, column - DAY * days, column)
        watched = asked.days.watched(days) if days >= 7 else np.minimum((column - grid.start) / DAY, days)
        asked.found[f"level_{days}"] = opens / np.maximum(watched, 0.5)
    asked.found["level"] = grid.firsts[asked.key, column] / np.maximum(asked.days.watched(DAYS), 1.0)
    everybody = grid.crowd.firsts[column] / grid.crowd.keys[column]
    asked.found["share"] = grid.firsts[asked.key, column] / np.maximum(everybody, 1e-9)
    asked.found["weeks"] = asked.days.watched(DAYS) // 7
    asked.found["siblings"] = grid.account_keys[asked.account, column]


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


def _rhythms(asked: _Asked) -> None:
    """The chance of a first open in each window: everybody's, the account's, the key's by day, the key's by week."""
    by_day, by_week = ({window: _Sums.of(len(asked.key)) for window in WINDOWS} for _ in range(2))
    for lag in range(1, _DAYS + 1):
        _add_day(asked, lag, by_day)
    for week in range(1, _WEEKS + 1):
        _add_week(asked, week, by_week)
    for window in WINDOWS:
        _rhythm(asked, window, by_day[window], by_week[window])


def _add_day(asked: _Asked, lag: int, sums: dict[Window, _Sums]) -> None:
    grid, place, worked = asked.grid, asked.back(lag), asked.days.worked(lag)
    opens = asked.counts(grid.firsts, asked.key, place)
    for (begin, end), day in sums.items():
        known = (place + begin >= grid.start) & worked
        opened = np.minimum(opens[begin, end], 1.0)
        day.own += _DAY_KEEP**lag * known * opened
        day.watched += _DAY_KEEP**lag * known
        if lag in _LAGS and (begin, end) in _LAGGED:
            asked.found[f"lag_{lag}_{begin}_{end}"] = np.where(known, opened, np.nan)


def _add_week(asked: _Asked, week: int, sums: dict[Window, _Sums]) -> None:
    grid, place, worked = asked.grid, asked.back(7 * week), asked.days.worked(7 * week)
    own = asked.counts(grid.firsts, asked.key, place)
    account = asked.counts(grid.account_firsts, asked.account, place)
    everybody = asked.counts(grid.crowd.firsts, None, place)
    for window, seen in sums.items():
        weight = _WEEK_KEEP**week * ((place + window[0] >= grid.start) & worked)
        seen.own += weight * np.minimum(own[window], 1.0)
        seen.account += weight * account[window]
        seen.everybody += weight * everybody[window]
        seen.watched += weight


def _rhythm(asked: _Asked, window: Window, by_day: _Sums, by_week: _Sums) -> None:
    """Let each rate lean on the one of more people."""
    grid, name, weeks = asked.grid, f"{window[0]}_{window[1]}", by_week.watched
    population = np.minimum(by_week.everybody / grid.crowd.keys[asked.column] / np.maximum(weeks, 1e-9), 1.0)
    per_key = by_week.account / grid.account_keys[asked.account, asked.column]
    accounts = np.minimum((per_key + 0.5 * population) / (weeks + 0.5), 1.0)
    daily = (by_day.own + 0.5 * accounts) / (by_day.watched + 0.5)
    asked.found |= {f"population_{name}": population, f"account_{name}": accounts, f"day_{name}": daily}
    asked.found[f"how_{name}"] = (by_week.own + _LEAN * daily) / (weeks + _LEAN)
    at_own_rate = np.minimum(population * asked.found["share"], 1.0)
    asked.found[f"week_{name}"] = (by_week.own + _WEEK_LEAN * at_own_rate) / (weeks + _WEEK_LEAN)


def _recency(asked: _Asked) -> None:
    grid, key, column = asked.grid, asked.key, asked.column
    asked.found["since_open"] = np.minimum(column - grid.last_open[key, column], _LONG)
    asked.found["since_first"] = np.minimum(column - grid.last_first[key, column], _LONG)
    asked.found["account_since"] = np.minimum(column - grid.account_last[asked.account, column], _LONG)
    streak, unbroken = np.zeros(len(key)), np.ones(len(key), bool)
    for lag in range(1, 11):
        place = asked.back(lag)
        unbroken &= asked.count(grid.firsts, key, place - 2, place + 6) > 0
        streak += unbroken
    asked.found["streak"] = streak


def _today(asked: _Asked, midnight: Rows) -> None:
    """Opens since the reader's midnight against what is usual on that weekday by now."""
    grid, key, column, account = asked.grid, asked.key, asked.column, asked.account
    elapsed = column - midnight
    today = asked.count(grid.firsts, key, midnight, column)
    usual, usually, others, crowd, weeks = (np.zeros(len(key)) for _ in range(5))
    for week in range(1, _WEEKS + 1):
        place = asked.back(7 * week)
        weight = _WEEK_KEEP**week * ((place - elapsed >= grid.start) & asked.days.worked(7 * week))
        opens = asked.count(grid.firsts, key, place - elapsed, place)
        usual += weight * opens
        usually += weight * (opens > 0)
        others += weight * asked.count(grid.account_firsts, account, place - elapsed, place)
        crowd += weight * asked.count(grid.crowd.opens, None, place - 4, place)
        weeks += weight
    weeks = np.maximum(weeks, 1e-9)
    lately = asked.count(grid.crowd.opens, None, column - 4, column)
    asked.found |= {
        "today": today, "usual": usual / weeks, "usually_opened": usually / weeks,
        "account_today": asked.count(grid.account_firsts, account, midnight, column) - today,
        "account_usual": others / weeks,
        "crowd": (lately + 1.0) / (crowd / weeks + 1.0),
        "crowd_today": asked.count(grid.crowd.firsts, None, midnight, column) / grid.crowd.keys[column],
        "yesterday": asked.count(grid.firsts, key, midnight - DAY, midnight),
    }  # fmt: skip


def _account_now(asked: _Asked) -> None:
    grid, column = asked.grid, asked.column
    for slots in (1, 4, 12):
        own = asked.count(grid.opens, asked.key, column - slots, column)
        asked.found[f"own_{slots}"] = own
        asked.found[f"others_{slots}"] = asked.count(grid.account_opens, asked.account, column - slots, column) - own


def _company(asked: _Asked) -> None:
    """How often the key's opens begin while the rest of the account is at work, and while it is not."""
    grid, key, column = asked.grid, asked.key, asked.column
    start = column - DAY * _DAYS
    firsts = asked.count(grid.firsts, key, start, column)
    quiet = asked.count(grid.quiet, key, start, column)
    joined = asked.count(grid.joined, key, start, column)
    joinable = asked.count(grid.joinable, key, start, column)
    usual = firsts / np.maximum(quiet, 1.0)
    asked.found |= {
        "rate_in_company": (joined + _COMPANY_LEAN * usual) / (joinable + _COMPANY_LEAN),
        "rate_alone": (firsts - joined + _COMPANY_LEAN * usual) / (quiet - joinable + _COMPANY_LEAN),
        "share_in_company": joined / np.maximum(firsts, 1.0),
    }
