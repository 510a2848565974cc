"""Calibration corrects chances without changing their order; fitted trees predict as their library does."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info

from adwarm.forecast.models.classifiers import (
    BoostedTrees,
    Calibration,
    TrainingSet,
    Trees,
    _bin_edges,
    _to_bins,
    calibrate,
)


def test_overstated_chances_are_corrected() -> None:
    """Chances that are twice too high are halved."""
    generator = np.random.default_rng(3)
    stated = generator.uniform(0.02, 0.9, 20_000)
    happened = generator.random(20_000) < stated / 2
    result = calibrate(stated, happened, np.ones(20_000))(stated)
    for low, high in ((0.0, 0.3), (0.3, 0.6), (0.6, 0.9)):
        band = (stated >= low) & (stated < high)
        assert abs(result[band].mean() - happened[band].mean()) < 0.03


def test_a_regression_is_fitted_in_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of the library do not wait for each other, and its sums do not depend on how many cores there are."""
    fit, counts = LogisticRegression.fit, set()

    def watch(*arguments: Any) -> LogisticRegression:
        counts.update(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return fit(*arguments)

    monkeypatch.setattr(LogisticRegression, "fit", watch)
    calibrate(np.linspace(0.0, 1.0, 400), np.arange(400) % 2 > 0, np.ones(400))

    assert counts == {1}


def test_little_evidence_changes_nothing() -> None:
    """With few labels the curve is the identity."""
    assert calibrate(np.full(50, 0.2), np.arange(50) < 5, np.ones(50)) == Calibration()


@settings(max_examples=10)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=50), st.integers(0, 50))
def test_the_curve_is_monotonic(chances: list[float], seed: int) -> None:
    """Whatever it was fitted to, a higher chance stays no lower."""
    generator = np.random.default_rng(seed)
    stated, happened = generator.random(500), generator.random(500) < generator.random()
    result = calibrate(stated, happened, np.ones(500))(np.sort(np.array(chances)))
    assert (np.diff(result) >= -1e-12).all()
    assert ((result >= 0) & (result <= 1)).all()


@given(st.floats(0, 3), st.floats(0, 3), st.floats(-2, 2), st.floats(0, 1))
def test_a_shrunk_curve_lies_between_the_identity_and_itself(
    low: float, high: float, shift: float, trust: float
) -> None:
    """With half the trust it lies between the given and the calibrated chance, and stays monotonic."""
    curve, stated = Calibration(low, high, shift), np.linspace(0.01, 0.99, 50)
    calibrated, leaning = curve(stated), curve.shrunk(trust)(stated)
    assert (leaning >= np.minimum(stated, calibrated) - 1e-9).all()
    assert (leaning <= np.maximum(stated, calibrated) + 1e-9).all()
    assert (np.diff(leaning) >= -1e-12).all()
    assert np.allclose(curve.shrunk(0.0)(stated), stated)
    assert np.allclose(curve.shrunk(1.0)(stated), calibrated)


@pytest.mark.parametrize("leaves", [2, 31])
@pytest.mark.parametrize("kind", [HistGradientBoostingClassifier, GradientBoostingClassifier])
def test_trees_predict_what_the_library_predicts(kind: type[Any], leaves: int) -> None:
    """Chances from the arrays equal those of the fitted ensemble, also of bins that no tree has seen."""
    generator = np.random.default_rng(leaves)
    bins = generator.integers(-1, 40, (1_500, 6), np.int16)
    label = generator.random(1_500) < bins[:, 0] * bins[:, 1] / 1_600
    rounds = {"max_iter" if kind is HistGradientBoostingClassifier else "n_estimators": 5}
    model = kind(max_leaf_nodes=leaves, **rounds).fit(bins, label)
    unseen = np.concatenate([bins, np.full((1, 6), 300, np.int16)])
    expected = model.predict_proba(unseen)[:, 1]
    assert np.allclose(Trees.from_model(model).predict_proba(unseen), expected, rtol=1e-13, atol=0)
    assert len(np.unique(expected)) > leaves


def test_bins_made_once_give_the_trees_of_the_bins_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns of few and of many values, of gaps, of one value and of none give the trees that the library grows."""
    generator = np.random.default_rng(8)
    rows = generator.normal(size=(1_200, 6)).astype(np.float32)
    rows[:, 1], rows[:, 2], rows[generator.random(1_200) < 0.4, 3], rows[:, 4] = rows[:, 1].round(), 7.0, np.nan, np.nan
    label, weight = rows[:, 0] + rows[:, 1] > 0, generator.uniform(0.5, 9.0, 1_200)
    bins = _to_bins(rows, _bin_edges(rows)).astype(np.float64)
    fit, pairs = HistGradientBoostingClassifier.fit, []

    def fit_both(model: Any, given: Any, *arguments: Any, **options: Any) -> Any:
        own = fit(clone(model), bins, *arguments, **options)
        pairs.append((Trees.from_model(fit(model, given, *arguments, **options)), Trees.from_model(own)))
        return model

    monkeypatch.setattr(HistGradientBoostingClassifier, "fit", fit_both)
    BoostedTrees.fit(TrainingSet(rows, [*"abcdef"], weight, np.stack([label, rows[:, 5] > 0])))
    assert len(pairs) == 2
    for trees, of_library in pairs:
        assert len(trees.value) > 500
        for name, values in vars(trees).items():
            assert np.array_equal(values, getattr(of_library, name)), name


@pytest.mark.parametrize("name", ["_predictors", "_baseline_prediction", "_bin_mapper"])
def test_trees_are_learned_where_the_library_keeps_them_elsewhere(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Without a private name of the library, trees are read from what it documents, and tell the labels apart."""
    generator = np.random.default_rng(5)
    rows = generator.normal(size=(1_500, 4)).astype(np.float32)
    label = rows[:, 0] + rows[:, 1] > 0
    training_set = TrainingSet(rows, ["a", "b", "c", "d"], np.ones(1_500), np.stack([label, label]))
    fit = HistGradientBoostingClassifier.fit

    def fit_without(model: Any, *arguments: Any, **options: Any) -> Any:
        fit(model, *arguments, **options)
        delattr(model, name)
        return model

    monkeypatch.setattr(HistGradientBoostingClassifier, "fit", fit_without)
    chances = BoostedTrees.fit(training_set).predict_proba(rows)
    assert chances.shape == (2, 1_500)
    assert chances[:, label].mean() > 0.9
    assert chances[:, ~label].mean() < 0.1
