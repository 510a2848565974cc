"""Counts repeated events in bounded memory: exactly while they fit, then on a sample that is drawn by hash."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from adwarm.access_log.log_reader import timestamp_column
from adwarm.access_log.timestamps import SECOND
from adwarm.foundation.arrow_arrays import to_numpy

NEAR_SECONDS = 2
"""Two opens of a key by the same class of reader within this time are a likely repeat, such as a double click."""
_KEY = ("account_id", "date_range", "report", "actor")
_MAX_CARRIED = 20_000

Hashes = npt.NDArray[np.uint64]


class RepeatCounter:
    """Counts exact repeats over the whole log, and opens of one key within `NEAR_SECONDS` in the order of the log.

    All batches must come from one `LogReader`, whose codes are the same in each of them.

    Args:
        limit: distinct events in memory, 8 bytes each. With more, a half is dropped by hash, and the count becomes an
            estimate.

    Attributes:
        near: opens within `NEAR_SECONDS` of the one before, exact repeats not included.
    """

    def __init__(self, limit: int = 1_000_000) -> None:
        self.near = 0
        self._limit = limit
        self._rate = 1
        self._seen: Hashes = np.empty(0, np.uint64)
        self._new: list[Hashes] = []
        self._new_count = 0
        self._exact = 0
        self._carried: tuple[npt.NDArray[np.int64], Hashes] = (np.empty(0, np.int64), np.empty(0, np.uint64))

    @property
    def is_estimate(self) -> bool:
        """Whether `exact` is estimated from a sample."""
        return self._rate > 1

    @property
    def exact(self) -> int:
        """How many events have the same time, key, zone and actor as one before them."""
        self._merge()
        return self._exact

    def add(self, batch: pa.RecordBatch) -> None:
        """Count a batch of events."""
        if not batch.num_rows:
            return
        moments = timestamp_column(batch)
        key = np.zeros(batch.num_rows, np.uint64)
        for name in _KEY:
            key = _mix(key ^ _codes(batch, name))
        event = _mix(_mix(key ^ _codes(batch, "time_zone")) ^ moments.view(np.uint64))
        sample = event if self._rate == 1 else event[event % np.uint64(self._rate) == 0]
        self._new.append(sample)
        self._new_count += len(sample)
        if self._new_count >= self._limit:
            self._merge()
        self._count_near(moments, key)

    def _merge(self) -> None:
        if self._new_count:
            everything = np.concatenate([self._seen, *self._new])
            self._seen = np.unique(everything)
            self._exact += (len(everything) - len(self._seen)) * self._rate
            self._new, self._new_count = [], 0
        while len(self._seen) > self._limit:
            self._rate *= 2
            self._seen = self._seen[self._seen % np.uint64(self._rate) == 0]

    def _count_near(self, moments: npt.NDArray[np.int64], key: Hashes) -> None:
        before = len(self._carried[0])
        moments, key = np.concatenate([self._carried[0], moments]), np.concatenate([self._carried[1], key])
        order = np.lexsort((moments, key))
        gap = np.diff(moments[order])
        is_near = (key[order][1:] == key[order][:-1]) & (gap > 0) & (gap <= NEAR_SECONDS * SECOND)
        is_new = np.maximum(order[1:], order[:-1]) >= before
        self.near += int(np.count_nonzero(is_near & is_new))
        last = np.flatnonzero(moments >= moments.max() - NEAR_SECONDS * SECOND)[-_MAX_CARRIED:]
        self._carried = (moments[last], key[last])


def _codes(batch: pa.RecordBatch, name: str) -> Hashes:
    return np.asarray(to_numpy(batch.column(name).indices)).astype(np.uint64)


def _mix(values: Hashes) -> Hashes:
    """Return well distributed hashes (the finalizer of SplitMix64)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
