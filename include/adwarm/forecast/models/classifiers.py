"""Three classifiers that turn features into chances, from the plainest to the strongest. Which fits depends on the log.

Calibrates predicted chances with a monotonic curve of three parameters, fitted on time the model has not seen.

Beta calibration (Kull et al., 2017): a logistic regression on log(p) and -log(1-p). Unlike isotonic regression it keeps
the order of any two chances, so calibration never changes what is warmed first.

Each predicts two chances per pair of key and slot of 15 minutes: of a first open before the next decision, and within
the lifetime of an entry fetched now.
"""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from adwarm.foundation.arrow_arrays import Bools, Bytes, Floats, Floats32, Ints, Ints16

log = logging.getLogger(__name__)
_LEAST_CHANCE = 1e-6
_CALIBRATION_LABELS = 30
_MIN_CHANCE = 1e-5
_SEED = 20_130
_ITERATIONS = 100
_BINS = 160
_MOST_BINS = _BINS + 2
"""With those of values below the lowest edge and of no value."""
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
        fitted = _fit_regression(sides[:, columns], label, weight, 100.0)
        slope = np.zeros(2)
        slope[columns] = fitted.coef_[0]
        if slope.min() >= 0.0 and slope.max() > 0.0:
            return Calibration(float(slope[0]), float(slope[1]), float(fitted.intercept_[0]))
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
        models = [_fit_regression(scaled, label, weight, 0.1) for label in training_set.labels]
        slopes, intercepts = (
            np.concatenate([getattr(model, name) for model in models]) for name in ("coef_", "intercept_")
        )
        return cls(
            rate_columns=rates,
            size_columns=sizes,
            mean=mean,
            spread=spread,
            slopes=slopes,
            intercepts=intercepts,
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
        highest: per node, the highest bin of it that goes left.
        children: per node, the left one and then the right one; a leaf is its own.
        value: per node, the log odds that a leaf adds.
    """

    base: float
    depth: int
    roots: Ints
    feature: Ints
    highest: Ints16
    children: Ints
    value: Floats

    @classmethod
    def from_model(cls, model: Any) -> "Trees":
        """Return the trees of a fitted ensemble of bins; fails where those of histograms are kept elsewhere."""
        if hasattr(model, "estimators_"):  # public, and fitted in twelve times the CPU
            trees = [estimator.tree_ for (estimator,) in model.estimators_]
            odds, depth = np.log(model.init_.class_prior_), max(tree.max_depth for tree in trees)
            nodes = [(t.children_left, t.children_right, t.feature, t.threshold, t.value.ravel()) for t in trees]
            return cls._join(odds[1] - odds[0], depth, nodes, model.learning_rate)
        names = "left", "right", "feature_idx", "num_threshold", "value"
        parts = [predictor.nodes for (predictor,) in model._predictors]
        depth = max(part["depth"].max() for part in parts)
        return cls._join(model._baseline_prediction.item(), depth, [[part[name] for name in names] for part in parts])

    @classmethod
    def _join(cls, base: float, depth: int, trees: Sequence[Sequence[Any]], rate: float = 1.0) -> "Trees":
        """Return trees whose nodes are given as left, right, feature, threshold, value; a leaf has no larger child."""
        sizes = [len(tree[0]) for tree in trees]
        left, right, feature, threshold, value = (np.concatenate(column) for column in zip(*trees, strict=True))
        roots = np.cumsum([0, *sizes[:-1]], dtype=np.int64)
        sides = np.stack([left, right], axis=1).astype(np.int64) + np.repeat(roots, sizes)[:, None]
        own = np.arange(len(sides))[:, None]
        return cls(
            base=float(base),
            depth=int(depth),
            roots=roots,
            feature=np.maximum(feature, 0).astype(np.int64),
            highest=np.floor(threshold).astype(np.int16),
            children=np.where(sides > own, sides, own).ravel(),
            value=rate * value,
        )

    def predict_proba(self, bins: Ints16) -> Floats:
        """Return the chance per row of bins; works block by block, as nodes times rows have to fit into a cache."""
        starts = range(0, max(len(bins), 1), _ROWS_PER_BLOCK)
        return _to_chance(np.concatenate([self._sum_leaves(bins[start : start + _ROWS_PER_BLOCK]) for start in starts]))

    def _sum_leaves(self, bins: Ints16) -> Floats:
        rows, features = bins.shape
        flat, node = bins.ravel(), np.repeat(self.roots, rows)
        first = np.tile(np.arange(0, rows * features, features), len(self.roots))
        for _ in range(self.depth):
            goes_right = flat.take(first + self.feature.take(node)) > self.highest.take(node)
            node = self.children.take(2 * node + goes_right)
        added = self.value.take(node).reshape(len(self.roots), rows)
        result: Floats = np.concatenate([np.full((1, rows), self.base), added]).sum(axis=0)
        return result


@dataclass(frozen=True)
class BoostedTrees:
    """Gradient boosted trees on all features, each of which is binned beforehand.

    The library would bin the features itself, but with weighted rows that takes longer than the trees.

    Attributes:
        edges: per feature, the lower edges of its bins; the rest is NaN, which is larger than any number.
        windows: the trees of each window.
    """

    edges: Floats32
    windows: Sequence[Trees]

    @classmethod
    def fit(cls, training_set: TrainingSet) -> "BoostedTrees":
        """Return trees fitted to the training set; they have fewer leaves when it has few positive labels."""
        edges = _bin_edges(training_set.rows)
        fit = partial(_fit_trees, training_set, edges, _number_bins(_to_bins(training_set.rows, edges)))
        with ThreadPoolExecutor(2) as pool:
            return cls(edges, list(pool.map(fit, training_set.labels)))

    def predict_proba(self, rows: Floats32) -> Floats:
        """See `Classifier`."""
        bins = _to_bins(rows, self.edges)
        return np.stack([trees.predict_proba(bins) for trees in self.windows])


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


def _bin_edges(rows: Floats32) -> Floats32:
    quantiles = np.linspace(0.0, 1.0, _BINS)
    edges: Floats32 = np.full((rows.shape[1], _BINS), np.nan, np.float32)
    for column, lower in zip(rows.T, edges, strict=True):
        values = np.sort(column[~np.isnan(column)])
        if len(values):
            distinct = np.unique(values[(quantiles * (len(values) - 1)).astype(np.int64)])
            lower[: len(distinct)] = distinct
    return edges


def _to_bins(rows: Floats32, edges: Floats32) -> Ints16:
    result = np.empty(rows.shape, np.int16)
    for index, column_edges in enumerate(edges):
        column = rows[:, index]
        result[:, index] = np.where(np.isnan(column), -1, np.searchsorted(column_edges, column, "right"))
    return result


def _number_bins(bins: Ints16) -> tuple[Bytes, list[Floats]]:
    """Return the bins as the library numbers them, without those of no row, and the thresholds between a column's."""
    numbers, thresholds = np.empty(bins.shape, np.uint8, order="F"), []
    for index, column in enumerate(bins.T + 1):
        is_used = np.bincount(column) > 0
        numbers[:, index] = (np.cumsum(is_used) - 1)[column]
        lower = np.flatnonzero(is_used) - 1.0
        thresholds.append((lower[1:] + lower[:-1]) / 2)
    return numbers, thresholds


def _fit_regression(rows: Floats, label: Bools, weight: Floats, looseness: float) -> Any:
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    # One BLAS thread: for so few columns several take up to seven times the CPU, and most of it is waiting.
    with threadpool_limits(1, "blas"):
        return LogisticRegression(C=looseness, max_iter=200).fit(rows, label, weight)


def _fit_trees(training_set: TrainingSet, edges: Floats32, numbered: tuple[Bytes, list[Floats]], label: Bools) -> Trees:
    leaves = 31 if label.sum() > _LARGE_TREE_LABELS else 10
    from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    usual: dict[str, Any] = {
        "learning_rate": 0.07,
        "max_leaf_nodes": leaves,
        "min_samples_leaf": 60,
        "max_features": 0.5,
        "random_state": _SEED,
    }
    own: dict[str, Any] = {"max_iter": _ITERATIONS, "max_bins": _MOST_BINS, "l2_regularization": 5.0}
    model = HistGradientBoostingClassifier(early_stopping=False, **own, **usual)
    numbers, thresholds = numbered

    def use_bins(*_: Any, **__: Any) -> Bytes:
        """Give the library the bins of all windows; it would sort every column again for each."""
        mapper = model._bin_mapper
        mapper.bin_thresholds_, mapper.missing_values_bin_idx_ = thresholds, _MOST_BINS
        mapper.n_bins_non_missing_ = np.array([len(column) + 1 for column in thresholds], np.uint32)
        return numbers

    try:
        model._bin_data = use_bins
        # One OpenMP thread per model: threads that wait for each other at every split are slow on a busy machine.
        with threadpool_limits(1, "openmp"):
            model.fit(np.broadcast_to(0.0, numbers.shape), label, sample_weight=training_set.weight)
        if model._bin_mapper.bin_thresholds_ is not thresholds:
            raise AttributeError("it makes bins elsewhere")
        return Trees.from_model(model)
    except (AttributeError, TypeError, ValueError) as error:
        log.warning(
            "the usual trees of scikit-learn cannot be read (%s); others are trained, which takes longer", error
        )
        model = GradientBoostingClassifier(n_estimators=_ITERATIONS, **usual)
        bins = _to_bins(training_set.rows, edges)
        return Trees.from_model(model.fit(bins, label, sample_weight=training_set.weight))


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
