"""Parking: a scope that must not be called before a known moment. A parking is lengthened, never shortened.

What a platform asks for is bounded: a wait of years is a fault of the answer, and would silence an account for good.
"""

from dataclasses import dataclass, replace
from math import isnan
from random import Random

DEFAULT_SECONDS = 60.0
JITTER = 0.1
MAX_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Parking:
    """Until when a scope is parked, why, and since when; never parked by default."""

    until: float | None = None
    reason: str | None = None
    since: float | None = None

    def remaining_seconds(self, now: float) -> float:
        """Return the seconds left, 0 when the scope is free."""
        return max(0.0, self.until - now) if self.until is not None else 0.0

    def extended(
        self, now: float, seconds: float | None, why: str, rng: Random, longest: float = MAX_SECONDS
    ) -> "Parking":
        """Return the parking after the platform asked for `seconds` of silence at `now`.

        Up to a tenth is added at random, so that scopes parked together do not wake together; nothing is taken off. A
        wish for `longest` or more ends in the last tenth before `longest`.
        """
        asked = DEFAULT_SECONDS if seconds is None or isnan(seconds) else max(0.0, seconds)
        spread = JITTER * rng.random()
        until = now + (longest * (1 - spread) if asked > longest else min(longest, asked * (1 + spread)))
        if self.until is not None and self.until >= until:
            return self
        return Parking(until, why, self.since if self.remaining_seconds(now) > 0 else now)

    def bounded(self, now: float, longest: float) -> "Parking":
        """Return the parking, shortened where it was stored with an end that lies further ahead than `longest`."""
        return replace(self, until=now + longest) if self.remaining_seconds(now) > longest else self
