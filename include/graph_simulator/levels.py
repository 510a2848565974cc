"""Ads gathered into what a query asks about: ads, ad sets, campaigns or the account.

Metrics add up over ads; people do not: the same person may see two ads, so the reach of a group grows ever slower than
the sum of its ads, and never falls below its best ad.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from graph_simulator.ads import Ad, Days
from graph_simulator.dataset import Block, object_id, people

LEVELS = ("account", "campaign", "adset", "ad")
FOUNDED = date(2020, 1, 1)
"""The day on which every account, campaign and ad set was made."""
_ADSET_SLOTS = 2
_CAMPAIGN_SLOTS = 4
_OVERLAP_ROOM = {"adset": 0.5, "campaign": 0.75, "account": 1.0}


@dataclass(frozen=True)
class Table:
    """The objects of one level with their totals.

    Attributes:
        names: ids and names by object.
        totals: integers by metric, window and object.
        reach: people by window and object.
    """

    block: Block
    names: list[dict[str, str]]
    totals: Days
    reach: Days


def at_level(block: Block, level: str, keep: Callable[[Ad], bool] | None = None) -> Table:
    """Return the block's ads gathered at `level`, counting only the ads that pass `keep`."""
    chosen = [index for index, ad in enumerate(block.ads) if keep is None or keep(ad)]
    names = [ad_names(block, block.ads[index]) for index in chosen]
    totals, reach = block.totals[:, :, chosen], block.reach[:, chosen]
    if level == "ad" or not names:
        return Table(block, names, totals, reach)
    groups: dict[str, list[int]] = {}
    for index, found in enumerate(names):
        groups.setdefault(found[f"{level}_id"], []).append(index)
    return Table(
        block,
        [_common(names[members[0]], level) for members in groups.values()],
        np.stack([totals[:, :, members].sum(axis=2) for members in groups.values()], axis=2),
        np.stack([_shared(block, level, reach[:, members]) for members in groups.values()], axis=1),
    )


def _shared(block: Block, level: str, reach: Days) -> Days:
    audience = np.array(block.profile.audience * _OVERLAP_ROOM[level])
    best: Days = reach.max(axis=1)
    return np.maximum(people(reach.sum(axis=1), audience), best)


def slots_of_level(level: str) -> int:
    """Return how many slots of ads an ad set or a campaign holds."""
    return _ADSET_SLOTS if level == "adset" else _CAMPAIGN_SLOTS


def object_name(level: str, place: int, generation: int = 0) -> str:
    """Return the name of the object of `level` at a place of its account; ads of a place differ by generation."""
    if level == "ad":
        return f"Ad {place + 1}.{generation % 1000}"
    return f"{'Ad set' if level == 'adset' else 'Campaign'} {place + 1}"


def ad_names(block: Block, ad: Ad) -> dict[str, str]:
    """Return the ids and names of an ad and of all it belongs to."""
    profile, slot = block.profile, ad.slot
    adset, campaign = slot // _ADSET_SLOTS, slot // _CAMPAIGN_SLOTS
    return {
        "account_id": block.account_id.removeprefix("act_"),
        "account_name": f"Simulated account {profile.number}",
        "account_currency": "USD",
        "campaign_id": object_id("3", profile, campaign),
        "campaign_name": object_name("campaign", campaign),
        "adset_id": object_id("2", profile, adset),
        "adset_name": object_name("adset", adset),
        "ad_id": ad.truth.ad_id,
        "ad_name": object_name("ad", slot, ad.generation),
        "created_time": str(ad.truth.started),
        "updated_time": str(ad.truth.started),
    }


def _common(names: dict[str, str], level: str) -> dict[str, str]:
    """Keep only the names that all objects of a group share."""
    shown: Sequence[str] = LEVELS[: LEVELS.index(level) + 1]
    own = {name: value for name, value in names.items() if name.split("_")[0] in shown}
    return own | dict.fromkeys(("created_time", "updated_time"), str(FOUNDED))
