"""The policy adwarm, and the policies by name: built-in ones, and a user's own as `module:Class`."""

import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np

from adwarm.forecast.features.grid import SLOT_MICROS, SLOTS_PER_DAY, OpenGrid
from adwarm.forecast.models.boosted import HISTORY_MICROS, BoostedModel, Horizons
from adwarm.forecast.training.boosted_training import train_model
from adwarm.forecast.training.train import TRAINERS
from adwarm.foundation.errors import BadRequest
from adwarm.patterns.opens import Opens
from adwarm.replay import baselines
from adwarm.replay.entry_lifetimes import EntryLifetime
from adwarm.replay.forecast_policy import ForecastPolicy, get_policy_name
from adwarm.replay.policy import DecisionTimes, Policy, PredictedEvent, Ranking, ReplayTiming
from adwarm.settings import Settings

_MARGIN = 2 * SLOTS_PER_DAY * SLOT_MICROS
_DIGITS = 9
"""Digits kept: sums of many numbers differ in the last digits with the number of pairs predicted at once."""


class AdwarmPolicy:
    """Ranks keys by the value of a warm from the adwarm model alone, which each fit trains anew.

    `ForecastPolicy` replays the whole forecast that the model is part of, with the deployed plan's decision.
    """

    name = "adwarm"
    about = (
        "The chance of a first open within the lifetime of an entry, by the model that did best on held-out weeks of "
        "training, weighed by how soon it is due."
    )

    def __init__(self) -> None:
        self.model: BoostedModel | None = None
        self._predicted_event: PredictedEvent | None = None

    @property
    def predicted_event(self) -> PredictedEvent | None:
        """A first open within the lifetime of an entry that is fetched now."""
        return self._predicted_event

    def fit(self, history: Opens, timing: ReplayTiming) -> None:
        """Train on the history."""
        horizons = Horizons(
            max(1, round(timing.step / SLOT_MICROS)),
            min(max(1, round(timing.ttl / SLOT_MICROS)), SLOTS_PER_DAY),
            timing.lag,
        )
        self._predicted_event = PredictedEvent(horizons.lifetime * SLOT_MICROS)
        until = int(history.ts[-1]) + 1 if len(history) else 0
        self.model = train_model(history, until, horizons)

    def rank(self, history: Opens, decisions: DecisionTimes) -> Iterator[Ranking]:
        """Yield the value of a warm and the chance of a first open for every known key."""
        model = self.model
        if model is None or not len(history):
            return
        first = int(decisions.at[0])
        grid = OpenGrid.from_opens(
            history,
            int(decisions.at[-1]) + SLOT_MICROS,
            since=first - HISTORY_MICROS - _MARGIN,
            delay=decisions.timing.lag,
        )
        columns = decisions.at // SLOT_MICROS - grid.origin
        key = np.arange(grid.key_count, dtype=np.int64)
        value, chance = model.predict(grid, np.tile(key, len(columns)), np.repeat(columns, grid.key_count))
        shape = (len(columns), grid.key_count)
        value, chance = np.round(value, _DIGITS).reshape(shape), np.round(chance, _DIGITS).reshape(shape)
        for index in range(len(columns)):
            yield Ranking(index, key.astype(np.int32), value[index], chance[index], renew_at_expiry=True)


def _forecast(kind: str) -> Callable[[Opens, EntryLifetime, Settings], Policy]:
    return lambda _opens, lifetime, settings: ForecastPolicy(kind, settings, lifetime)


FORECASTS = {get_policy_name(kind): _forecast(kind) for kind in TRAINERS}
"""Constructors of the policies that replay the kinds of forecast with the deployed plan, the plainest first."""

BUILT_IN: dict[str, Callable[[Opens, EntryLifetime, Settings], Policy]] = {
    "none": lambda *_: baselines.NoWarming(),
    "everything": lambda *_: baselines.WarmEverything(),
    "peak-hours": lambda *_: baselines.PeakHours(),
    "popularity": lambda *_: baselines.Popularity(),
    "viewed-7-days": lambda *_: baselines.ViewedRecently(),
    "same-hour-last-week": lambda *_: baselines.same_hour_last_week(),
    "same-hour-yesterday": lambda *_: baselines.same_hour_yesterday(),
    "population-profile": lambda *_: baselines.population_profile_policy(),
    "hour-of-week": lambda *_: baselines.hour_of_week_policy(),
    "hybrid-histogram": lambda *_: baselines.HybridHistogram(),
    "adwarm": lambda *_: AdwarmPolicy(),
    **FORECASTS,
    "oracle": lambda opens, lifetime, _: baselines.Oracle(opens, lifetime),
}
"""Constructors by name. Each gets the log, which only the oracle uses, the lifetime of entries, and the settings."""

BOUNDS = {"none", "everything", "oracle"}
"""Policies that mark the ends of the scale and do not compete."""


def load_policies(
    names: Sequence[str | Policy], opens: Opens, lifetime: EntryLifetime, settings: Settings
) -> list[Policy]:
    """Return the policies for `names`: a built-in name, `module:Class` of the user's own, a group, or a policy itself.

    The group `forecasts` holds the kinds of forecast, which take longest; `all` holds the other built-in policies.

    Raises:
        BadRequest: there is no such policy.
    """
    groups = {"all": [name for name in BUILT_IN if name not in FORECASTS], "forecasts": list(FORECASTS)}
    expanded = [name for given in names for name in (groups.get(given, [given]) if isinstance(given, str) else [given])]
    return [
        _load_policy(name, opens, lifetime, settings) if isinstance(name, str) else name
        for name in dict.fromkeys(expanded)
    ]


def _load_policy(name: str, opens: Opens, lifetime: EntryLifetime, settings: Settings) -> Policy:
    if name in BUILT_IN:
        return BUILT_IN[name](opens, lifetime, settings)
    module, colon, attribute = name.partition(":")
    if not colon:
        raise BadRequest(
            f"policy {name!r} is not one of all, forecasts, {', '.join(BUILT_IN)}; your own is written module:Class"
        )
    try:
        policy_class: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise BadRequest(f"policy {name!r} cannot be loaded: {error}; is its folder on PYTHONPATH?") from error
    return cast("Policy", policy_class())
