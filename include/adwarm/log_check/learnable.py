"""What a forecast could learn from a log: days, keys and first opens, beside what training, review and replay need."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from adwarm.forecast.training import HOLDOUT_PERIOD, MIN_LOG_BEFORE_HOLDOUT, MIN_WORKING_DAYS
from adwarm.foundation.arrow_arrays import DictionaryEncoder, Ints, to_numpy
from adwarm.foundation.local_hours import DAY_MICROS
from adwarm.patterns.opens import KEY_COLUMNS, FirstOpenFinder
from adwarm.patterns.slot_counts import CellCounts
from adwarm.replay import MIN_REPLAY_TEST, MIN_REPLAY_TRAINING, MIN_TRAINING, WEEK

REPLAY_MIN_OPENS = 20
"""Opens that a key needs in a replay unless `--min-opens` says otherwise."""
_BITS = {"account_id": 28, "date_range": 24, "report": 11}


@dataclass(frozen=True, slots=True)
class Requirement:
    """How many days one use of the log needs, and has.

    Attributes:
        unit: days of log, or days with opens.
    """

    use: str
    needs_days: int
    has_days: int
    unit: str = "days of log"

    @property
    def missing_days(self) -> int:
        """How many more days it needs."""
        return max(self.needs_days - self.has_days, 0)


def count_days(days: int, unit: str, more: str = "") -> str:
    """Return `3 days of log`, `1 more day of log` and the like; `more` stands before the unit."""
    return f"{days} {more}{unit.replace('days', 'day', 1) if days == 1 else unit}"


@dataclass(frozen=True, slots=True)
class Learnable:
    """What a forecast could learn.

    Attributes:
        first_opens: those after 30 quiet minutes of their key.
        days_with_opens: UTC days with a human open.
        days_without_opens: UTC days between the first and the last open without one.
        first_opens_per_key: the median.
        keys_with_enough_opens: keys with `REPLAY_MIN_OPENS` opens or more.
    """

    opens: int
    first_opens: int
    accounts: int
    keys: int
    days_with_opens: int
    days_without_opens: int
    first_opens_per_key: float
    keys_with_enough_opens: int
    requirements: tuple[Requirement, ...] = ()


class _KeyCounts:
    """Opens and first opens by key, which packs the codes of account, range and report into one number."""

    def __init__(self) -> None:
        self.opens, self.first_opens = CellCounts(), CellCounts()
        self._encoders = {name: DictionaryEncoder() for name in KEY_COLUMNS}
        self._finder = FirstOpenFinder()

    @property
    def accounts(self) -> int:
        """Number of accounts."""
        return len(self._encoders["account_id"].values)

    def add(self, table: pa.Table) -> None:
        """Count slots, which are of later days than those before."""
        columns = zip(*map(self._columns, table.to_batches()), strict=True)
        key, opens, first, last = (np.concatenate(parts) for parts in columns)
        order = np.lexsort((first, key))
        key = key[order]
        self.opens.add(key, opens[order])
        self.first_opens.add(key, self._finder.find(key, first[order], last[order]).astype(np.int64))

    def _columns(self, batch: pa.RecordBatch) -> tuple[Ints, Ints, Ints, Ints]:
        key = np.zeros(batch.num_rows, np.int64)
        for name in KEY_COLUMNS:
            key = (key << _BITS[name]) | self._encoders[name].encode_column(batch.column(name))
        opens = np.asarray(to_numpy(batch.column("opens"))).astype(np.int64)
        first, last = (np.asarray(to_numpy(batch.column(name))).astype(np.int64) for name in ("first_ts", "last_ts"))
        return key, opens, first, last


def measure_learnable(tables: Iterable[pa.Table], history_days: int) -> Learnable:
    """Return what a forecast could learn from slots.

    Args:
        tables: slots by UTC day, in order; memory is bounded by one table and the number of keys.
    """
    counts, days = _KeyCounts(), set[int]()
    first, last = None, 0
    for table in tables:
        if not len(table):
            continue  # reloads only
        counts.add(table)
        opened, last_opened = to_numpy(table["first_ts"]), to_numpy(table["last_ts"])
        days.update(np.unique(opened // DAY_MICROS).tolist())
        first, last = int(opened.min()) if first is None else first, int(last_opened.max())
    if first is None:
        return Learnable(
            opens=0,
            first_opens=0,
            accounts=0,
            keys=0,
            days_with_opens=0,
            days_without_opens=0,
            first_opens_per_key=0.0,
            keys_with_enough_opens=0,
            requirements=_list_requirements(0, 0),
        )
    (keys, opens), (_, first_opens) = counts.opens.merge(), counts.first_opens.merge()
    newest = max(days)
    recent = sum(day > newest - history_days for day in days)
    return Learnable(
        opens=int(opens.sum()),
        first_opens=int(first_opens.sum()),
        accounts=counts.accounts,
        keys=len(keys),
        days_with_opens=len(days),
        days_without_opens=newest - min(days) + 1 - len(days),
        first_opens_per_key=float(np.median(first_opens)),
        keys_with_enough_opens=int(np.count_nonzero(opens >= REPLAY_MIN_OPENS)),
        requirements=_list_requirements((last - first) // DAY_MICROS, recent),
    )


def _list_requirements(span_days: int, recent_days_with_opens: int) -> tuple[Requirement, ...]:
    """Return what each use needs, by the rules of training, review and replay themselves."""
    return (
        Requirement("comparing models on the last week", (HOLDOUT_PERIOD + MIN_LOG_BEFORE_HOLDOUT).days, span_days),
        Requirement("the adwarm model", MIN_WORKING_DAYS, recent_days_with_opens, "recent days with opens"),
        Requirement("adwarm replay", (MIN_REPLAY_TRAINING + MIN_REPLAY_TEST).days, span_days),
        Requirement("policy review", (MIN_TRAINING + WEEK).days, span_days),
    )
