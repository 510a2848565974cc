"""Daily figures of ads as arrays of ads x days: what every calculation of fatigue starts from.

A stored day without a row of an ad is a day without delivery. A figure that some rows of an account's day have is zero
in the rows without it; a figure that no row of the day has is unknown, which is not zero. Rows of the same ad and day
are added up. Row order does not matter.

What is known as of a day never depends on later days: the kind of clicks and the kind of results of an ad are those of
its first day that has any, and names and changes are recorded by day.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from itertools import chain
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from adwarm.fatigue.panel_rows import CHANGE_COLUMNS, FIGURES, RESULT_COLUMNS, AccountRows

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

CLICKS: Final = "clicks"
LINK_CLICKS: Final = "inline_link_clicks"
"""Clicks on the ad's link only: fewer than all clicks, but they decline alike."""
FIELDS: Final = frozenset({
    "account_id",
    "ad_id",
    "ad_name",
    "date_start",
    "impressions",
    CLICKS,
    LINK_CLICKS,
    "spend",
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
        clicks: ads x days, all of the kind `clicks_from`; nan where unknown.
        spend: ads x days, in the account's currency; nan where unknown.
        results: ads x days, what the ad is paid for, such as purchases; nan where unknown.
        is_stored: ads x days, whether the account's day is stored; figures of other days are nan.
        clicks_from: per ad, the field that holds `clicks`; empty when no kind of clicks is known.
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
    clicks_from: tuple[str, ...]
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

    @property
    def clicks_of_all_kinds(self) -> tuple[FloatArray, FloatArray]:
        """All clicks and link clicks, ads x days each; link clicks are unknown where all clicks are complete."""
        if self.all_clicks is None or self.link_clicks is None:
            return self.clicks, np.full(self.clicks.shape, np.nan)
        return self.all_clicks, self.link_clicks

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
    accounts: Mapping[str, AccountRows],
    first_day: date,
    last_day: date,
    stored_days: Mapping[str, Collection[date]] | None = None,
    *,
    stored_only: bool = False,
) -> AdPanel:
    """Return the figures of the ads that have a row in the span, sorted by account and ad.

    Args:
        accounts: the rows of each account, by account id. That id counts, as Meta's rows name the account by digits
            alone; yet each row must state its account and its ad.
        stored_days: by account id, the days that are stored; every day of the span by default.
        stored_only: whether the figures of other days are ignored, instead of counting them as stored.
    """
    days = [first_day + timedelta(days=number) for number in range((last_day - first_day).days + 1)]
    parts = []
    for account_id, rows in sorted(accounts.items()):
        stored = None if stored_days is None else frozenset(stored_days.get(account_id, ()))
        is_stored = np.array([stored is None or day in stored for day in days], bool)
        parts += _cut_account(account_id, rows, first_day, is_stored, stored_only)
    return _join(parts, first_day, len(days))


def _cut_account(
    account_id: str, rows: AccountRows, first_day: date, is_stored: BoolArray, stored_only: bool
) -> list[AdPanel]:
    """Return the panel of the ads with a row in the span; empty when there are none."""
    columns, places = rows.locate(first_day, len(is_stored))
    used = is_stored[places] | (not stored_only)
    has_row = rows.has_row[:, columns] & used
    ads = np.flatnonzero(has_row.any(axis=1))
    if not len(ads):
        return []
    is_stored[places] |= has_row.any(axis=0)
    impressions, clicks, links, spend = (
        _place(rows.figures[name][ads, columns], places, np.where(is_stored, 0.0, np.nan)) for name in FIGURES
    )
    for values in (impressions, clicks, links, spend):
        values[:, ~is_stored] = np.nan
    counted, kinds = _choose_clicks(impressions, clicks, links)
    one_kind = bool((np.isfinite(clicks) | ~(impressions > 0)).all())
    results = rows.count_results(columns, used)[ads]
    changed = rows.find_changes(columns)
    names = rows.find_names(columns, np.arange(len(is_stored)) - places.start)
    return [
        AdPanel(
            account_ids=(account_id,) * len(ads),
            ad_ids=tuple(rows.ad_ids[ad] for ad in ads.tolist()),
            first_day=first_day,
            impressions=impressions,
            clicks=counted,
            spend=spend,
            results=_place(results, places, np.full(len(is_stored), np.nan)),
            is_stored=np.broadcast_to(is_stored, (len(ads), len(is_stored))),
            clicks_from=tuple(kinds),
            all_clicks=None if one_kind else clicks,
            link_clicks=None if one_kind else links,
            changed=None if changed is None else _place(changed[ads], places, np.zeros(len(is_stored), bool)),
            names=names[ads],
        )
    ]


def _place(values: npt.NDArray[Any], places: slice, others: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return values of some columns among those of a span, which have `others` elsewhere."""
    placed = np.tile(others, (len(values), 1))
    placed[:, places] = values
    return placed


def _choose_clicks(impressions: FloatArray, clicks: FloatArray, links: FloatArray) -> tuple[FloatArray, list[str]]:
    """Return the clicks of the kind that each ad's first day with delivery and clicks has, and the kinds."""
    delivered = impressions > 0
    has_clicks = delivered & (np.isfinite(clicks) | np.isfinite(links))
    first = has_clicks.argmax(axis=1)
    has_any = has_clicks.any(axis=1)
    uses_links: BoolArray = has_any & ~np.isfinite(clicks[np.arange(len(first)), first])
    chosen = np.where(uses_links[:, None], links, clicks)
    kinds = np.where(uses_links, LINK_CLICKS, np.where(has_any, CLICKS, "")).tolist()
    return chosen, kinds


def _join(parts: Sequence[AdPanel], first_day: date, days: int) -> AdPanel:
    """Return one panel of the ads of all parts."""
    if not parts:
        none = empty_figures(0, days)
        return AdPanel((), (), first_day, none, none, spend=none, results=none, is_stored=none > 0, clicks_from=())
    values: dict[str, Any] = {name: [getattr(part, name) for part in parts] for name in _BY_AD}
    if any(clicks is not None for clicks in values["all_clicks"]):
        values["all_clicks"], values["link_clicks"] = zip(*(part.clicks_of_all_kinds for part in parts), strict=True)
    if any(changed is not None for changed in values["changed"]):
        values["changed"] = [part.impressions < 0 if part.changed is None else part.changed for part in parts]
    for name, (first, *others) in values.items():
        if isinstance(first, tuple):
            values[name] = tuple(chain(first, *others))
        else:
            values[name] = None if first is None else np.concatenate([first, *others])
    return AdPanel(first_day=first_day, **values)


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
