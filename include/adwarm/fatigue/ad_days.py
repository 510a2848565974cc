"""The stored days of one ad."""

import math
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from adwarm.fatigue.panel import FloatArray
from adwarm.fatigue.stored_panel import load_panel
from adwarm.model import Window
from adwarm.store import Context


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


def list_ad_days(context: Context, account_id: str, ad_id: str, window: Window) -> list[AdDay]:
    """Return the delivery of an ad on each stored day of a window from its first delivery on, oldest first.

    Days without a row are zero. The clicks are of the kind that its score counts.

    Args:
        context: database, objects and settings.
        account_id: the account.
        ad_id: the ad.
        window: the days.

    Raises:
        Corrupt: some stored days cannot be read.
        BadRequest: a stored row or number cannot be read.
    """
    panel = load_panel(context, account_id, window)
    if ad_id not in panel.ad_ids:
        return []
    row = panel.ad_ids.index(ad_id)
    days = []
    for column in np.flatnonzero(panel.is_stored[row]).tolist():
        day = window.since + timedelta(days=column)
        figures = (panel.impressions, panel.clicks, panel.spend)
        days.append(AdDay(day, *(_figure(values, row, column) for values in figures)))
    first = next((number for number, item in enumerate(days) if item.impressions), len(days))
    return days[first:]


def _figure(values: FloatArray, row: int, column: int) -> float | None:
    value = float(values[row, column])
    return None if math.isnan(value) else value
