"""What is true of every object of an account: sums over its ads, gathered apart from what answers questions.

A test compares a client's rows with these. Impressions, clicks, purchases and money are added up ad by ad; people are
not, since one person may see two ads: their number is the one that the platform itself would state.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime

from graph_simulator.ads import Metric
from graph_simulator.dataset import Dataset, object_id
from graph_simulator.date_ranges import DateRange
from graph_simulator.graph_errors import InvalidValue
from graph_simulator.levels import LEVELS, at_level, slots_of_level

_KINDS = {"campaign": "3", "adset": "2"}


@dataclass(frozen=True, slots=True)
class TrueSum:
    """What an object delivered over some days; money in cents of the account's currency.

    Attributes:
        id: of the object; of an account the number alone.
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
    """Return what every object of `level` with delivery delivered in `window`, in all or day by day, as of `now`.

    Raises:
        InvalidValue: there is no such level.
    """
    if level not in LEVELS:
        raise InvalidValue(f"level must be one of {', '.join(LEVELS)}, not {level!r}")
    windows = [DateRange(day, day) for day in window.days()] if daily else [window]
    block = dataset.block(account, windows, now)
    people = at_level(block, level)
    reach = {names[f"{level}_id"]: people.reach[:, index].tolist() for index, names in enumerate(people.names)}
    members: dict[str, list[int]] = defaultdict(list)
    for index, ad in enumerate(block.ads):
        members[_owner(dataset, account, level, ad.truth.ad_id)].append(index)
    return [
        TrueSum(
            level=level,
            id=name,
            since=span.since,
            until=span.until,
            reach=reach[name][place],
            impressions=sum(int(block.totals[Metric.IMPRESSIONS, place, index]) for index in own),
            clicks=sum(int(block.totals[Metric.CLICKS, place, index]) for index in own),
            link_clicks=sum(int(block.totals[Metric.LINK_CLICKS, place, index]) for index in own),
            spend_cents=sum(int(block.totals[Metric.SPEND_CENTS, place, index]) for index in own),
            purchases=sum(int(block.totals[Metric.PURCHASES, place, index]) for index in own),
        )
        for place, span in enumerate(windows)
        for name, own in members.items()
        if any(block.totals[Metric.IMPRESSIONS, place, index] for index in own)
    ]


def _owner(dataset: Dataset, account: str, level: str, ad_id: str) -> str:
    if level == "account":
        return account.removeprefix("act_")
    if level == "ad":
        return ad_id
    return object_id(_KINDS[level], dataset.profile(account), int(ad_id[9:13]) // slots_of_level(level))
