"""Stores trained forecasts and loads the live one. The stored form is data (Parquet, skops), never pickle."""

from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy import Engine

from adwarm.forecast.models import boosted, population
from adwarm.forecast.models.population import PopulationForecast
from adwarm.forecast.models.seasonal import KIND, SeasonalForecast
from adwarm.forecast.protocol import Forecast
from adwarm.foundation.clock import utc
from adwarm.foundation.errors import Corrupt, NotFound
from adwarm.model import Mode, Snapshot
from adwarm.store import Context, read_transaction, write_transaction
from adwarm.store.snapshots import find_deployed_snapshot, find_snapshot, insert_snapshot, set_policy

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


def promote_snapshot(engine: Engine, snapshot_id: str, at: datetime, *, mode: Mode = Mode.LIVE) -> None:
    """Make the snapshot live.

    Raises:
        NotFound: there is no such snapshot.
    """
    with write_transaction(engine) as connection:
        if find_snapshot(connection, snapshot_id) is None:
            raise _no_such(snapshot_id)
        set_policy(connection, snapshot_id, utc(at), mode=mode)


def load_forecast(context: Context, snapshot_id: str) -> Forecast:
    """Return a stored forecast.

    Raises:
        NotFound: there is no such snapshot, or its object is missing.
        Corrupt: its object fails verification, or this version cannot read it.
    """
    with read_transaction(context.engine) as connection:
        snapshot = find_snapshot(connection, snapshot_id)
    if snapshot is None:
        raise _no_such(snapshot_id)
    loader = _LOADERS.get(snapshot.kind)
    if loader is None:
        raise Corrupt(f"snapshot {snapshot_id[:12]} is of the kind {snapshot.kind!r}, which this version cannot read")
    return loader(context.objects.get(snapshot.object_hash))


def get_live_snapshot(engine: Engine) -> Snapshot:
    """Return the live snapshot.

    Raises:
        NotFound: no forecast is live yet.
    """
    with read_transaction(engine) as connection:
        snapshot = find_deployed_snapshot(connection)
    if snapshot is None:
        raise NotFound(
            "no forecast is live yet; run the DAG adwarm_access_patterns over an access log with some weeks of opens"
        )
    return snapshot


def get_live_forecast(context: Context) -> Forecast:
    """Return the live forecast.

    Raises:
        NotFound: no forecast is live yet.
        Corrupt: its object fails verification.
    """
    return load_forecast(context, get_live_snapshot(context.engine).id)


def _no_such(snapshot_id: str) -> NotFound:
    return NotFound(
        f"there is no forecast snapshot {snapshot_id[:12]!r}; train one with the DAG adwarm_access_patterns"
    )
