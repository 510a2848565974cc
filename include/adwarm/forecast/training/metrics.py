"""How good a forecast is on time it has not seen: asked at every decision, compared with what was opened then."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from adwarm.access_log.timestamps import from_micros, to_micros
from adwarm.forecast.data_cutoff import data_cutoff_at
from adwarm.forecast.features.grid import SLOT_MICROS, SLOTS_PER_DAY, OpenGrid, PopulationTotals
from adwarm.forecast.models.boosted import BoostedForecast, chance_in_part
from adwarm.forecast.models.calibration import Calibration, calibrate
from adwarm.forecast.models.seasonal import SeasonalForecast
from adwarm.forecast.protocol import KEY_COLUMNS
from adwarm.forecast.training.backtest import Backtest
from adwarm.foundation.arrow_arrays import Bools, Floats, Ints
from adwarm.foundation.local_time import WEEK_HOURS
from adwarm.patterns.opens import Opens
from adwarm.settings import Settings

LIKELY = 0.1
"""Calibration is judged where the probability is at least this."""
MASS_BINS = 10
SAMPLE = 300
"""Keys that are asked about; of accounts drawn without looking at them."""
_SEED = 515
_TINY = 1e-6
_QUARTERS = 4


@dataclass(frozen=True, slots=True)
class Metrics:
    """How good stated chances of a first open within the life of an entry were.

    Attributes:
        hits: share of first opens served fresh, averaged over 1.25 to 3 times the calls of no warming.
        brier: mean squared error.
        skill: 1 - brier / brier of stating the base rate everywhere.
        log_loss: mean negative log likelihood.
        ece: mean gap between stated and true, over ten bins of equal size, where `LIKELY` or more was stated.
        likely_share: share of the cases that this is over.
        base_rate: share of the cases that came true.
        cases: keys times decisions.
    """

    hits: float
    brier: float
    skill: float
    log_loss: float
    ece: float
    likely_share: float
    base_rate: float
    cases: float

    def to_dict(self) -> dict[str, float]:
        """Return the numbers by name."""
        return asdict(self)


@dataclass(frozen=True)
class Holdout:
    """Time that is kept from training, and some keys to ask about.

    Attributes:
        grid: what was opened, up to the end of that time.
        names: of the grid's keys: account_id, date_range, report.
        columns: when decisions are taken.
        seen: per decision, the column up to which opens are known then.
        life: how long an entry is fresh, in quarters of an hour.
    """

    grid: OpenGrid
    names: pd.DataFrame
    columns: Ints
    seen: Ints
    life: int

    @classmethod
    def from_opens(
        cls, known: Opens, since: datetime, until: datetime, settings: Settings, life: int
    ) -> "Holdout | None":
        """Return what is held back between two moments of a log, or None when there is nothing to ask about."""
        start, end = to_micros(since), to_micros(until)
        known = known.before(end)
        some = known.select_keys(sample_keys(known.account[: known.before(start).key_count], SAMPLE))
        grid = OpenGrid.from_opens(some, end, population=PopulationTotals.from_opens(known, end))
        step = max(1, settings.step // timedelta(microseconds=SLOT_MICROS))
        columns = np.arange(grid.column(start), grid.column_count - life, step, dtype=np.int64)
        if not grid.key_count or not len(columns):
            return None
        moments = [from_micros(int(column + grid.origin) * SLOT_MICROS) for column in columns]
        seen = np.array([grid.column(to_micros(data_cutoff_at(at, settings))) for at in moments], np.int64)
        names = pd.DataFrame(dict(zip(KEY_COLUMNS, (some.account_id, some.date_range, some.report), strict=True)))
        return cls(grid, names, columns, seen, life)

    def evaluate(self, forecast: SeasonalForecast | BoostedForecast) -> tuple[Metrics, Calibration]:
        """Return how well a forecast did that was trained on the time before, and the curve that makes it come true.

        The score is of calibrated chances, each day's by a curve that was learned on the other days. The weekly rhythm
        has no curve.
        """
        key = np.tile(np.arange(self.grid.key_count, dtype=np.int64), len(self.columns))
        column = np.repeat(self.columns, self.grid.key_count)
        happened = self.grid.has_first_open(key, column, self.life)
        chance = self._stated(forecast, key, column)
        curve = Calibration()
        if isinstance(forecast, BoostedForecast):
            curve = _curve(chance, happened)
            odd = column // SLOTS_PER_DAY % 2 == 1
            chance = np.where(
                odd, _curve(chance[~odd], happened[~odd])(chance), _curve(chance[odd], happened[odd])(chance)
            )
        course = Backtest(self.grid, self.columns, self.life)
        hits = course.hit_share(chance.reshape(len(self.columns), self.grid.key_count))
        return _score(chance, happened, hits), curve

    def _stated(self, forecast: SeasonalForecast | BoostedForecast, key: Ints, column: Ints) -> Floats:
        """Return the chance of a first open within the life, as it is stated at each decision."""
        weekly = forecast.seasonal if isinstance(forecast, BoostedForecast) else forecast
        hazard = self._hazards(weekly)
        coming = hazard[key, column + self.life] - hazard[key, column]
        if not isinstance(forecast, BoostedForecast):
            plain: Floats = -np.expm1(-coming)
            return plain
        seen, life = np.repeat(self.seen, self.grid.key_count), forecast.model.reach.life
        whole = hazard[key, np.minimum(seen + life, self.grid.column_count)] - hazard[key, seen]
        told = forecast.model.predict(self.grid, key, seen)[1]
        return chance_in_part(told, np.minimum(coming, whole), whole, min(1.0, self.life / life))

    def _hazards(self, weekly: SeasonalForecast) -> Floats:
        """Return, per key and column, the opens that the rhythm expects left of the column."""
        named = pd.MultiIndex.from_frame(weekly.keys[KEY_COLUMNS])
        rows = np.asarray(named.get_indexer(pd.MultiIndex.from_frame(self.names)))
        rates = np.stack([weekly.rates(hour)[rows] * (rows >= 0) for hour in range(WEEK_HOURS)], axis=1)
        expected = -np.log1p(-np.minimum(rates / _QUARTERS, 1.0 - _TINY))
        columns = np.arange(self.grid.column_count)
        total = np.zeros((self.grid.key_count, self.grid.column_count + 1))
        for key in range(self.grid.key_count):
            hour = self.grid.local(np.full(len(columns), key), columns) // _QUARTERS % WEEK_HOURS
            total[key, 1:] = np.cumsum(expected[key, hour])
        return total


def _curve(chance: Floats, happened: Bools) -> Calibration:
    return calibrate(chance, happened, np.ones(len(chance)))


def _score(chance: Floats, happened: Bools, hits: float) -> Metrics:
    rate = float(happened.mean())
    brier, plain = float(np.square(chance - happened).mean()), rate * (1.0 - rate)
    sure = np.clip(np.where(happened, chance, 1.0 - chance), _TINY, 1.0)
    likely = chance >= LIKELY
    return Metrics(
        hits,
        brier,
        1.0 - brier / plain if plain else 0.0,
        float(-np.log(sure).mean()),
        _ece(chance[likely], happened[likely]),
        float(likely.mean()),
        rate,
        float(len(chance)),
    )


def _ece(chance: Floats, happened: Bools) -> float:
    order = np.argsort(chance, kind="stable")
    bins: Sequence[Ints] = [part for part in np.array_split(order, MASS_BINS) if len(part)]
    gaps = [len(part) * abs(float(chance[part].mean() - happened[part].mean())) for part in bins]
    return sum(gaps) / len(order) if len(order) else 0.0


def sample_keys(account: npt.NDArray[np.int32], most: int) -> Ints:
    """Return at most `most` keys, numbered as in `account`, of accounts that are drawn once and for all."""
    rank = np.random.default_rng(_SEED).permutation(int(account.max(initial=-1)) + 1)
    return np.sort(np.argsort(rank[account], kind="stable")[:most]).astype(np.int64)
