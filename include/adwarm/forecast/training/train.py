"""Trains each kind of forecast on what the store holds, compares them on the last week, and promotes the best.

A trainer is a pure function of opens, settings and a moment; everything below `TRAINERS` reads and writes the store.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from adwarm.access_log.timestamps import from_micros, to_micros
from adwarm.forecast.features.grid import SLOT_MICROS
from adwarm.forecast.models.boosted import KIND as ADWARM
from adwarm.forecast.models.boosted import VERSION, BoostedForecast, Horizons
from adwarm.forecast.models.classifiers import Calibration
from adwarm.forecast.models.population import KIND as POPULATION
from adwarm.forecast.models.population import PopulationForecast
from adwarm.forecast.models.seasonal import KIND as HOUR_OF_WEEK
from adwarm.forecast.models.seasonal import SeasonalForecast
from adwarm.forecast.protocol import Forecast, max_data_age
from adwarm.forecast.snapshot import promote_snapshot, save_snapshot
from adwarm.forecast.training import HOLDOUT_PERIOD, MIN_LOG_BEFORE_HOLDOUT
from adwarm.forecast.training.boosted_training import train_model
from adwarm.forecast.training.metrics import Holdout, Metrics, sample_keys
from adwarm.forecast.training.observations import build_observations
from adwarm.foundation import telemetry
from adwarm.foundation.clock import utc
from adwarm.model import FIRST_OPEN_QUIET, Snapshot
from adwarm.patterns.open_history import load_opens
from adwarm.patterns.opens import Opens
from adwarm.settings import Settings
from adwarm.store import Context, aggregates, read_transaction
from adwarm.store.snapshots import find_policy

MAX_TRAINING_KEYS = 3_000
"""Keys that the adwarm model learns from; of more keys, those of randomly drawn accounts, to bound memory."""
_QUARTER = timedelta(microseconds=SLOT_MICROS)
Trainer = Callable[[Opens, Settings, datetime], SeasonalForecast | BoostedForecast]
COMPETING_KINDS = (HOUR_OF_WEEK, ADWARM)
"""Kinds that are compared; the better one goes live. Others are trained only after somebody or a review chose them."""
MIN_IMPROVEMENT = 0.005
"""Share of first opens by which a kind must beat a plainer one on the held-out week."""


def train_seasonal(opens: Opens, settings: Settings, until: datetime) -> SeasonalForecast:
    """Return the weekly profiles learned from the opens before `until`."""
    return SeasonalForecast(build_observations(opens.before(to_micros(until)).only_first().to_frame(), settings, until))


def train_population(opens: Opens, settings: Settings, until: datetime) -> PopulationForecast:
    """Return the population's weekly profile learned from the opens before `until`."""
    return PopulationForecast(train_seasonal(opens, settings, until).observations)


def train_boosted(opens: Opens, settings: Settings, until: datetime) -> BoostedForecast:
    """Return the adwarm model with the weekly profiles, learned from the opens before `until`.

    The model has no feature that identifies a key, so a sample of accounts is enough; the profiles cover every key.
    """
    opens = opens.before(to_micros(until))
    seasonal = train_seasonal(opens, settings, until)
    horizons = get_horizons(settings)
    sample = opens.select_keys(sample_keys(opens.account, MAX_TRAINING_KEYS))
    return BoostedForecast(
        _identity(opens, horizons, seasonal), train_model(sample, to_micros(until), horizons), seasonal
    )


TRAINERS: dict[str, Trainer] = {
    POPULATION: train_population,
    HOUR_OF_WEEK: train_seasonal,
    ADWARM: train_boosted,
}
"""By kind, the plainest first."""


def get_horizons(settings: Settings) -> Horizons:
    """Return the windows to predict: the planning step, and the lifetime of today's data plus the age of the log."""
    data_age = -(-max_data_age(settings) // _QUARTER)
    return Horizons(max(1, settings.step // _QUARTER), entry_lifetime_slots(settings) + data_age)


def entry_lifetime_slots(settings: Settings) -> int:
    """Return how long an entry with today's data is fresh, in slots of 15 minutes, at most a day."""
    return max(1, min(96, settings.freshness_rules.today // _QUARTER))


def _identity(opens: Opens, horizons: Horizons, seasonal: Forecast) -> str:
    """Return a SHA-256 of everything that the trained forecast depends on."""
    digest = hashlib.sha256(
        json.dumps([ADWARM, VERSION, horizons.step, horizons.lifetime, horizons.delay, seasonal.id]).encode()
    )
    for values in (opens.ts, opens.key, opens.first):
        digest.update(values.tobytes())
    if opens.holiday_countries:
        digest.update(json.dumps(sorted(opens.holiday_countries.items())).encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class TrainedForecasts:
    """Trained and stored forecasts, none of them live yet.

    Attributes:
        snapshots: by kind; their metrics are of the held-out week (see `Metrics`), empty when the log is too short.
    """

    snapshots: Mapping[str, Snapshot]
    best_kind: str
    reason: str


def train_and_promote(context: Context, until: datetime, now: datetime) -> dict[str, Any]:
    """Train on the opens before `until`, promote the best forecast, and return its figures as JSON values.

    The setting `forecast.model` forces a kind; otherwise a kind that was chosen for the policy stays; otherwise the
    best one goes live.
    """
    opens = load_training_opens(context, until)
    with read_transaction(context.engine) as connection:
        policy = find_policy(connection)
    chosen = policy.chosen_kind if policy is not None and context.settings.forecast.model == "auto" else None
    trained = train_candidates(context, until, now, opens=opens, kinds={*COMPETING_KINDS, chosen})
    kind, reason = trained.best_kind, trained.reason
    if policy is not None and chosen in trained.snapshots:
        kind, reason = str(chosen), f"chosen by {policy.chosen_by}: {policy.chosen_why}"
    snapshot = trained.snapshots[kind]
    promote_snapshot(context.engine, snapshot.id, now)
    telemetry.report(telemetry.FORECAST_KEYS, snapshot.keys, kind=kind)
    if "ece" in snapshot.metrics:
        telemetry.report(telemetry.FORECAST_ECE, snapshot.metrics["ece"], kind=kind)
    with read_transaction(context.engine) as connection:
        hours = aggregates.list_hours(connection, _since(context.settings, until), until)
    return {
        "snapshot": snapshot.id,
        "kind": kind,
        "why": reason,
        "opens": sum(hour.opens for hour in hours),
        "first_opens": int(opens.first.sum()),
        "keys": snapshot.keys,
        "metrics": {name: round(value, 5) for name, value in snapshot.metrics.items()},
    }


def load_training_opens(context: Context, until: datetime) -> Opens:
    """Return the opens to train on: those of the last `forecast.history_days` before `until`."""
    since = _since(context.settings, until)
    # Which opens at the start are first opens follows from the quiet time before them.
    opens = load_opens(context, since - FIRST_OPEN_QUIET, until)
    opens = opens.since(to_micros(since))
    return opens.select_keys(opens.opened_keys())


def train_candidates(
    context: Context,
    until: datetime,
    now: datetime,
    *,
    opens: Opens | None = None,
    kinds: Collection[str | None] = COMPETING_KINDS,
) -> TrainedForecasts:
    """Train kinds of forecast on the opens before `until`, evaluate them on the last week, and store them.

    For the evaluation each is trained without that week; the stored ones are trained on everything. The plainer kind is
    the best unless it is clearly beaten. When `forecast.model` names a kind, only that one is trained.

    Args:
        until: end of the opens to train on, UTC.
        opens: the result of `load_training_opens`, if it is loaded already.
        kinds: kinds to train; only those in `COMPETING_KINDS` can be the best.
    """
    until, settings = utc(until), context.settings
    if opens is None:
        opens = load_training_opens(context, until)
    forced = settings.forecast.model
    selected = kinds if forced == "auto" else {forced}
    trainers = {kind: trainer for kind, trainer in TRAINERS.items() if kind in selected}
    evaluations = _evaluate(opens, settings, until, trainers)
    snapshots = {}
    for kind, trainer in trainers.items():
        metrics, calibration = evaluations.get(kind, (None, None))
        forecast = _calibrate(trainer(opens, settings, until), calibration)
        snapshots[kind] = save_snapshot(context, forecast, metrics=metrics.to_dict() if metrics else {}, at=now)
    hits = {kind: metrics.hits for kind, (metrics, _) in evaluations.items()}
    best, reason = (forced, "the setting forecast.model names it") if forced != "auto" else _choose_best(hits)
    return TrainedForecasts(snapshots, best, reason)


class RepeatedTraining:
    """A trainer that trains once for the same opens.

    In a replay that trains every week, what was trained a week ago is what the calibration of the next week needs.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._last: tuple[datetime, Opens, SeasonalForecast | BoostedForecast] | None = None

    def __call__(self, opens: Opens, settings: Settings, until: datetime) -> SeasonalForecast | BoostedForecast:
        """Return the forecast of the opens before `until`; the settings must be the same in each call."""
        past_opens = opens.before(to_micros(until))
        if self._last is None or self._last[0] != until or not self._last[1].equals(past_opens):
            self._last = (until, past_opens, self._trainer(past_opens, settings, until))
        return self._last[2]


def fit_forecast(
    kind: str, opens: Opens, settings: Settings, until: datetime, trainer: Trainer | None = None
) -> SeasonalForecast | BoostedForecast:
    """Return the forecast that `train_candidates` stores for a kind, from the opens before `until`; stores nothing.

    Args:
        opens: those of the last `forecast.history_days` before `until`.
        until: end of the opens to train on, UTC.
        trainer: trains the kind; that of `TRAINERS` if None.
    """
    trainer = trainer or TRAINERS[kind]
    evaluated = {kind: trainer} if kind == ADWARM else {}  # the other kinds are not calibrated
    calibration = _evaluate(opens, settings, until, evaluated).get(kind, (None, None))[1]
    return _calibrate(trainer(opens, settings, until), calibration)


def _calibrate(
    forecast: SeasonalForecast | BoostedForecast, calibration: Calibration | None
) -> SeasonalForecast | BoostedForecast:
    if calibration is not None and isinstance(forecast, BoostedForecast):
        return forecast.calibrated(calibration)
    return forecast


def _evaluate(
    opens: Opens, settings: Settings, until: datetime, trainers: Mapping[str, Trainer]
) -> dict[str, tuple[Metrics, Calibration]]:
    """Train each kind without the last week; return metrics and calibration on it, nothing on a short log."""
    split = until - HOLDOUT_PERIOD
    if not len(opens) or from_micros(int(opens.ts[0])) > split - MIN_LOG_BEFORE_HOLDOUT:
        return {}
    holdout = Holdout.from_opens(opens, split, until, settings, entry_lifetime_slots(settings))
    if holdout is None:
        return {}
    return {kind: holdout.evaluate(trainer(opens, settings, split)) for kind, trainer in trainers.items()}


def _choose_best(hits: Mapping[str, float]) -> tuple[str, str]:
    """Return the compared kind with most hits and the reason; the plainer kind unless it is clearly beaten."""
    plainer, finer = COMPETING_KINDS
    if plainer not in hits or finer not in hits:
        return plainer, "the log is too short for models to compete on its last week"
    reason = f"hits on the held-out week: {finer} {hits[finer]:.3f}, {plainer} {hits[plainer]:.3f}"
    return (finer if hits[finer] >= hits[plainer] + MIN_IMPROVEMENT else plainer), reason


def _since(settings: Settings, until: datetime) -> datetime:
    """Return when the opens to train on begin: at an hour, as the stored counts of opens do."""
    return utc(until).replace(minute=0, second=0, microsecond=0) - timedelta(days=settings.forecast.history_days)
