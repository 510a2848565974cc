"""An ad's past as the score sees it: delivery by day, and how often people saw it.

A day without a row is a day without delivery. The order of the rows changes nothing, and rows after `as_of` are not
looked at.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from statistics import median
from typing import Any, Final

from adwarm.errors import BadRequest

Row = Mapping[str, Any]
"""An insights row: numbers as numeric strings, days as ISO text, absent where zero or undefined."""

AdId = tuple[str, str]
"""Account id and ad id."""

RANGE_DAYS: Final = 7
"""A range summary that ended this many days ago or more says nothing about now."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What an ad delivered in some days, money in the account's currency."""

    impressions: float = 0.0
    clicks: float = 0.0
    spend: float = 0.0

    @property
    def ctr(self) -> float | None:
        """Clicks per impression; None without impressions."""
        return self.clicks / self.impressions if self.impressions else None


@dataclass(slots=True)
class AdHistory:
    """One ad's delivery by day, oldest first."""

    name: str = ""
    days: dict[date, Delivery] = field(default_factory=dict)

    def between(self, since: date, until: date) -> list[Delivery]:
        """Return the days with delivery in a span, both ends included."""
        return [self.days[day] for day in self.days if since <= day <= until and self.days[day].impressions]

    def first_day(self, since: date, until: date) -> date | None:
        """Return the first day with delivery in a span, both ends included."""
        found = (day for day, delivery in self.days.items() if since <= day <= until and delivery.impressions)
        return min(found, default=None)


def read_histories(rows: Iterable[Row], since: date, until: date) -> dict[AdId, AdHistory]:
    """Return the history of each ad that has a row in the span, both ends included.

    Raises:
        BadRequest: a row's day or number cannot be read; the message names the ad and the field.
    """
    parts: dict[AdId, dict[date, list[Delivery]]] = {}
    names: dict[AdId, tuple[date, str]] = {}
    for row in rows:
        ad, day = ad_of(row), day_of(row, "date_start")
        if not since <= day <= until:
            continue
        delivery = Delivery(*(number(row, name) for name in ("impressions", "clicks", "spend")))
        parts.setdefault(ad, {}).setdefault(day, []).append(delivery)
        named = (day, str(row.get("ad_name") or ""))
        names[ad] = max(names.get(ad, named), named)
    return {
        ad: AdHistory(names[ad][1], {day: total(days[day]) for day in sorted(days)})
        for ad, days in sorted(parts.items())
    }


def read_frequencies(rows: Iterable[Row], until: date) -> dict[AdId, float]:
    """Return each ad's frequency from the newest range summary that ends by `until`; ads without one are left out.

    Reach does not add up over days, so the summary of the range is the only place it can come from.
    """
    newest: dict[AdId, tuple[date, float]] = {}
    for row in rows:
        ad, end = ad_of(row), day_of(row, "date_stop")
        frequency = number(row, "frequency")
        reach = number(row, "reach")
        if not frequency and reach:
            frequency = number(row, "impressions") / reach
        if frequency and until - timedelta(days=RANGE_DAYS) < end <= until:
            newest[ad] = max(newest.get(ad, (end, frequency)), (end, frequency))
    return {ad: frequency for ad, (_, frequency) in newest.items()}


def total(days: Iterable[Delivery]) -> Delivery:
    """Return the sum of some days."""
    listed = list(days)
    return Delivery(
        math.fsum(day.impressions for day in listed),
        math.fsum(day.clicks for day in listed),
        math.fsum(day.spend for day in listed),
    )


def usual_ctr(days: list[Delivery], strength: float) -> float | None:
    """Return the median daily click-through rate; None without clicks.

    Each day is drawn to the rate of all days by `strength` clicks' worth of impressions, since the plain median of days
    with few impressions is zero.
    """
    overall = total(days).ctr
    if not overall:
        return None
    weight = strength / overall
    return median((day.clicks + strength) / (day.impressions + weight) for day in days)


def usual_cpm(days: list[Delivery], strength: float) -> float | None:
    """Return the median daily price of a thousand impressions, each day drawn to all days by `strength` impressions."""
    whole = total(days)
    if not whole.impressions or not whole.spend:
        return None
    price = whole.spend / whole.impressions
    return 1000 * median((day.spend + strength * price) / (day.impressions + strength) for day in days)


def ad_of(row: Row) -> AdId:
    """Return whose row it is."""
    try:
        return str(row["account_id"]), str(row["ad_id"])
    except KeyError as error:
        raise BadRequest(f"an insights row has no {error}; ask for level=ad with account_id and ad_id") from None


def day_of(row: Row, name: str) -> date:
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


def number(row: Row, name: str) -> float:
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
