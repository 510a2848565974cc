"""The seam every forecast model fits. Callers see keys, probabilities and a training window, never the insides."""

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
    """What is known when a forecast is asked.

    Attributes:
        opens: of the last weeks; those at or after `until` are not looked at.
        until: UTC; up to where the log is known.
    """

    opens: Opens
    until: datetime


class Forecast(Protocol):
    """A trained model. It is a pure function of the opens before `trained_until` and the settings.

    What it says is a pure function of that, the asked time, and the opens it is shown.
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
        """What the model looks at, in words."""
        ...

    @property
    def keys(self) -> pd.DataFrame:
        """The keys it knows: account_id, date_range, report, time_zone."""
        ...

    @property
    def lookback(self) -> timedelta:
        """How far before the asked moment it wants to see opens; zero when it goes by what it learned alone."""
        ...

    def predict(
        self, start: datetime, horizon: timedelta, recent: RecentOpens | None = None, *, floor: float = ...
    ) -> pd.DataFrame:
        """Return the chance of a first open per key and reader's hour in `[start, start + horizon)`.

        One row per key and hour whose probability is above `floor`, sorted by key and time, with PROBABILITY_COLUMNS:
        `slot_start` and `slot_end` (UTC) bound the part of the local hour inside the asked time, `probability` is for
        that part, `predicted_open` (UTC) is an early guess of the open inside it, `opens` and `weeks` are the evidence:
        in how many of how many occurrences of that hour of the week the key was opened; `hour_of_week` (0 is Monday
        midnight) and `time_zone` are the reader's.

        Args:
            recent: the opens of the time it looks back on. Without them it goes by what it learned alone.
        """
        ...

    def to_bytes(self) -> bytes:
        """Return the stored form: data only, no code."""
        ...
