"""Three classifiers that turn features into chances, from the plainest to the strongest. Which fits depends on the log.

Calibrates predicted chances with a monotonic curve of three parameters, fitted on time the model has not seen.

Beta calibration (Kull et al., 2017): a logistic regression on log(p) and -log(1-p). Unlike isotonic regression it keeps
the order of any two chances, so calibration never changes what is warmed first.

Each predicts two chances per pair of key and slot of 15 minutes: of a first open before the next decision, and within
the lifetime of an entry fetched now.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import orjson

from adwarm.forecast.models.regression import fit_regression
from adwarm.foundation.arrow_arrays import Bools, Floats, Floats32, Ints

_LEAST_CHANCE = 1e-6
_CALIBRATION_LABELS = 30
_MIN_CHANCE = 1e-5
_SEED = 20_130
_ITERATIONS = 100
_BINS = 160
_LARGE_TREE_LABELS = 3_000
"""Positive labels from which trees get 31 leaves instead of 10."""
_ROWS_PER_BLOCK = 1_000
MIN_TREE_CHANCE = 0.002
"""Chance of an open within the lifetime below which trees are skipped, because they take most of the time."""
_MIN_LABELS = 40
"""Positive, and negative, labels that fitting needs."""
_RATES = (
    "how_0_1",
    "how_0_4",
    "how_0_12",
    "day_0_1",
    "day_0_4",
    "day_0_12",
    "account_0_4",
    "account_0_12",
    "population_0_4",
    "usually_opened",
)
_SIZES = (
    "level",
    "level_1",
    "level_7",
    "since_open",
    "account_since",
    "others_4",
    "others_12",
    "today",
    "account_today",
    "account_usual",
    "crowd",
)


@dataclass(frozen=True, slots=True)
class Calibration:
    """A calibration curve; the default is the identity.

    Attributes:
        low: slope near 0; 1 leaves the chances as they are.
        high: slope near 1; likewise.
        shift: added to the log odds.
    """

    low: float = 1.0
    high: float = 1.0
    shift: float = 0.0

    def __call__(self, chance: Floats) -> Floats:
        """Return calibrated chances; monotonic in `chance`."""
        bounded = np.clip(chance, _LEAST_CHANCE, 1.0 - _LEAST_CHANCE)
        return _to_chance(self.low * np.log(bounded) - self.high * np.log1p(-bounded) + self.shift)

    def shrunk(self, trust: float) -> "Calibration":
        """Return the curve between the identity (`trust` 0) and this one (1)."""
        return Calibration(1.0 + trust * (self.low - 1.0), 1.0 + trust * (self.high - 1.0), trust * self.shift)


def calibrate(chance: Floats, label: Bools, weight: Floats) -> Calibration:
    """Return the curve fitted to labels; the identity when positive or negative ones are few."""
    if label.sum() < _CALIBRATION_LABELS or (~label).sum() < _CALIBRATION_LABELS:
        return Calibration()
    bounded = np.clip(chance, _LEAST_CHANCE, 1.0 - _LEAST_CHANCE)
    sides = np.stack([np.log(bounded), -np.log1p(-bounded)], axis=1)
    # A negative slope would reverse the order of chances; then one side alone is fitted.
    for columns in ([0, 1], [0], [1]):
        fitted = fit_regression(sides[:, columns], label, weight, 100.0)
        slope = np.zeros(2)
        slope[columns] = fitted.slopes
        if slope.min() >= 0.0 and slope.max() > 0.0:
            return Calibration(float(slope[0]), float(slope[1]), fitted.intercept)
    return Calibration()


@dataclass(frozen=True)
class TrainingSet:
    """Pairs of key and slot to learn from.

    Attributes:
        weight: how many pairs of the log each row stands for.
        labels: windows x pairs: whether a first open came in each window, the shortest window first.
    """

    rows: Floats32
    feature_names: Sequence[str]
    weight: Floats
    labels: Bools


class Classifier(Protocol):
    """A fitted classifier."""

    def predict_proba(self, rows: Floats32) -> Floats:
        """Return windows x rows: the chance of a first open in each window, the shortest first."""
        ...


@dataclass(frozen=True)
class SeasonalBaseline:
    """The shrunk weekly profile itself, read from the features. Nothing is fitted, so it cannot overfit.

    Attributes:
        columns: per window, the feature that holds its chance.
    """

    columns: Sequence[int]

    @classmethod
    def from_features(cls, names: Sequence[str], windows: Sequence[int]) -> "SeasonalBaseline":
        """Return the baseline that reads the features whose windows come nearest to `windows`, in slots."""
        nearest = [min((1, 4, 12), key=lambda size: abs(size - slots)) for slots in windows]
        return cls([list(names).index(f"week_0_{size}") for size in nearest])

    def predict_proba(self, rows: Floats32) -> Floats:
        """See `Classifier`."""
        return rows[:, self.columns].T.astype(np.float64)


@dataclass(frozen=True)
class LogisticClassifier:
    """A logistic regression on log odds of rates and logarithms of sizes: few coefficients, which little data can fit.

    Attributes:
        rate_columns: features that are rates, 0 to 1.
        size_columns: features that are counts or ages.
        mean: of the transformed features, for standardizing.
        spread: their standard deviation.
        slopes: per window, a coefficient for each.
        intercepts: per window.
    """

    rate_columns: Ints
    size_columns: Ints
    mean: Floats
    spread: Floats
    slopes: Floats
    intercepts: Floats

    @classmethod
    def fit(cls, training_set: TrainingSet) -> "LogisticClassifier":
        """Return the regressions fitted to the training set."""
        names = list(training_set.feature_names)
        rates, sizes = (np.array([names.index(name) for name in group]) for group in (_RATES, _SIZES))
        scaled = _transform(training_set.rows, rates, sizes)
        mean, spread = scaled.mean(axis=0), scaled.std(axis=0) + 1e-9
        scaled -= mean
        scaled /= spread
        weight = training_set.weight / training_set.weight.mean()
        models = [fit_regression(scaled, label, weight, 0.1) for label in training_set.labels]
        return cls(
            rate_columns=rates,
            size_columns=sizes,
            mean=mean,
            spread=spread,
            slopes=np.stack([model.slopes for model in models]),
            intercepts=np.array([model.intercept for model in models]),
        )

    def predict_proba(self, rows: Floats32) -> Floats:
        """See `Classifier`."""
        scaled = (_transform(rows, self.rate_columns, self.size_columns) - self.mean) / self.spread
        return _to_chance((scaled @ self.slopes.T + self.intercepts).T)


@dataclass(frozen=True)
class Trees:
    """The fitted trees of one window as arrays over the nodes of all, from which numpy predicts without their library.

    Attributes:
        base: the log odds to which the trees add.
        depth: levels of the deepest tree.
        roots: per tree, its first node.
        feature: per node, the feature that decides.
        limit: per node, the value from which on a row goes right.
        children: per node, the left one and then the right one; a leaf is its own.
        value: per node, the log odds that a leaf adds.
    """

    base: float
    depth: int
    roots: Ints
    feature: Ints
    limit: Floats32
    children: Ints
    value: Floats

    @classmethod
    def from_model(cls, model: Any, base: float) -> "Trees":
        """Return the trees of a fitted XGBoost model, as its documented JSON holds them."""
        names = "left_children", "right_children", "split_indices", "split_conditions"
        learner = orjson.loads(model.save_raw("json"))["learner"]
        parts = [[np.array(tree[name]) for name in names] for tree in learner["gradient_booster"]["model"]["trees"]]
        sizes = [len(part[0]) for part in parts]
        left, right, feature, condition = (np.concatenate(column) for column in zip(*parts, strict=True))
        roots, own, is_leaf = np.cumsum([0, *sizes[:-1]], dtype=np.int64), np.arange(len(left)), left < 0
        sides = np.stack([left, right], axis=1).astype(np.int64) + np.repeat(roots, sizes)[:, None]
        children = np.where(is_leaf[:, None], own[:, None], sides)
        depth, level = 0, roots[~is_leaf[roots]]
        while len(level):
            below = children[level].ravel()
            depth, level = depth + 1, below[~is_leaf[below]]
        return cls(
            base=base,
            depth=depth,
            roots=roots,
            feature=feature.astype(np.int64),
            limit=condition.astype(np.float32),  # that of a leaf is what it adds
            children=children.ravel(),
            value=np.where(is_leaf, condition, 0.0),
        )

    def predict_proba(self, rows: Floats32) -> Floats:
        """Return the chance per row; works block by block, as nodes times rows have to fit into a cache."""
        starts = range(0, max(len(rows), 1), _ROWS_PER_BLOCK)
        return _to_chance(np.concatenate([self._sum_leaves(rows[start : start + _ROWS_PER_BLOCK]) for start in starts]))

    def _sum_leaves(self, block: Floats32) -> Floats:
        rows, features = block.shape
        flat, node = block.ravel(), np.repeat(self.roots, rows)
        first = np.tile(np.arange(0, rows * features, features), len(self.roots))
        for _ in range(self.depth):
            goes_right = flat.take(first + self.feature.take(node)) >= self.limit.take(node)
            node = self.children.take(2 * node + goes_right)
        added = self.value.take(node).reshape(len(self.roots), rows)
        result: Floats = np.concatenate([np.full((1, rows), self.base), added]).sum(axis=0)
        return result


@dataclass(frozen=True)
class BoostedTrees:
    """Gradient boosted trees on all features.

    Attributes:
        windows: the trees of each window.
    """

    windows: Sequence[Trees]

    @classmethod
    def fit(cls, training_set: TrainingSet) -> "BoostedTrees":
        """Return trees fitted to the training set; they have fewer leaves when it has few positive labels."""
        fit = partial(_fit_trees, training_set.rows, training_set.weight)
        with ThreadPoolExecutor(2) as pool:
            return cls(list(pool.map(fit, training_set.labels)))

    def predict_proba(self, rows: Floats32) -> Floats:
        """See `Classifier`."""
        return np.stack([trees.predict_proba(rows) for trees in self.windows])


@dataclass(frozen=True)
class Ensemble:
    """The weighted mean of several classifiers' log odds."""

    parts: Sequence[Classifier]
    weights: Sequence[float]

    def predict_proba(self, rows: Floats32) -> Floats:
        """See `Classifier`."""
        return mean_of_odds(predict_each(self.parts, rows), self.weights)


def predict_each(classifiers: Sequence[Classifier], rows: Floats32) -> list[Floats]:
    """Return each classifier's chances, windows x rows.

    Trees are skipped for rows to which the classifier before them gives less than `MIN_TREE_CHANCE`; those rows repeat
    its chances.
    """
    chances: list[Floats] = []
    for classifier in classifiers:
        if chances and isinstance(classifier, BoostedTrees):
            likely = np.flatnonzero(chances[-1][-1] >= MIN_TREE_CHANCE)
            own = chances[-1].copy()
            if len(likely):
                own[:, likely] = classifier.predict_proba(rows[likely])
            chances.append(own)
        else:
            chances.append(classifier.predict_proba(rows))
    return chances


def mean_of_odds(chances: Sequence[Floats], weights: Sequence[float]) -> Floats:
    """Return the chances whose log odds are the weighted mean of those of `chances`."""
    log_odds = sum((weight * _log_odds(chance) for chance, weight in zip(chances, weights, strict=True)), np.zeros(1))
    return _to_chance(log_odds)


def can_learn(training_set: TrainingSet) -> bool:
    """Return whether every window has enough positive and negative labels to fit anything."""
    return all(min(int(label.sum()), int((~label).sum())) >= _MIN_LABELS for label in training_set.labels)


def _fit_trees(rows: Floats32, weight: Floats, label: Bools) -> Trees:
    import xgboost

    mean = np.average(label, weights=weight)
    settings = {
        "objective": "binary:logistic",
        "base_score": mean,
        "grow_policy": "lossguide",
        "max_depth": 0,
        "max_leaves": 31 if label.sum() > _LARGE_TREE_LABELS else 10,
        "max_bin": _BINS,
        "learning_rate": 0.07,
        "min_child_weight": 20.0,
        "reg_lambda": 5.0,
        "colsample_bynode": 0.5,
        "seed": _SEED,
        # One thread per model: threads that wait for each other at every split are slow on a busy machine.
        "nthread": 1,
    }
    # The rarest rows stand for one, so that the least weight of a leaf means the same for small logs and large ones.
    data = xgboost.QuantileDMatrix(rows, label, weight=weight / weight.min(), max_bin=_BINS, nthread=1)
    return Trees.from_model(xgboost.train(settings, data, _ITERATIONS), float(np.log(mean) - np.log1p(-mean)))


def _transform(rows: Floats32, rates: Ints, sizes: Ints) -> Floats:
    """Return log odds of the rates, logarithms of the sizes, and whether the key was opened in the last 1 and 3 h."""
    chance = rows[:, rates].astype(np.float64)
    size = rows[:, sizes].astype(np.float64)
    since_open = sizes[[3, 3]]
    is_recent = (rows[:, since_open] < np.array([4.0, 12.0])).astype(np.float64)
    return np.concatenate([_log_odds(chance), np.log(size + 0.1), is_recent], axis=1)


def _log_odds(chance: Floats) -> Floats:
    bounded = np.clip(chance, _MIN_CHANCE, 1.0 - _MIN_CHANCE)
    result: Floats = np.log(bounded) - np.log1p(-bounded)
    return result


def _to_chance(log_odds: Floats) -> Floats:
    result: Floats = 1.0 / (1.0 + np.exp(-log_odds))
    return result
