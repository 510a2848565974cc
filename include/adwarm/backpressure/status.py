"""The shared budget as `adwarm status` shows it: limits, calls in flight, quotas. The gates are a list of their own."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from adwarm.backpressure.scope_state import ScopeState
from adwarm.foundation.gate import to_datetime
from adwarm.model import Priority, ScopeKind


@dataclass(frozen=True, slots=True)
class ScopeStatus:
    """One scope.

    Attributes:
        quota: calls per quota window that the platform's figures allow; None until they tell.
    """

    scope: str
    limit: int
    in_flight: dict[str, int]
    tokens: float | None
    pace: str
    usage: float | None
    quota: float | None = None

    @property
    def is_shared(self) -> bool:
        """Whether accounts share it."""
        return not self.scope.startswith(f"{ScopeKind.ACCOUNT}:")


@dataclass(frozen=True, slots=True)
class AdmissionStatus:
    """The whole budget at the time `at` of the database's clock."""

    at: datetime
    scopes: tuple[ScopeStatus, ...]

    @property
    def shared(self) -> tuple[ScopeStatus, ...]:
        """The scopes that accounts share."""
        return tuple(scope for scope in self.scopes if scope.is_shared)

    def to_dict(self) -> dict[str, Any]:
        """Return the status as plain JSON values; times in ISO 8601."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def build_status(states: Sequence[ScopeState], now: float) -> AdmissionStatus:
    """Return the status of the scopes at `now`."""
    return AdmissionStatus(to_datetime(now), tuple(_scope_status(state, now) for state in states))


def _scope_status(state: ScopeState, now: float) -> ScopeStatus:
    usage = state.usage_percent(now)
    return ScopeStatus(
        scope=state.name,
        limit=state.slots(),
        in_flight={
            priority.name.lower(): state.in_flight_by_class[priority]
            for priority in Priority
            if state.in_flight_by_class[priority]
        },
        tokens=_tokens(state, now),
        pace=state.pace(now).name.lower(),
        usage=None if usage is None else round(usage, 1),
        quota=state.meter.quota,
    )


def _tokens(state: ScopeState, now: float) -> float | None:
    rules = state.bucket_rules(now)
    if rules is None:
        return None
    passed = max(0.0, now - state.bucket.refilled_at)
    return round(min(rules.burst, state.bucket.tokens + passed * rules.rate), 3)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value
