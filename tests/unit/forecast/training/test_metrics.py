"""Forecasts are evaluated on held-out time."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from adwarm.forecast.models.classifiers import Calibration
from adwarm.forecast.training.metrics import SAMPLE_KEYS, Holdout
from adwarm.forecast.training.train import entry_lifetime_slots, train_boosted, train_population, train_seasonal
from adwarm.patterns.opens import Opens, opens_from_frame
from adwarm.settings import Settings

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
SPLIT = MONDAY - timedelta(days=7)
SETTINGS = Settings(planning={"step_minutes": 60})


def _log(keys: int = 12, weeks: int = 8) -> Opens:
    """Each key is opened at its own hour of every day, but for two in ten days."""
    draw = np.random.default_rng(1)
    rows = [
        (
            f"act_{key // 2}",
            ("today", "last_7d")[key % 2],
            MONDAY - timedelta(days=day) + timedelta(hours=key % 20 + 0.4),
        )
        for day in range(1, weeks * 7 + 1)
        for key in range(keys)
        if draw.random() < 0.8
    ]
    frame = pd.DataFrame(rows, columns=["account_id", "date_range", "ts"])
    return opens_from_frame(frame.assign(ts=pd.to_datetime(frame["ts"], utc=True), time_zone="UTC"))


def _holdout(known: Opens) -> Holdout:
    holdout = Holdout.from_opens(known, SPLIT, MONDAY, SETTINGS, entry_lifetime_slots(SETTINGS))
    assert holdout is not None
    return holdout


def test_regular_keys_are_predicted_well() -> None:
    """Models that know each key's hour are far better than the base rate and the population's profile."""
    known = _log()
    holdout = _holdout(known)
    scores = {train: holdout.evaluate(train(known, SETTINGS, SPLIT))[0] for train in (train_seasonal, train_population)}
    weekly, plain = scores[train_seasonal], scores[train_population]
    assert weekly.base_rate == plain.base_rate == pytest.approx(0.8 * 3 / 24, abs=0.02)
    assert weekly.skill > 0.5 > plain.skill
    assert weekly.hits > 0.7 > plain.hits
    assert weekly.brier < plain.brier
    assert weekly.log_loss < plain.log_loss
    assert 0 <= weekly.ece < 0.35
    assert weekly.cases == 12 * (168 - 3)


def test_held_out_opens_do_not_reach_training() -> None:
    """Metrics are the same whether the log for training goes on into the held-out week or is cut before it."""
    known = _log()
    holdout = _holdout(known)
    cut = known.before(int(SPLIT.timestamp()) * 10**6)
    for train in (train_seasonal, train_population):
        assert holdout.evaluate(train(known, SETTINGS, SPLIT)) == holdout.evaluate(train(cut, SETTINGS, SPLIT))


@pytest.mark.slow
def test_calibration_corrects_the_chances() -> None:
    """The adwarm model gets a calibration fitted on the held-out week; the seasonal forecast gets none."""
    known = _log()
    holdout = _holdout(known)
    assert holdout.evaluate(train_seasonal(known, SETTINGS, SPLIT))[1] == Calibration()
    score, curve = holdout.evaluate(train_boosted(known, SETTINGS, SPLIT))
    assert curve != Calibration()
    assert score.ece < 0.1


def test_many_keys_are_sampled_by_account() -> None:
    """Of more keys than the sample, whole accounts are evaluated, except for the last one."""
    holdout = _holdout(_log(keys=2 * SAMPLE_KEYS, weeks=2))
    assert holdout.grid.key_count == SAMPLE_KEYS
    assert (holdout.keys.groupby("account_id").size() == 2).mean() > 0.99


def test_a_holdout_without_keys_or_decisions_is_none() -> None:
    """A log without a key before the week, or a week shorter than the lifetime, has no holdout."""
    known = _log()
    assert Holdout.from_opens(known, MONDAY - timedelta(days=300), MONDAY - timedelta(days=299), SETTINGS, 12) is None
    assert Holdout.from_opens(known, MONDAY - timedelta(hours=2), MONDAY, SETTINGS, 12) is None
