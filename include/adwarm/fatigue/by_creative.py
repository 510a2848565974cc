"""Adds up the rows of ads that share a creative, because a person replaces a creative and not an ad.

The sums are rows of one ad whose id is that of the creative behind `CREATIVE_KEY`, and they take the place of its ads:
what is usual in the account, its move of a day, scores and alarms are computed from them. An ad whose creative is not
known stands for itself. The creatives are those that were last read, also for days before.
"""

from collections.abc import Mapping
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from adwarm.fatigue.panel_rows import AdRows
from adwarm.fatigue.text_columns import get_column
from adwarm.fatigue.usual import WEEK
from adwarm.model.fatigue_score import CREATIVE_KEY
from adwarm.store.creatives import AdCreative


def add_up(table: pa.Table, shown: Mapping[str, AdCreative]) -> tuple[pa.Table, dict[str, str]]:
    """Return the rows of an account with the ads of a creative as one ad, and the key of the creative of each of them.

    Args:
        shown: by ad id, the creatives that several ads of the account share.
    """
    ads = get_column(table, "ad_id")
    present = pc.drop_null(pc.unique(ads)).to_pylist() if shown else ()
    part_of = {ad_id: CREATIVE_KEY + shown[ad_id].creative_id for ad_id in present if ad_id in shown}
    if not part_of:
        return table, {}
    titles = {ad_id: shown[ad_id].title or None for ad_id in part_of}
    columns = dict(zip(table.column_names, table.columns, strict=True))
    places = pc.index_in(ads, pa.array(list(part_of), pa.string()))
    for name, values in (("ad_id", part_of), ("ad_name", titles)):
        own = pc.take(pa.array(list(values.values()), pa.string()), places)
        columns[name] = pc.coalesce(own, get_column(table, name))
    return pa.table(columns), part_of


def add_frequencies(
    by_ad: Mapping[str, float], part_of: Mapping[str, str], rows: AdRows, until: date
) -> dict[str, float]:
    """Return the frequencies of creatives in a week: their impressions by the sum of the people of each ad.

    People who saw several of its ads count several times, so that a creative was seen at least so often.
    """
    end = (until - rows.first_day).days + 1
    shown = np.nansum(rows.figures["impressions"][:, end - WEEK : end], axis=1)
    sums: dict[str, tuple[float, float]] = {}
    for ad_id, impressions in zip(rows.ad_ids, shown.tolist(), strict=True):
        if ad_id in part_of and by_ad.get(ad_id):
            before, people = sums.get(part_of[ad_id], (0.0, 0.0))
            sums[part_of[ad_id]] = before + impressions, people + impressions / by_ad[ad_id]
    return {key: impressions / people for key, (impressions, people) in sums.items() if people}
