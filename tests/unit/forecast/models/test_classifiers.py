"""Calibration corrects chances without changing their order; fitted trees predict as their library does."""

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from adwarm.forecast.features.key_features import NO_VALUE
from adwarm.forecast.models.classifiers import (
    BoostedTrees,
    Calibration,
    TrainingSet,
    Trees,
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


@pytest.mark.parametrize("leaves", [1, 2, 31])
def test_trees_predict_what_the_library_predicts(leaves: int) -> None:
    """Chances from the arrays equal those of the fitted ensemble, also of values that no tree has seen."""
    generator = np.random.default_rng(leaves)
    rows = generator.normal(size=(1_500, 6)).astype(np.float32).round(1)
    label = rows[:, 0] * rows[:, 1] > 0.4
    mean = float(label.mean())
    settings = {"objective": "binary:logistic", "base_score": mean, "max_leaves": leaves, "grow_policy": "lossguide"}
    if leaves == 1:
        settings["min_child_weight"] = 1e9  # no split
    model = xgboost.train(settings, xgboost.QuantileDMatrix(rows, label), 5)
    unseen = np.concatenate([rows, np.full((1, 6), 300, np.float32), np.full((1, 6), -300, np.float32)])
    expected = model.predict(xgboost.DMatrix(unseen))
    trees = Trees.from_model(model, float(np.log(mean / (1 - mean))))
    assert np.allclose(trees.predict_proba(unseen), expected, rtol=1e-5, atol=0)
    assert len(np.unique(expected)) >= leaves


def test_trees_learn_from_gaps_and_weights() -> None:
    """A feature without a value tells labels apart; rows of weight 0.01 hardly count."""
    generator = np.random.default_rng(8)
    rows = generator.random((4_000, 3)).astype(np.float32)
    rows[:2_000, 0] = NO_VALUE
    label, weight = rows[:, 0] == NO_VALUE, np.ones(4_000)
    weight[rows[:, 1] > 0.5] = 0.01
    other = np.where(rows[:, 1] > 0.5, ~label, label)
    trees = BoostedTrees.fit(TrainingSet(rows, [*"abc"], np.ones(4_000), np.stack([label, label])))
    weighted = BoostedTrees.fit(TrainingSet(rows[:, [0]], ["a"], weight, np.stack([other, other])))
    for chances in (trees.predict_proba(rows), weighted.predict_proba(rows[:, [0]])):
        assert chances.shape == (2, 4_000)
        assert chances[:, label].mean() > 0.9
        assert chances[:, ~label].mean() < 0.1


def test_the_least_weight_of_rows_changes_no_tree() -> None:
    """Trees of a log of which each row stands for a thousand pairs are those of a small one."""
    generator = np.random.default_rng(2)
    rows = generator.normal(size=(2_000, 3)).astype(np.float32)
    label, weight = rows[:, 0] + rows[:, 1] > 0, generator.integers(1, 9, 2_000).astype(np.float64)
    small, large = (
        BoostedTrees.fit(TrainingSet(rows, [*"abc"], factor * weight, np.stack([label, label])))
        for factor in (1.0, 1_024.0)
    )
    assert np.array_equal(small.predict_proba(rows), large.predict_proba(rows))
