"""Daily figures of ads as arrays of ads x days: what every calculation of fatigue starts from."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AdPanel:
    """Daily figures of the ads of some accounts, sorted by account and ad.

    Attributes:
        account_ids: account of each ad; equal ones are adjacent.
        ad_ids: id of each ad.
        ad_names: newest name of each ad.
        first_day: day of column 0, in the accounts' data zones.
        impressions: ads x days; 0 is no delivery, nan is unknown.
        clicks: ads x days; nan where unknown.
        spend: ads x days, in the account's currency; nan where unknown.
        results: ads x days, what the ad is paid for, such as purchases; nan where unknown.
        is_stored: ads x days, whether the account's day is stored; figures of other days are nan.
        clicks_from: per ad, the field that holds `clicks`; empty when no kind of clicks is comparable.
    """

    account_ids: tuple[str, ...]
    ad_ids: tuple[str, ...]
    ad_names: tuple[str, ...]
    first_day: date
    impressions: FloatArray
    clicks: FloatArray
    spend: FloatArray
    results: FloatArray
    is_stored: npt.NDArray[np.bool_]
    clicks_from: tuple[str, ...]

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


def empty_figures(ads: int, days: int) -> FloatArray:
    """Return ads x days of unknown figures."""
    values: Any = np.full((ads, days), np.nan)
    figures: FloatArray = values
    return figures
