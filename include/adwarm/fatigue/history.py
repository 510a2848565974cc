"""An ad's past as the score sees it: delivery by day, and how often people saw it.

A day without a row is a day without delivery. A figure that one row of an account's day has and another has not is zero
in the other; one that no row of the day has is not known, which is not zero. The order of the rows changes nothing, and
rows after `as_of` are not looked at.
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
"""A range summary that ended this many days ago or more says nothing about now."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What an ad delivered in some days, money in the account's currency. None is not known."""

    impressions: float = 0.0
    clicks: float | None = None
    spend: float | None = None
    link_clicks: float | None = None

    @property
    def ctr(self) -> float | None:
        """Clicks per impression; None without impressions or where clicks are not known."""
        return self.clicks / self.impressions if self.impressions and self.clicks is not None else None

    @property
    def cpm(self) -> float | None:
        """Price of a thousand impressions; None without impressions or where spend is not known."""
        return 1000 * self.spend / self.impressions if self.impressions and self.spend is not None else None

    def with_link_clicks(self) -> "Delivery":
        """Return the same delivery with link clicks in the place of clicks."""
        return replace(self, clicks=self.link_clicks)


@dataclass(slots=True)
class AdHistory:
    """One ad's delivery by day, oldest first.

    Attributes:
        unseen: days with a row of the ad, on which no row of the account says how often an ad was seen.
    """

    name: str = ""
    days: dict[date, Delivery] = field(default_factory=dict)
    days_without_impressions: frozenset[date] = frozenset()

    def between(self, since: date, until: date) -> list[Delivery]:
        """Return the days with delivery in a span, both ends included."""
        return [self.days[day] for day in self.days if since <= day <= until and self.days[day].impressions]

    def first_day(self, since: date, until: date) -> date | None:
        """Return the first day with delivery in a span, both ends included."""
        found = (day for day, delivery in self.days.items() if since <= day <= until and delivery.impressions)
        return min(found, default=None)

    def lacks_impressions(self, since: date, until: date) -> bool:
        """Whether a day of a span, both ends included, does not say how often the ad was seen."""
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
    known: dict[tuple[str, date], set[str]] = {}
    names: dict[AdKey, tuple[date, str]] = {}
    for row in rows:
        ad, day = read_ad_key(row), read_day(row, "date_start")
        if not since <= day <= until:
            continue
        parts.setdefault(ad, {}).setdefault(day, []).append(row)
        told = {name for name, column in _FIGURES.items() if row.get(column) not in {None, ""}}
        known.setdefault((ad[0], day), set()).update(told)
        named = (day, str(row.get("ad_name") or ""))
        names[ad] = max(names.get(ad, named), named)
    return {
        ad: AdHistory(
            names[ad][1],
            {day: sum_deliveries(_delivery(row, known[ad[0], day]) for row in days[day]) for day in sorted(days)},
            frozenset(day for day in days if "impressions" not in known[ad[0], day]),
        )
        for ad, days in sorted(parts.items())
    }


def _delivery(row: InsightsRow, known_figures: set[str]) -> Delivery:
    """Return what a row says; an absent figure is zero where other rows of its account and day have it."""
    return Delivery(**{name: read_number(row, column) for name, column in _FIGURES.items() if name in known_figures})


def read_frequencies(rows: Iterable[InsightsRow], until: date) -> dict[AdKey, float]:
    """Return each ad's frequency from the newest range summary that ends by `until`; ads without one are left out.

    Reach does not add up over days, so the summary of the range is the only place it can come from.
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
    """Return the sum of some days; of a figure that some days do not know, the sum of those that do."""
    listed = list(days)
    return Delivery(
        math.fsum(day.impressions for day in listed),
        _sum([day.clicks for day in listed]),
        _sum([day.spend for day in listed]),
        _sum([day.link_clicks for day in listed]),
    )


def with_clicks(days: Iterable[Delivery]) -> list[Delivery]:
    """Return the days whose clicks are known: rates are of their clicks and their impressions alone."""
    return [day for day in days if day.clicks is not None]


def with_spend(days: Iterable[Delivery]) -> list[Delivery]:
    """Return the days whose spend is known."""
    return [day for day in days if day.spend is not None]


def baseline_ctr(days: Iterable[Delivery], prior_clicks: float) -> float | None:
    """Return the median daily click-through rate; None without clicks.

    Each day is drawn to the rate of all days by `strength` clicks' worth of impressions, since the plain median of days
    with few impressions is zero.
    """
    known = with_clicks(days)
    overall = sum_deliveries(known).ctr
    if not overall:
        return None
    weight = prior_clicks / overall
    return median(((day.clicks or 0.0) + prior_clicks) / (day.impressions + weight) for day in known)


def baseline_cpm(days: Iterable[Delivery], prior_impressions: float) -> float | None:
    """Return the median daily price of a thousand impressions, each day drawn to all days by `strength` impressions."""
    known = with_spend(days)
    whole = sum_deliveries(known)
    if not whole.impressions or not whole.spend:
        return None
    price = whole.spend / whole.impressions
    return 1000 * median(
        ((day.spend or 0.0) + prior_impressions * price) / (day.impressions + prior_impressions) for day in known
    )


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if known else None


def read_ad_key(row: InsightsRow) -> AdKey:
    """Return whose row it is."""
    try:
        return str(row["account_id"]), str(row["ad_id"])
    except KeyError as error:
        raise BadRequest(f"an insights row has no {error}; ask for level=ad with account_id and ad_id") from None


def read_day(row: InsightsRow, name: str) -> date:
    """Return the row's day in field `name`."""
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
    """Return the row's number in field `name`, zero where it is absent."""
    value = row.get(name)
    if value is None or value == "":
        return 0.0
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not 0 <= found < math.inf:
        raise BadRequest(f"ad {row.get('ad_id')}: {name} is {str(value)[:40]!r}, not a number of 0 or more")
    return found
