"""Evaluates a forecast on held-out time: its chances at every decision, compared with the opens that followed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from adwarm.access_log.timestamps import from_micros, to_micros
from adwarm.forecast.features.grid import SLOT_MICROS, SLOTS_PER_DAY, OpenGrid, PopulationTotals
from adwarm.forecast.models.boosted import BoostedForecast, chance_in_part
from adwarm.forecast.models.classifiers import Calibration, calibrate
from adwarm.forecast.models.seasonal import SeasonalForecast
from adwarm.forecast.protocol import KEY_COLUMNS, data_cutoff_at
from adwarm.forecast.training.backtest import Backtest
from adwarm.foundation.arrow_arrays import Bools, Floats, Ints
from adwarm.foundation.local_time import WEEK_HOURS
from adwarm.patterns.opens import Opens
from adwarm.settings import Settings

MIN_LIKELY_CHANCE = 0.1
"""Calibration is measured over cases with at least this chance."""
CALIBRATION_BINS = 10
SAMPLE_KEYS = 300
"""Keys to evaluate, of randomly drawn accounts."""
_SEED = 515
_TINY = 1e-6
_QUARTERS = 4


@dataclass(frozen=True, slots=True)
class Metrics:
    """Quality of predicted chances of a first open within the lifetime of an entry.

    Attributes:
        hits: share of first opens served fresh, averaged over 1.25 to 3 times the calls of no warming.
        skill: 1 - brier / brier of predicting the base rate everywhere.
        ece: mean gap between predicted and true share, over ten bins of equal size, where the chance is at least
            `MIN_LIKELY_CHANCE`.
        likely_share: share of the cases that `ece` covers.
        base_rate: share of the cases with a first open.
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
    """Held-out time with a sample of keys to evaluate.

    Attributes:
        grid: the opens of the sampled keys, up to the end of that time.
        keys: the grid's keys: account_id, date_range, report.
        columns: the decisions.
        cutoff_columns: per decision, the column up to which opens are known then.
        lifetime: how long an entry is fresh, in slots of 15 minutes.
    """

    grid: OpenGrid
    keys: pd.DataFrame
    columns: Ints
    cutoff_columns: Ints
    lifetime: int

    @classmethod
    def from_opens(
        cls, opens: Opens, since: datetime, until: datetime, settings: Settings, lifetime: int
    ) -> "Holdout | None":
        """Return the holdout between two moments of a log, or None when it has no key or no decision."""
        start, end = to_micros(since), to_micros(until)
        opens = opens.before(end)
        sample = opens.select_keys(sample_keys(opens.account[: opens.before(start).key_count], SAMPLE_KEYS))
        grid = OpenGrid.from_opens(sample, end, population=PopulationTotals.from_opens(opens, end))
        step = max(1, settings.step // timedelta(microseconds=SLOT_MICROS))
        columns = np.arange(grid.column(start), grid.column_count - lifetime, step, dtype=np.int64)
        if not grid.key_count or not len(columns):
            return None
        moments = [from_micros(int(column + grid.origin) * SLOT_MICROS) for column in columns]
        cutoffs = np.array([grid.column(to_micros(data_cutoff_at(at, settings))) for at in moments], np.int64)
        keys = pd.DataFrame(dict(zip(KEY_COLUMNS, (sample.account_id, sample.date_range, sample.report), strict=True)))
        return cls(grid, keys, columns, cutoffs, lifetime)

    def evaluate(self, forecast: SeasonalForecast | BoostedForecast) -> tuple[Metrics, Calibration]:
        """Return the metrics of a forecast trained on the time before, and the calibration fitted on the holdout.

        The metrics are of calibrated chances, each day's by a calibration that was fitted on the other days. A
        `SeasonalForecast` is not calibrated.
        """
        key = np.tile(np.arange(self.grid.key_count, dtype=np.int64), len(self.columns))
        column = np.repeat(self.columns, self.grid.key_count)
        happened = self.grid.has_first_open(key, column, self.lifetime)
        chance = self._chances(forecast, key, column)
        calibration = Calibration()
        if isinstance(forecast, BoostedForecast):
            calibration = _calibrate(chance, happened)
            is_odd_day = column // SLOTS_PER_DAY % 2 == 1
            by_even_days = _calibrate(chance[~is_odd_day], happened[~is_odd_day])
            by_odd_days = _calibrate(chance[is_odd_day], happened[is_odd_day])
            chance = np.where(is_odd_day, by_even_days(chance), by_odd_days(chance))
        backtest = Backtest(self.grid, self.columns, self.lifetime)
        hits = backtest.hit_share(chance.reshape(len(self.columns), self.grid.key_count))
        return _metrics(chance, happened, hits), calibration

    def _chances(self, forecast: SeasonalForecast | BoostedForecast, key: Ints, column: Ints) -> Floats:
        """Return the chance of a first open within the lifetime, as predicted at each decision."""
        seasonal = forecast.seasonal if isinstance(forecast, BoostedForecast) else forecast
        hazard = self._hazards(seasonal)
        coming = hazard[key, column + self.lifetime] - hazard[key, column]
        if not isinstance(forecast, BoostedForecast):
            chance: Floats = -np.expm1(-coming)
            return chance
        cutoff, lifetime = np.repeat(self.cutoff_columns, self.grid.key_count), forecast.model.horizons.lifetime
        total = hazard[key, np.minimum(cutoff + lifetime, self.grid.column_count)] - hazard[key, cutoff]
        modeled = forecast.model.predict(self.grid, key, cutoff)[1]
        return chance_in_part(modeled, np.minimum(coming, total), total, min(1.0, self.lifetime / lifetime))

    def _hazards(self, seasonal: SeasonalForecast) -> Floats:
        """Return, per key and column, the opens that the weekly profile expects left of the column."""
        profile_keys = pd.MultiIndex.from_frame(seasonal.keys[KEY_COLUMNS])
        rows = np.asarray(profile_keys.get_indexer(pd.MultiIndex.from_frame(self.keys)))
        rates = np.stack([seasonal.rates(hour)[rows] * (rows >= 0) for hour in range(WEEK_HOURS)], axis=1)
        expected = -np.log1p(-np.minimum(rates / _QUARTERS, 1.0 - _TINY))
        columns = np.arange(self.grid.column_count)
        total = np.zeros((self.grid.key_count, self.grid.column_count + 1))
        for key in range(self.grid.key_count):
            hour = self.grid.local(np.full(len(columns), key), columns) // _QUARTERS % WEEK_HOURS
            total[key, 1:] = np.cumsum(expected[key, hour])
        return total


def _calibrate(chance: Floats, happened: Bools) -> Calibration:
    return calibrate(chance, happened, np.ones(len(chance)))


def _metrics(chance: Floats, happened: Bools, hits: float) -> Metrics:
    rate = float(happened.mean())
    brier, brier_of_rate = float(np.mean((chance - happened) ** 2)), rate * (1.0 - rate)
    # A chance of exactly 0 or 1 that is wrong would make the log loss infinite.
    bounded = np.clip(chance, _TINY, 1.0 - _TINY)
    likely = chance >= MIN_LIKELY_CHANCE
    return Metrics(
        hits=hits,
        brier=brier,
        skill=1.0 - brier / brier_of_rate if brier_of_rate else 0.0,
        log_loss=-float(np.mean(np.where(happened, np.log(bounded), np.log1p(-bounded)))),
        ece=_ece(chance[likely], happened[likely]),
        likely_share=float(likely.mean()),
        base_rate=rate,
        cases=float(len(chance)),
    )


def _ece(chance: Floats, happened: Bools) -> float:
    order = np.argsort(chance, kind="stable")
    bins: Sequence[Ints] = [part for part in np.array_split(order, CALIBRATION_BINS) if len(part)]
    gaps = [len(part) * abs(float(chance[part].mean() - happened[part].mean())) for part in bins]
    return sum(gaps) / len(order) if len(order) else 0.0


def sample_keys(account: npt.NDArray[np.int32], max_keys: int) -> Ints:
    """Return at most `max_keys` keys, numbered as in `account`, of accounts drawn with a fixed seed."""
    rank = np.random.default_rng(_SEED).permutation(int(account.max(initial=-1)) + 1)
    return np.sort(np.argsort(rank[account], kind="stable")[:max_keys]).astype(np.int64)
