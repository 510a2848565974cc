"""Training the adwarm model: from the past only, deterministic, with small chances for rare keys."""

import numpy as np
import pandas as pd
import pytest

from adwarm.forecast.features.grid import SLOT_MICROS, SLOTS_PER_DAY, OpenGrid
from adwarm.forecast.models.boosted import BoostedModel, Horizons
from adwarm.forecast.models.classifiers import SeasonalBaseline
from adwarm.forecast.training.boosted_training import train_model
from adwarm.patterns.opens import Opens, opens_from_frame

START = pd.Timestamp("2026-02-02", tz="UTC")
WEEKS = 8
HORIZONS = Horizons(4, 12)


def log(seed: int = 1) -> Opens:
    """Twelve keys of four accounts in Berlin, over the change of clocks: most regular, some rare."""
    generator = np.random.default_rng(seed)
    rows = []
    for key in range(12):
        for day in range(WEEKS * 7):
            if day % 7 >= 5 or generator.random() > (0.9 if key < 8 else 0.05):
                continue
            for hour in (8 + key % 3, 14):
                minutes = generator.normal(0, 8)
                wall = START.tz_localize(None) + pd.Timedelta(days=day, hours=hour, minutes=30 + minutes)
                rows.append((f"act_{key % 4}", f"last_{key}d", wall.tz_localize("Europe/Berlin").tz_convert("UTC")))
    frame = pd.DataFrame(rows, columns=["account_id", "date_range", "ts"]).assign(time_zone="Europe/Berlin")
    return opens_from_frame(frame)


def micros(day: int, hour: float = 0.0) -> int:
    """Return a moment of the log."""
    return int((START + pd.Timedelta(days=day, hours=hour)).value // 1000)


@pytest.fixture(scope="module")
def opens() -> Opens:
    """One log for all tests."""
    return log()


@pytest.fixture(scope="module")
def model(opens: Opens) -> BoostedModel:
    """A model trained on its first six weeks."""
    return train_model(opens, micros(42), HORIZONS)


def predicted(model: BoostedModel, opens: Opens, at: int, until: int) -> tuple[np.ndarray, np.ndarray]:
    """Return value and chance at `at` of all keys known by then, from a grid that ends at `until`."""
    grid, known = OpenGrid.from_opens(opens.before(until), until), opens.before(at).key_count
    return model.predict(grid, np.arange(known), np.full(known, grid.column(at)))


@pytest.mark.slow
def test_equal_logs_give_equal_models_and_nothing_after_the_end_is_read(opens: Opens, model: BoostedModel) -> None:
    """A log that is made again and cut at the end of training gives the same model as the whole one, bit by bit."""
    again = train_model(log().before(micros(42)), micros(42), HORIZONS)
    at = micros(44, 8)
    for alone, whole in zip(predicted(again, opens, at, at), predicted(model, opens, at, at), strict=True):
        assert np.array_equal(alone, whole)


@pytest.mark.slow
@pytest.mark.parametrize("hour", [0.0, 7.25, 8.5, 13.75])
def test_predictions_read_nothing_after_the_decision(opens: Opens, model: BoostedModel, hour: float) -> None:
    """Opens of later hours change no prediction, also in the night when clocks change."""
    at = micros(55, hour)
    now, later = predicted(model, opens, at, at), predicted(model, opens, at, at + 30 * 3_600_000_000)
    assert np.allclose(now[0], later[0], rtol=0, atol=1e-12)
    assert np.allclose(now[1], later[1], rtol=0, atol=1e-12)


@pytest.mark.slow
def test_regular_keys_get_high_chances_and_rare_ones_low(opens: Opens, model: BoostedModel) -> None:
    """Before its usual hour a regular key has a high chance, a rare one a low one; at night both have low ones."""
    morning, night = (
        predicted(model, opens, micros(43, 7), micros(43, 7)),
        predicted(model, opens, micros(43), micros(43)),
    )
    regular = np.isin(opens.date_range[: len(morning[1])], [f"last_{key}d" for key in range(8)])
    assert regular.sum() == 8
    assert morning[1][regular].min() > 0.5
    assert morning[1][~regular].max() < 0.3
    assert night[1].max() < 0.2


def test_a_short_log_uses_the_weekly_profile() -> None:
    """With days instead of weeks nothing is fitted, and chances are small."""
    short = log().before(micros(5))
    model = train_model(short, micros(5), HORIZONS)
    assert isinstance(model.classifier, SeasonalBaseline)
    assert predicted(model, short, micros(5), micros(5))[1].max() < 0.6


def test_an_empty_log_trains() -> None:
    """An empty log is not an error."""
    empty = log().before(micros(0))
    assert isinstance(train_model(empty, micros(0), HORIZONS).classifier, SeasonalBaseline)


def test_days_before_follow_the_wall_clock() -> None:
    """A day back over the change of clocks is 23 hours back in Berlin, and 24 hours a day later."""
    moments = pd.to_datetime(["2026-03-27 06:00", "2026-03-31 06:00"], utc=True)
    frame = pd.DataFrame({"account_id": "act_1", "date_range": "today", "ts": moments, "time_zone": "Europe/Berlin"})
    grid = OpenGrid.from_opens(opens_from_frame(frame), int(moments[1].value // 1000) + SLOT_MICROS)
    sunday, monday = (
        np.array([grid.column(int(pd.Timestamp(day, tz="UTC").value // 1000))])
        for day in ("2026-03-29 08:00", "2026-03-30 08:00")
    )
    assert sunday - grid.columns_before(np.array([0]), sunday, 1) == SLOTS_PER_DAY - 4
    assert monday - grid.columns_before(np.array([0]), monday, 1) == SLOTS_PER_DAY
