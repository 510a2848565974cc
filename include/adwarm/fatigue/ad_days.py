"""The daily figures of one ad, read from the stored days of its account: what a chart of the ad shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from adwarm.fatigue.history import InsightsRow, read_number
from adwarm.model import Window
from adwarm.store import Context, partitions
from adwarm.store.partition_rows import daily_rows_of_ad

CLICK_FIELDS: Final = ("clicks", "inline_link_clicks")
_FIGURES: Final = ("impressions", "spend", "clicks")


@dataclass(frozen=True, slots=True)
class AdDay:
    """The figures of an ad on one day; None where the day is not stored or the figure is unknown.

    Attributes:
        day: the day, in the account's data zone.
        is_stored: whether the day of the account is stored; without a row of the ad it is a day without delivery.
        impressions: of the ad.
        clicks: of the kind that was asked for.
        spend: in the account's currency.
    """

    day: date
    is_stored: bool = False
    impressions: float | None = None
    clicks: float | None = None
    spend: float | None = None

    @property
    def ctr(self) -> float | None:
        """Clicks per impression."""
        return self.clicks / self.impressions if self.impressions and self.clicks is not None else None

    @property
    def cpm(self) -> float | None:
        """Price of a thousand impressions."""
        return 1000 * self.spend / self.impressions if self.impressions and self.spend is not None else None


def read_ad_days(
    context: Context, account_id: str, ad_id: str, window: Window, clicks_from: str = CLICK_FIELDS[0]
) -> list[AdDay]:
    """Return one entry for each day of a window, oldest first; reads each stored object of the window once.

    Args:
        context: the store and the settings.
        account_id: `act_` and digits.
        ad_id: the ad.
        window: days, in the account's data zone.
        clicks_from: the field with the clicks, one of `CLICK_FIELDS`.

    Raises:
        DamagedObjects: some stored days cannot be read.
        BadRequest: a stored number is not one.
    """
    states = partitions.list_states(context.engine, account_id, context.settings.spec("default").hash, window)
    columns = ("impressions", "spend", clicks_from)
    rows = daily_rows_of_ad(context.objects, states, window, ad_id, columns)
    by_day = {str(row["date_start"]): row for row in rows}
    present = {name for row in rows for name in row}
    fields = {name: column for name, column in zip(_FIGURES, columns, strict=True) if column in present}
    return [_read_day(day, day in states, by_day.get(day.isoformat()), fields) for day in window.days()]


def _read_day(day: date, is_stored: bool, row: InsightsRow | None, fields: Mapping[str, str]) -> AdDay:
    """Return a day; a figure that the ad's row of the day lacks is zero, and one that all its rows lack unknown."""
    if row is None:
        return AdDay(day, is_stored, 0.0 if is_stored else None)
    figures: Mapping[str, float | None] = {name: read_number(row, column) for name, column in fields.items()}
    return AdDay(day, True, **figures)
