"""The interface of every forecast: keys, probabilities and the training window."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import pandas as pd

from adwarm.patterns.opens import Opens

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


@dataclass(frozen=True)
class RecentOpens:
    """The opens that are known when a forecast predicts.

    Attributes:
        opens: of the last weeks; those at or after `until` are ignored.
        until: end of the known log, UTC.
    """

    opens: Opens
    until: datetime


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
        Monday midnight) and `time_zone` are the reader's.

        Args:
            start: UTC.
            horizon: length of the predicted time.
            recent: the opens of the lookback. Without them the forecast uses only what it learned in training.
            floor: rows with this probability or less are left out.
        """
        ...

    def to_bytes(self) -> bytes:
        """Return the stored form: data, no code."""
        ...
