"""Drift of accounts."""

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from adwarm.access_log.timestamps import to_micros
from adwarm.patterns.opens import Opens, opens_from_frame
from adwarm.replay.baselines import HourOfWeek
from adwarm.replay.drift import (
    DRIFT_THRESHOLD,
    MIN_ACCOUNT_OPENS,
    MonitoredPolicy,
    expected_stability_index,
    measure_drift,
    stability_index,
)
from adwarm.replay.replay_run import ReplayConfig, TrainTestSplit, replay
from adwarm.settings import Settings

from .conftest import MONDAY, simulated_opens

TEST, END = MONDAY + timedelta(weeks=4), MONDAY + timedelta(weeks=6)
SPLIT = TrainTestSplit(MONDAY, TEST, END)
CONFIG = ReplayConfig(step=timedelta(hours=1), targets=(2.0,))


def drift_of(opens: Opens) -> tuple[dict[str, Any], MonitoredPolicy]:
    """The drift of a log, monitored with hour-of-week."""
    start, test, end = SPLIT.micros()
    monitored = MonitoredPolicy(HourOfWeek(), opens, test, end)
    replay(opens, SPLIT, CONFIG, [monitored], Settings())
    return measure_drift(opens, start, test, end, monitored), monitored


@pytest.fixture(scope="module")
def moved() -> Opens:
    """Six weeks of three accounts; in the last two, act_1 is opened ten hours later."""
    frame = simulated_opens(seed=5)
    late = (frame["account_id"] == "act_1") & (frame["ts"] >= pd.Timestamp(TEST))
    return opens_from_frame(frame.assign(ts=frame["ts"].where(~late, frame["ts"] + pd.Timedelta(hours=10))))


def test_an_account_that_drifted_is_listed_first(moved: Opens) -> None:
    """Its stability index is above the bound, the others' is not, and that of all lies between."""
    result, _ = drift_of(moved)
    assert [row["account_id"] for row in result["worst"]] == ["act_1"]
    assert "other hours" in result["worst"][0]["why"]
    assert result["worst"][0]["stability"] > DRIFT_THRESHOLD
    assert (result["accounts"], result["judged"], result["moved"]) == (3, 3, 1)
    assert 0 < result["stability"] < result["worst"][0]["stability"]


def test_habits_that_stay_are_not_listed_and_each_open_is_counted_once(opens: Opens) -> None:
    """A log that goes on as before has no drift; spans do not overlap, so they count the first opens of the weeks."""
    result, monitored = drift_of(opens)
    assert result["worst"] == []
    _, test, end = SPLIT.micros()
    true = int(opens.only_first().since(test).before(end).first.sum())
    assert 0.95 * true <= monitored.observed.sum() <= true
    assert monitored.expected.sum() == pytest.approx(true, rel=0.35)
    assert (monitored.variance <= monitored.expected).all()


def test_monitoring_changes_nothing(opens: Opens) -> None:
    """A monitored policy gives the same replay as the policy itself."""
    monitored = MonitoredPolicy(HourOfWeek(), opens, to_micros(TEST), to_micros(END))
    plain, seen = (replay(opens, SPLIT, CONFIG, [one], Settings()).document for one in ("hour-of-week", monitored))
    assert plain == seen


def test_the_index_follows_its_definition() -> None:
    """Equal shares give zero, moved shares the sum; too few opens give None."""
    before, after = np.array([60.0, 40.0]), np.array([40.0, 60.0])
    old, new = (before + 0.5) / 101, (after + 0.5) / 101
    assert stability_index(before, before * 3) == pytest.approx(0.0, abs=1e-3)
    assert stability_index(before, after) == pytest.approx(float(((new - old) * np.log(new / old)).sum()))
    assert stability_index(before, np.array([MIN_ACCOUNT_OPENS - 1.0, 0.0])) is None


def test_the_bound_allows_for_chance() -> None:
    """Samples of one and the same profile are almost never above the bound plus the expected index."""
    rng = np.random.default_rng(1)
    shares = rng.dirichlet(np.ones(12))
    draws = [(rng.multinomial(40, shares), rng.multinomial(25, shares)) for _ in range(500)]
    over = [
        (stability_index(a.astype(float), b.astype(float)) or 0.0) > DRIFT_THRESHOLD + expected_stability_index(40, 25)
        for a, b in draws
    ]
    assert sum(over) < 15
