"""The shared budget as `adwarm status` shows it: limits, calls in flight, parked scopes and breakers, with reasons."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from adwarm.backpressure.breakers import BreakerRegistry, account_in_breaker_name
from adwarm.backpressure.scope_state import ScopeState
from adwarm.foundation.circuit import Breaker, BreakerState
from adwarm.foundation.gate import to_datetime
from adwarm.model import Priority, ScopeKind


@dataclass(frozen=True, slots=True)
class ScopeStatus:
    """One scope.

    Attributes:
        in_flight: grants by class name.
        parked_until: None when the scope is not parked.
        quota: calls per quota window that the platform's figures allow; None until they tell.
    """

    scope: str
    limit: int
    in_flight: dict[str, int]
    tokens: float | None
    pace: str
    usage: float | None
    parked_until: datetime | None
    parked_why: str | None
    parked_since: datetime | None
    quota: float | None = None

    @property
    def is_shared(self) -> bool:
        """Whether accounts share it."""
        return not self.scope.startswith(f"{ScopeKind.ACCOUNT}:")


@dataclass(frozen=True, slots=True)
class BreakerStatus:
    """One breaker.

    Attributes:
        account: whose breaker it is, such as `act_1`; None for the breaker of the whole source.
        probe_at: when the upstream is tested next; None while the breaker is closed.
        why: what opened it; None while it is closed.
    """

    source: str
    account: str | None
    state: str
    error_rate: float
    calls: int
    since: datetime
    probe_at: datetime | None
    why: str | None


@dataclass(frozen=True, slots=True)
class AdmissionStatus:
    """The whole budget at the time `at` of the database's clock."""

    at: datetime
    scopes: tuple[ScopeStatus, ...]
    breakers: tuple[BreakerStatus, ...]

    @property
    def parked(self) -> tuple[ScopeStatus, ...]:
        """The scopes that must not be called now: shared ones first, then those parked longest."""
        parked = [(not scope.is_shared, scope.parked_until, scope) for scope in self.scopes if scope.parked_until]
        return tuple(scope for *_, scope in sorted(parked, key=lambda item: (item[0], -item[1].timestamp())))

    @property
    def shared(self) -> tuple[ScopeStatus, ...]:
        """The scopes that accounts share."""
        return tuple(scope for scope in self.scopes if scope.is_shared)

    def to_dict(self) -> dict[str, Any]:
        """Return the status as plain JSON values; times in ISO 8601."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def build_status(states: Sequence[ScopeState], breakers: BreakerRegistry, now: float) -> AdmissionStatus:
    """Return the status of the scopes and breakers at `now`."""
    return AdmissionStatus(
        to_datetime(now),
        tuple(_scope_status(state, now) for state in states),
        tuple(_breaker_status(name, breakers.by_name[name], breakers, now) for name in sorted(breakers.by_name)),
    )


def _scope_status(state: ScopeState, now: float) -> ScopeStatus:
    parked = state.parking.remaining_seconds(now) > 0
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
        parked_until=to_datetime(state.parking.until) if parked else None,
        parked_why=state.parking.reason if parked else None,
        parked_since=to_datetime(state.parking.since) if parked else None,
        quota=state.meter.quota,
    )


def _tokens(state: ScopeState, now: float) -> float | None:
    rules = state.bucket_rules(now)
    if rules is None:
        return None
    passed = max(0.0, now - state.bucket.refilled_at)
    return round(min(rules.burst, state.bucket.tokens + passed * rules.rate), 3)


def _breaker_status(name: str, breaker: Breaker, breakers: BreakerRegistry, now: float) -> BreakerStatus:
    rate, calls = breaker.error_rate(breakers.rules_for(name), now)
    account = account_in_breaker_name(name)
    closed = breaker.state is BreakerState.CLOSED
    return BreakerStatus(
        source=name if account is None else name.removesuffix(f" {account}"),
        account=None if account is None else account.partition(":")[2],
        state=str(breaker.state),
        error_rate=round(rate, 4),
        calls=calls,
        since=to_datetime(breaker.changed_at),
        probe_at=None if closed else to_datetime(breaker.probe_at),
        why=None if closed else breaker.reason,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value
