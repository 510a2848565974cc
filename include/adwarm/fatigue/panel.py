"""Daily figures of ads as arrays of ads x days: what every calculation of fatigue starts from.

A stored day without a row of an ad is a day without delivery. A figure that some rows of an account's day have is zero
in the rows without it; a figure that no row of the day has is unknown, which is not zero. Rows of the same ad and day
are added up. Row order does not matter.

What is known as of a day never depends on later days: the kind of clicks and the kind of results of an ad are those of
its first day that has any, and names and changes are recorded by day.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from adwarm.fatigue.panel_rows import CHANGE_COLUMNS, FIGURES, AccountRows, parse_rows
from adwarm.fatigue.results import COLUMNS as RESULT_COLUMNS
from adwarm.fatigue.results import GOAL_COLUMNS
from adwarm.model import ColumnTable

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

    @property
    def clicks_of_all_kinds(self) -> tuple[FloatArray, FloatArray]:
        """All clicks and link clicks, ads x days each; link clicks are unknown where all clicks are complete."""
        if self.all_clicks is None or self.link_clicks is None:
            return self.clicks, np.full(self.clicks.shape, np.nan)
        return self.all_clicks, self.link_clicks

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


def read_panel(
    tables: Mapping[str, ColumnTable | pa.Table],
    first_day: date,
    last_day: date,
    stored_days: Mapping[str, Collection[date]] | None = None,
) -> AdPanel:
    """Return the figures of the ads that have a row in the span, sorted by account and ad.

    Args:
        tables: the daily rows of each account, by account id. That id counts, as Meta's rows name the account by digits
            alone; yet each row must state its account and its ad.
        first_day: first day of the span; rows before it are ignored.
        last_day: last day of the span; rows after it are ignored.
        stored_days: by account id, the days that are stored; every day of the span by default. A day with rows counts
            as stored.

    Raises:
        BadRequest: a row's id, day or number cannot be read; the message names the ad and the field.
    """
    return cut_panel({name: parse_rows(table) for name, table in tables.items()}, first_day, last_day, stored_days)


def cut_panel(
    accounts: Mapping[str, AccountRows],
    first_day: date,
    last_day: date,
    stored_days: Mapping[str, Collection[date]] | None = None,
    *,
    stored_only: bool = False,
) -> AdPanel:
    """Return what `read_panel` returns, from rows that are parsed already.

    Args:
        accounts: the rows of each account, by account id.
        first_day: first day of the span.
        last_day: last day of the span.
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
    names = rows.find_names(columns, places.start)
    return [
        AdPanel(
            account_ids=(account_id,) * len(ads),
            ad_ids=tuple(rows.ad_ids[ad] for ad in ads.tolist()),
            ad_names=tuple(names[ad][-1][1] if ad in names else rows.names[ad] for ad in ads.tolist()),
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
            names_by_column={number: names[ad] for number, ad in enumerate(ads.tolist()) if len(names.get(ad, ())) > 1},
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
    starts = np.cumsum([0, *(len(part.ad_ids) for part in parts)]).tolist()
    one_kind = all(part.all_clicks is None for part in parts)
    unchanged = all(part.changed is None for part in parts)
    none = empty_figures(0, days)
    return AdPanel(
        account_ids=tuple(name for part in parts for name in part.account_ids),
        ad_ids=tuple(name for part in parts for name in part.ad_ids),
        ad_names=tuple(name for part in parts for name in part.ad_names),
        first_day=first_day,
        impressions=np.concatenate([none, *(part.impressions for part in parts)]),
        clicks=np.concatenate([none, *(part.clicks for part in parts)]),
        spend=np.concatenate([none, *(part.spend for part in parts)]),
        results=np.concatenate([none, *(part.results for part in parts)]),
        is_stored=np.concatenate([none > 0, *(part.is_stored for part in parts)]),
        clicks_from=tuple(kind for part in parts for kind in part.clicks_from),
        all_clicks=None if one_kind else np.concatenate([part.clicks_of_all_kinds[0] for part in parts]),
        link_clicks=None if one_kind else np.concatenate([part.clicks_of_all_kinds[1] for part in parts]),
        changed=None if unchanged else np.concatenate([_changes(part) for part in parts]),
        names_by_column={
            start + ad: names
            for start, part in zip(starts, parts, strict=False)
            for ad, names in part.names_by_column.items()
        },
    )


def _changes(part: AdPanel) -> BoolArray:
    return np.zeros(part.impressions.shape, bool) if part.changed is None else part.changed


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
    *GOAL_COLUMNS,
})
"""The fields that `read_panel` reads; a table may leave out all others."""


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
