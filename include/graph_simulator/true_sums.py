"""The true totals of every object of an account, added up ad by ad, independently of the code that renders rows.

Tests compare a client's rows with them. Reach is not additive, because one person may see two ads; it is the figure
that the platform itself states.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime

from graph_simulator.ads import Metric
from graph_simulator.dataset import Dataset, object_id
from graph_simulator.date_ranges import DateRange
from graph_simulator.error_responses import InvalidValue
from graph_simulator.levels import LEVELS, aggregate, slots_of_level

_ID_KINDS = {"campaign": "3", "adset": "2"}


@dataclass(frozen=True, slots=True)
class TrueSum:
    """What one object delivered from `since` to `until`; money is in cents of the account's currency.

    Attributes:
        id: the id of the object; of an account without `act_`.
    """

    level: str
    id: str
    since: date
    until: date
    impressions: int
    reach: int
    clicks: int
    link_clicks: int
    spend_cents: int
    purchases: int


def true_sums(
    dataset: Dataset, account: str, level: str, window: DateRange, now: datetime, *, daily: bool = False
) -> list[TrueSum]:
    """Return the totals of every object of `level` with delivery in `window`, in all or day by day, as of `now`.

    Raises:
        InvalidValue: there is no such level.
    """
    if level not in LEVELS:
        raise InvalidValue(f"level must be one of {', '.join(LEVELS)}, not {level!r}")
    windows = [DateRange(day, day) for day in window.days()] if daily else [window]
    ad_totals = dataset.ad_totals(account, windows, now)
    table = aggregate(ad_totals, level)
    reach = {names[f"{level}_id"]: table.reach[:, index].tolist() for index, names in enumerate(table.names)}
    ads_by_object: dict[str, list[int]] = defaultdict(list)
    for index, ad in enumerate(ad_totals.ads):
        ads_by_object[_owner(dataset, account, level, ad.truth.ad_id)].append(index)

    def total(metric: int, window_index: int, ads: list[int]) -> int:
        return sum(int(ad_totals.totals[metric, window_index, index]) for index in ads)

    return [
        TrueSum(
            level=level,
            id=name,
            since=days.since,
            until=days.until,
            impressions=total(Metric.IMPRESSIONS, window_index, ads),
            reach=reach[name][window_index],
            clicks=total(Metric.CLICKS, window_index, ads),
            link_clicks=total(Metric.LINK_CLICKS, window_index, ads),
            spend_cents=total(Metric.SPEND_CENTS, window_index, ads),
            purchases=total(Metric.PURCHASES, window_index, ads),
        )
        for window_index, days in enumerate(windows)
        for name, ads in ads_by_object.items()
        if total(Metric.IMPRESSIONS, window_index, ads)
    ]


def _owner(dataset: Dataset, account: str, level: str, ad_id: str) -> str:
    if level == "account":
        return account.removeprefix("act_")
    if level == "ad":
        return ad_id
    return object_id(_ID_KINDS[level], dataset.profile(account), int(ad_id[9:13]) // slots_of_level(level))
