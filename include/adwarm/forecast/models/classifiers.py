"""Three ways to turn features into chances, from the plainest to the most able. Which is right depends on the log.

Each states two chances per pair of key and quarter of an hour: of a first open soon (before the next decision), and
within the life of an entry fetched now.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from adwarm.foundation.arrow_arrays import Floats, Floats32

_EDGE = 1e-5
_SEED = 20_130
_ROUNDS = 100
_BINS = 160
_MANY = 3_000
MIN_TREE_CHANCE = 0.002
"""Chance of an open within the life below which trees are not asked: they take most of the time."""
_LEAST = 40
"""First opens among the rows below which nothing is fitted."""
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


@dataclass(frozen=True)
class TrainingSet:
    """Rows to learn from.

    Attributes:
        rows: pairs x features.
        names: of the features.
        weight: how many pairs of the log each row stands for.
        came: windows x pairs: whether a first open came in each window, the shortest first.
    """

    rows: Floats32
    feature_names: Sequence[str]
    weight: Floats
    labels: npt.NDArray[np.bool_]


class Classifier(Protocol):
    """A fitted model."""

    def predict_proba(self, rows: Floats32) -> Floats:
        """Return windows x rows: the chance of a first open in each window, the shortest first."""
        ...


@dataclass(frozen=True)
class SeasonalBaseline:
    """The shrunk weekly rhythm itself; nothing is fitted, so nothing can be overfitted."""

    columns: Sequence[int]

    @classmethod
    def from_features(cls, names: Sequence[str], windows: Sequence[int]) -> "SeasonalBaseline":
        """Return the one whose windows come nearest to `windows`, in quarters of an hour."""
        near = [min((1, 4, 12), key=lambda size: abs(size - slots)) for slots in windows]
        return cls([list(names).index(f"week_0_{size}") for size in near])

    def predict_proba(self, rows: Floats32) -> Floats:
        """See `Candidate`."""
        return rows[:, self.columns].T.astype(np.float64)


@dataclass(frozen=True)
class LogisticClassifier:
    """A logistic regression on the odds of the rates and the logarithms of the sizes: few numbers, learned quickly."""

    rate_columns: npt.NDArray[np.int64]
    size_columns: npt.NDArray[np.int64]
    mean: Floats
    spread: Floats
    models: Sequence[Any]

    @classmethod
    def fit(cls, training_set: TrainingSet) -> "LogisticClassifier":
        """Return the regression fitted to the lesson."""
        places = [
            np.array([list(training_set.feature_names).index(name) for name in names]) for names in (_RATES, _SIZES)
        ]
        drawn = _drawn(training_set.rows, *places)
        mean, spread = drawn.mean(axis=0), drawn.std(axis=0) + 1e-9
        scaled = (drawn - mean) / spread
        weight = training_set.weight / training_set.weight.mean()
        models = [LogisticRegression(C=0.1, max_iter=200).fit(scaled, came, weight) for came in training_set.labels]
        return cls(places[0], places[1], mean, spread, models)

    def predict_proba(self, rows: Floats32) -> Floats:
        """See `Candidate`."""
        scaled = (_drawn(rows, self.rate_columns, self.size_columns) - self.mean) / self.spread
        return np.stack([model.predict_proba(scaled)[:, 1] for model in self.models])


@dataclass(frozen=True)
class BoostedTrees:
    """Gradient boosted trees on all features, each of which is cut into at most `_BINS` parts beforehand.

    The library cuts features itself, but with weighted rows takes longer for it than for the trees.
    """

    edges: Sequence[Floats32]
    models: Sequence[Any]

    @classmethod
    def fit(cls, training_set: TrainingSet) -> "BoostedTrees":
        """Return trees fitted to the lesson, smaller ones when it is short."""
        edges = _edges(training_set.rows)
        binned = replace(training_set, rows=_binned(training_set.rows, edges))
        with ThreadPoolExecutor(2) as pool:
            return cls(edges, list(pool.map(partial(_trees, binned), training_set.labels)))

    def predict_proba(self, rows: Floats32) -> Floats:
        """See `Candidate`."""
        binned = _binned(rows, self.edges)
        with threadpool_limits(1, "openmp"), ThreadPoolExecutor(2) as pool:
            return np.stack(list(pool.map(partial(_chance, binned), self.models)))


@dataclass(frozen=True)
class Ensemble:
    """The weighted mean of candidates' odds."""

    parts: Sequence[Classifier]
    weights: Sequence[float]

    def predict_proba(self, rows: Floats32) -> Floats:
        """See `Candidate`."""
        return mean_of_odds(predict_each(self.parts, rows), self.weights)


def predict_each(parts: Sequence[Classifier], rows: Floats32) -> list[Floats]:
    """Return what each part states. Where the part before sees no hope, trees are spared, and repeat what it says."""
    stated: list[Floats] = []
    for part in parts:
        if stated and isinstance(part, BoostedTrees):
            hope = np.flatnonzero(stated[-1][-1] >= MIN_TREE_CHANCE)
            own = stated[-1].copy()
            if len(hope):
                own[:, hope] = part.predict_proba(rows[hope])
            stated.append(own)
        else:
            stated.append(part.predict_proba(rows))
    return stated


def mean_of_odds(stated: Sequence[Floats], weights: Sequence[float]) -> Floats:
    """Return the weighted mean of stated chances, taken of their odds."""
    odds = sum((weight * _odds(chance) for chance, weight in zip(stated, weights, strict=True)), np.zeros(1))
    result: Floats = 1.0 / (1.0 + np.exp(-odds))
    return result


def _edges(rows: Floats32) -> list[Floats32]:
    shares = np.linspace(0.0, 1.0, _BINS)
    found = []
    for values in rows.T:
        known = np.sort(values[~np.isnan(values)])
        found.append(np.unique(known[(shares * (len(known) - 1)).astype(np.int64)]) if len(known) else known)
    return found


def _binned(rows: Floats32, edges: Sequence[Floats32]) -> Floats32:
    result = np.empty(rows.shape, np.float32)
    for place, values in enumerate(edges):
        column = rows[:, place]
        result[:, place] = np.where(np.isnan(column), -1, np.searchsorted(values, column, "right"))
    return result


def _chance(binned: Floats32, model: Any) -> Floats:
    stated: Floats = model.predict_proba(binned)[:, 1]
    return stated


def _trees(lesson: TrainingSet, seen: npt.NDArray[np.bool_]) -> Any:
    leaves = 31 if seen.sum() > _MANY else 10
    trees = HistGradientBoostingClassifier(
        max_iter=_ROUNDS,
        learning_rate=0.07,
        max_leaf_nodes=leaves,
        min_samples_leaf=60,
        l2_regularization=5.0,
        max_features=0.5,
        early_stopping=False,
        random_state=_SEED,
    )
    # One thread per model: a team of threads that waits for each other at every split is slow on a busy machine.
    with threadpool_limits(1, "openmp"):
        return trees.fit(lesson.rows, seen, sample_weight=lesson.weight)


def can_learn(training_set: TrainingSet) -> bool:
    """Return whether enough happened, and enough did not, to fit anything."""
    return all(min(int(seen.sum()), int((~seen).sum())) >= _LEAST for seen in training_set.labels)


def _drawn(rows: Floats32, rates: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> Floats:
    chance = rows[:, rates].astype(np.float64)
    size = rows[:, sizes].astype(np.float64)
    recent = (rows[:, sizes[[3, 3]]] < np.array([4.0, 12.0])).astype(np.float64)
    return np.concatenate([_odds(chance), np.log(size + 0.1), recent], axis=1)


def _odds(chance: Floats) -> Floats:
    sure = np.clip(chance, _EDGE, 1.0 - _EDGE)
    result: Floats = np.log(sure) - np.log1p(-sure)
    return result
