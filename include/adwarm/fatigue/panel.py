"""Daily figures of ads as arrays of ads x days: what every calculation of fatigue starts from.

A stored day without a row of an ad is a day without delivery. A figure that some rows of an account's day have is zero
in the rows without it; a figure that no row of the day has is unknown, which is not zero. Rows of the same ad and day
are added up. Row order does not matter.

What is known as of a day never depends on later days: the kind of clicks and the kind of results of an ad are those of
its first day that has any, and names and changes are recorded by day.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from adwarm.fatigue.panel_rows import CHANGE_COLUMNS, FIGURES, RESULT_COLUMNS, AdRows
from adwarm.model import Window

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
FIELDS: Final = frozenset({
    "account_id",
    "ad_id",
    "ad_name",
    "date_start",
    *FIGURES,
    *CHANGE_COLUMNS,
    *RESULT_COLUMNS,
})
"""The fields of rows that are read; a table may leave out all others."""


@dataclass(frozen=True, slots=True)
class AdPanel:
    """Daily figures of the ads of some accounts, sorted by account and ad.

    Attributes:
        account_ids: account of each ad; equal ones are adjacent.
        ad_ids: id of each ad.
        first_day: day of column 0, in the accounts' data zones.
        impressions: ads x days; 0 is no delivery, nan is unknown.
        clicks: ads x days, all clicks, or those on the link where an ad's first ones are such; nan where unknown.
        spend: ads x days, in the account's currency; nan where unknown.
        results: ads x days, what the ad is paid for, such as purchases; nan where unknown.
        is_stored: ads x days, whether the account's day is stored; figures of other days are nan.
        all_clicks: ads x days, clicks of every kind; None when that is `clicks` for every ad and day.
        link_clicks: ads x days, clicks on the link; None when `all_clicks` is.
        changed: ads x days, whether the ad got another ad set, audience or creative that day; None for never.
        names: ads x days, name of the ad on each day, or its first one before it had any; None for no names.
    """

    account_ids: tuple[str, ...]
    ad_ids: tuple[str, ...]
    first_day: date
    impressions: FloatArray
    clicks: FloatArray
    spend: FloatArray
    results: FloatArray
    is_stored: BoolArray
    all_clicks: FloatArray | None = None
    link_clicks: FloatArray | None = None
    changed: BoolArray | None = None
    names: npt.NDArray[np.object_] | None = None

    @property
    def days(self) -> int:
        """Number of columns."""
        return int(self.impressions.shape[1])

    @property
    def last_day(self) -> date:
        """Day of the last column."""
        return self.first_day + timedelta(days=self.days - 1)

    @property
    def account_starts(self) -> npt.NDArray[np.intp]:
        """Index of the first ad of each account."""
        names = np.asarray(self.account_ids, dtype=object)
        return np.flatnonzero(np.r_[True, names[1:] != names[:-1]]) if len(names) else np.zeros(0, np.intp)

    def column(self, day: date) -> int:
        """Return the index of a day's column; it may lie outside."""
        return (day - self.first_day).days

    def select_ads(self, first: int, last: int) -> "AdPanel":
        """Return the panel of the ads from index `first` up to `last`, `last` excluded; the arrays are views."""
        values = {name: getattr(self, name) for name in _BY_AD}
        return replace(self, **{name: value[first:last] for name, value in values.items() if value is not None})


_BY_AD: Final = tuple(item.name for item in fields(AdPanel) if item.name != "first_day")
"""Fields with a value for each ad."""


def cut_panel(
    rows: AdRows, span: Window, stored: Mapping[str, Collection[date]] | None = None, *, stored_only: bool = False
) -> AdPanel:
    """Return the figures of the ads that have a row in the span.

    Args:
        span: days within those of the rows.
        stored: by account id, the days that are stored; other accounts are left out. Every day of all by default.
        stored_only: whether the figures of other days are ignored, instead of counting them as stored.
    """
    first = (span.since - rows.first_day).days
    columns, days = slice(first, first + len(span)), list(span.days())
    names, account = np.unique(np.array(rows.account_ids, str), return_inverse=True)
    listed = [frozenset(days if stored is None else stored.get(name, ())) for name in names.tolist()]
    is_stored = np.array([[day in of_account for day in days] for of_account in listed], bool).reshape(-1, len(days))
    is_chosen = np.array([stored is None or name in stored for name in rows.account_ids], bool)
    used = (is_stored | (not stored_only))[account] & is_chosen[:, None]
    has_row = rows.has_row[:, columns] & used
    ads = np.flatnonzero(has_row.any(axis=1))
    is_stored |= np.logical_or.reduceat(has_row, np.flatnonzero(np.diff(account, prepend=-1)))
    is_stored = is_stored[account[ads]]
    impressions, clicks, links, spend = (
        np.where(is_stored, rows.figures[name][ads, columns], np.nan) for name in FIGURES
    )
    one_kind = bool((np.isfinite(clicks) | ~(impressions > 0)).all())
    changed = rows.find_changes(columns)
    return AdPanel(
        account_ids=tuple(rows.account_ids[ad] for ad in ads.tolist()),
        ad_ids=tuple(rows.ad_ids[ad] for ad in ads.tolist()),
        first_day=span.since,
        impressions=impressions,
        clicks=_choose_clicks(impressions, clicks, links),
        spend=spend,
        results=rows.count_results(columns, used)[ads],
        is_stored=is_stored,
        all_clicks=None if one_kind else clicks,
        link_clicks=None if one_kind else links,
        changed=None if changed is None else changed[ads],
        names=rows.find_names(columns)[ads],
    )


def _choose_clicks(impressions: FloatArray, clicks: FloatArray, links: FloatArray) -> FloatArray:
    """Return the clicks of the kind that each ad's first day with delivery and clicks has."""
    has_clicks = (impressions > 0) & (np.isfinite(clicks) | np.isfinite(links))
    first = has_clicks.argmax(axis=1)
    uses_links = has_clicks.any(axis=1) & ~np.isfinite(clicks[np.arange(len(first)), first])
    return np.where(uses_links[:, None], links, clicks)


def empty_figures(ads: int, days: int) -> FloatArray:
    """Return ads x days of unknown figures."""
    values: Any = np.full((ads, days), np.nan)
    figures: FloatArray = values
    return figures


def round_figures(values: FloatArray) -> FloatArray:
    """Return values rounded to six significant digits, which is how every figure of fatigue is stored.

    Each result is the float nearest to its decimal, so it prints with six digits. Infinite and nan ones stay.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        exponent = np.where(np.isfinite(values) & (values != 0), 5 - np.floor(np.log10(np.abs(values))), 0.0)
    exponent = np.clip(exponent, -200, 200)
    scale = 10.0 ** np.abs(exponent)  # exact up to 10^22
    with np.errstate(invalid="ignore"):
        rounded = np.where(exponent >= 0, np.rint(values * scale) / scale, np.rint(values / scale) * scale)
    result: FloatArray = rounded + 0.0  # no negative zero
    return result
