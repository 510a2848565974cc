"""What admission is asked and what it answers: the seam between whoever calls a platform and the shared budget.

Moments here are seconds since the epoch by the database's clock, which is the only clock all workers share.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from adwarm.model import Priority, Scope, ScopeKind, UsageSample

FLEET = Scope(ScopeKind.FLEET)


@dataclass(frozen=True, slots=True)
class Grant:
    """The right to make calls worth `cost` now; it ends by being settled, or by itself at `expires_at`.

    Attributes:
        scopes: narrowest first, the fleet last. The grant holds one slot of each.
        cost: tokens a permit took from the rate, one per platform call.
        source: whose breaker judges the outcome.
        probe: whether the call tests an upstream that was given up.
        token: grows from grant to grant and with every renewal; an older one is not believed any more.
        permits: calls it allows; more than one makes it a block, used one call at a time.
        spend_until: no permit is used from then on, though a call begun before may go on to `expires_at`.
    """

    id: str
    scopes: tuple[Scope, ...]
    priority: Priority
    cost: float
    granted_at: float
    expires_at: float
    source: str
    is_probe: bool = False
    token: int = 0
    permits: int = 1
    usable_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Granted:
    """Call now, then settle the grant."""

    grant: Grant


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask again in `seconds`; `scope` is what has no room, and `why` says so in words."""

    seconds: float
    reason: str
    scope: str = str(FLEET)


@dataclass(frozen=True, slots=True)
class Rejected:
    """Do not wait for this; come back after `retry_after` seconds.

    Attributes:
        scope: whose breaker is open: `source:` and a name for every call of the source, or an account's scope.
    """

    reason: str
    retry_after: float
    scope: str | None = None


Decision = Granted | Wait | Rejected


class CallOutcomeKind(StrEnum):
    """How a granted call ended. `SKIPPED` says nothing about the upstream."""

    OK = "ok"
    THROTTLED = "throttled"
    FAILED = "failed"
    TIMEOUT = "timeout"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """What a granted call taught about the upstream.

    Attributes:
        usage: the platform's own usage figures, if it sent any.
        park_seconds: how long the platform asked to be left alone, if it throttled and said so.
        parked_scope: what it throttled; the narrowest scope of the grant when it did not say.
    """

    kind: CallOutcomeKind
    latency_seconds: float = 0.0
    usage: tuple[UsageSample, ...] = field(default=())
    park_seconds: float | None = None
    parked_scope: Scope | None = None


ReturnedBlock = tuple[Grant, Sequence[CallOutcome], int]
"""A block that is given back: its grant, the outcomes of its calls, and the permits that were not used."""


class Admission(Protocol):
    """The one budget. Implementations are safe to share between threads."""

    def admit(self, scopes: Sequence[Scope], priority: Priority, cost: float = 1.0, *, source: str) -> Decision:
        """Ask for one slot in every scope and `cost` tokens. Never blocks for capacity."""
        ...

    def renew(self, grant: Grant) -> Grant:
        """Give the grant a fresh lease.

        Raises:
            Transient: the lease had run out, so that others may hold its slot; stop and ask again.
        """
        ...

    def release(self, grant: Grant, outcome: CallOutcome) -> None:
        """Return the grant and learn from the outcome. Settling twice changes nothing more."""
        ...
