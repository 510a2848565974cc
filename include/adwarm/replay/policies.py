"""The policies that come with the product, by name, and how to bring one of your own."""

import importlib
from collections.abc import Callable, Sequence
from typing import Any, cast

from adwarm.foundation.errors import BadRequest
from adwarm.patterns.opens import Opens
from adwarm.replay import baselines, hour_profiles
from adwarm.replay.adwarm_policy import AdwarmPolicy
from adwarm.replay.entry_lifetimes import EntryLifetime
from adwarm.replay.hybrid_histogram import HybridHistogram
from adwarm.replay.oracle import Oracle
from adwarm.replay.policy import Policy

BUILT_IN: dict[str, Callable[[Opens, EntryLifetime], Policy]] = {
    "none": lambda *_: baselines.NoWarming(),
    "everything": lambda *_: baselines.WarmEverything(),
    "peak-hours": lambda *_: baselines.PeakHours(),
    "popularity": lambda *_: baselines.Popularity(),
    "viewed-7-days": lambda *_: baselines.ViewedRecently(),
    "same-hour-last-week": lambda *_: baselines.same_hour_last_week(),
    "same-hour-yesterday": lambda *_: baselines.same_hour_yesterday(),
    "population-profile": lambda *_: hour_profiles.population_profile_policy(),
    "hour-of-week": lambda *_: hour_profiles.hour_of_week_policy(),
    "hybrid-histogram": lambda *_: HybridHistogram(),
    "adwarm": lambda *_: AdwarmPolicy(),
    "oracle": Oracle,
}
"""Makers by name. Each is given the log and the life of entries; only the oracle looks at it."""

BOUNDS = {"none", "everything", "oracle"}
"""Those that are no competitors but mark the ends of the scale."""


def load_policies(names: Sequence[str | Policy], opens: Opens, lifetime: EntryLifetime) -> list[Policy]:
    """Return the policies that `names` mean: a built-in name, `module:Class` of your own, `all`, or a policy itself.

    Raises:
        BadRequest: there is no such policy.
    """
    wanted = [name for given in names for name in (BUILT_IN if given == "all" else [given])]
    return [_load_policy(name, opens, lifetime) if isinstance(name, str) else name for name in dict.fromkeys(wanted)]


def _load_policy(name: str, opens: Opens, lifetime: EntryLifetime) -> Policy:
    if name in BUILT_IN:
        return BUILT_IN[name](opens, lifetime)
    module, colon, attribute = name.partition(":")
    if not colon:
        raise BadRequest(f"policy {name!r} is not one of all, {', '.join(BUILT_IN)}; your own is written module:Class")
    try:
        made: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise BadRequest(f"policy {name!r} cannot be loaded: {error}; is its folder on PYTHONPATH?") from error
    return cast("Policy", made())
