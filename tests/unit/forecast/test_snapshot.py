"""Storing, promoting and loading forecasts."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from sqlalchemy import Engine, update

from adwarm.forecast.models.seasonal import SeasonalForecast
from adwarm.forecast.snapshot import (
    StoredForecasts,
    find_live_problem,
    get_live_forecast,
    get_live_snapshot,
    promote_snapshot,
    read_snapshot,
    save_snapshot,
)
from adwarm.forecast.training.train import train_seasonal
from adwarm.foundation.errors import Corrupt, NotFound
from adwarm.maintenance.integrity import verify_store
from adwarm.patterns.opens import opens_from_frame
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, quarantine, read_transaction, write_transaction
from adwarm.store.snapshots import find_snapshot, forecast_snapshot

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
    with pytest.raises(NotFound, match="no forecast snapshot"):
        promote_snapshot(context.engine, "0" * 64, MONDAY)


def test_an_unknown_kind_is_rejected(context: Context, make_opens: MakeOpens) -> None:
    """A snapshot of a kind that this version does not know is not loaded."""
    forecast = _train(make_opens([MONDAY - DAY]), MONDAY)
    snapshot = save_snapshot(context, forecast, metrics={}, at=MONDAY)
    with write_transaction(context.engine) as connection:
        connection.execute(update(forecast_snapshot).values(kind="oracle"))
    with read_transaction(context.engine) as connection:
        stored = find_snapshot(connection, snapshot.id)
    assert stored is not None
    assert stored.kind == "oracle"
    with pytest.raises(Corrupt, match="oracle"):
        read_snapshot(context, stored)


class Forecasts:
    """Three seasonal forecasts and an older one of another kind; the newest seasonal one is live."""

    def __init__(self, context: Context, make_opens: MakeOpens) -> None:
        self.context, self.said = context, list[str]()
        opens = make_opens([MONDAY - n * DAY for n in range(1, 30)])
        self.ids = []
        for age in (2, 1, 0):
            forecast = _train(opens, MONDAY - age * DAY)
            self.ids.insert(0, save_snapshot(context, forecast, metrics={}, at=MONDAY).id)
        promote_snapshot(context.engine, self.ids[0], MONDAY)

    def damage(self, *numbers: int, data: bytes | None = b"damaged") -> None:
        """Damage the objects of forecasts, 0 being the live one; None deletes them."""
        with read_transaction(self.context.engine) as connection:
            found = [find_snapshot(connection, self.ids[number]) for number in numbers]
        for snapshot in found:
            assert snapshot is not None
            (path,) = Path(self.context.objects.url).rglob(f"{snapshot.object_hash}*")
            if data is None:
                path.unlink()
            else:
                path.write_bytes(data)

    def load(self) -> str:
        """Return the id of the forecast that is used."""
        return get_live_forecast(self.context, self.said.append).id


@pytest.fixture
def forecasts(context: Context, make_opens: MakeOpens) -> Forecasts:
    """Forecasts of which the newest is live."""
    return Forecasts(context, make_opens)


@pytest.mark.parametrize("data", [b"damaged", b"", None])
def test_the_one_before_takes_over_from_a_damaged_live_one(forecasts: Forecasts, data: bytes | None) -> None:
    """The newest whole one of the same kind is used, with a message; the policy and the damaged one stay."""
    assert (forecasts.load(), find_live_problem(forecasts.context)) == (forecasts.ids[0], None)
    forecasts.damage(0, data=data)
    assert forecasts.load() == forecasts.ids[1]
    assert "takes over until the next training" in forecasts.said[0]
    forecasts.damage(1)
    assert forecasts.load() == forecasts.ids[2]
    assert get_live_snapshot(forecasts.context.engine).id == forecasts.ids[0]
    assert find_live_problem(forecasts.context) is not None


def test_the_seasonal_one_takes_over_when_no_other_of_the_kind_is_whole(forecasts: Forecasts) -> None:
    """Also when this version cannot read the live one's kind."""
    with write_transaction(forecasts.context.engine) as connection:
        connection.execute(update(forecast_snapshot).where(forecast_snapshot.c.id == forecasts.ids[0]).values(kind="x"))
    assert forecasts.load() == forecasts.ids[1]
    assert "of the kind 'x'" in forecasts.said[0]


def test_without_a_whole_one_the_message_says_to_train(forecasts: Forecasts) -> None:
    """The error says that nothing can take over, and the alert is given too."""
    forecasts.damage(0, 1, 2)
    with pytest.raises(Corrupt, match="no other snapshot can take over, train one"):
        forecasts.load()
    assert len(forecasts.said) == 1


def test_a_newer_one_that_was_not_promoted_does_not_take_over(forecasts: Forecasts) -> None:
    """A forecast that nobody chose is not used."""
    promote_snapshot(forecasts.context.engine, forecasts.ids[1], MONDAY)
    forecasts.damage(1)
    assert forecasts.load() == forecasts.ids[2]


def test_another_live_one_heals(forecasts: Forecasts) -> None:
    """A damaged one that was set aside counts as replaced once another one is live."""
    context = forecasts.context
    forecasts.damage(0)
    verify_store(context, repair=True, at=MONDAY)
    assert quarantine.count_open(context.engine) == {"snapshot": 1}
    promote_snapshot(context.engine, forecasts.ids[1], MONDAY)
    assert quarantine.count_open(context.engine) == {}
    assert (forecasts.load(), forecasts.said) == (forecasts.ids[1], [])


def test_the_newest_forecast_that_saw_nothing_after_a_moment_is_replayed(
    context: Context, make_opens: MakeOpens
) -> None:
    """Training may end at the moment, not after it; one that cannot be read counts as never stored."""
    forecasts = Forecasts(context, make_opens)
    newest, middle, oldest = forecasts.ids
    stored = StoredForecasts(context)
    found = [stored.get("hour_of_week", MONDAY - age) for age in (timedelta(0), timedelta(seconds=1), DAY, 9 * DAY)]
    assert [None if forecast is None else forecast.id for forecast in found] == [newest, middle, middle, None]
    assert stored.get_oldest("hour_of_week").id == oldest
    assert stored.used == {newest: ("hour_of_week", MONDAY), middle: ("hour_of_week", MONDAY - DAY)}

    forecasts.damage(1, 2)
    stored = StoredForecasts(context)
    assert stored.get("hour_of_week", MONDAY - DAY) is None
    assert stored.get_oldest("hour_of_week").id == newest
    with pytest.raises(NotFound, match="no stored forecast of the kind adwarm can be read"):
        stored.get_oldest("adwarm")
