"""Keeps forecasts and finds the live one. Stored forecasts are data (Parquet, skops), never code."""

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
from adwarm.store import ObjectStore, read_transaction, write_transaction
from adwarm.store.snapshots import find_deployed_snapshot, find_snapshot, insert_snapshot, set_policy

_LOADERS: dict[str, Callable[[bytes], Forecast]] = {
    KIND: SeasonalForecast.from_bytes,
    population.KIND: PopulationForecast.from_bytes,
    boosted.KIND: boosted.BoostedForecast.from_bytes,
}


def save_snapshot(
    engine: Engine, objects: ObjectStore, forecast: Forecast, *, metrics: Mapping[str, float], at: datetime
) -> Snapshot:
    """Store the forecast and return its snapshot. Saving the same forecast twice keeps the first row.

    It is not used until `make_live` names it.
    """
    snapshot = Snapshot(
        id=forecast.id,
        kind=forecast.kind,
        version=forecast.version,
        object_hash=objects.put(forecast.to_bytes()),
        trained_from=forecast.trained_from,
        trained_until=forecast.trained_until,
        keys=len(forecast.keys),
        features=tuple(forecast.features),
        metrics=dict(metrics),
        created_at=utc(at),
    )
    with write_transaction(engine) as connection:
        insert_snapshot(connection, snapshot)
        return find_snapshot(connection, forecast.id) or snapshot


def promote_snapshot(engine: Engine, snapshot_id: str, at: datetime, *, mode: Mode = Mode.LIVE) -> None:
    """Let the policy name the snapshot.

    Raises:
        NotFound: there is no such snapshot.
    """
    with write_transaction(engine) as connection:
        if find_snapshot(connection, snapshot_id) is None:
            raise _no_such(snapshot_id)
        set_policy(connection, snapshot_id, utc(at), mode=mode)


def load_forecast(engine: Engine, objects: ObjectStore, snapshot_id: str) -> Forecast:
    """Return the stored forecast.

    Raises:
        NotFound: there is no such snapshot, or its object is gone.
        Corrupt: its object does not verify, or this version cannot read it.
    """
    with read_transaction(engine) as connection:
        row = find_snapshot(connection, snapshot_id)
    if row is None:
        raise _no_such(snapshot_id)
    loader = _LOADERS.get(row.kind)
    if loader is None:
        raise Corrupt(f"snapshot {snapshot_id[:12]} is of the kind {row.kind!r}, which this version cannot read")
    return loader(objects.get(row.object_hash))


def get_live_snapshot(engine: Engine) -> Snapshot:
    """Return the snapshot that the policy names.

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


def get_live_forecast(engine: Engine, objects: ObjectStore) -> Forecast:
    """Return the forecast that the policy names.

    Raises:
        NotFound: no forecast is live yet.
        Corrupt: its object does not verify.
    """
    return load_forecast(engine, objects, get_live_snapshot(engine).id)


def _no_such(snapshot_id: str) -> NotFound:
    return NotFound(
        f"there is no forecast snapshot {snapshot_id[:12]!r}; train one with the DAG adwarm_access_patterns"
    )
