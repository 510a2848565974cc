"""Isolation: a fallback that fails too often is skipped for a while, then has to succeed again.

Each source has a circuit breaker (`adwarm.foundation.circuit`, which lists the transitions) whose state is kept in a
store, because every Airflow task is another process. Any call after the cool-down is a probe: the pipeline calls a
fallback without admission. A source is isolated while its breaker is open.
"""

from collections.abc import Mapping
from math import nextafter
from typing import Any, Protocol

import msgspec

from adwarm.foundation.circuit import Breaker, BreakerRules, BreakerState, IntervalCounts, interval_number
from adwarm.foundation.clock import Clock
from adwarm.settings import RecoverySettings

_MIN_CALLS = 5


def isolation_rules(settings: RecoverySettings) -> BreakerRules:
    """Return the rules by which a source is isolated and comes back."""
    return BreakerRules(
        error_rate=nextafter(0.5, 1.0),  # more than half of the calls
        window_seconds=settings.isolation_window_seconds,
        min_calls=_MIN_CALLS,
        cooldown_seconds=settings.isolation_seconds,
        probes=_MIN_CALLS,
        recovery_rate=settings.recovery_threshold,
    )


class IsolationStateStore(Protocol):
    """Where the states live. `adwarm.store.isolated_sources.SqlIsolationStore` keeps them in SQL."""

    def load(self, source: str) -> Mapping[str, Any] | None:
        """Return what was saved for the source, or None."""
        ...

    def save(self, source: str, state: str, changed_at: float, data: Mapping[str, Any]) -> None:
        """Save the source's state; `changed_at` in seconds since the epoch."""
        ...


class MemoryIsolationStore:
    """The states of one process, for callers without a database."""

    def __init__(self) -> None:
        self._states: dict[str, Mapping[str, Any]] = {}

    def load(self, source: str) -> Mapping[str, Any] | None:
        """Return what was saved for the source, or None."""
        return self._states.get(source)

    def save(self, source: str, state: str, changed_at: float, data: Mapping[str, Any]) -> None:
        """Save the source's state."""
        self._states[source] = dict(data)


class IsolationTracker:
    """Counts the calls of sources and tells which sources are isolated."""

    def __init__(self, store: IsolationStateStore, rules: BreakerRules, clock: Clock) -> None:
        self._store = store
        self._rules = rules
        self._clock = clock

    def remaining_seconds(self, source: str) -> float:
        """Return the seconds of isolation left, 0 when the source may be used."""
        now = self._clock.now().timestamp()
        return self._load(source, now).wait_seconds(self._rules, now)

    def record(self, source: str, *, failed: bool) -> None:
        """Count one call of the source."""
        now = self._clock.now().timestamp()
        breaker = self._load(source, now).after_unadmitted_call(self._rules, now, failed=failed)
        self._store.save(source, str(breaker.state), breaker.changed_at, msgspec.to_builtins(breaker))

    def _load(self, source: str, now: float) -> Breaker:
        stored = self._store.load(source)
        if stored is None:
            return Breaker(changed_at=now)
        if "since" in stored:
            return _read_older_row(stored, self._rules)
        return msgspec.convert(dict(stored), Breaker)


def _read_older_row(stored: Mapping[str, Any], rules: BreakerRules) -> Breaker:
    """Return the breaker that a row means which was stored before isolation and admission shared one breaker."""
    since, calls, failures = float(stored["since"]), int(stored["calls"]), int(stored["failures"])
    if stored["state"] == "isolated":
        return Breaker(BreakerState.OPEN, since, since + rules.cooldown_seconds, openings_in_a_row=1)
    if stored["state"] == "probation":
        return Breaker(
            BreakerState.HALF_OPEN,
            since,
            since,
            openings_in_a_row=1,
            successful_probes=calls - failures,
            failed_probe_accounts=tuple(f"call {number}" for number in range(failures)),
        )
    counts = IntervalCounts(interval_number(rules, since), calls, failures)
    return Breaker(changed_at=since, intervals=(counts,) if calls else ())
