"""The score limiter of an account: points that melt away, and a block once there are too many."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

Tier = Literal["development_access", "standard_access"]
DECAY_SECONDS = 300.0
_MOST = {"development_access": 60.0, "standard_access": 9_000.0}
_BLOCK_SECONDS = {"development_access": 300.0, "standard_access": 60.0}
READ_POINTS, WRITE_POINTS = 1, 3


@dataclass
class Score:
    """One account's points. A call that would exceed the most starts a block; a call during it starts it anew."""

    tier: Tier
    points: float = 0.0
    at: datetime | None = None
    until: datetime | None = None

    @property
    def most(self) -> float:
        """The points that may be held at once."""
        return _MOST[self.tier]

    def held(self, now: datetime) -> float:
        """Return the points left at `now`; the most of them melts away within `DECAY_SECONDS`."""
        if self.at is None:
            return 0.0
        melted = self.most / DECAY_SECONDS * max(0.0, (now - self.at).total_seconds())
        return max(0.0, self.points - melted)

    def take(self, points: int, now: datetime) -> bool:
        """Add a call's points; return False when it must be refused, which starts the block, or starts it anew."""
        held = self.held(now)
        if self.is_blocked(now) or held + points > self.most:
            self.until = now + timedelta(seconds=_BLOCK_SECONDS[self.tier])
            return False
        self.points, self.at = held + points, now
        return True

    def is_blocked(self, now: datetime) -> bool:
        """Whether calls are refused at `now`; a clock set back ends the block."""
        return self.until is not None and timedelta() < self.until - now <= self._block

    def seconds_left(self, now: datetime) -> float:
        """Return how long the block lasts still; without one, how long the points take to melt."""
        if self.until is not None and self.is_blocked(now):
            return (self.until - now).total_seconds()
        return self.held(now) / self.most * DECAY_SECONDS

    @property
    def _block(self) -> timedelta:
        return timedelta(seconds=_BLOCK_SECONDS[self.tier])
