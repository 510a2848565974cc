"""The population's week: one profile for all keys, in their readers' time, each at its own level.

The plainest forecast that is still worth something. It has few numbers, each learned from everybody, so there is little
in it that can go wrong: the review falls back to it when the probabilities of a finer model do not come true.
"""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from adwarm.forecast.models.seasonal import SeasonalForecast, exposure, fingerprint
from adwarm.foundation.arrow_arrays import Floats
from adwarm.foundation.local_time import WEEK_HOURS

KIND = "population"
VERSION = "1"


@dataclass(frozen=True)
class PopulationForecast(SeasonalForecast):
    """A trained population profile; see `adwarm.forecast.protocol.Forecast`.

    A key's chance in an hour is the population's, times the key's level: how often it was opened against what the
    population's profile would have it opened. A level leans on that of the middle key, which is low where few keys are
    busy and many idle, so that new and rare keys get small numbers.
    """

    kind: str = field(default=KIND, init=False)
    version: str = field(default=VERSION, init=False)

    @property
    def features(self) -> list[str]:
        """What the model looks at, in words."""
        return ["hour of the reader's week", "level of the key", "profile of the population"]

    @cached_property
    def id(self) -> str:
        """SHA-256 in hex of everything the model learned; another than that of other models of the same opens."""
        return hashlib.sha256(f"{KIND} {VERSION} {fingerprint(self.observations)}".encode()).hexdigest()

    def rates(self, hour: int, rows: npt.NDArray[Any] | None = None) -> Floats:
        """Return the chance of a first open in a whole hour of the week, for all keys or those at `rows`."""
        level = self._level if rows is None else self._level[rows]
        return np.minimum(level * self.population(hour), 1.0)

    @cached_property
    def _level(self) -> Floats:
        """Per key, its opens over what the population's profile would have it open."""
        seen = self.observations
        clock, expected = seen.clock(), np.zeros(len(seen.keys))
        shape = np.array([self.population(hour) for hour in range(WEEK_HOURS)])
        for hour in range(WEEK_HOURS):
            expected += exposure(seen, clock, hour) * shape[hour]
        opens = np.bincount(seen.cell_key, seen.cell_weight, len(seen.keys))
        known = expected > 0
        middle = float(np.median(opens[known] / expected[known])) if known.any() else 1.0
        pull = seen.strengths.key * shape.sum()
        level: Floats = (opens + pull * min(middle, 1.0)) / np.maximum(expected + pull, 1e-12)
        return level
