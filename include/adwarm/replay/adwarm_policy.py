"""The product's own policy: chances by the adwarm model, learned anew at each fit, ranked by what a warm is worth."""

from collections.abc import Iterator

import numpy as np

from adwarm.forecast.features.grid import SLOT_MICROS, SLOTS_PER_DAY, OpenGrid
from adwarm.forecast.models.boosted_model import HISTORY_MICROS, BoostedModel, Horizons, train
from adwarm.patterns.opens import Opens
from adwarm.replay.policy import Claim, Decisions, Scores, Terms

_MARGIN = 2 * SLOTS_PER_DAY * SLOT_MICROS
_DIGITS = 9
"""Sums of many numbers may differ in the last digits with how many pairs are asked at once."""


class Adwarm:
    """See `adwarm.forecast.models.boosted_model`; everything learned is replaced by each fit."""

    name = "adwarm"
    about = (
        "The chance of a first open within the life of an entry, by the model that did best on held-back weeks of "
        "training, weighed by how soon it is due."
    )

    def __init__(self) -> None:
        self.model: BoostedModel | None = None
        self._claim: Claim | None = None

    @property
    def claim(self) -> Claim | None:
        """Chances are of a first open within the life of an entry that is fetched now."""
        return self._claim

    def fit(self, known: Opens, terms: Terms) -> None:
        """Train on what is known."""
        reach = Horizons(
            max(1, round(terms.step / SLOT_MICROS)),
            min(max(1, round(terms.ttl / SLOT_MICROS)), SLOTS_PER_DAY),
            terms.lag,
        )
        self._claim = Claim(reach.life * SLOT_MICROS)
        until = int(known.ts[-1]) + 1 if len(known) else 0
        self.model = train(known, until, reach)

    def scores(self, known: Opens, decisions: Decisions) -> Iterator[Scores]:
        """Yield what a warm of each key is worth; keys that nobody opens around this time of day are left out."""
        model = self.model
        if model is None or not len(known):
            return
        first = int(decisions.at[0])
        grid = OpenGrid.from_opens(
            known,
            int(decisions.at[-1]) + SLOT_MICROS,
            since=first - HISTORY_MICROS - _MARGIN,
            delay=decisions.terms.lag,
        )
        columns = decisions.at // SLOT_MICROS - grid.origin
        key = np.arange(grid.key_count, dtype=np.int64)
        value, chance = model.predict(grid, np.tile(key, len(columns)), np.repeat(columns, grid.key_count))
        shape = (len(columns), grid.key_count)
        value, chance = np.round(value, _DIGITS).reshape(shape), np.round(chance, _DIGITS).reshape(shape)
        for index in range(len(columns)):
            yield Scores(index, key.astype(np.int32), value[index], chance[index], renew=True)
