"""The interface of every forecast: keys, probabilities and the training window.

Opens after the moment up to which the log counts as known are ignored even when they are known already, so that
planning again later gives the same plan.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
import pandas as pd

from adwarm.foundation.arrow_arrays import Bools, Floats, Ints
from adwarm.foundation.clock import floor_to
from adwarm.foundation.local_time import LocalSlot
from adwarm.patterns.opens import Opens
from adwarm.settings import Settings

KEY_COLUMNS = ["account_id", "date_range", "report"]
PROBABILITY_COLUMNS = [
    *KEY_COLUMNS,
    "slot_start",
    "slot_end",
    "probability",
    "predicted_open",
    "opens",
    "weeks",
    "hour_of_week",
    "time_zone",
]
SlotChance = tuple[LocalSlot, Floats]
"""A part of a local hour, and the chance of a first open in it per key."""
_MAX_CHANCE = 1.0 - 1e-9
ARRIVAL_DELAY = timedelta(minutes=5)
"""Time that an event may take to reach the log, and an ingest to finish."""


@dataclass(frozen=True)
class RecentOpens:
    """The opens that are known when a forecast predicts.

    Attributes:
        opens: of the last weeks; those at or after `until` are ignored.
        until: end of the known log, UTC.
    """

    opens: Opens
    until: datetime


@dataclass(frozen=True)
class SlotChances:
    """What a forecast predicts from one moment on, as arrays; `Forecast.to_frame` makes a frame of it.

    Attributes:
        start: begin of the predicted time, UTC.
        key_count: number of rows of `Forecast.keys`.
        zones: per reader zone, the rows of its keys in `Forecast.keys`, and the slots of the predicted time in order.
    """

    start: datetime
    key_count: int
    zones: Sequence[tuple[Ints, Sequence[SlotChance]]]

    def get_chance_until(self, end: datetime) -> Floats:
        """Return, per key, the chance of a first open before `end`; a slot that `end` cuts counts in part."""
        log_none = np.zeros(self.key_count)
        for rows, slots in self.zones:
            for slot, chance in slots:
                share = min(1.0, (end - slot.start) / (slot.end - slot.start))
                if share > 0:
                    log_none[rows] += share * np.log1p(-np.minimum(chance, _MAX_CHANCE))
        result: Floats = -np.expm1(log_none)
        return result

    def find_likely(self, end: datetime, floor: float) -> Bools:
        """Return, per key, whether a slot that begins before `end` has a chance above `floor`."""
        likely = np.zeros(self.key_count, np.bool_)
        for rows, slots in self.zones:
            for slot, chance in slots:
                if slot.start < end:
                    likely[rows] |= chance > floor
        return likely


class Forecast(Protocol):
    """A trained forecast: a pure function of the opens before `trained_until` and of the settings.

    Its predictions depend on that, on the predicted time, and on the recent opens passed in; on nothing else.
    """

    @property
    def kind(self) -> str:
        """Name of the model, such as `hour_of_week`."""
        ...

    @property
    def version(self) -> str:
        """Version of the model's stored form."""
        ...

    @property
    def id(self) -> str:
        """SHA-256 in hex of everything the model learned; equal models have equal ids."""
        ...

    @property
    def trained_from(self) -> datetime:
        """Start of the observed time, UTC."""
        ...

    @property
    def trained_until(self) -> datetime:
        """End of the observed time, UTC; nothing at or after it was seen."""
        ...

    @property
    def features(self) -> list[str]:
        """The groups of features, described for humans."""
        ...

    @property
    def keys(self) -> pd.DataFrame:
        """The known keys: account_id, date_range, report, time_zone."""
        ...

    @property
    def lookback(self) -> timedelta:
        """How much history before the predicted time `predict` uses; zero when it uses no recent opens."""
        ...

    def predict(
        self, start: datetime, horizon: timedelta, recent: RecentOpens | None = None, *, floor: float = ...
    ) -> pd.DataFrame:
        """Return the chance of a first open per key and local hour in `[start, start + horizon)`.

        One row per key and hour whose probability is above `floor`, sorted by key and time, with PROBABILITY_COLUMNS:
        `slot_start` and `slot_end` (UTC) bound the part of the local hour inside the predicted time, `probability` is
        for that part, `predicted_open` (UTC) is an early estimate of the open inside it, `opens` and `weeks` are the
        evidence: in how many of how many occurrences of that hour of the week the key was opened; `hour_of_week` (0 is
        Monday midnight) and `time_zone` are the reader's. Names are categories.

        Args:
            start: UTC.
            horizon: length of the predicted time.
            recent: the opens of the lookback. Without them the forecast uses only what it learned in training.
            floor: rows with this probability or less are left out.
        """
        ...

    def predict_series(
        self, starts: Sequence[datetime], horizon: timedelta, opens: Opens, cutoffs: Sequence[datetime]
    ) -> Iterator[SlotChances]:
        """Yield, for each of `starts`, what `predict` puts into a frame, given the opens before its cutoff.

        Much quicker than one call of `predict` for each. The look-back of all begins at the first cutoff's, so the
        later ones use up to a day more of an old log than `predict` does.

        Args:
            starts: UTC, ascending, less than about a day in all.
            horizon: length of the predicted time.
            opens: the log; for each start those at or after its cutoff are ignored.
            cutoffs: per start, end of the known log, UTC, ascending.
        """
        ...

    def to_frame(self, chances: SlotChances, *, floor: float, selected: Bools | None = None) -> pd.DataFrame:
        """Return the chances above `floor` as `predict` returns them.

        Args:
            chances: yielded by `predict_series`.
            floor: rows with this probability or less are left out.
            selected: per key, whether it is wanted; None: all are.
        """
        ...

    def focus(self, account_id: str) -> "Forecast":
        """Return a forecast that predicts the same for this account, quicker; other accounts may get other chances."""
        ...

    def to_bytes(self) -> bytes:
        """Return the stored form: data, no code."""
        ...


def data_cutoff_at(at: datetime, settings: Settings) -> datetime:
    """Return the cutoff of a decision at `at`: the last ingest of the log that has certainly finished."""
    return floor_to(at - ARRIVAL_DELAY, timedelta(minutes=settings.forecast.log_every_minutes))


def find_unseen(trained_until: datetime, settings: Settings) -> datetime:
    """Return a full hour from which on each decision's cutoff is no earlier than the end of a training."""
    step = timedelta(minutes=settings.forecast.log_every_minutes)
    return floor_to(trained_until + step + ARRIVAL_DELAY, timedelta(hours=1)) + timedelta(hours=1)


def max_data_age(settings: Settings) -> timedelta:
    """Return how long before a decision the cutoff is at most, for decisions every 15 minutes."""
    return timedelta(minutes=settings.forecast.log_every_minutes)
