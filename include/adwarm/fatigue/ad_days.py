"""The stored days of one ad, each with the click-through rate that a healthy day of it would have.

The interval of a day is `usual * exp(+-1.96 * sd)` with `sd ** 2 = noise ** 2 + (1 - usual) / (impressions * usual)`.
The second term is the binomial variance of the log rate; `noise` is what daily rates of healthy ads vary beyond it. So
a healthy day lies within it 95 times in 100.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from adwarm.fatigue.history import read_number
from adwarm.model import Window
from adwarm.store import Context, partitions
from adwarm.store.partition_rows import daily_table

DEFAULT_NOISE: Final = 0.115
"""Standard deviation of the log daily click-through rate beyond binomial chance; the median of 68 real series."""
_NORMAL_95: Final = 1.96
_FIGURES: Final = ("impressions", "clicks", "spend")


@dataclass(frozen=True, slots=True)
class AdDay:
    """The delivery of an ad on one stored day; None is unknown. Spend is in the account's currency."""

    day: date
    impressions: float | None
    clicks: float | None
    spend: float | None

    @property
    def ctr(self) -> float | None:
        """Clicks per impression; None without impressions or with unknown clicks."""
        return self.clicks / self.impressions if self.impressions and self.clicks is not None else None

    @property
    def cpm(self) -> float | None:
        """Price of a thousand impressions; None without impressions or with unknown spend."""
        return 1000 * self.spend / self.impressions if self.impressions and self.spend is not None else None


def list_ad_days(
    context: Context, account_id: str, ad_id: str, window: Window, clicks_from: str = "clicks"
) -> list[AdDay]:
    """Return the delivery of an ad on each stored day of a window, oldest first; days without a row are zero.

    Args:
        context: database, objects and settings.
        account_id: the account.
        ad_id: the ad.
        window: the days.
        clicks_from: the field that holds the clicks that its score counts.

    Raises:
        DamagedObjects: some stored days cannot be read.
        BadRequest: a stored number is none.
    """
    states = partitions.list_states(context.engine, account_id, context.settings.spec("default").hash, window)
    columns = daily_table(context.objects, states, window).columns
    fields = {name: columns.get(clicks_from if name == "clicks" else name) for name in _FIGURES}
    sums: dict[date, dict[str, float]] = defaultdict(dict)
    known: dict[date, set[str]] = defaultdict(set)
    days = [date.fromisoformat(str(text)) for text in columns.get("date_start", [])]
    for number, ad in enumerate(columns.get("ad_id", [])):
        day = days[number]
        row = {name: values[number] for name, values in fields.items() if values and values[number] not in {None, ""}}
        known[day].update(row)
        if ad == ad_id:
            for name in row:
                sums[day][name] = sums[day].get(name, 0.0) + read_number({"ad_id": ad, **row}, name)
    return [_ad_day(day, sums[day], known[day], has_rows=states[day].rows > 0) for day in sorted(states)]


def _ad_day(day: date, sums: Mapping[str, float], known: set[str], *, has_rows: bool) -> AdDay:
    """Return a day; a figure that some row of the account's day has is zero where the ad has none, else unknown."""
    figures: dict[str, Any] = {
        name: sums.get(name, 0.0) if name in known or not has_rows else None for name in _FIGURES
    }
    return AdDay(day, **figures)


def healthy_interval(usual: float | None, impressions: float | None, noise: float) -> tuple[float, float] | None:
    """Return the interval in which a healthy day's click-through rate lies 95 times in 100; None when unknown."""
    if not usual or not impressions or usual >= 1:
        return None
    spread = _NORMAL_95 * math.sqrt(noise**2 + (1 - usual) / (impressions * usual))
    return usual * math.exp(-spread), min(1.0, usual * math.exp(spread))
