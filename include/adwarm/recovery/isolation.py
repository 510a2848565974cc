"""Isolation: a source that fails too often is left alone for a while, then has to prove itself.

```
healthy --(error rate over the threshold)--> isolated --(time over)--> on probation --(success rate reached)--> healthy
                                                ^-------(success rate missed)-------'
```
The machine is pure; `IsolationBook` keeps the states in a store, because every Airflow task is another process.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

from adwarm.foundation.clock import Clock
from adwarm.settings import RecoverySettings


class IsolationState(StrEnum):
    """Whether a source is used."""

    HEALTHY = "healthy"
    ISOLATED = "isolated"
    PROBATION = "probation"


@dataclass(frozen=True, slots=True)
class IsolationRules:
    """When a source is isolated, for how long, and what brings it back."""

    isolation_seconds: float = 300.0
    recovery_threshold: float = 0.8
    error_rate: float = 0.5
    min_calls: int = 5
    window_seconds: float = 300.0

    @classmethod
    def from_settings(cls, settings: RecoverySettings) -> "IsolationRules":
        """Return the rules that the settings give."""
        return cls(
            settings.isolation_seconds, settings.recovery_threshold, window_seconds=settings.alert_window_seconds
        )


@dataclass(frozen=True, slots=True)
class Isolation:
    """One source's state, with the calls and failures counted since `since` (seconds since the epoch)."""

    state: IsolationState = IsolationState.HEALTHY
    since: float = 0.0
    calls: int = 0
    failures: int = 0

    def remaining_seconds(self, rules: IsolationRules, now: float) -> float:
        """Return the seconds of isolation left, 0 when the source may be used."""
        if self.state is not IsolationState.ISOLATED:
            return 0.0
        left = self.since + rules.isolation_seconds - now
        return min(rules.isolation_seconds, max(0.0, left))  # large clock readings round up

    def after_call(self, rules: IsolationRules, now: float, *, failed: bool) -> "Isolation":
        """Return the state after one more call."""
        counted = self._in_turn(rules, now)
        counted = replace(counted, calls=counted.calls + 1, failures=counted.failures + int(failed))
        if counted.calls < rules.min_calls or counted.state is IsolationState.ISOLATED:
            return counted
        failure_rate = counted.failures / counted.calls
        if counted.state is IsolationState.PROBATION:
            well = 1 - failure_rate >= rules.recovery_threshold
            return Isolation(IsolationState.HEALTHY if well else IsolationState.ISOLATED, now)
        return Isolation(IsolationState.ISOLATED, now) if failure_rate > rules.error_rate else counted

    def _in_turn(self, rules: IsolationRules, now: float) -> "Isolation":
        """Return the state the next call counts for: probation after isolation, a new window after an old one."""
        if self.state is IsolationState.ISOLATED and self.remaining_seconds(rules, now) <= 0:
            return Isolation(IsolationState.PROBATION, now)
        if self.state is IsolationState.HEALTHY and now - self.since >= rules.window_seconds:
            return Isolation(IsolationState.HEALTHY, now)
        return self


class IsolationStateStore(Protocol):
    """Where the states live. `adwarm.store.isolated_sources.SqlIsolationStore` keeps them in SQL."""

    def load(self, source: str) -> Mapping[str, Any] | None:
        """Return what was saved for the source, if anything was."""
        ...

    def save(self, source: str, state: str, changed_at: float, data: Mapping[str, Any]) -> None:
        """Save the source's state."""
        ...


class MemoryIsolationStore:
    """The states of one process, for callers without a database."""

    def __init__(self) -> None:
        self._states: dict[str, Mapping[str, Any]] = {}

    def load(self, source: str) -> Mapping[str, Any] | None:
        """Return what was saved for the source, if anything was."""
        return self._states.get(source)

    def save(self, source: str, state: str, changed_at: float, data: Mapping[str, Any]) -> None:
        """Save the source's state."""
        self._states[source] = dict(data)


class IsolationTracker:
    """Which sources may be used now."""

    def __init__(self, store: IsolationStateStore, rules: IsolationRules, clock: Clock) -> None:
        self._store = store
        self._rules = rules
        self._clock = clock

    def remaining_seconds(self, source: str) -> float:
        """Return the seconds of isolation left, 0 when the source may be used."""
        return self._load(source).remaining_seconds(self._rules, self._clock.now().timestamp())

    def record(self, source: str, *, failed: bool) -> None:
        """Count one call of the source."""
        after = self._load(source).after_call(self._rules, self._clock.now().timestamp(), failed=failed)
        self._store.save(source, str(after.state), after.since, {**asdict(after), "state": str(after.state)})

    def _load(self, source: str) -> Isolation:
        saved = self._store.load(source)
        if saved is None:
            return Isolation(since=self._clock.now().timestamp())
        return Isolation(**{**saved, "state": IsolationState(saved["state"])})
