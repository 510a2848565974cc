"""The stored days of one ad."""

import math
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np

from adwarm.fatigue.by_creative import add_up
from adwarm.fatigue.panel import cut_panel
from adwarm.fatigue.panel_rows import parse_rows
from adwarm.foundation.errors import Corrupt
from adwarm.model import Window
from adwarm.model.fatigue_score import CREATIVE_KEY
from adwarm.store import Context, creatives, partitions
from adwarm.store.partition_rows import DamagedObjects, daily_texts

_FIELDS: Final = frozenset({
    "account_id",
    "ad_id",
    "ad_name",
    "clicks",
    "date_start",
    "impressions",
    "inline_link_clicks",
    "spend",
})


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

    For the key of a creative that is the sum of its ads. Days without a row are zero. The clicks are of the kind that
    its score counts.

    Raises:
        Corrupt: some stored days cannot be read.
        BadRequest: a stored row or number cannot be read.
    """
    spec_hash = context.settings.spec("default").hash
    stored_days = partitions.list_contents(context.engine, [account_id], spec_hash, window.since).get(account_id, [])
    contents = {item.day: item for item in stored_days if item.day in window}
    try:
        table = daily_texts(context.objects, contents, window, _FIELDS)
    except DamagedObjects as error:
        raise Corrupt(
            f"days of {account_id} cannot be read: {error}; run `adwarm maintain --verify --repair`"
        ) from None
    if ad_id.startswith(CREATIVE_KEY):
        table, _ = add_up(table, creatives.list_shared(context.engine, [account_id]).get(account_id, {}))
    panel = cut_panel(parse_rows(account_id, table, window), window, {account_id: contents})
    if ad_id not in panel.ad_ids:
        return []
    row = panel.ad_ids.index(ad_id)
    figures = np.stack([panel.impressions[row], panel.clicks[row], panel.spend[row]], axis=1)
    delivered = np.flatnonzero(panel.impressions[row] > 0)
    first = int(delivered[0]) if len(delivered) else panel.days
    return [
        AdDay(window.since + timedelta(days=column), *(None if math.isnan(value) else value for value in values))
        for column, values in enumerate(figures.tolist())
        if column >= first and panel.is_stored[row, column]
    ]
