"""Features of a key's account: recent activity, usual arrivals, and which reports were opened before."""

from collections.abc import Sequence

import numpy as np

from adwarm.forecast.features.feature_context import DAY_DECAY, WEEK_DECAY, FeatureContext, Window
from adwarm.forecast.features.grid import SLOTS_PER_DAY
from adwarm.forecast.features.sibling_reports import NO_KIND, SiblingReports
from adwarm.foundation.arrow_arrays import Floats, Ints32

MAX_AGE_SLOTS = 4000
"""Longer ago counts as this long ago; slots of 15 minutes, about six weeks."""
_DAYS = 28
_COMPANY_PRIOR = 10.0
_ARRIVAL_DAYS, _ARRIVAL_WEEKS = 14, 8
_ARRIVAL_WINDOWS: tuple[Window, ...] = ((0, 4), (0, 12))
_TINY = 1e-9


def add_recent_opens(context: FeatureContext) -> None:
    """Add opens of the last hours, of the key and of the account's other keys."""
    grid, column = context.grid, context.column
    for slots in (1, 4, 12):
        own = context.count_between(grid.opens, context.key, column - slots, column)
        context.features[f"own_{slots}"] = own
        context.features[f"others_{slots}"] = (
            context.count_between(grid.account_opens, context.account, column - slots, column) - own
        )


def add_company(context: FeatureContext) -> None:
    """Add how often the key is opened while other keys of the account are in use, and while they are not."""
    grid, key, column = context.grid, context.key, context.column
    start = column - SLOTS_PER_DAY * _DAYS
    firsts = context.count_between(grid.firsts, key, start, column)
    quiet = context.count_between(grid.quiet, key, start, column)
    joined = context.count_between(grid.joined, key, start, column)
    joinable = context.count_between(grid.joinable, key, start, column)
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
    last_arrival = grid.account_arrived[representatives.account, representatives.column]
    arrivals = {"since_arrival": np.minimum(representatives.column - last_arrival, MAX_AGE_SLOTS)}
    for name, totals, lags in (
        ("arrival_day", grid.arrivals, by_day),
        ("there_day", grid.account_opens, by_day),
        ("arrival_week", grid.arrivals, by_week),
    ):
        shares = _shares_of_days(representatives, totals, lags)
        arrivals |= {f"{name}_{end}": share for (_, end), share in shares.items()}
    context.features |= {name: values[index] for name, values in arrivals.items()}


def _shares_of_days(context: FeatureContext, totals: Ints32, lags: Sequence[tuple[int, float]]) -> dict[Window, Floats]:
    """Return, per window, the share of working days with a count above 0 in it.

    Args:
        context: one pair per account.
        totals: running totals, accounts x columns.
        lags: days before, and the weight of each.
    """
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
    """Add how long ago the account opened each sibling report, NaN if long ago or never, and the key's own kind."""
    grid = context.grid
    rank = siblings.rank(grid)[context.key].astype(np.float64)
    context.features["kind"] = np.where(rank == NO_KIND, np.nan, rank)
    keys = siblings.keys(grid)[context.account]
    for index in range(len(siblings.report_kinds)):
        since = context.column - grid.last_open[keys[:, index], context.column]
        context.features[f"since_kind_{index}"] = np.where(
            (keys[:, index] == NO_KIND) | (since > MAX_AGE_SLOTS), np.nan, since
        )
