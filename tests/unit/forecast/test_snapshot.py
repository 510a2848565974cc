"""Training, keeping and finding forecasts."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from sqlalchemy import Engine, update

from adwarm.forecast.models.seasonal import SeasonalForecast
from adwarm.forecast.snapshot import (
    get_live_forecast,
    get_live_snapshot,
    load_forecast,
    promote_snapshot,
    save_snapshot,
)
from adwarm.forecast.training.trainers import train_seasonal
from adwarm.foundation.errors import Corrupt, NotFound
from adwarm.patterns.opens import opens_from_frame
from adwarm.settings import Settings
from adwarm.store import ObjectStore, write_transaction
from adwarm.store.snapshots import find_snapshot
from adwarm.store.tables import forecast_snapshot

from .conftest import MakeOpens

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)


def _train(opens: pd.DataFrame, until: datetime) -> SeasonalForecast:
    return train_seasonal(opens_from_frame(opens), Settings(), until)


def test_a_saved_forecast_goes_live_and_comes_back(engine: Engine, objects: ObjectStore, make_opens: MakeOpens) -> None:
    """Saved, made live and loaded, it predicts what it predicted before."""
    forecast = _train(make_opens([MONDAY - n * DAY for n in range(1, 30)]), MONDAY)
    snapshot = save_snapshot(engine, objects, forecast, metrics={"brier": 0.1}, at=MONDAY)
    promote_snapshot(engine, snapshot.id, MONDAY)
    assert get_live_snapshot(engine) == snapshot
    assert (snapshot.keys, snapshot.metrics, snapshot.trained_until) == (1, {"brier": 0.1}, MONDAY)
    found = get_live_forecast(engine, objects)
    assert_frame_equal(found.predict(MONDAY, DAY), forecast.predict(MONDAY, DAY), check_dtype=False)


def test_saving_again_changes_nothing(engine: Engine, objects: ObjectStore, make_opens: MakeOpens) -> None:
    """The same training gives the same id, one row and one object."""
    opens = make_opens([MONDAY - n * DAY for n in range(1, 30)])
    first = save_snapshot(engine, objects, _train(opens, MONDAY), metrics={}, at=MONDAY)
    again = save_snapshot(engine, objects, _train(opens, MONDAY), metrics={"x": 1.0}, at=MONDAY + DAY)
    assert again == first
    assert len(list(objects.list_objects())) == 1


def test_only_the_policy_names_the_live_one(engine: Engine, objects: ObjectStore, make_opens: MakeOpens) -> None:
    """A newer snapshot is not used before it is made live."""
    opens = make_opens([MONDAY - n * DAY for n in range(1, 30)])
    old = save_snapshot(engine, objects, _train(opens, MONDAY - DAY), metrics={}, at=MONDAY)
    promote_snapshot(engine, old.id, MONDAY)
    new = save_snapshot(engine, objects, _train(opens, MONDAY), metrics={}, at=MONDAY)
    assert get_live_snapshot(engine).id == old.id != new.id


def test_without_training_the_error_says_what_to_do(engine: Engine, objects: ObjectStore) -> None:
    """Asking for a forecast that was never trained names the DAG that trains."""
    with pytest.raises(NotFound, match="adwarm_access_patterns"):
        get_live_forecast(engine, objects)
    with pytest.raises(NotFound, match="adwarm_access_patterns"):
        load_forecast(engine, objects, "0" * 64)
    with pytest.raises(NotFound, match="no forecast snapshot"):
        promote_snapshot(engine, "0" * 64, MONDAY)


def test_a_kind_from_elsewhere_is_refused(engine: Engine, objects: ObjectStore, make_opens: MakeOpens) -> None:
    """A snapshot of a kind this version does not know is not guessed at."""
    forecast = _train(make_opens([MONDAY - DAY]), MONDAY)
    snapshot = save_snapshot(engine, objects, forecast, metrics={}, at=MONDAY)
    with write_transaction(engine) as connection:
        connection.execute(update(forecast_snapshot).values(kind="oracle"))
    with pytest.raises(Corrupt, match="oracle"):
        load_forecast(engine, objects, snapshot.id)
    with write_transaction(engine) as connection:
        stored = find_snapshot(connection, snapshot.id)
    assert stored is not None
    assert stored.kind == "oracle"
