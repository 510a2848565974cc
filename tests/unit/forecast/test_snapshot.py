"""Storing, promoting and loading forecasts."""

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
from adwarm.forecast.training.train import train_seasonal
from adwarm.foundation.errors import Corrupt, NotFound
from adwarm.patterns.opens import opens_from_frame
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, write_transaction
from adwarm.store.snapshots import find_snapshot
from adwarm.store.tables import forecast_snapshot

from .conftest import MakeOpens

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def context(engine: Engine, objects: ObjectStore) -> Context:
    """An empty store of either database."""
    return Context(engine, objects, Settings())


def _train(opens: pd.DataFrame, until: datetime) -> SeasonalForecast:
    return train_seasonal(opens_from_frame(opens), Settings(), until)


def test_a_saved_forecast_goes_live_and_comes_back(context: Context, make_opens: MakeOpens) -> None:
    """Saved, promoted and loaded, it predicts the same."""
    forecast = _train(make_opens([MONDAY - n * DAY for n in range(1, 30)]), MONDAY)
    snapshot = save_snapshot(context, forecast, metrics={"brier": 0.1}, at=MONDAY)
    promote_snapshot(context.engine, snapshot.id, MONDAY)
    assert get_live_snapshot(context.engine) == snapshot
    assert (snapshot.keys, snapshot.metrics, snapshot.trained_until) == (1, {"brier": 0.1}, MONDAY)
    result = get_live_forecast(context)
    assert_frame_equal(result.predict(MONDAY, DAY), forecast.predict(MONDAY, DAY), check_dtype=False)


def test_saving_again_changes_nothing(context: Context, make_opens: MakeOpens) -> None:
    """The same training gives the same id, one row and one object."""
    opens = make_opens([MONDAY - n * DAY for n in range(1, 30)])
    first = save_snapshot(context, _train(opens, MONDAY), metrics={}, at=MONDAY)
    again = save_snapshot(context, _train(opens, MONDAY), metrics={"x": 1.0}, at=MONDAY + DAY)
    assert again == first
    assert len(list(context.objects.list_objects())) == 1


def test_only_the_policy_names_the_live_one(context: Context, make_opens: MakeOpens) -> None:
    """A newer snapshot is not used before it is promoted."""
    opens = make_opens([MONDAY - n * DAY for n in range(1, 30)])
    old = save_snapshot(context, _train(opens, MONDAY - DAY), metrics={}, at=MONDAY)
    promote_snapshot(context.engine, old.id, MONDAY)
    new = save_snapshot(context, _train(opens, MONDAY), metrics={}, at=MONDAY)
    assert get_live_snapshot(context.engine).id == old.id != new.id


def test_without_training_the_error_says_what_to_do(context: Context) -> None:
    """Loading a forecast that was never trained names the DAG that trains."""
    with pytest.raises(NotFound, match="adwarm_access_patterns"):
        get_live_forecast(context)
    with pytest.raises(NotFound, match="adwarm_access_patterns"):
        load_forecast(context, "0" * 64)
    with pytest.raises(NotFound, match="no forecast snapshot"):
        promote_snapshot(context.engine, "0" * 64, MONDAY)


def test_an_unknown_kind_is_rejected(context: Context, make_opens: MakeOpens) -> None:
    """A snapshot of a kind that this version does not know is not loaded."""
    forecast = _train(make_opens([MONDAY - DAY]), MONDAY)
    snapshot = save_snapshot(context, forecast, metrics={}, at=MONDAY)
    with write_transaction(context.engine) as connection:
        connection.execute(update(forecast_snapshot).values(kind="oracle"))
    with pytest.raises(Corrupt, match="oracle"):
        load_forecast(context, snapshot.id)
    with write_transaction(context.engine) as connection:
        stored = find_snapshot(connection, snapshot.id)
    assert stored is not None
    assert stored.kind == "oracle"
