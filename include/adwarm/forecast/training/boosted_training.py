"""The adwarm model: trained on opens up to a moment, it says how likely a first open is, soon and in an entry's life.

Training holds back the last weeks, lets plain and able candidates compete on them, calibrates the winner there, and
fits it again on everything. A model is a pure function of the opens before that moment and of the terms.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from adwarm.forecast.features.grid import SLOTS_PER_DAY, OpenGrid
from adwarm.forecast.features.key_features import build_features
from adwarm.forecast.features.public_holidays import HolidayEffect
from adwarm.forecast.features.sibling_reports import SiblingReports
from adwarm.forecast.features.working_days import WorkingDays
from adwarm.forecast.models.boosted import HISTORY_MICROS, SEASONAL_ONLY, BoostedModel, Horizons, predict_in_blocks
from adwarm.forecast.models.calibration import calibrate
from adwarm.forecast.models.classifiers import (
    BoostedTrees,
    Classifier,
    Ensemble,
    LogisticClassifier,
    SeasonalBaseline,
    TrainingSet,
    can_learn,
    mean_of_odds,
)
from adwarm.forecast.training.backtest import Backtest, BacktestResult, choose_best, warm_value
from adwarm.foundation.arrow_arrays import Ints
from adwarm.patterns.opens import Opens

USUAL = "linear and trees"
"""The blend that is right for most logs."""
_TRUST, _LEAST_TRUST = 2_000, 0.4
"""First opens after which trees weigh as much as the regression, and the least they weigh."""
_ROWS, _TRIAL_ROWS, _HELD_ROWS = 120_000, 50_000, 25_000
_COURSE_KEYS, _COURSE_OPENS, _MOST_COURSE_KEYS = 120, 400, 1_000
_CURVE_TRUST = 2 / 3
"""How far a curve learned in a few days, of a model with less to learn from, is followed."""
_LEAST, _PART = 18, 14
"""Days that were worked: how many training takes, and how many it holds back, or leaves for looking back, at most."""
_SEED = 1_986


@dataclass(frozen=True)
class _Past:
    """What is learned from.

    Attributes:
        known: what was known when: opens lie in the column in which they became known.
        true: what happened when; the same, but for the delay.
    """

    known: OpenGrid
    true: OpenGrid
    reach: Horizons

    @classmethod
    def of(cls, opens: Opens, until: int, reach: Horizons) -> "_Past":
        known = OpenGrid.from_opens(opens, until, since=until - HISTORY_MICROS, delay=reach.delay)
        return cls(
            known, OpenGrid.from_opens(opens, until, since=until - HISTORY_MICROS) if reach.delay else known, reach
        )

    @property
    def end(self) -> int:
        """The first column whose life is not over yet."""
        return self.known.column_count - self.reach.lifetime

    @cached_property
    def siblings(self) -> SiblingReports:
        """The kinds of report that were opened most."""
        return SiblingReports.most_opened(self.known)

    @cached_property
    def ages(self) -> Ints:
        """How many days ago the worked days were, the latest first."""
        return WorkingDays(self.known.population, np.array([self.known.column_count])).ages()

    def worked(self, start: int, end: int) -> Ints:
        """Return the columns in `[start, end)` that lie in worked days."""
        column = np.arange(start, end, dtype=np.int64)
        return column[np.isin((self.known.column_count - column + SLOTS_PER_DAY - 1) // SLOTS_PER_DAY, self.ages)]

    def true_column(self, column: Ints) -> Ints:
        return column + (self.known.origin - self.true.origin)

    def came(self, key: Ints, column: Ints) -> npt.NDArray[np.bool_]:
        """Return windows x pairs: whether a first open came."""
        place = self.true_column(column)
        return np.stack([self.true.has_first_open(key, place, slots) for slots in self.reach.windows])


def train_model(opens: Opens, until: int, horizons: Horizons) -> BoostedModel:
    """Return the model learned from the opens before `until`, microseconds, and from nothing else."""
    past = _Past.of(opens.before(until), until, horizons)
    grid = past.known
    names = build_features(grid, np.zeros(0, np.int64), np.zeros(0, np.int64), past.siblings)[1]
    week = SeasonalBaseline.from_features(names, horizons.windows)
    ages = past.ages
    if not grid.key_count or len(ages) < _LEAST:
        return BoostedModel(horizons, week, past.siblings)
    part = min(_PART, len(ages) // 4)
    start, split, half = (
        int(grid.column_count - SLOTS_PER_DAY * ages[place]) for place in (-part - 1, part - 1, part // 2 - 1)
    )
    trial = _lesson(past, start, split - horizons.lifetime, _TRIAL_ROWS)
    if not can_learn(trial):
        return BoostedModel(horizons, week, past.siblings)
    parts: list[Classifier] = [week, LogisticClassifier.fit(trial), BoostedTrees.fit(trial)]
    blends = _blends(int(grid.firsts[:, -1].sum()))
    won = _compete(past, parts, blends, split, half)
    weights = blends[won.blend]
    lesson = _lesson(past, start, past.end, _ROWS)
    fitted: list[Classifier] = [
        week,
        LogisticClassifier.fit(lesson) if weights[1] else parts[1],
        BoostedTrees.fit(lesson) if weights[2] else parts[2],
    ]
    return replace(won, classifier=_blend(fitted, weights), holidays=HolidayEffect.fit(past.true))


def _blends(opens: int) -> dict[str, tuple[float, float, float]]:
    """Return what competes, the usual one first: weights of the rhythm, the regression and the trees.

    Args:
        opens: first opens to learn from. The more there are, the more can be left to trees.
    """
    trees = max(opens / (opens + _TRUST), _LEAST_TRUST)
    return {USUAL: (0.0, 1.0 - trees, trees), "week and linear": (0.5, 0.5, 0.0), SEASONAL_ONLY: (1.0, 0.0, 0.0)}


def _blend(parts: Sequence[Classifier], weights: Sequence[float]) -> Classifier:
    used = [(part, weight) for part, weight in zip(parts, weights, strict=True) if weight]
    return used[0][0] if len(used) == 1 else Ensemble(*map(list, zip(*used, strict=True)))


def _compete(
    past: _Past, parts: list[Classifier], blends: Mapping[str, Sequence[float]], split: int, half: int
) -> BoostedModel:
    """Play the held-back weeks with each blend; return the one that stays, calibrated on their first half.

    A model is at work for a week or less until it is trained again: how true its chances are weeks later tells little.
    """
    reach, chosen = past.reach, _some_accounts(past, split)
    columns = np.arange(split, past.end, reach.step, dtype=np.int64)
    course = Backtest(_only(past.true, chosen), past.true_column(columns), reach.lifetime)
    key, column = np.tile(chosen, len(columns)), np.repeat(columns, len(chosen))
    stated = predict_in_blocks(parts, past.known, key, column, past.siblings)

    def standing(weights: Sequence[float]) -> BacktestResult:
        value = warm_value(mean_of_odds(stated, weights), reach.windows, np.ones(1))
        return course.run(value.reshape(len(columns), len(chosen)))

    standings = {name: standing(weights) for name, weights in blends.items()}
    name = choose_best(standings)
    candidate, held = _blend(parts, blends[name]), _lesson(past, split, half, _HELD_ROWS)
    curve = calibrate(candidate.predict_proba(held.rows)[-1], held.labels[-1], held.weight).shrunk(_CURVE_TRUST)
    hits = {name: standing.hit_share for name, standing in standings.items()}
    return BoostedModel(reach, candidate, past.siblings, curve, name, hits, not standings[name].pays)


def _some_accounts(past: _Past, split: int) -> Ints:
    """Return the keys of a fair sample of accounts: some hundred, and more when few of them are opened."""
    grid = past.true
    order = np.random.default_rng(_SEED).permutation(len(grid.account_keys))
    key = np.argsort(np.argsort(order)[grid.account], kind="stable")
    opened = np.cumsum(grid.firsts[key, -1] - grid.firsts[key, split])
    enough = max(_COURSE_KEYS, int(np.searchsorted(opened, _COURSE_OPENS)) + 1)
    return np.sort(key[: min(enough, _MOST_COURSE_KEYS)]).astype(np.int64)


def _only(grid: OpenGrid, keys: Ints) -> OpenGrid:
    return replace(
        grid,
        opens=grid.opens[keys],
        firsts=grid.firsts[keys],
        account=grid.account[keys],
        zone_of=grid.zone_of[keys],
        report_kind_of=grid.report_kind_of[keys],
    )


def _lesson(past: _Past, start: int, end: int, rows: int) -> TrainingSet:
    """Draw pairs of worked days in `[start, end)`: more of those near an open, weighted by what they stand for."""
    generator, grid = np.random.default_rng(_SEED), past.known
    columns = past.worked(start, end)
    pairs = len(columns) * grid.key_count
    drawn = min(pairs, 20 * rows)
    flat = generator.choice(pairs, drawn, replace=False) if drawn < pairs else np.arange(pairs)
    key, column = flat % grid.key_count, columns[flat // grid.key_count]
    came = past.came(key, column)
    account = grid.account[key]
    busy = grid.account_opens[account, column] > grid.account_opens[account, np.maximum(column - 12, 0)]
    share = np.where(came[0], 1.0, np.where(came[-1] | busy, 0.5, 0.1))
    share *= min(1.0, rows / share.sum())
    kept = generator.random(drawn) < share
    key, column, weight = key[kept], column[kept], pairs / drawn / share[kept]
    found, names = build_features(grid, key, column, past.siblings)
    return TrainingSet(found, names, weight, came[:, kept])
