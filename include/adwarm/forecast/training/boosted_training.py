"""Trains the adwarm model from the opens before a moment; the result is a pure function of them and of the horizons.

Training holds out the last working days, calibrates and backtests the blend of two classifiers on them, and fits both
again on everything.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from adwarm.forecast.features.feature_context import WorkingDays
from adwarm.forecast.features.grid import SLOTS_PER_DAY, OpenGrid
from adwarm.forecast.features.key_features import SiblingReports, build_features
from adwarm.forecast.features.public_holidays import HolidayEffect
from adwarm.forecast.models.boosted import HISTORY_MICROS, BoostedModel, Horizons
from adwarm.forecast.models.classifiers import (
    BoostedTrees,
    Calibration,
    Classifier,
    Ensemble,
    LogisticClassifier,
    SeasonalBaseline,
    TrainingSet,
    calibrate,
    can_learn,
)
from adwarm.forecast.training import MIN_WORKING_DAYS
from adwarm.forecast.training.backtest import Backtest, warm_value
from adwarm.foundation.arrow_arrays import Bools, Floats, Ints
from adwarm.patterns.opens import Opens

_TREE_OPENS, _MIN_TREE_WEIGHT = 2_000, 0.4
"""First opens at which trees weigh as much as the regression, and the least they weigh."""
_ROWS, _TRIAL_ROWS, _CALIBRATION_ROWS = 120_000, 50_000, 25_000
_BACKTEST_KEYS, _BACKTEST_OPENS, _MAX_BACKTEST_KEYS = 120, 400, 1_000
_CALIBRATION_TRUST = 2 / 3
"""How far the calibration is followed: it was fitted on few days, for a model that had less to learn from."""
_MAX_HELD_OUT_DAYS = 14
"""Working days that training holds out at most, or skips at the start to look back on."""
_SEED = 1_986


@dataclass(frozen=True)
class _History:
    """The opens to learn from."""

    feature_grid: OpenGrid  # opens in the columns in which they became known
    label_grid: OpenGrid  # opens in the columns in which they happened; the same grid without a delay
    horizons: Horizons

    @classmethod
    def from_opens(cls, opens: Opens, until: int, horizons: Horizons) -> "_History":
        since = until - HISTORY_MICROS
        grid = OpenGrid.from_opens(opens, until, since=since, delay=horizons.delay)
        return cls(grid, OpenGrid.from_opens(opens, until, since=since) if horizons.delay else grid, horizons)

    @property
    def end(self) -> int:
        """The first column whose lifetime window is not over yet."""
        return self.feature_grid.column_count - self.horizons.lifetime

    @cached_property
    def siblings(self) -> SiblingReports:
        """The report kinds that were opened most."""
        return SiblingReports.most_opened(self.feature_grid)

    @cached_property
    def ages(self) -> Ints:
        """How many days ago each working day was, the latest first."""
        return WorkingDays(self.feature_grid.population, np.array([self.feature_grid.column_count])).ages()

    def working_columns(self, start: int, end: int) -> Ints:
        """Return the columns in `[start, end)` that lie in working days."""
        column = np.arange(start, end, dtype=np.int64)
        return column[
            np.isin((self.feature_grid.column_count - column + SLOTS_PER_DAY - 1) // SLOTS_PER_DAY, self.ages)
        ]

    def label_column(self, column: Ints) -> Ints:
        """Return the columns of `label_grid` that begin at the same moments as those of `feature_grid`."""
        return column + (self.feature_grid.origin - self.label_grid.origin)

    def labels(self, key: Ints, column: Ints) -> Bools:
        """Return windows x pairs: whether a first open came."""
        label_column = self.label_column(column)
        return np.stack([self.label_grid.has_first_open(key, label_column, slots) for slots in self.horizons.windows])


def train_model(opens: Opens, until: int, horizons: Horizons) -> BoostedModel:
    """Return the model learned from the opens before `until`, microseconds since 1970, and from nothing else.

    With too few working days or first opens the model is the weekly profile alone.
    """
    history = _History.from_opens(opens.before(until), until, horizons)
    grid = history.feature_grid
    names = build_features(grid, np.zeros(0, np.int64), np.zeros(0, np.int64), history.siblings)[1]
    seasonal = SeasonalBaseline.from_features(names, horizons.windows)
    ages = history.ages
    if not grid.key_count or len(ages) < MIN_WORKING_DAYS:
        return BoostedModel(horizons, seasonal, history.siblings)
    part = min(_MAX_HELD_OUT_DAYS, len(ages) // 4)
    start, split, half = (
        int(grid.column_count - SLOTS_PER_DAY * ages[index]) for index in (-part - 1, part - 1, part // 2 - 1)
    )
    trial = _draw_training_set(history, start, split - horizons.lifetime, _TRIAL_ROWS)
    if not can_learn(trial):
        return BoostedModel(horizons, seasonal, history.siblings)
    first_opens = len(grid.first_opens.row)
    tried = _fit_blend(trial, first_opens)
    calibration, never_warms = _calibrate(history, tried, split, half), not _pays(history, tried, split)
    del trial  # its rows would stay beside those of the larger set
    holidays = HolidayEffect.fit(history.label_grid)  # before the training set, which takes the most memory
    siblings, training_set = history.siblings, _draw_training_set(history, start, history.end, _ROWS)
    del history, grid  # fitting needs no opens, and takes memory of its own
    classifier = _fit_blend(training_set, first_opens)
    return BoostedModel(horizons, classifier, siblings, calibration, never_warms=never_warms, holidays=holidays)


def _fit_blend(training_set: TrainingSet, first_opens: int) -> Ensemble:
    """Return regression and trees, fitted; trees weigh more the more first opens there are to learn from."""
    trees = max(first_opens / (first_opens + _TREE_OPENS), _MIN_TREE_WEIGHT)
    return Ensemble([LogisticClassifier.fit(training_set), BoostedTrees.fit(training_set)], [1.0 - trees, trees])


def _pays(history: _History, classifier: Classifier, split: int) -> bool:
    """Backtest a classifier on the held-out days, which begin at `split`; return whether warming pays on this log."""
    horizons, keys = history.horizons, _sample_accounts(history, split)
    columns = np.arange(split, history.end, horizons.step, dtype=np.int64)
    backtest = Backtest(_take_keys(history.label_grid, keys), history.label_column(columns), horizons.lifetime)
    key, column = np.tile(keys, len(columns)), np.repeat(columns, len(keys))
    chances = BoostedModel(horizons, classifier, history.siblings).predict_chances(history.feature_grid, key, column)
    value = warm_value(chances, horizons.windows, np.ones(1))
    return backtest.pays(value.reshape(len(columns), len(keys)))


def _calibrate(history: _History, classifier: Classifier, split: int, half: int) -> Calibration:
    """Return the calibration of a classifier that was fitted on the time before the held-out days."""
    # A model is used for a week or less until the next training, so calibration weeks after the split says little.
    held_out = _draw_training_set(history, split, half, _CALIBRATION_ROWS)
    chance = classifier.predict_proba(held_out.rows)[-1]
    return calibrate(chance, held_out.labels[-1], held_out.weight).shrunk(_CALIBRATION_TRUST)


def _sample_accounts(history: _History, split: int) -> Ints:
    """Return the keys of randomly drawn accounts: about a hundred keys, more when few of them were opened."""
    grid = history.label_grid
    order = np.random.default_rng(_SEED).permutation(len(grid.account_keys))
    key = np.argsort(np.argsort(order)[grid.account], kind="stable")
    opened = np.cumsum(grid.firsts[key, -1] - grid.firsts[key, split])
    enough = max(_BACKTEST_KEYS, int(np.searchsorted(opened, _BACKTEST_OPENS)) + 1)
    return np.sort(key[: min(enough, _MAX_BACKTEST_KEYS)]).astype(np.int64)


def _take_keys(grid: OpenGrid, keys: Ints) -> OpenGrid:
    return replace(
        grid,
        opens=grid.opens.take(keys),
        first_opens=grid.first_opens.take(keys),
        account=grid.account[keys],
        zone_of=grid.zone_of[keys],
        report_kind_of=grid.report_kind_of[keys],
        own_country=grid.own_country[keys],
    )


def _draw_training_set(history: _History, start: int, end: int, rows: int) -> TrainingSet:
    """Return about `rows` pairs of key and column from the working days in `[start, end)`."""
    key, column, weight, labels = _draw_pairs(history, start, end, rows)
    features, names = build_features(history.feature_grid, key, column, history.siblings)
    return TrainingSet(features, names, weight, labels)


def _draw_pairs(history: _History, start: int, end: int, rows: int) -> tuple[Ints, Ints, Floats, Bools]:
    """Draw keys, columns, their weights and their labels; what it draws from is freed before features are built."""
    # Pairs with an open soon, or with activity in the account, are drawn more often; weights undo that.
    generator, grid = np.random.default_rng(_SEED), history.feature_grid
    columns = history.working_columns(start, end)
    pairs = len(columns) * grid.key_count
    drawn = min(pairs, 20 * rows)
    flat = generator.choice(pairs, drawn, replace=False) if drawn < pairs else np.arange(pairs)
    key, column = flat % grid.key_count, columns[flat // grid.key_count]
    labels = history.labels(key, column)
    account = grid.account[key]
    is_active = grid.account_opens[account, column] > grid.account_opens[account, np.maximum(column - 12, 0)]
    share = np.where(labels[0], 1.0, np.where(labels[-1] | is_active, 0.5, 0.1))
    share *= min(1.0, rows / share.sum())
    selected = generator.random(drawn) < share
    return key[selected], column[selected], pairs / drawn / share[selected], labels[:, selected]
