"""Daily figures of ads as arrays of ads x days: what every calculation of fatigue starts from.

A stored day without a row of an ad is a day without delivery. A figure that some rows of an account's day have is zero
in the rows without it; a figure that no row of the day has is unknown, which is not zero. Rows of the same ad and day
are added up. Row order does not matter.

What is known as of a day never depends on later days: the kind of clicks and the kind of results of an ad are those of
its first day that has any, and names and changes are recorded by day.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

CLICKS: Final = "clicks"
LINK_CLICKS: Final = "inline_link_clicks"
"""Clicks on the ad's link only: fewer than all clicks, but they decline alike."""


@dataclass(frozen=True, slots=True)
class AdPanel:
    """Daily figures of the ads of some accounts, sorted by account and ad.

    Attributes:
        account_ids: account of each ad; equal ones are adjacent.
        ad_ids: id of each ad.
        ad_names: newest name of each ad.
        first_day: day of column 0, in the accounts' data zones.
        impressions: ads x days; 0 is no delivery, nan is unknown.
        clicks: ads x days, all of the kind `clicks_from`; nan where unknown.
        spend: ads x days, in the account's currency; nan where unknown.
        results: ads x days, what the ad is paid for, such as purchases; nan where unknown.
        is_stored: ads x days, whether the account's day is stored; figures of other days are nan.
        clicks_from: per ad, the field that holds `clicks`; empty when no kind of clicks is known.
        all_clicks: ads x days, clicks of every kind; None when that is `clicks` for every ad and day.
        link_clicks: ads x days, clicks on the link; None when `all_clicks` is.
        changed: ads x days, whether the ad got another ad set, audience or creative that day; None for never.
        names_by_column: by ad index, for ads with several names: each name with its first column, oldest first.
    """

    account_ids: tuple[str, ...]
    ad_ids: tuple[str, ...]
    ad_names: tuple[str, ...]
    first_day: date
    impressions: FloatArray
    clicks: FloatArray
    spend: FloatArray
    results: FloatArray
    is_stored: BoolArray
    clicks_from: tuple[str, ...]
    all_clicks: FloatArray | None = None
    link_clicks: FloatArray | None = None
    changed: BoolArray | None = None
    names_by_column: Mapping[int, tuple[tuple[int, str], ...]] = field(default_factory=dict)

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

    def name_at(self, ad: int, column: int) -> str:
        """Return the name that an ad had on a day, or its first one before it had any."""
        names = self.names_by_column.get(ad)
        if names is None:
            return self.ad_names[ad]
        return next((name for since, name in reversed(names) if since <= column), names[0][1])

    def select_ads(self, first: int, last: int) -> "AdPanel":
        """Return the panel of the ads from index `first` up to `last`, `last` excluded; the arrays are views."""
        rows = slice(first, last)
        return AdPanel(
            account_ids=self.account_ids[rows],
            ad_ids=self.ad_ids[rows],
            ad_names=self.ad_names[rows],
            first_day=self.first_day,
            impressions=self.impressions[rows],
            clicks=self.clicks[rows],
            spend=self.spend[rows],
            results=self.results[rows],
            is_stored=self.is_stored[rows],
            clicks_from=self.clicks_from[rows],
            all_clicks=None if self.all_clicks is None else self.all_clicks[rows],
            link_clicks=None if self.link_clicks is None else self.link_clicks[rows],
            changed=None if self.changed is None else self.changed[rows],
            names_by_column={ad - first: names for ad, names in self.names_by_column.items() if first <= ad < last},
        )


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
        rounded = np.where(
            exponent >= 0, np.rint(values * scale) / scale, np.rint(values / scale) * scale
        )
    result: FloatArray = rounded + 0.0  # no negative zero
    return result
