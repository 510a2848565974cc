"""What a forecast could learn from a log: days, keys and first opens, beside what training, review and replay need."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from adwarm.forecast.training import HOLDOUT_PERIOD, MIN_LOG_BEFORE_HOLDOUT, MIN_WORKING_DAYS
from adwarm.foundation.arrow_arrays import DictionaryEncoder, Ints, to_numpy
from adwarm.patterns.opens import KEY_COLUMNS, first_open_mask
from adwarm.replay import MIN_REPLAY_TEST, MIN_REPLAY_TRAINING, MIN_TRAINING, WEEK

REPLAY_MIN_OPENS = 20
"""Opens that a key needs in a replay unless `--min-opens` says otherwise."""
_DAY_MICROS = 86_400_000_000
_NEVER = np.iinfo(np.int64).min // 2
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
    """Opens and first opens by key. Keys are added day by day, and kept in the order of their packed number."""

    def __init__(self) -> None:
        self._encoders = {name: DictionaryEncoder() for name in KEY_COLUMNS}
        self.keys: Ints = np.empty(0, np.int64)
        self._opens: Ints = np.empty(0, np.int64)
        self._firsts: Ints = np.empty(0, np.int64)
        self._last: Ints = np.empty(0, np.int64)

    @property
    def opens(self) -> Ints:
        """Opens by key."""
        return self._opens

    @property
    def first_opens(self) -> Ints:
        """First opens by key."""
        return self._firsts

    @property
    def accounts(self) -> int:
        """Number of accounts."""
        return len(self._encoders["account_id"].values)

    def add_day(self, table: pa.Table) -> int:
        """Count the slots of the next day, and return its opens."""
        batches = [self._columns(batch) for batch in table.to_batches() if batch.num_rows]
        if not batches:
            return 0
        key, opens, first, last = (np.concatenate(columns) for columns in zip(*batches, strict=True))
        row = self._rows(key)
        is_present = np.zeros(len(self.keys), np.bool_)
        is_present[row] = True
        present = np.flatnonzero(is_present)
        # The last open of each key before this day decides whether its first one of the day is a first open.
        before = self._last[present]
        row, opens = np.concatenate([present, row]), np.concatenate([np.zeros(len(present), np.int64), opens])
        first, last = np.concatenate([before, first]), np.concatenate([before, last])
        order = np.lexsort((first, row))
        row, opens = row[order], opens[order]
        is_first = first_open_mask(row, first[order], last[order]) & (opens > 0)
        np.add.at(self._opens, row, opens)
        np.add.at(self._firsts, row, is_first)
        np.maximum.at(self._last, row, last[order])
        return int(opens.sum())

    def _columns(self, batch: pa.RecordBatch) -> tuple[Ints, Ints, Ints, Ints]:
        key = np.zeros(batch.num_rows, np.int64)
        for name in KEY_COLUMNS:
            key = (key << _BITS[name]) | self._encoders[name].encode_column(batch.column(name))
        opens = np.asarray(to_numpy(batch.column("opens"))).astype(np.int64)
        first, last = (np.asarray(to_numpy(batch.column(name))).astype(np.int64) for name in ("first_ts", "last_ts"))
        return key, opens, first, last

    def _rows(self, key: Ints) -> Ints:
        """Return the row of each key, after adding the new ones."""
        row = np.searchsorted(self.keys, key)
        is_new = np.append(self.keys, -1)[row] != key
        if not is_new.any():
            return row
        new = np.unique(key[is_new])
        at = np.searchsorted(self.keys, new)
        for name, values in (("keys", new), ("_opens", 0), ("_firsts", 0), ("_last", _NEVER)):
            setattr(self, name, np.insert(getattr(self, name), at, values))
        return np.searchsorted(self.keys, key)


def measure_learnable(days: Iterable[tuple[int, pa.Table]], history_days: int) -> Learnable:
    """Return what a forecast could learn from slots.

    Args:
        days: each UTC day with its slots, in order; memory is bounded by one day and the number of keys.
    """
    counts, opens_by_day = _KeyCounts(), {}
    first, last = None, None
    for day, table in days:
        opens_by_day[day] = counts.add_day(table)
        ends = pc.min_max(table["first_ts"].cast(pa.int64())), pc.max(table["last_ts"].cast(pa.int64()))
        first, last = first if first is not None else ends[0]["min"].as_py(), ends[1].as_py()
    if first is None or last is None:
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
    with_opens = sum(map(bool, opens_by_day.values()))
    recent = sum(day > max(opens_by_day) - history_days for day in opens_by_day)
    return Learnable(
        opens=sum(opens_by_day.values()),
        first_opens=int(counts.first_opens.sum()),
        accounts=counts.accounts,
        keys=len(counts.keys),
        days_with_opens=with_opens,
        days_without_opens=max(opens_by_day) - min(opens_by_day) + 1 - with_opens,
        first_opens_per_key=float(np.median(counts.first_opens)),
        keys_with_enough_opens=int(np.count_nonzero(counts.opens >= REPLAY_MIN_OPENS)),
        requirements=_list_requirements((last - first) // _DAY_MICROS, recent),
    )


def _list_requirements(span_days: int, recent_days_with_opens: int) -> tuple[Requirement, ...]:
    """Return what each use needs, by the rules of training, review and replay themselves."""
    return (
        Requirement("comparing models on the last week", (HOLDOUT_PERIOD + MIN_LOG_BEFORE_HOLDOUT).days, span_days),
        Requirement("the adwarm model", MIN_WORKING_DAYS, recent_days_with_opens, "recent days with opens"),
        Requirement("adwarm replay", (MIN_REPLAY_TRAINING + MIN_REPLAY_TEST).days, span_days),
        Requirement("policy review", (MIN_TRAINING + WEEK).days, span_days),
    )
