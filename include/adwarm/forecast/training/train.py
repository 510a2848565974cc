"""Trains the models on what the store holds, lets them compete on the last week, and makes the better one live."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from adwarm.access_log.timestamps import from_micros, to_micros
from adwarm.forecast.models.boosted import BoostedForecast
from adwarm.forecast.models.calibration import Calibration
from adwarm.forecast.snapshot import promote_snapshot, save_snapshot
from adwarm.forecast.training.metrics import Holdout, Metrics
from adwarm.forecast.training.trainers import COMPETING_KINDS, TRAINERS, Trainer, entry_lifetime_slots
from adwarm.foundation.clock import utc
from adwarm.model import Account, Snapshot
from adwarm.patterns.open_history import load_opens
from adwarm.patterns.opens import FIRST_OPEN_QUIET, Opens
from adwarm.settings import Settings
from adwarm.store import ObjectStore, accounts, aggregates, read_transaction
from adwarm.store.snapshots import find_policy

HOLDOUT_PERIOD = timedelta(days=7)
LEAST_LOG = timedelta(days=7)
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
    why: str


def train_and_promote(
    engine: Engine, objects: ObjectStore, settings: Settings, until: datetime, now: datetime
) -> dict[str, Any]:
    """Train on the opens before `until`, make the better forecast live, and return its figures.

    `forecast.model` forces a kind; else a kind that was chosen for the policy stays; else the better one goes live.
    Accounts that the log names for the first time are stored, their zone being a guess until the upstream tells it.
    """
    opens = load_training_opens(engine, objects, settings, until)
    accounts.insert_discovered(engine, _named(opens), now)
    with read_transaction(engine) as connection:
        policy = find_policy(connection)
    chosen = policy.chosen_kind if policy is not None and settings.forecast.model == "auto" else None
    made = train_candidates(engine, objects, settings, until, now, opens=opens, kinds={*COMPETING_KINDS, chosen})
    kind, why = made.best_kind, made.why
    if policy is not None and chosen in made.snapshots:
        kind, why = str(chosen), f"chosen by {policy.chosen_by}: {policy.chosen_why}"
    snapshot = made.snapshots[kind]
    promote_snapshot(engine, snapshot.id, now)
    with read_transaction(engine) as connection:
        hours = aggregates.list_hours(connection, _since(settings, until), until)
    return {
        "snapshot": snapshot.id,
        "kind": kind,
        "why": why,
        "opens": sum(hour.opens for hour in hours),
        "first_opens": int(opens.first.sum()),
        "keys": snapshot.keys,
        "metrics": {name: round(value, 5) for name, value in snapshot.metrics.items()},
    }


def load_training_opens(engine: Engine, objects: ObjectStore, settings: Settings, until: datetime) -> Opens:
    """Return the opens that training goes by: those of the last `forecast.history_days` before `until`."""
    since = _since(settings, until)
    opens = load_opens(engine, objects, since - FIRST_OPEN_QUIET, until, default_zone=settings.default_zone)
    kept = opens.since(to_micros(since))
    return kept.select_keys(kept.opened_keys())


def train_candidates(
    engine: Engine,
    objects: ObjectStore,
    settings: Settings,
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
    until = utc(until)
    known = load_training_opens(engine, objects, settings, until) if opens is None else opens
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
        stored[kind] = save_snapshot(engine, objects, forecast, metrics=score.to_dict() if score else {}, at=now)
    hits = {kind: score.hits for kind, (score, _) in tried.items()}
    better, why = (forced, "the setting forecast.model names it") if forced != "auto" else _better(hits)
    return TrainedForecasts(stored, better, why)


def _tried(
    known: Opens, settings: Settings, until: datetime, trainers: Mapping[str, Trainer]
) -> dict[str, tuple[Metrics, Calibration]]:
    """Train each kind without the last week; return how well it did on it, and the curve that was learned there."""
    split = until - HOLDOUT_PERIOD
    if not len(known) or from_micros(int(known.ts[0])) > split - LEAST_LOG:
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
