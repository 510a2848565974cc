"""A figure that rises at once and falls slowly, as the insights throttle does: it may say 100 with no call running."""

from dataclasses import dataclass
from datetime import datetime


@dataclass
class Cooling:
    """The highest figure heard lately; what was heard halves every `half_life_seconds`, or at once when that is 0."""

    half_life_seconds: float
    value: float = 0.0
    at: datetime | None = None

    def heard(self, percent: float, now: datetime) -> float:
        """Return the figure at `now`, at which `percent` is really used."""
        seconds = 0.0 if self.at is None else max(0.0, (now - self.at).total_seconds())
        left = self.value * 0.5 ** (seconds / self.half_life_seconds) if self.half_life_seconds else 0.0
        self.value, self.at = max(percent, left), now
        return self.value
