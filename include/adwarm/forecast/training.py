"""Trains the models on what the store holds, lets them compete on the last week, and makes the better one live."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from adwarm.access_log.moments import from_micros, to_micros
from adwarm.clock import utc
from adwarm.forecast.adwarm_forecast import KIND as ADWARM
from adwarm.forecast.adwarm_forecast import VERSION, AdwarmForecast
from adwarm.forecast.adwarm_model import Reach
from adwarm.forecast.adwarm_model import train as train_model
from adwarm.forecast.grid import SLOT
from adwarm.forecast.hour_of_week import KIND as HOUR_OF_WEEK
from adwarm.forecast.hour_of_week import HourOfWeek
from adwarm.forecast.lateness import worst_age
from adwarm.forecast.population import KIND as POPULATION
from adwarm.forecast.population import PopulationProfile
from adwarm.forecast.protocol import Forecast
from adwarm.forecast.scoring import HeldBack
from adwarm.forecast.snapshot import Snapshot, make_live, save_snapshot, train
from adwarm.model import Account
from adwarm.patterns.known import known_opens
from adwarm.patterns.opens import QUIET, Opens
from adwarm.settings import Settings
from adwarm.store import ObjectStore, accounts, aggregates, reading
from adwarm.store.snapshots import find_policy

HELD_BACK = timedelta(days=7)
LEAST_LOG = timedelta(days=7)
"""Log before the held-back week below which nothing competes."""
CLEARLY = 0.005
"""Share of first opens by which a model must beat plainer ones on the held-back week."""
_QUARTER = timedelta(microseconds=SLOT)


@dataclass(frozen=True)
class Candidates:
    """Trained and stored forecasts, none of them live yet.

    Attributes:
        snapshots: by kind; their metrics are of the held-back week (see `scoring.Score`), empty when the log is short.
        better: the kind that did better.
        why: in words.
    """

    snapshots: Mapping[str, Snapshot]
    better: str
    why: str


def train_until(
    engine: Engine, objects: ObjectStore, settings: Settings, until: datetime, now: datetime
) -> dict[str, Any]:
    """Train on the opens before `until`, make the better forecast live, and return its figures.

    `forecast.model` forces a kind; else a kind that was chosen for the policy stays; else the better one goes live.
    Accounts that the log names for the first time are stored, their zone being a guess until the upstream tells it.
    """
    opens = load_opens(engine, objects, settings, until)
    accounts.discover(engine, _named(opens), now)
    made = train_candidates(engine, objects, settings, until, now, opens=opens)
    kind, why = _choice(engine, settings, made)
    snapshot = made.snapshots[kind]
    make_live(engine, snapshot.id, now)
    with reading(engine) as connection:
        hours = aggregates.hours(connection, _since(settings, until), until)
    return {
        "snapshot": snapshot.id,
        "kind": kind,
        "why": why,
        "opens": sum(hour.opens for hour in hours),
        "first_opens": int(opens.first.sum()),
        "keys": snapshot.keys,
        "metrics": {name: round(value, 5) for name, value in snapshot.metrics.items()},
    }


def load_opens(engine: Engine, objects: ObjectStore, settings: Settings, until: datetime) -> Opens:
    """Return the opens that training goes by: those of the last `forecast.history_days` before `until`."""
    since = _since(settings, until)
    quiet = timedelta(microseconds=QUIET)
    opens = known_opens(engine, objects, since - quiet, until, default_zone=settings.default_zone)
    kept = opens.since(to_micros(since))
    return kept.of_keys(kept.opened())


def train_candidates(
    engine: Engine,
    objects: ObjectStore,
    settings: Settings,
    until: datetime,
    now: datetime,
    *,
    opens: Opens | None = None,
) -> Candidates:
    """Train each kind of forecast on the opens before `until`, score it on the last week, and store it.

    For the scores each is trained without that week; what is stored is trained on everything. The plainer kind is
    better unless it is clearly beaten. With `forecast.model` naming a kind, only that one is trained.

    Args:
        opens: as `load_opens` gives them, where they are at hand.
    """
    until = utc(until)
    known = load_opens(engine, objects, settings, until) if opens is None else opens
    forced = settings.forecast.model
    kinds: dict[str, Trainer] = {kind: trainer for kind, trainer in TRAINERS.items() if forced in {"auto", kind}}
    scores = _scores(known, settings, until, kinds)
    stored = {
        kind: save_snapshot(engine, objects, trainer(known, settings, until), metrics=scores.get(kind, {}), at=now)
        for kind, trainer in kinds.items()
    }
    better, why = _better(scores, tuple(kinds))
    return Candidates(stored, better, why)


def train_hour_of_week(known: Opens, settings: Settings, until: datetime) -> HourOfWeek:
    """Return the weekly rhythm learned from the opens before `until`."""
    return train(known.before(to_micros(until)).only_first().to_frame(), settings, until)


def train_population(known: Opens, settings: Settings, until: datetime) -> PopulationProfile:
    """Return the population's week learned from the opens before `until`."""
    return PopulationProfile(train_hour_of_week(known, settings, until).seen)


def train_adwarm(known: Opens, settings: Settings, until: datetime) -> AdwarmForecast:
    """Return the adwarm model, and the rhythm it leans on, learned from the opens before `until`."""
    known = known.before(to_micros(until))
    rhythm = train_hour_of_week(known, settings, until)
    reach = reach_of(settings)
    return AdwarmForecast(_identity(known, reach, rhythm), train_model(known, to_micros(until), reach), rhythm)


Trainer = Callable[[Opens, Settings, datetime], HourOfWeek | AdwarmForecast]
TRAINERS: dict[str, Trainer] = {
    POPULATION: train_population,
    HOUR_OF_WEEK: train_hour_of_week,
    ADWARM: train_adwarm,
}
"""By kind, the plainest first."""


def reach_of(settings: Settings) -> Reach:
    """Return what is foretold: the life of today's figures, and the time the log may be behind on top of it."""
    behind = -(-worst_age(settings) // _QUARTER)
    return Reach(max(1, settings.step // _QUARTER), life_of(settings) + behind)


def life_of(settings: Settings) -> int:
    """Return how long an entry with today's figures is fresh, in quarters of an hour."""
    return max(1, min(96, settings.freshness_rules.today // _QUARTER))


def _scores(known: Opens, settings: Settings, until: datetime, kinds: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    split = until - HELD_BACK
    if not len(known) or from_micros(int(known.ts[0])) > split - LEAST_LOG:
        return {}
    held = HeldBack.of(known, split, until, settings, life_of(settings))
    if held is None:
        return {}
    return {kind: held.score(trainer(known, settings, split)).to_dict() for kind, trainer in kinds.items()}


def _better(scores: Mapping[str, Mapping[str, float]], kinds: tuple[str, ...]) -> tuple[str, str]:
    if len(kinds) == 1:
        return kinds[0], "the setting forecast.model names it"
    if not scores:
        return HOUR_OF_WEEK, "the log is too short for models to compete on its last week"
    better = kinds[0]
    for kind in kinds[1:]:
        if scores[kind]["hits"] >= scores[better]["hits"] + CLEARLY:
            better = kind
    hits = ", ".join(f"{kind} {scores[kind]['hits']:.3f}" for kind in reversed(kinds))
    return better, f"hits on the held-back week: {hits}"


def _choice(engine: Engine, settings: Settings, made: Candidates) -> tuple[str, str]:
    """Return the kind that goes live, and why."""
    with reading(engine) as connection:
        policy = find_policy(connection) or {}
    chosen = policy.get("chosen_kind")
    if settings.forecast.model == "auto" and chosen in made.snapshots:
        return str(chosen), f"chosen by {policy['chosen_by']}: {policy['chosen_why']}"
    return made.better, made.why


def _identity(known: Opens, reach: Reach, rhythm: Forecast) -> str:
    """Return a SHA-256 of what the training is a function of."""
    digest = hashlib.sha256(json.dumps([ADWARM, VERSION, reach.soon, reach.life, reach.delay, rhythm.id]).encode())
    for values in (known.ts, known.key, known.first):
        digest.update(values.tobytes())
    return digest.hexdigest()


def _since(settings: Settings, until: datetime) -> datetime:
    return utc(until) - timedelta(days=settings.forecast.history_days)


def _named(opens: Opens) -> list[Account]:
    """Return the accounts of opens, each in the zone of its latest key."""
    zones = dict(zip(opens.account_id.tolist(), opens.zone.tolist(), strict=True))
    return [Account(str(name), str(zone), str(zone), currency="") for name, zone in zones.items()]
