"""The product's own policy: chances by the adwarm model, learned anew at each fit, ranked by what a warm is worth."""

from collections.abc import Iterator

import numpy as np

from adwarm.forecast.features.grid import SLOT_MICROS, SLOTS_PER_DAY, OpenGrid
from adwarm.forecast.models.boosted_model import HISTORY_MICROS, BoostedModel, Horizons, train
from adwarm.patterns.opens import Opens
from adwarm.replay.policy import DecisionTimes, PredictedEvent, Ranking, ReplayTiming

_MARGIN = 2 * SLOTS_PER_DAY * SLOT_MICROS
_DIGITS = 9
"""Sums of many numbers may differ in the last digits with how many pairs are asked at once."""


class AdwarmPolicy:
    """See `adwarm.forecast.models.boosted_model`; everything learned is replaced by each fit."""

    name = "adwarm"
    about = (
        "The chance of a first open within the life of an entry, by the model that did best on held-back weeks of "
        "training, weighed by how soon it is due."
    )

    def __init__(self) -> None:
        self.model: BoostedModel | None = None
        self._predicted_event: PredictedEvent | None = None

    @property
    def predicted_event(self) -> PredictedEvent | None:
        """Chances are of a first open within the life of an entry that is fetched now."""
        return self._predicted_event

    def fit(self, history: Opens, timing: ReplayTiming) -> None:
        """Train on what is known."""
        reach = Horizons(
            max(1, round(timing.step / SLOT_MICROS)),
            min(max(1, round(timing.ttl / SLOT_MICROS)), SLOTS_PER_DAY),
            timing.lag,
        )
        self._predicted_event = PredictedEvent(reach.life * SLOT_MICROS)
        until = int(history.ts[-1]) + 1 if len(history) else 0
        self.model = train(history, until, reach)

    def rank(self, history: Opens, decisions: DecisionTimes) -> Iterator[Ranking]:
        """Yield what a warm of each key is worth; keys that nobody opens around this time of day are left out."""
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
