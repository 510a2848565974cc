"""Reads single insights rows strictly: identity, day, numbers, and the weekly frequency."""

import math
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any, Final

from adwarm.foundation.errors import BadRequest

InsightsRow = Mapping[str, Any]
"""An insights row: numbers as numeric strings, days as ISO text, absent where zero or undefined."""

AdKey = tuple[str, str]
"""Account id and ad id."""

MAX_RANGE_AGE_DAYS: Final = 7
"""A range summary that ended this many days ago or more is too old to use."""


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
