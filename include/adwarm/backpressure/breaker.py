"""A circuit breaker: opens on the error rate of a sliding window, tests the upstream with a few probes, closes again.

```
closed --(enough calls, too many failed)--> open --(cool-down over)--> half-open --(every probe well)--> closed
                                             ^------(one probe failed, cool-down grows)------'
```
Only a probe's outcome moves a half-open breaker, so a straggler from before cannot close it. A probe whose worker died
is given up at its expiry and another takes its place. Pure: moments are handed in, the state is a value.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

_SLICES = 10


class BreakerState(StrEnum):
    """Whether calls pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When to open and how to come back. Each failed return multiplies the cool-down by `growth`, up to a maximum."""

    error_rate: float = 0.5
    window_seconds: float = 60.0
    min_calls: int = 10
    cooldown_seconds: float = 30.0
    probes: int = 3
    growth: float = 2.0
    max_cooldown_seconds: float = 600.0

    def cooldown(self, trips: int) -> float:
        """Return the cool-down, in seconds, of the `trips`-th opening in a row."""
        longest = max(self.cooldown_seconds, self.max_cooldown_seconds)
        return min(longest, self.cooldown_seconds * self.growth ** min(trips - 1, 32))


@dataclass(frozen=True, slots=True)
class Breaker:
    """The state of one upstream's breaker.

    Attributes:
        slices: (number of the slice of time, calls, failures), oldest first.
        trips: openings since it was last closed.
        probes: tickets of the probes in flight, with the moment each is given up.
        probes_well: probes that came back well since it was half-open.
        why: what opened it.
    """

    state: BreakerState = BreakerState.CLOSED
    changed_at: float = 0.0
    probe_at: float = 0.0
    slices: tuple[tuple[int, int, int], ...] = ()
    trips: int = 0
    probes: tuple[tuple[str, float], ...] = ()
    probes_well: int = 0
    why: str | None = None

    def wait(self, rules: BreakerRules, now: float) -> float:
        """Return 0 when a call may pass, else the seconds until it is worth asking again."""
        if self.state is BreakerState.CLOSED:
            return 0.0
        if self.state is BreakerState.OPEN:
            return max(0.0, self.probe_at - now)
        live = [until for _, until in self.probes if until > now]
        return 0.0 if len(live) + self.probes_well < rules.probes else min(live, default=now) - now

    def admitted(self, now: float, ticket: str, expires_at: float) -> "Breaker":
        """Return the breaker after the call `ticket` passed; call it only where `wait` is 0."""
        if self.state is BreakerState.CLOSED:
            return self
        half = self if self.state is BreakerState.HALF_OPEN else self._moved(BreakerState.HALF_OPEN, now)
        live = tuple(probe for probe in half.probes if probe[1] > now)
        return replace(half, probes=(*live, (ticket, expires_at)))

    def recorded(self, rules: BreakerRules, now: float, ticket: str, *, failed: bool) -> "Breaker":
        """Return the breaker after the call `ticket` ended."""
        if self.state is BreakerState.CLOSED:
            return self._counted(rules, now, failed=failed)
        if self.state is BreakerState.OPEN or not self._is_probe(ticket):
            return self
        if failed:
            return self._opened(rules, now, "a probe failed")
        well = replace(self.forgotten(ticket), probes_well=self.probes_well + 1)
        return Breaker(changed_at=now) if well.probes_well >= rules.probes else well

    def forgotten(self, ticket: str) -> "Breaker":
        """Return the breaker without the probe `ticket`, which taught nothing."""
        return replace(self, probes=tuple(probe for probe in self.probes if probe[0] != ticket))

    def error_rate(self, rules: BreakerRules, now: float) -> tuple[float, int]:
        """Return the failures per call, and the calls, of the window that ends at `now`."""
        inside = self._inside(rules, now)
        calls = sum(calls for _, calls, _ in inside)
        return (sum(failed for *_, failed in inside) / calls if calls else 0.0), calls

    def to_dict(self) -> dict[str, Any]:
        """Return what is stored beside state, change and probe time."""
        return {
            "slices": self.slices,
            "trips": self.trips,
            "probes": self.probes,
            "well": self.probes_well,
            "why": self.why,
        }

    @classmethod
    def from_dict(cls, state: str, changed_at: float, probe_at: float, data: dict[str, Any]) -> "Breaker":
        """Return the breaker that was stored."""
        return cls(
            BreakerState(state),
            changed_at,
            probe_at,
            tuple((int(a), int(b), int(c)) for a, b, c in data.get("slices", ())),
            int(data.get("trips", 0)),
            tuple((str(ticket), float(until)) for ticket, until in data.get("probes", ())),
            int(data.get("well", 0)),
            data.get("why"),
        )

    def _counted(self, rules: BreakerRules, now: float, *, failed: bool) -> "Breaker":
        slices = self._inside(rules, now)
        index = _slice(rules, now)
        if not slices or slices[-1][0] < index:
            slices = (*slices, (index, 0, 0))
        number, calls, failures = slices[-1]
        slices = (*slices[:-1], (number, calls + 1, failures + int(failed)))
        counted = Breaker(self.state, self.changed_at, self.probe_at, slices, self.trips)
        if not failed:  # a success may complete the minimum volume, but it is never the news that opens
            return counted
        rate, volume = counted.error_rate(rules, now)
        if volume < rules.min_calls or rate < rules.error_rate:
            return counted
        return counted._opened(
            rules, now, f"{rate * volume:.0f} of {volume} calls failed in {rules.window_seconds:.0f} s"
        )

    def _inside(self, rules: BreakerRules, now: float) -> tuple[tuple[int, int, int], ...]:
        oldest = _slice(rules, now) - _SLICES
        return tuple(part for part in self.slices if part[0] > oldest)

    def _opened(self, rules: BreakerRules, now: float, why: str) -> "Breaker":
        trips = self.trips + 1
        return Breaker(BreakerState.OPEN, now, now + rules.cooldown(trips), (), trips, why=why)

    def _moved(self, state: BreakerState, now: float) -> "Breaker":
        return replace(self, state=state, changed_at=now, probes=(), probes_well=0)

    def _is_probe(self, ticket: str) -> bool:
        return any(ticket == probe for probe, _ in self.probes)


def _slice(rules: BreakerRules, now: float) -> int:
    return int(now // (rules.window_seconds / _SLICES))
