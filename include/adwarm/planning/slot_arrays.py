"""Probabilities as arrays: which slots are due, and what a warm before each of them would cover."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from adwarm.foundation.arrow_arrays import Floats, Ints
from adwarm.foundation.clock import utc

KEY_COLUMNS = ["account_id", "date_range", "report"]
_MAX_HORIZON_MS = 10**10
"""Milliseconds, about four months: further than any plan looks."""


@dataclass(frozen=True)
class SlotArrays:
    """Rows of a probabilities frame sorted by key and time; moments in milliseconds after the decision.

    `survival[i]` is the summed log chance that nothing is opened in the rows before `i`.
    """

    frame: pd.DataFrame
    key: Ints
    start: Ints
    end: Ints
    open: Ints
    probability: Floats
    survival: Floats

    @classmethod
    def from_frame(cls, probabilities: pd.DataFrame, decided_at: datetime) -> "SlotArrays":
        """Return the arrays of a frame as `Forecast.probabilities` gives it."""
        frame = probabilities.sort_values([*KEY_COLUMNS, "slot_start"], kind="stable", ignore_index=True)
        changed = np.arange(len(frame)) == 0
        for words in (frame[name].to_numpy() for name in KEY_COLUMNS):
            changed[1:] |= words[1:] != words[:-1]
        key: Ints = np.cumsum(changed, dtype=np.int64) - 1
        probability = np.clip(frame["probability"].to_numpy(np.float64), 0.0, 1.0 - 1e-9)
        survival = np.concatenate([[0.0], np.cumsum(np.log1p(-probability))])
        start, end, opens = (
            to_milliseconds(frame[name], decided_at) for name in ("slot_start", "slot_end", "predicted_open")
        )
        return cls(frame, key, start, end, opens, probability, survival)

    @property
    def key_count(self) -> int:
        """Number of keys."""
        return int(self.key[-1]) + 1 if len(self.key) else 0

    def get_remaining_chance(self) -> Floats:
        """Per row, the chance of an open in it or a later row of its key."""
        last = np.searchsorted(self.key, self.key, side="right")
        result: Floats = -np.expm1(self.survival[last] - self.survival[:-1])
        return result

    def get_coverage(self, rows: Ints, expiry: Ints) -> tuple[Floats, Floats]:
        """Return, for each of `rows`, the chance of an open from it until `expiry`, and the highest slot till then."""
        reach = np.clip(expiry, 0, _MAX_HORIZON_MS - 1)
        stop = np.searchsorted(self.key * _MAX_HORIZON_MS + self.start, self.key[rows] * _MAX_HORIZON_MS + reach)
        stop = np.maximum(stop, rows + 1)
        last = stop - 1
        length = np.maximum(self.end[last] - self.start[last], 1)
        share = np.clip((reach - self.start[last]) / length, 0.0, 1.0)
        tail = (1.0 - share) * np.log1p(-self.probability[last])
        chance: Floats = -np.expm1(self.survival[stop] - self.survival[rows] - tail)
        return np.maximum(chance, 0.0), self._highest(rows, stop)

    def _highest(self, rows: Ints, stop: Ints) -> Floats:
        if not len(rows):
            return np.zeros(0)
        padded = np.append(self.probability, 0.0)
        ends = np.stack([rows, stop], axis=1).ravel()
        highest: Floats = np.maximum.reduceat(padded, ends)[::2]
        return highest


def to_milliseconds(moments: pd.Series, decided_at: datetime) -> Ints:
    """Return milliseconds after `decided_at` of a column of UTC moments."""
    origin = np.datetime64(utc(decided_at).replace(tzinfo=None), "ms")
    values = pd.DatetimeIndex(moments).tz_convert("UTC").tz_localize(None).to_numpy()
    result: Ints = (values.astype("datetime64[ms]") - origin).astype(np.int64)
    return result
