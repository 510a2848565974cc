"""Stores trained forecasts and loads the live one. The stored form is data (Parquet, arrays), never pickle."""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy import Engine

from adwarm.forecast.models import boosted, population
from adwarm.forecast.models.population import PopulationForecast
from adwarm.forecast.models.seasonal import KIND, SeasonalForecast
from adwarm.forecast.protocol import Forecast
from adwarm.foundation.clock import utc
from adwarm.foundation.errors import AdwarmError, Corrupt, NotFound
from adwarm.model import Snapshot
from adwarm.store import Context, quarantine, read_transaction, write_transaction
from adwarm.store.snapshots import (
    find_deployed_snapshot,
    find_snapshot,
    get_live_snapshot,
    insert_snapshot,
    list_snapshots,
    list_substitutes,
    set_policy,
)

ALERT_KIND = "ForecastSnapshot"
"""Kind of the alert about a live snapshot that cannot be used."""
OnProblem = Callable[[str], None]
log = logging.getLogger(__name__)

_LOADERS: dict[str, Callable[[bytes], Forecast]] = {
    KIND: SeasonalForecast.from_bytes,
    population.KIND: PopulationForecast.from_bytes,
    boosted.KIND: boosted.BoostedForecast.from_bytes,
}


def save_snapshot(context: Context, forecast: Forecast, *, metrics: Mapping[str, float], at: datetime) -> Snapshot:
    """Store the forecast and return its snapshot; saving an equal forecast again returns the first snapshot.

    The forecast is not used until `promote_snapshot` makes it live.
    """
    snapshot = Snapshot(
        id=forecast.id,
        kind=forecast.kind,
        version=forecast.version,
        object_hash=context.objects.put(forecast.to_bytes()),
        trained_from=forecast.trained_from,
        trained_until=forecast.trained_until,
        keys=len(forecast.keys),
        features=tuple(forecast.features),
        metrics=dict(metrics),
        created_at=utc(at),
    )
    with write_transaction(context.engine) as connection:
        insert_snapshot(connection, snapshot)
        return find_snapshot(connection, forecast.id) or snapshot


def promote_snapshot(engine: Engine, snapshot_id: str, at: datetime) -> None:
    """Make the snapshot live.

    Raises:
        NotFound: there is no such snapshot.
    """
    with write_transaction(engine) as connection:
        if find_snapshot(connection, snapshot_id) is None:
            raise _no_such(snapshot_id)
        set_policy(connection, snapshot_id, utc(at))
    quarantine.mark_snapshots_healed(engine, utc(at))


def read_snapshot(context: Context, snapshot: Snapshot) -> Forecast:
    """Return the forecast of a snapshot.

    Raises:
        NotFound: its object is missing.
        Corrupt: its object fails verification, or this version cannot read it.
    """
    loader = _LOADERS.get(snapshot.kind)
    if loader is None:
        raise Corrupt(f"snapshot {snapshot.id[:12]} is of the kind {snapshot.kind!r}, which this version cannot read")
    data = context.objects.get(snapshot.object_hash)
    try:
        return loader(data)
    except AdwarmError:
        raise
    except Exception as error:  # decoders raise what they like for bytes that no version of adwarm has written
        raise Corrupt(f"snapshot {snapshot.id[:12]} cannot be decoded ({type(error).__name__})") from error


class StoredForecasts:
    """The stored forecasts, for a replay of what was deployed: at each moment those that have seen nothing after it.

    Attributes:
        used: ids of the snapshots that were returned, with the kind and the end of the training of each.
    """

    def __init__(self, context: Context) -> None:
        self.used: dict[str, tuple[str, datetime]] = {}
        self._context = context
        self._loaded: dict[str, Forecast] = {}
        with read_transaction(context.engine) as connection:
            self._snapshots = list_snapshots(connection)

    @property
    def ids(self) -> list[str]:
        """The ids of all snapshots, the one trained last first."""
        return [snapshot.id for snapshot in self._snapshots]

    def get_oldest(self, kind: str) -> Snapshot:
        """Return the snapshot of a kind whose training ended first, of those that can be read.

        Raises:
            NotFound: none can.
        """
        for snapshot in reversed(self._snapshots):
            if snapshot.kind == kind and self._load(snapshot) is not None:
                return snapshot
        raise NotFound(f"no stored forecast of the kind {kind} can be read; train one with adwarm_access_patterns")

    def get(self, kind: str, until: datetime) -> Forecast | None:
        """Return the newest readable forecast of a kind whose training ended by `until`; None without any."""
        for snapshot in self._snapshots:
            if snapshot.kind != kind or snapshot.trained_until > until:
                continue
            forecast = self._load(snapshot)
            if forecast is not None:
                self.used[snapshot.id] = kind, snapshot.trained_until
                return forecast
        return None

    def _load(self, snapshot: Snapshot) -> Forecast | None:
        loaded = self._loaded.get(snapshot.kind)
        if loaded is not None and loaded.id == snapshot.id:
            return loaded
        try:
            self._loaded[snapshot.kind] = read_snapshot(self._context, snapshot)
        except (NotFound, Corrupt) as error:
            log.warning("%s is left out of the replay: %s", _describe(snapshot), error)
            return None
        return self._loaded[snapshot.kind]


def get_live_forecast(context: Context, on_problem: OnProblem | None = None) -> Forecast:
    """Return the live forecast; when its snapshot is damaged or cannot be read, the one that takes over.

    These are, in order, the older snapshots of the same kind and the older ones of the seasonal kind, newest first. The
    policy does not change: the next training makes a whole snapshot live.

    Args:
        on_problem: called with a sentence when another snapshot takes over; it is logged as a warning in any case.

    Raises:
        NotFound: no forecast is live yet.
        Corrupt: neither the live snapshot nor any that could take over can be read.
    """
    live = get_live_snapshot(context.engine)
    try:
        return read_snapshot(context, live)
    except (NotFound, Corrupt) as error:
        damage = error
    with read_transaction(context.engine) as connection:
        candidates = list_substitutes(connection, live, KIND)
    for candidate in candidates:
        try:
            forecast = read_snapshot(context, candidate)
        except (NotFound, Corrupt):
            continue
        problem = (
            f"{_describe(live)} cannot be used: {damage}; {_describe(candidate)} takes over until the next training"
        )
        log.warning("%s", problem)
        if on_problem is not None:
            on_problem(problem)
        return forecast
    problem = f"{_describe(live)} cannot be used: {damage}; no other snapshot can take over, train one"
    if on_problem is not None:
        on_problem(problem)
    raise Corrupt(problem)


def find_live_problem(context: Context) -> str | None:
    """Return why the live snapshot cannot be used; None when it can, or when there is none."""
    try:
        read_snapshot(context, get_live_snapshot(context.engine))
    except NotFound as error:
        with read_transaction(context.engine) as connection:
            return None if find_deployed_snapshot(connection) is None else str(error)
    except Corrupt as error:
        return str(error)
    return None


def _describe(snapshot: Snapshot) -> str:
    return f"the forecast {snapshot.id[:12]} ({snapshot.kind}, trained until {snapshot.trained_until:%Y-%m-%d})"


def _no_such(snapshot_id: str) -> NotFound:
    return NotFound(f"there is no forecast snapshot {snapshot_id[:12]!r}; `adwarm learn` trains one")
