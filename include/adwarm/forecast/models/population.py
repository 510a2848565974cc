"""The population's weekly profile: one profile for all keys, in their readers' time, scaled to each key's level.

The simplest forecast that is useful. It has few parameters, each learned from all readers, so little can go wrong: the
policy review falls back to it when the probabilities of a finer model are off.
"""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from adwarm.forecast.models.seasonal import Exposures, SeasonalForecast, fingerprint
from adwarm.foundation.arrow_arrays import Floats
from adwarm.foundation.local_time import WEEK_HOURS

KIND = "population"
VERSION = "1"


@dataclass(frozen=True)
class PopulationForecast(SeasonalForecast):
    """A trained population profile; implements `adwarm.forecast.protocol.Forecast`.

    A key's chance in an hour is the population's, times the key's level: its opens divided by those that the
    population's profile expects of it. Levels are shrunk towards the median key's, which is low where few keys are
    busy and many idle, so that new and rare keys get small chances.
    """

    kind: str = field(default=KIND, init=False)
    version: str = field(default=VERSION, init=False)

    @property
    def features(self) -> list[str]:
        """The groups of features, described for humans."""
        return ["hour of the reader's week", "level of the key", "profile of the population"]

    @cached_property
    def id(self) -> str:
        """SHA-256 in hex of everything the model learned; differs from that of other kinds of the same opens."""
        return hashlib.sha256(f"{KIND} {VERSION} {fingerprint(self.observations)}".encode()).hexdigest()

    def rates(self, hour: int, rows: npt.NDArray[Any] | None = None) -> Floats:
        """Return the chance of a first open in a whole hour of the week, for all keys or those at `rows`."""
        level = self._level if rows is None else self._level[rows]
        return np.minimum(level * self.population(hour), 1.0)

    @cached_property
    def _level(self) -> Floats:
        """Per key, its opens divided by those that the population's profile expects."""
        observations = self.observations
        exposures, expected = Exposures(observations), np.zeros(len(observations.keys))
        profile = np.array([self.population(hour) for hour in range(WEEK_HOURS)])
        for hour in range(WEEK_HOURS):
            expected += exposures.at(hour) * profile[hour]
        opens = np.bincount(observations.cell_key, observations.cell_weight, len(observations.keys))
        is_exposed = expected > 0
        median = float(np.median(opens[is_exposed] / expected[is_exposed])) if is_exposed.any() else 1.0
        prior = observations.strengths.key * profile.sum()
        level: Floats = (opens + prior * min(median, 1.0)) / np.maximum(expected + prior, 1e-12)
        return level
