"""The adwarm model: trained on opens up to a moment, it says how likely a first open is, soon and in an entry's life.

Training holds back the last weeks, lets plain and able candidates compete on them, calibrates the winner there, and
fits it again on everything. A model is a pure function of the opens before that moment and of the terms.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from adwarm.forecast.calibration import Calibration, calibrate
from adwarm.forecast.candidates import Boosted, Candidate, Lesson, Linear, Mixture, Rhythm, can_learn, mixed
from adwarm.forecast.choosing import URGENCIES, Course, best, worth
from adwarm.forecast.features import features
from adwarm.forecast.grid import DAY, SLOT, WEEK, OpenGrid, Rows
from adwarm.patterns.opens import Opens

Floats = npt.NDArray[np.float64]
HISTORY = 8 * WEEK * SLOT
"""How far back the model looks, microseconds."""
_BLEND = {
    "week": (1.0, 0.0, 0.0), "week and linear": (0.5, 0.5, 0.0), "linear": (0.0, 1.0, 0.0),
    "linear and trees": (0.0, 0.5, 0.5), "mostly trees": (0.0, 0.2, 0.8), "trees": (0.0, 0.0, 1.0),
}  # fmt: skip
_ROWS, _TRIAL_ROWS, _COURSE_KEYS = 80_000, 50_000, 200
_BLOCK = 60_000
_LEAST = 3 * WEEK
_SEED = 1_986


@dataclass(frozen=True, slots=True)
class Reach:
    """What is foretold, in quarters of an hour: until the next decision, and within the life of an entry.

    Attributes:
        delay: how long an open takes to become known, microseconds.
    """

    soon: int = 1
    life: int = 12
    delay: int = 0

    @property
    def decisions(self) -> float:
        """How many decisions are taken in the life of an entry."""
        return self.life / self.soon


@dataclass(frozen=True)
class AdwarmModel:
    """A trained model.

    Attributes:
        urgency: how much the coming minutes weigh against the whole life; see `worth`.
        choice: name of the candidate that won on the held-back weeks.
        hits: what each candidate hit there.
    """

    reach: Reach
    candidate: Candidate
    life: Calibration = field(default_factory=Calibration)
    urgency: float = URGENCIES[0]
    choice: str = "week"
    hits: dict[str, float] = field(default_factory=dict)

    def judge(self, grid: OpenGrid, key: Rows, column: Rows) -> tuple[Floats, Floats]:
        """Return, per pair of key and column, what a warm is worth, and the chance of a first open within the life.

        The order of warms is that of the chances as the candidate states them: it won the competition with those.
        """
        soon, life = _in_blocks(self.candidate, grid, key, column)
        chance = self.life(life)
        return worth(soon * self.reach.decisions, life, chance, self.urgency), chance


def train(known: Opens, until: int, reach: Reach) -> AdwarmModel:
    """Return the model learned from the opens before `until`, microseconds, and from nothing else."""
    known = known.before(until)
    grid = OpenGrid.of(known, until, since=until - HISTORY, delay=reach.delay)
    names = features(grid, np.zeros(0, np.int64), np.zeros(0, np.int64))[1]
    week = Rhythm.of(names, "week", reach.soon, reach.life)
    end = grid.columns - reach.life
    start = min(2 * WEEK, grid.columns // 4)
    held = max(min(2 * WEEK, grid.columns // 4) // DAY * DAY, DAY)
    split = grid.columns - held
    if not grid.keys or grid.columns < _LEAST:
        return AdwarmModel(reach, week)
    trial = _lesson(grid, start, split - reach.life, reach, _TRIAL_ROWS)
    if not can_learn(trial):
        return AdwarmModel(reach, week)
    parts: list[Candidate] = [week, Linear.fit(trial), Boosted.fit(trial)]
    won = _compete(grid, parts, split, end, reach)
    weights = _BLEND[won.choice]
    lesson = _lesson(grid, start, end, reach, _ROWS)
    fitted: list[Candidate] = [
        week,
        Linear.fit(lesson) if weights[1] else parts[1],
        Boosted.fit(lesson) if weights[2] else parts[2],
    ]
    return replace(won, candidate=_blend(fitted, weights))


def _blend(parts: Sequence[Candidate], weights: Sequence[float]) -> Candidate:
    used = [(part, weight) for part, weight in zip(parts, weights, strict=True) if weight]
    return used[0][0] if len(used) == 1 else Mixture(*map(list, zip(*used, strict=True)))


def _compete(grid: OpenGrid, parts: list[Candidate], split: int, end: int, reach: Reach) -> AdwarmModel:
    """Play the held-back weeks with each blend, then with each urgency; return the winner, calibrated there."""
    chosen = _some_accounts(grid)
    columns = np.arange(split, end, reach.soon, dtype=np.int64)
    course = Course(_only(grid, chosen), columns, reach.life)
    key, column = np.tile(chosen, len(columns)), np.repeat(columns, len(chosen))
    stated = _all_in_blocks(parts, grid, key, column)

    def hits_of(name: str, urgency: float) -> float:
        soon, life = mixed(stated, _BLEND[name])
        return course.hits(worth(soon * reach.decisions, life, life, urgency).reshape(len(columns), len(chosen)))

    hits = {name: hits_of(name, URGENCIES[0]) for name in _BLEND}
    name = best(hits)
    urgency = best({weight: hits_of(name, weight) for weight in URGENCIES})
    life = mixed(stated, _BLEND[name])[1]
    curve = calibrate(life, grid.happened(key, column, reach.life), np.ones(len(key)))
    return AdwarmModel(reach, _blend(parts, _BLEND[name]), curve, urgency, name, hits)


def _some_accounts(grid: OpenGrid) -> Rows:
    """Return the keys of a fair sample of accounts, at most some hundreds."""
    if grid.keys <= _COURSE_KEYS:
        return np.arange(grid.keys, dtype=np.int64)
    order = np.random.default_rng(_SEED).permutation(len(grid.account_keys))
    rank = np.argsort(order)[grid.account]
    return np.sort(np.argsort(rank, kind="stable")[:_COURSE_KEYS]).astype(np.int64)


def _only(grid: OpenGrid, keys: Rows) -> OpenGrid:
    return replace(
        grid, opens=grid.opens[keys], firsts=grid.firsts[keys], account=grid.account[keys], zone_of=grid.zone_of[keys]
    )


def _lesson(grid: OpenGrid, start: int, end: int, reach: Reach, rows: int) -> Lesson:
    """Draw pairs with a column in `[start, end)`: more of those near an open, weighted by what they stand for."""
    generator = np.random.default_rng(_SEED)
    pairs = (end - start) * grid.keys
    drawn = min(pairs, 20 * rows)
    flat = generator.choice(pairs, drawn, replace=False) if drawn < pairs else np.arange(pairs)
    key, column = flat % grid.keys, start + flat // grid.keys
    soon, life = grid.happened(key, column, reach.soon), grid.happened(key, column, reach.life)
    account = grid.account[key]
    busy = grid.account_opens[account, column] > grid.account_opens[account, np.maximum(column - 12, 0)]
    share = np.where(soon, 1.0, np.where(life | busy, 0.5, 0.1))
    share *= min(1.0, rows / share.sum())
    kept = generator.random(drawn) < share
    key, column, weight = key[kept], column[kept], pairs / drawn / share[kept]
    found, names = features(grid, key, column)
    return Lesson(found, names, weight, soon[kept], life[kept])


def _in_blocks(model: Candidate, grid: OpenGrid, key: Rows, column: Rows) -> tuple[Floats, Floats]:
    return _all_in_blocks([model], grid, key, column)[0]


def _all_in_blocks(models: list[Candidate], grid: OpenGrid, key: Rows, column: Rows) -> list[tuple[Floats, Floats]]:
    """Ask all models, some ten thousand pairs at a time, so that memory stays small."""
    stated = [(np.zeros(len(key)), np.zeros(len(key))) for _ in models]
    for start in range(0, len(key), _BLOCK):
        block = slice(start, start + _BLOCK)
        rows, _ = features(grid, key[block], column[block])
        for model, (soon, life) in zip(models, stated, strict=True):
            soon[block], life[block] = model.chances(rows)
    return stated
