"""Ways to train: each kind of forecast as a function of opens, settings and a moment."""

import hashlib
import json
from collections.abc import Callable
from datetime import datetime, timedelta

from adwarm.access_log.timestamps import to_micros
from adwarm.forecast.data_cutoff import max_data_age
from adwarm.forecast.features.grid import SLOT_MICROS
from adwarm.forecast.models.boosted import KIND as ADWARM
from adwarm.forecast.models.boosted import VERSION, BoostedForecast
from adwarm.forecast.models.boosted_model import Horizons
from adwarm.forecast.models.boosted_model import train as train_model
from adwarm.forecast.models.population import KIND as POPULATION
from adwarm.forecast.models.population import PopulationForecast
from adwarm.forecast.models.seasonal import KIND as HOUR_OF_WEEK
from adwarm.forecast.models.seasonal import SeasonalForecast
from adwarm.forecast.protocol import Forecast
from adwarm.forecast.training.metrics import sample_keys
from adwarm.forecast.training.observations import build_observations
from adwarm.patterns.opens import Opens
from adwarm.settings import Settings

MAX_TRAINING_KEYS = 3_000
"""Keys the adwarm model learns from; of more, those of a fair sample of accounts, so that memory has an end."""
_QUARTER = timedelta(microseconds=SLOT_MICROS)


def train_seasonal(opens: Opens, settings: Settings, until: datetime) -> SeasonalForecast:
    """Return the weekly rhythm learned from the opens before `until`."""
    return SeasonalForecast(build_observations(opens.before(to_micros(until)).only_first().to_frame(), settings, until))


def train_population(opens: Opens, settings: Settings, until: datetime) -> PopulationForecast:
    """Return the population's week learned from the opens before `until`."""
    return PopulationForecast(train_seasonal(opens, settings, until).observations)


def train_boosted(opens: Opens, settings: Settings, until: datetime) -> BoostedForecast:
    """Return the adwarm model, and the rhythm it leans on, learned from the opens before `until`.

    The model has no key in it, so a sample of accounts teaches it; the rhythm knows every key.
    """
    opens = opens.before(to_micros(until))
    rhythm = train_seasonal(opens, settings, until)
    reach = get_horizons(settings)
    some = opens.select_keys(sample_keys(opens.account, MAX_TRAINING_KEYS))
    return BoostedForecast(_identity(opens, reach, rhythm), train_model(some, to_micros(until), reach), rhythm)


Trainer = Callable[[Opens, Settings, datetime], SeasonalForecast | BoostedForecast]
TRAINERS: dict[str, Trainer] = {
    POPULATION: train_population,
    HOUR_OF_WEEK: train_seasonal,
    ADWARM: train_boosted,
}
"""By kind, the plainest first."""
COMPETING_KINDS = (HOUR_OF_WEEK, ADWARM)
"""Kinds that may go live by being better. Others are trained when somebody, or a review, has chosen them."""


def get_horizons(settings: Settings) -> Horizons:
    """Return what is foretold: the life of today's figures, and the time the log may be behind on top of it."""
    behind = -(-max_data_age(settings) // _QUARTER)
    return Horizons(max(1, settings.step // _QUARTER), entry_lifetime_slots(settings) + behind)


def entry_lifetime_slots(settings: Settings) -> int:
    """Return how long an entry with today's figures is fresh, in quarters of an hour."""
    return max(1, min(96, settings.freshness_rules.today // _QUARTER))


def _identity(known: Opens, reach: Horizons, rhythm: Forecast) -> str:
    """Return a SHA-256 of what the training is a function of."""
    digest = hashlib.sha256(json.dumps([ADWARM, VERSION, reach.soon, reach.life, reach.delay, rhythm.id]).encode())
    for values in (known.ts, known.key, known.first):
        digest.update(values.tobytes())
    return digest.hexdigest()
