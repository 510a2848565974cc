"""Intervals by resampling accounts and weeks."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss

from adwarm.patterns.opens import Opens, opens_from_frame
from adwarm.replay.cache_simulation import SimulationCounts
from adwarm.replay.policy import PredictedEvent, Ranking, ReplayTiming
from adwarm.replay.results import ProbabilityMetrics, confidence_interval, curve_points, resampled_ratio


def _tally(cells: int) -> SimulationCounts:
    rng = np.random.default_rng(5)
    tally = SimulationCounts.empty(cells, 1, 3)
    tally.opens[:] = tally.first_opens[:] = rng.integers(5, 20, cells)
    for column, share in enumerate((0.3, 0.5, 0.9)):
        tally.first_hits[:, column] = np.round(tally.first_opens * share)
        tally.warms[:, column] = tally.first_opens * column
        tally.misses[:, column] = tally.first_opens - tally.first_hits[:, column]
    return tally


def test_the_curve_is_read_between_its_points() -> None:
    """Multiples are of the first column's calls; between thresholds the ratio is interpolated."""
    tally = _tally(50)
    found = curve_points(tally, tally.calls(), np.array([1.0, 9.0]))

    assert found.multiple[0] == 1.0
    assert found.ratio_at[0] == pytest.approx(found.ratio[0])
    assert found.ratio_at[1] == pytest.approx(found.ratio[2])


def test_equal_logs_are_resampled_alike() -> None:
    """The same draws for every policy, and in every run."""
    tally = _tally(30)
    first, second = (curve_points(tally, tally.calls(), np.array([1.5])).resampled for _ in range(2))

    assert np.array_equal(first, second)
    low, high = confidence_interval(resampled_ratio(tally, 1))
    assert low <= tally.first_hits[:, 1].sum() / tally.first_opens.sum() <= high


def test_calls_of_a_week_without_an_open_count() -> None:
    """Warms that nobody could use are not lost with their empty week."""
    tally = _tally(10)
    before = curve_points(tally, tally.calls(), np.array([1.0])).multiple[1]
    tally.opens[0] = tally.first_opens[0] = 0
    tally.first_hits[0] = tally.misses[0] = 0
    tally.warms[0] = (0, 500, 500)

    assert curve_points(tally, tally.calls(), np.array([1.0])).multiple[1] > before + 1


def test_nothing_to_resample_gives_zeros() -> None:
    """A log without opens has a ratio of 0, not an error."""
    tally = SimulationCounts.empty(0, 1, 2)

    assert curve_points(tally, tally.calls(), np.array([1.0])).ratio_at.tolist() == [0.0]
    assert confidence_interval(resampled_ratio(tally, 0)) == [0.0, 0.0]


def test_foresight_that_saves_calls_is_read_as_such() -> None:
    """A policy that makes fewer calls than none and serves all is worth what it serves, at any budget."""
    tally = SimulationCounts.empty(5, 1, 2)
    tally.opens[:] = tally.first_opens[:] = 10
    tally.misses[:] = (10, 0)
    tally.warms[:] = (0, 9)
    tally.first_hits[:] = (0, 10)

    assert curve_points(tally, tally.calls(), np.array([1.5, 2.0])).ratio_at.tolist() == [1.0, 1.0]


HOUR = 3_600_000_000
KEYS, HOURS = 40, 500
TERMS = ReplayTiming(HOUR, 0, 0, 3 * HOUR)


def _world(seed: int) -> tuple[Opens, np.ndarray, np.ndarray]:
    """Opens drawn from known chances: keys x hours of chances, and what came true."""
    rng = np.random.default_rng(seed)
    chance = rng.beta(0.5, 2, (KEYS, HOURS))
    happened = rng.random((KEYS, HOURS)) < chance
    key, hour = np.nonzero(happened)
    rows = pd.DataFrame({"account_id": [f"act_{k:03}" for k in [*range(KEYS), *key]], "date_range": "today"})
    hours = [0] * KEYS + (hour + 1).tolist()
    return (
        opens_from_frame(rows.assign(ts=pd.to_datetime([h * HOUR for h in hours], unit="us", utc=True))),
        chance,
        happened,
    )


def _quality(stated: np.ndarray, opens: Opens) -> dict:
    quality = ProbabilityMetrics(opens, PredictedEvent(HOUR, first_opens_only=False), TERMS, (HOURS + 1) * HOUR)
    for hour in range(HOURS):
        quality.update((hour + 1) * HOUR, Ranking(0, np.arange(KEYS, dtype=np.int32), np.ones(KEYS), stated[:, hour]))
    found = quality.compute()
    assert found is not None
    return found


def test_honest_probabilities_are_calibrated_and_skilful() -> None:
    """Chances that opens were drawn from have a small gap; halved ones a large one."""
    opens, chance, _ = _world(1)

    assert _quality(chance, opens)["ece"] < 0.02
    assert _quality(chance / 2, opens)["ece"] > 0.1
    assert _quality(chance, opens)["skill"] > 0.2


def test_scores_are_those_of_the_library() -> None:
    """Brier, log loss and PR-AUC equal scikit-learn's, up to the width of the bins."""
    opens, chance, happened = _world(2)
    found, flat, true = _quality(chance, opens), chance.ravel(), happened.ravel()

    assert found["cases"] == KEYS * HOURS
    assert found["base_rate"] == pytest.approx(true.mean())
    assert found["brier"] == pytest.approx(brier_score_loss(true, flat))
    assert found["log_loss"] == pytest.approx(log_loss(true, flat), abs=1e-3)
    assert found["pr_auc"] == pytest.approx(average_precision_score(true, flat), abs=2e-3)


def test_bins_are_of_equal_size_and_hold_the_likely_cases() -> None:
    """Ten bins of about the same number of cases, all given a tenth or more."""
    opens, chance, _ = _world(3)
    found = _quality(chance, opens)
    sizes = [row["cases"] for row in found["bins"]]

    assert len(sizes) == 10
    assert max(sizes) < 1.1 * min(sizes)
    assert sum(sizes) / found["cases"] == pytest.approx(found["ece_share_of_cases"])
    assert min(row["stated"] for row in found["bins"]) >= 0.0999


def test_nothing_stated_is_no_report() -> None:
    """Without a probability there are no figures of it."""
    opens, _, _ = _world(4)

    assert ProbabilityMetrics(opens, PredictedEvent(HOUR), TERMS, HOUR).compute() is None
