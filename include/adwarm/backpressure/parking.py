"""Parking: a scope that must not be called before a known moment. A parking is lengthened, never shortened."""

from dataclasses import dataclass
from random import Random

DEFAULT_SECONDS = 60.0
JITTER = 0.1


@dataclass(frozen=True, slots=True)
class Parking:
    """Until when a scope is parked, why, and since when; never parked by default."""

    until: float | None = None
    why: str | None = None
    since: float | None = None

    def wait(self, now: float) -> float:
        """Return the seconds left, 0 when the scope is free."""
        return max(0.0, self.until - now) if self.until is not None else 0.0

    def extended(self, now: float, seconds: float | None, why: str, rng: Random) -> "Parking":
        """Return the parking after the platform asked for `seconds` of silence at `now`.

        Up to a tenth is added at random, so that scopes parked together do not wake together; nothing is taken off.
        """
        asked = DEFAULT_SECONDS if seconds is None else max(0.0, seconds)
        until = now + asked * (1 + JITTER * rng.random())
        if self.until is not None and self.until >= until:
            return self
        return Parking(until, why, self.since if self.wait(now) > 0 else now)
