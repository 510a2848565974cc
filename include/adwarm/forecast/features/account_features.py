"""What the model looks at of a key's account: who is there, when they come, and what they opened before."""

from collections.abc import Sequence

import numpy as np

from adwarm.forecast.features.feature_context import DAY_DECAY, WEEK_DECAY, FeatureContext, Window
from adwarm.forecast.features.grid import SLOTS_PER_DAY
from adwarm.forecast.features.sibling_reports import NO_KIND, SiblingReports
from adwarm.foundation.arrow_arrays import Floats, Ints32

MAX_AGE_SLOTS = 4000
"""Quarters of an hour, about six weeks: what is longer ago is as long ago as this."""
_DAYS = 28
_COMPANY_LEAN = 10.0
_ARRIVAL_DAYS, _ARRIVAL_WEEKS = 14, 8
_ARRIVAL_WINDOWS: tuple[Window, ...] = ((0, 4), (0, 12))
_TINY = 1e-9


def add_recent_opens(context: FeatureContext) -> None:
    """Opens of the last hours, of the key and of the account's other keys."""
    grid, column = context.grid, context.column
    for slots in (1, 4, 12):
        own = context.count_between(grid.opens, context.key, column - slots, column)
        context.features[f"own_{slots}"] = own
        context.features[f"others_{slots}"] = (
            context.count_between(grid.account_opens, context.account, column - slots, column) - own
        )


def add_company(context: FeatureContext) -> None:
    """How often the key's opens begin while the rest of the account is at work, and while it is not."""
    grid, key, column = context.grid, context.key, context.column
    start = column - SLOTS_PER_DAY * _DAYS
    firsts = context.count_between(grid.firsts, key, start, column)
    quiet = context.count_between(grid.quiet, key, start, column)
    joined = context.count_between(grid.joined, key, start, column)
    joinable = context.count_between(grid.joinable, key, start, column)
    usual = firsts / np.maximum(quiet, 1.0)
    context.features |= {
        "rate_in_company": (joined + _COMPANY_LEAN * usual) / (joinable + _COMPANY_LEAN),
        "rate_alone": (firsts - joined + _COMPANY_LEAN * usual) / (quiet - joinable + _COMPANY_LEAN),
        "share_in_company": joined / np.maximum(firsts, 1.0),
    }


def add_arrivals(context: FeatureContext) -> None:
    """How likely somebody comes to the account at this time, or is there, by day and by week; and since when they are.

    Single keys of an account are opened too rarely to tell when its people begin; all of them together tell it.
    """
    some, place = context.once_per_account()
    grid = context.grid
    by_day = [(lag, DAY_DECAY**lag) for lag in range(1, _ARRIVAL_DAYS + 1)]
    by_week = [(7 * week, WEEK_DECAY**week) for week in range(1, _ARRIVAL_WEEKS + 1)]
    found = {"since_arrival": np.minimum(some.column - grid.account_arrived[some.account, some.column], MAX_AGE_SLOTS)}
    for name, totals, lags in (
        ("arrival_day", grid.arrivals, by_day),
        ("there_day", grid.account_opens, by_day),
        ("arrival_week", grid.arrivals, by_week),
    ):
        found |= {f"{name}_{end}": share for (_, end), share in _shares(some, totals, lags).items()}
    context.features |= {name: values[place] for name, values in found.items()}


def _shares(asked: FeatureContext, totals: Ints32, lags: Sequence[tuple[int, float]]) -> dict[Window, Floats]:
    """Return, per window, the share of worked days on which anything was counted in it.

    Args:
        totals: accounts x columns, running.
        lags: days before, and what each counts.
    """
    counted = {window: np.zeros(len(asked.key)) for window in _ARRIVAL_WINDOWS}
    watched = np.zeros(len(asked.key))
    for lag, keep in lags:
        place = asked.columns_before(lag)
        weight = keep * ((place >= asked.grid.start) & asked.working_days.was_worked(lag))
        watched += weight
        for window, opens in asked.count_windows(totals, asked.account, place, _ARRIVAL_WINDOWS).items():
            counted[window] += weight * (opens > 0)
    return {window: share / np.maximum(watched, _TINY) for window, share in counted.items()}


def add_sibling_recency(context: FeatureContext, siblings: SiblingReports) -> None:
    """How long ago the account opened each of the usual kinds of report, NaN when long or never; and which this is."""
    grid = context.grid
    rank = siblings.rank(grid)[context.key].astype(np.float64)
    context.features["kind"] = np.where(rank == NO_KIND, np.nan, rank)
    keys = siblings.keys(grid)[context.account]
    for place in range(len(siblings.report_kinds)):
        since = context.column - grid.last_open[keys[:, place], context.column]
        context.features[f"since_kind_{place}"] = np.where(
            (keys[:, place] == NO_KIND) | (since > MAX_AGE_SLOTS), np.nan, since
        )
