"""Ways to train: each kind of forecast as a function of opens, settings and a moment."""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from adwarm.access_log.timestamps import from_micros, to_micros
from adwarm.forecast.data_cutoff import max_data_age
from adwarm.forecast.features.grid import SLOT_MICROS
from adwarm.forecast.models.boosted import KIND as ADWARM
from adwarm.forecast.models.boosted import VERSION, BoostedForecast, Horizons
from adwarm.forecast.models.calibration import Calibration
from adwarm.forecast.models.population import KIND as POPULATION
from adwarm.forecast.models.population import PopulationForecast
from adwarm.forecast.models.seasonal import KIND as HOUR_OF_WEEK
from adwarm.forecast.models.seasonal import SeasonalForecast
from adwarm.forecast.protocol import Forecast
from adwarm.forecast.snapshot import promote_snapshot, save_snapshot
from adwarm.forecast.training.boosted_training import train_model
from adwarm.forecast.training.metrics import Holdout, Metrics, sample_keys
from adwarm.forecast.training.observations import build_observations
from adwarm.foundation.clock import utc
from adwarm.model import Account, Snapshot
from adwarm.patterns.open_history import load_opens
from adwarm.patterns.opens import QUIET_MICROS, Opens
from adwarm.settings import Settings
from adwarm.store import Context, accounts, aggregates, read_transaction
from adwarm.store.snapshots import find_policy

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
    digest = hashlib.sha256(json.dumps([ADWARM, VERSION, reach.step, reach.lifetime, reach.delay, rhythm.id]).encode())
    for values in (known.ts, known.key, known.first):
        digest.update(values.tobytes())
    return digest.hexdigest()


HOLDOUT_PERIOD = timedelta(days=7)
MIN_LOG_BEFORE_HOLDOUT = timedelta(days=7)
"""Log before the held-back week below which nothing competes."""
MIN_IMPROVEMENT = 0.005
"""Share of first opens by which a model must beat plainer ones on the held-back week."""


@dataclass(frozen=True)
class TrainedForecasts:
    """Trained and stored forecasts, none of them live yet.

    Attributes:
        snapshots: by kind; their metrics are of the held-back week (see `scoring.Score`), empty when the log is short.
        better: the kind that did better.
        why: in words.
    """

    snapshots: Mapping[str, Snapshot]
    best_kind: str
    reason: str


def train_and_promote(context: Context, until: datetime, now: datetime) -> dict[str, Any]:
    """Train on the opens before `until`, make the better forecast live, and return its figures.

    `forecast.model` forces a kind; else a kind that was chosen for the policy stays; else the better one goes live.
    Accounts that the log names for the first time are stored, their zone being a guess until the upstream tells it.
    """
    opens = load_training_opens(context, until)
    accounts.insert_discovered(context.engine, _named(opens), now)
    with read_transaction(context.engine) as connection:
        policy = find_policy(connection)
    chosen = policy.chosen_kind if policy is not None and context.settings.forecast.model == "auto" else None
    made = train_candidates(context, until, now, opens=opens, kinds={*COMPETING_KINDS, chosen})
    kind, why = made.best_kind, made.reason
    if policy is not None and chosen in made.snapshots:
        kind, why = str(chosen), f"chosen by {policy.chosen_by}: {policy.chosen_why}"
    snapshot = made.snapshots[kind]
    promote_snapshot(context.engine, snapshot.id, now)
    with read_transaction(context.engine) as connection:
        hours = aggregates.list_hours(connection, _since(context.settings, until), until)
    return {
        "snapshot": snapshot.id,
        "kind": kind,
        "why": why,
        "opens": sum(hour.opens for hour in hours),
        "first_opens": int(opens.first.sum()),
        "keys": snapshot.keys,
        "metrics": {name: round(value, 5) for name, value in snapshot.metrics.items()},
    }


def load_training_opens(context: Context, until: datetime) -> Opens:
    """Return the opens that training goes by: those of the last `forecast.history_days` before `until`."""
    since = _since(context.settings, until)
    quiet = timedelta(microseconds=QUIET_MICROS)
    opens = load_opens(
        context.engine, context.objects, since - quiet, until, default_zone=context.settings.default_zone
    )
    kept = opens.since(to_micros(since))
    return kept.select_keys(kept.opened_keys())


def train_candidates(
    context: Context,
    until: datetime,
    now: datetime,
    *,
    opens: Opens | None = None,
    kinds: Collection[str | None] = COMPETING_KINDS,
) -> TrainedForecasts:
    """Train some kinds of forecast on the opens before `until`, score it on the last week, and store it.

    For the scores each is trained without that week; what is stored is trained on everything. The plainer kind is
    better unless it is clearly beaten. With `forecast.model` naming a kind, only that one is trained.

    Args:
        opens: as `load_opens` gives them, where they are at hand.
        kinds: which to train; only those in `COMPETING` can be found better.
    """
    until, settings = utc(until), context.settings
    known = load_training_opens(context, until) if opens is None else opens
    forced = settings.forecast.model
    wanted = kinds if forced == "auto" else {forced}
    trainers = {kind: trainer for kind, trainer in TRAINERS.items() if kind in wanted}
    tried = _tried(known, settings, until, trainers)
    stored = {}
    for kind, trainer in trainers.items():
        forecast = trainer(known, settings, until)
        score, curve = tried.get(kind, (None, None))
        if curve is not None and isinstance(forecast, BoostedForecast):
            forecast = forecast.calibrated(curve)
        stored[kind] = save_snapshot(context, forecast, metrics=score.to_dict() if score else {}, at=now)
    hits = {kind: score.hits for kind, (score, _) in tried.items()}
    better, why = (forced, "the setting forecast.model names it") if forced != "auto" else _better(hits)
    return TrainedForecasts(stored, better, why)


def _tried(
    known: Opens, settings: Settings, until: datetime, trainers: Mapping[str, Trainer]
) -> dict[str, tuple[Metrics, Calibration]]:
    """Train each kind without the last week; return how well it did on it, and the curve that was learned there."""
    split = until - HOLDOUT_PERIOD
    if not len(known) or from_micros(int(known.ts[0])) > split - MIN_LOG_BEFORE_HOLDOUT:
        return {}
    held = Holdout.from_opens(known, split, until, settings, entry_lifetime_slots(settings))
    if held is None:
        return {}
    return {kind: held.evaluate(trainer(known, settings, split)) for kind, trainer in trainers.items()}


def _better(hits: Mapping[str, float]) -> tuple[str, str]:
    """Return the competing kind with most hits, the plainer one unless it is clearly beaten, and why."""
    plain, able = COMPETING_KINDS
    if plain not in hits or able not in hits:
        return plain, "the log is too short for models to compete on its last week"
    why = f"hits on the held-back week: {able} {hits[able]:.3f}, {plain} {hits[plain]:.3f}"
    return (able if hits[able] >= hits[plain] + MIN_IMPROVEMENT else plain), why


def _since(settings: Settings, until: datetime) -> datetime:
    return utc(until) - timedelta(days=settings.forecast.history_days)


def _named(opens: Opens) -> list[Account]:
    """Return the accounts of opens, each in the zone of its latest key."""
    zones = dict(zip(opens.account_id.tolist(), opens.zone.tolist(), strict=True))
    return [Account(str(name), str(zone), str(zone), currency="") for name, zone in zones.items()]
