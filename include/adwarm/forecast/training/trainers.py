"""Ways to train: each kind of forecast as a function of opens, settings and a moment."""

import hashlib
import json
from collections.abc import Callable
from datetime import datetime, timedelta

from adwarm.access_log.timestamps import to_micros
from adwarm.forecast.data_cutoff import worst_age
from adwarm.forecast.features.grid import SLOT
from adwarm.forecast.models.boosted import KIND as ADWARM
from adwarm.forecast.models.boosted import VERSION, AdwarmForecast
from adwarm.forecast.models.boosted_model import Reach
from adwarm.forecast.models.boosted_model import train as train_model
from adwarm.forecast.models.population import KIND as POPULATION
from adwarm.forecast.models.population import PopulationProfile
from adwarm.forecast.models.seasonal import KIND as HOUR_OF_WEEK
from adwarm.forecast.models.seasonal import HourOfWeek
from adwarm.forecast.protocol import Forecast
from adwarm.forecast.training.metrics import some_accounts
from adwarm.forecast.training.observations import observe
from adwarm.patterns.opens import Opens
from adwarm.settings import Settings

MOST_KEYS = 3_000
"""Keys the adwarm model learns from; of more, those of a fair sample of accounts, so that memory has an end."""
_QUARTER = timedelta(microseconds=SLOT)


def train_hour_of_week(known: Opens, settings: Settings, until: datetime) -> HourOfWeek:
    """Return the weekly rhythm learned from the opens before `until`."""
    return HourOfWeek(observe(known.before(to_micros(until)).only_first().to_frame(), settings, until))


def train_population(known: Opens, settings: Settings, until: datetime) -> PopulationProfile:
    """Return the population's week learned from the opens before `until`."""
    return PopulationProfile(train_hour_of_week(known, settings, until).seen)


def train_adwarm(known: Opens, settings: Settings, until: datetime) -> AdwarmForecast:
    """Return the adwarm model, and the rhythm it leans on, learned from the opens before `until`.

    The model has no key in it, so a sample of accounts teaches it; the rhythm knows every key.
    """
    known = known.before(to_micros(until))
    rhythm = train_hour_of_week(known, settings, until)
    reach = reach_of(settings)
    some = known.select_keys(some_accounts(known.account, MOST_KEYS))
    return AdwarmForecast(_identity(known, reach, rhythm), train_model(some, to_micros(until), reach), rhythm)


Trainer = Callable[[Opens, Settings, datetime], HourOfWeek | AdwarmForecast]
TRAINERS: dict[str, Trainer] = {
    POPULATION: train_population,
    HOUR_OF_WEEK: train_hour_of_week,
    ADWARM: train_adwarm,
}
"""By kind, the plainest first."""
COMPETING = (HOUR_OF_WEEK, ADWARM)
"""Kinds that may go live by being better. Others are trained when somebody, or a review, has chosen them."""


def reach_of(settings: Settings) -> Reach:
    """Return what is foretold: the life of today's figures, and the time the log may be behind on top of it."""
    behind = -(-worst_age(settings) // _QUARTER)
    return Reach(max(1, settings.step // _QUARTER), life_of(settings) + behind)


def life_of(settings: Settings) -> int:
    """Return how long an entry with today's figures is fresh, in quarters of an hour."""
    return max(1, min(96, settings.freshness_rules.today // _QUARTER))


def _identity(known: Opens, reach: Reach, rhythm: Forecast) -> str:
    """Return a SHA-256 of what the training is a function of."""
    digest = hashlib.sha256(json.dumps([ADWARM, VERSION, reach.soon, reach.life, reach.delay, rhythm.id]).encode())
    for values in (known.ts, known.key, known.first):
        digest.update(values.tobytes())
    return digest.hexdigest()
