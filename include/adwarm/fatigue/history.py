"""The history of an ad that its score is computed from: delivery by day, and frequency.

A day without a row is a day without delivery. A figure that some rows of an account's day have is zero in the rows
without it; a figure that no row of the day has is unknown, which is not zero. Row order does not matter.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from statistics import median
from typing import Any, Final

from adwarm.foundation.errors import BadRequest

InsightsRow = Mapping[str, Any]
"""An insights row: numbers as numeric strings, days as ISO text, absent where zero or undefined."""

AdKey = tuple[str, str]
"""Account id and ad id."""

MAX_RANGE_AGE_DAYS: Final = 7
"""A range summary that ended this many days ago or more is too old to use."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The delivery of an ad over some days; spend in the account's currency. None: unknown."""

    impressions: float = 0.0
    clicks: float | None = None
    spend: float | None = None
    link_clicks: float | None = None

    @property
    def ctr(self) -> float | None:
        """Clicks per impression; None without impressions or with unknown clicks."""
        return self.clicks / self.impressions if self.impressions and self.clicks is not None else None

    @property
    def cpm(self) -> float | None:
        """Price of a thousand impressions; None without impressions or with unknown spend."""
        return 1000 * self.spend / self.impressions if self.impressions and self.spend is not None else None

    def with_link_clicks(self) -> "Delivery":
        """Return the same delivery with link clicks instead of clicks."""
        return replace(self, clicks=self.link_clicks)


@dataclass(slots=True)
class AdHistory:
    """One ad's delivery by day, oldest first.

    Attributes:
        name: the ad's newest name.
        days: delivery by day.
        days_without_impressions: days with a row of the ad on which no row of the account has impressions.
    """

    name: str = ""
    days: dict[date, Delivery] = field(default_factory=dict)
    days_without_impressions: frozenset[date] = frozenset()

    def between(self, since: date, until: date) -> list[Delivery]:
        """Return the deliveries of the days in a span, both ends included, that have impressions."""
        return [self.days[day] for day in self.days if since <= day <= until and self.days[day].impressions]

    def first_day(self, since: date, until: date) -> date | None:
        """Return the first day with impressions in a span, both ends included; None without one."""
        days = (day for day, delivery in self.days.items() if since <= day <= until and delivery.impressions)
        return min(days, default=None)

    def lacks_impressions(self, since: date, until: date) -> bool:
        """Return whether the impressions of a day in a span, both ends included, are unknown."""
        return any(since <= day <= until for day in self.days_without_impressions)


_FIGURES: Final = {
    "impressions": "impressions",
    "clicks": "clicks",
    "spend": "spend",
    "link_clicks": "inline_link_clicks",
}


def read_histories(rows: Iterable[InsightsRow], since: date, until: date) -> dict[AdKey, AdHistory]:
    """Return the history of each ad that has a row in the span, both ends included.

    Raises:
        BadRequest: a row's day or number cannot be read; the message names the ad and the field.
    """
    parts: dict[AdKey, dict[date, list[InsightsRow]]] = {}
    figures: dict[tuple[str, date], set[str]] = {}
    names: dict[AdKey, tuple[date, str]] = {}
    for row in rows:
        ad, day = read_ad_key(row), read_day(row, "date_start")
        if not since <= day <= until:
            continue
        parts.setdefault(ad, {}).setdefault(day, []).append(row)
        present = {name for name, column in _FIGURES.items() if row.get(column) not in {None, ""}}
        figures.setdefault((ad[0], day), set()).update(present)
        name = (day, str(row.get("ad_name") or ""))
        names[ad] = max(names.get(ad, name), name)
    return {
        ad: AdHistory(
            names[ad][1],
            {day: sum_deliveries(_delivery(row, figures[ad[0], day]) for row in days[day]) for day in sorted(days)},
            frozenset(day for day in days if "impressions" not in figures[ad[0], day]),
        )
        for ad, days in sorted(parts.items())
    }


def _delivery(row: InsightsRow, known_figures: set[str]) -> Delivery:
    """Return a row's delivery; an absent figure is zero if other rows of its account and day have it, else unknown."""
    return Delivery(**{name: read_number(row, column) for name, column in _FIGURES.items() if name in known_figures})


def read_frequencies(rows: Iterable[InsightsRow], until: date) -> dict[AdKey, float]:
    """Return each ad's frequency from its newest range summary that ends by `until`; ads without one are left out.

    Reach does not add up over days, so frequency can come from a range summary only.
    """
    newest: dict[AdKey, tuple[date, float]] = {}
    for row in rows:
        ad, end = read_ad_key(row), read_day(row, "date_stop")
        frequency = read_number(row, "frequency")
        reach = read_number(row, "reach")
        if not frequency and reach:
            frequency = read_number(row, "impressions") / reach
        if frequency and until - timedelta(days=MAX_RANGE_AGE_DAYS) < end <= until:
            newest[ad] = max(newest.get(ad, (end, frequency)), (end, frequency))
    return {ad: frequency for ad, (_, frequency) in newest.items()}


def sum_deliveries(days: Iterable[Delivery]) -> Delivery:
    """Return the sum of some days; unknown figures are left out of it."""
    listed = list(days)
    return Delivery(
        math.fsum(day.impressions for day in listed),
        _sum([day.clicks for day in listed]),
        _sum([day.spend for day in listed]),
        _sum([day.link_clicks for day in listed]),
    )


def with_clicks(days: Iterable[Delivery]) -> list[Delivery]:
    """Return the days with known clicks; click-through rates use these days only."""
    return [day for day in days if day.clicks is not None]


def with_spend(days: Iterable[Delivery]) -> list[Delivery]:
    """Return the days with known spend; prices use these days only."""
    return [day for day in days if day.spend is not None]


def baseline_ctr(days: Iterable[Delivery], prior_clicks: float) -> float | None:
    """Return the median daily click-through rate; None without clicks.

    Each day is shrunk towards the rate of all days by the impressions that `prior_clicks` clicks take, because the
    plain median of days with few impressions is zero.
    """
    clicked = with_clicks(days)
    overall = sum_deliveries(clicked).ctr
    if not overall:
        return None
    weight = prior_clicks / overall
    return median(((day.clicks or 0.0) + prior_clicks) / (day.impressions + weight) for day in clicked)


def baseline_cpm(days: Iterable[Delivery], prior_impressions: float) -> float | None:
    """Return the median daily price of a thousand impressions, each day shrunk to all days; None without spend."""
    paid = with_spend(days)
    total = sum_deliveries(paid)
    if not total.impressions or not total.spend:
        return None
    price = total.spend / total.impressions
    return 1000 * median(
        ((day.spend or 0.0) + prior_impressions * price) / (day.impressions + prior_impressions) for day in paid
    )


def _sum(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return math.fsum(present) if present else None


def read_ad_key(row: InsightsRow) -> AdKey:
    """Return the account id and ad id of a row.

    Raises:
        BadRequest: one is missing.
    """
    try:
        return str(row["account_id"]), str(row["ad_id"])
    except KeyError as error:
        raise BadRequest(f"an insights row has no {error}; ask for level=ad with account_id and ad_id") from None


def read_day(row: InsightsRow, name: str) -> date:
    """Return the day in a row's field.

    Raises:
        BadRequest: it is no day.
    """
    value = row.get(name)
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise BadRequest(
            f"ad {row.get('ad_id')}: {name} is {str(value)[:40]!r}, not a day such as 2026-11-25"
        ) from None


def read_number(row: InsightsRow, name: str) -> float:
    """Return the number in a row's field, zero when it is absent.

    Raises:
        BadRequest: it is no number of 0 or more.
    """
    value = row.get(name)
    if value is None or value == "":
        return 0.0
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number < math.inf:
        raise BadRequest(f"ad {row.get('ad_id')}: {name} is {str(value)[:40]!r}, not a number of 0 or more")
    return number
