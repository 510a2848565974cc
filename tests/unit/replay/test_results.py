"""Curves with bootstrap intervals, and probability metrics."""

import numpy as np
import pandas as pd
import pytest

from adwarm.patterns.opens import Opens, opens_from_frame
from adwarm.replay.baselines import NoWarming
from adwarm.replay.cache_simulation import SimulationCounts
from adwarm.replay.policy import PredictedEvent, Ranking, ReplayTiming
from adwarm.replay.results import ProbabilityMetrics, confidence_interval, curve_points, resampled_ratio


def _counts(cells: int) -> SimulationCounts:
    rng = np.random.default_rng(5)
    counts = SimulationCounts.empty(cells, 1, 3)
    counts.opens[:] = counts.first_opens[:] = rng.integers(5, 20, cells)
    for column, share in enumerate((0.3, 0.5, 0.9)):
        counts.first_hits[:, column] = np.round(counts.first_opens * share)
        counts.warms[:, column] = counts.first_opens * column
        counts.misses[:, column] = counts.first_opens - counts.first_hits[:, column]
    return counts


def test_the_curve_is_read_between_its_points() -> None:
    """Multiples are of the first column's calls; between thresholds the ratio is interpolated."""
    counts = _counts(50)
    result = curve_points(counts, counts.calls(), np.array([1.0, 9.0]))

    assert result.multiple[0] == 1.0
    assert result.ratio_at[0] == pytest.approx(result.ratio[0])
    assert result.ratio_at[1] == pytest.approx(result.ratio[2])


def test_equal_logs_are_resampled_alike() -> None:
    """The same draws for every policy, and in every run."""
    counts = _counts(30)
    first, second = (curve_points(counts, counts.calls(), np.array([1.5])).resampled for _ in range(2))

    assert np.array_equal(first, second)
    low, high = confidence_interval(resampled_ratio(counts, 1))
    assert low <= counts.first_hits[:, 1].sum() / counts.first_opens.sum() <= high


def test_calls_of_a_week_without_an_open_count() -> None:
    """Unused warms in a week without opens count as calls."""
    counts = _counts(10)
    before = curve_points(counts, counts.calls(), np.array([1.0])).multiple[1]
    counts.opens[0] = counts.first_opens[0] = 0
    counts.first_hits[0] = counts.misses[0] = 0
    counts.warms[0] = (0, 500, 500)

    assert curve_points(counts, counts.calls(), np.array([1.0])).multiple[1] > before + 1


def test_nothing_to_resample_gives_zeros() -> None:
    """A log without opens has a ratio of 0, not an error."""
    counts = SimulationCounts.empty(0, 1, 2)

    assert curve_points(counts, counts.calls(), np.array([1.0])).ratio_at.tolist() == [0.0]
    assert confidence_interval(resampled_ratio(counts, 0)) == [0.0, 0.0]


def test_a_curve_below_the_calls_of_no_warming_is_read_at_one() -> None:
    """A policy with fewer calls than no warming has its ratio at any budget."""
    counts = SimulationCounts.empty(5, 1, 2)
    counts.opens[:] = counts.first_opens[:] = 10
    counts.misses[:] = (10, 0)
    counts.warms[:] = (0, 9)
    counts.first_hits[:] = (0, 10)

    assert curve_points(counts, counts.calls(), np.array([1.5, 2.0])).ratio_at.tolist() == [1.0, 1.0]


HOUR = 3_600_000_000
KEYS, HOURS = 40, 500
TIMING = ReplayTiming(HOUR, 0, 0, 3 * HOUR)


def _simulated_opens(seed: int) -> tuple[Opens, np.ndarray, np.ndarray]:
    """Opens drawn from given chances: chances and outcomes, keys x hours."""
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


class Stating(NoWarming):
    """States the chance of a first open within an hour."""

    predicted_event = PredictedEvent(HOUR)


def _quality(stated: np.ndarray, opens: Opens) -> dict:
    quality, key = ProbabilityMetrics(Stating(), opens, TIMING, (HOURS + 1) * HOUR), np.arange(KEYS, dtype=np.int32)
    rankings = [((hour + 1) * HOUR, Ranking(0, key, np.ones(KEYS), stated[:, hour])) for hour in range(HOURS)]
    assert list(quality.observe(rankings)) == rankings
    result = quality.compute()
    assert result is not None
    return result


def test_true_probabilities_are_calibrated_and_skilful() -> None:
    """The chances that opens were drawn from have a small ECE; halved ones a large one."""
    opens, chance, _ = _simulated_opens(1)

    assert _quality(chance, opens)["ece"] < 0.02
    assert _quality(chance / 2, opens)["ece"] > 0.1
    assert _quality(chance, opens)["skill"] > 0.2


def test_metrics_equal_their_definitions() -> None:
    """Brier score, log loss and average precision equal those of the cases one by one, up to the width of the bins."""
    opens, chance, happened = _simulated_opens(2)
    result, flat, true = _quality(chance, opens), chance.ravel(), happened.ravel()
    found = np.flatnonzero(true[np.argsort(-flat)])  # the ranks of those that came true; no two chances are equal

    assert result["cases"] == KEYS * HOURS
    assert result["base_rate"] == pytest.approx(true.mean())
    assert result["brier"] == pytest.approx(np.mean((flat - true) ** 2))
    assert result["log_loss"] == pytest.approx(-np.mean(np.log(np.where(true, flat, 1 - flat))), abs=1e-3)
    assert result["pr_auc"] == pytest.approx(np.mean(np.arange(1, len(found) + 1) / (found + 1)), abs=2e-3)


def test_bins_are_of_equal_size_and_hold_the_likely_cases() -> None:
    """Ten bins with about the same number of cases, all with a probability of a tenth or more."""
    opens, chance, _ = _simulated_opens(3)
    result = _quality(chance, opens)
    sizes = [row["cases"] for row in result["bins"]]

    assert len(sizes) == 10
    assert max(sizes) < 1.1 * min(sizes)
    assert sum(sizes) / result["cases"] == pytest.approx(result["ece_share_of_cases"])
    assert min(row["stated"] for row in result["bins"]) >= 0.0999


def test_keys_opened_after_the_known_log_are_not_evaluated() -> None:
    """Chances that are given no open since the known log are compared for the keys that had none."""
    names = [f"act_{number}" for number in range(4)]
    before = pd.DataFrame({"account_id": names, "ts": pd.to_datetime(0, unit="us", utc=True)})
    gap = pd.DataFrame({"account_id": names[:2], "ts": pd.to_datetime(int(2.5 * HOUR), unit="us", utc=True)})
    after = pd.DataFrame({"account_id": names[2:3], "ts": pd.to_datetime(int(3.5 * HOUR), unit="us", utc=True)})
    opens = opens_from_frame(pd.concat([before, gap, after], ignore_index=True).assign(date_range="today"))
    found = []
    for known_until in (None, 2 * HOUR):
        quality = ProbabilityMetrics(Stating(), opens, TIMING, 9 * HOUR)
        key = np.arange(4, dtype=np.int32)
        ranking = Ranking(0, key, np.ones(4), np.full(4, 0.5), known_until=known_until)
        assert [at for at, _ in quality.observe([(3 * HOUR, ranking)])] == [3 * HOUR]
        result = quality.compute()
        assert result is not None
        found.append((result["cases"], result["base_rate"], result["ece"]))

    assert found == [(4, 0.25, pytest.approx(0.25)), (2, 0.5, pytest.approx(0.0))]


def test_without_probabilities_there_are_no_metrics() -> None:
    """A policy that states no probability has no metrics."""
    opens, _, _ = _simulated_opens(4)

    assert ProbabilityMetrics(NoWarming(), opens, TIMING, HOUR).compute() is None
