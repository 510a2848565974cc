"""Totals of ads added up by level: ad, ad set, campaign or account.

Metrics add up over ads; reach does not, because one person may see two ads. The reach of a group grows more slowly than
the sum of its ads, and is at least that of its best ad.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from graph_simulator.ads import SLOTS_OF_CAMPAIGN, Ad, Days, goal_of
from graph_simulator.dataset import AdTotals, estimate_reach, object_id

LEVELS = ("account", "campaign", "adset", "ad")
ACTIVE, ENDED = "ACTIVE", "ARCHIVED"
FOUNDED = date(2020, 1, 1)
"""The day on which every account, campaign and ad set was created."""
_ADSET_SLOTS = 2
# The audience of a group as a share of the account's audience: small groups saturate sooner.
_AUDIENCE_SHARE = {"adset": 0.5, "campaign": 0.75, "account": 1.0}


@dataclass(frozen=True)
class LevelTotals:
    """The objects of one level with their totals.

    Attributes:
        ad_totals: the totals of the ads that were added up.
        names: ids and names, by object, and its `goal` unless its ads have different ones.
        totals: integers of shape (metric, window, object).
        reach: people of shape (window, object).
        breakdowns: the fields by which the rows of an object are divided; each of its groups is an object of its own.
    """

    ad_totals: AdTotals
    names: list[dict[str, str]]
    totals: Days
    reach: Days
    breakdowns: tuple[str, ...] = ()


def aggregate(ad_totals: AdTotals, level: str, is_included: Callable[[Ad], bool] | None = None) -> LevelTotals:
    """Return the totals by object of `level`, over the ads for which `is_included` holds."""
    included = [index for index, ad in enumerate(ad_totals.ads) if is_included is None or is_included(ad)]
    names = [ad_names(ad_totals, ad_totals.ads[index]) | ad_totals.group(index) for index in included]
    totals, reach = ad_totals.totals[:, :, included], ad_totals.reach[:, included]
    if level == "ad" or not names:
        return LevelTotals(ad_totals, names, totals, reach, ad_totals.breakdowns)
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, own in enumerate(names):
        groups.setdefault((own[f"{level}_id"], *map(own.__getitem__, ad_totals.breakdowns)), []).append(index)
    return LevelTotals(
        ad_totals,
        [
            _names_of_level([names[index] for index in members], level) | ad_totals.group(included[members[0]])
            for members in groups.values()
        ],
        np.stack([totals[:, :, members].sum(axis=2) for members in groups.values()], axis=2),
        np.stack([_group_reach(ad_totals, level, reach[:, members]) for members in groups.values()], axis=1),
        ad_totals.breakdowns,
    )


def _group_reach(ad_totals: AdTotals, level: str, reach: Days) -> Days:
    audience = np.array(ad_totals.profile.audience * _AUDIENCE_SHARE[level])
    best: Days = reach.max(axis=1)
    return np.maximum(estimate_reach(reach.sum(axis=1), audience), best)


def slots_of_level(level: str) -> int:
    """Return the number of ad slots of an ad set or a campaign."""
    return _ADSET_SLOTS if level == "adset" else SLOTS_OF_CAMPAIGN


def object_name(level: str, index: int, generation: int = 0) -> str:
    """Return the name of an object by its index in the account; ads of one slot differ by generation."""
    if level == "ad":
        return f"Ad {index + 1}.{generation % 1000}"
    return f"{'Ad set' if level == 'adset' else 'Campaign'} {index + 1}"


def ad_names(ad_totals: AdTotals, ad: Ad) -> dict[str, str]:
    """Return the ids and names of an ad and of its ad set, campaign and account, and its goal."""
    profile, slot = ad_totals.profile, ad.slot
    adset, campaign = slot // _ADSET_SLOTS, slot // SLOTS_OF_CAMPAIGN
    return {
        "account_id": ad_totals.account_id.removeprefix("act_"),
        "account_name": f"Simulated account {profile.number}",
        "account_currency": "USD",
        "campaign_id": object_id("3", profile, campaign),
        "campaign_name": object_name("campaign", campaign),
        "adset_id": object_id("2", profile, adset),
        "adset_name": object_name("adset", adset),
        "ad_id": ad.truth.ad_id,
        "ad_name": object_name("ad", slot, ad.generation),
        "goal": goal_of(campaign),
        "created_time": str(ad.truth.started),
        "updated_time": str(ad.truth.started),
    }


def _names_of_level(names: list[dict[str, str]], level: str) -> dict[str, str]:
    """Return the ids and names that all ads of an object share, given those of its ads."""
    levels: Sequence[str] = LEVELS[: LEVELS.index(level) + 1]
    shared = {*levels, "goal"} if len({own["goal"] for own in names}) == 1 else set(levels)
    own = {name: value for name, value in names[0].items() if name.split("_")[0] in shared}
    return own | dict.fromkeys(("created_time", "updated_time"), str(FOUNDED))
