"""What admission is asked and what it answers: the seam between whoever calls a platform and the shared budget.

Moments here are seconds since the epoch by the database's clock, which is the only clock all workers share.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from adwarm.foundation.clock import Clock, add_seconds, utc
from adwarm.foundation.errors import (
    AdwarmError,
    BadRequest,
    NotAdmitted,
    Permanent,
    Refused,
    Throttled,
    TokenDead,
    Transient,
)
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


_SHORTEST_SLEEP_SECONDS = 0.001


@dataclass
class GrantedCall:
    """One granted call. Tell it what the platform said; it is settled when the block ends.

    Attributes:
        waited_seconds: how long admission took.
    """

    admission: Admission
    grant: Grant
    waited_seconds: float
    _usage: list[UsageSample] = field(default_factory=list)
    _skipped: bool = False

    def record_usage(self, usage: Sequence[UsageSample]) -> None:
        """Take note of usage figures that came with an answer."""
        self._usage.extend(usage)

    def mark_skipped(self) -> None:
        """Say that the upstream was not called after all."""
        self._skipped = True

    def renew(self) -> None:
        """Keep the slot for another lease; call it between the pages of a long answer.

        Raises:
            Transient: the lease had run out already.
        """
        self.grant = self.admission.renew(self.grant)

    def outcome(self, latency_seconds: float, error: BaseException | None, now: datetime) -> CallOutcome:
        """Return what the call taught, seen from how the block ended."""
        usage = tuple(self._usage)
        if self._skipped and error is None:
            return CallOutcome(CallOutcomeKind.SKIPPED, latency_seconds, usage)
        if isinstance(error, Throttled) and not error.own_refusal:
            seconds = max(0.0, (utc(error.until) - now).total_seconds())
            return CallOutcome(CallOutcomeKind.THROTTLED, latency_seconds, usage, seconds, self._scope(error.scope))
        return CallOutcome(_kind(error), latency_seconds, usage)

    def _scope(self, name: str) -> Scope:
        try:
            return Scope.parse(name)
        except BadRequest:
            return self.grant.scopes[0]


def _kind(error: BaseException | None) -> CallOutcomeKind:
    """Read the outcome off the error: an upstream that said no in good order is a healthy one."""
    if error is None:
        return CallOutcomeKind.OK
    if isinstance(error, AdwarmError) and error.own_refusal:  # of a call inside this one
        return CallOutcomeKind.SKIPPED
    if isinstance(error, TimeoutError) or (isinstance(error, Transient) and error.code == "timeout"):
        return CallOutcomeKind.TIMEOUT
    if isinstance(error, Transient | TokenDead):
        return CallOutcomeKind.FAILED
    return CallOutcomeKind.OK if isinstance(error, Permanent) else CallOutcomeKind.SKIPPED


@contextmanager
def acquire_grant(
    admission: Admission,
    clock: Clock,
    scopes: Sequence[Scope],
    priority: Priority,
    *,
    source: str,
    timeout_seconds: float,
    cost: float = 1.0,
) -> Iterator[GrantedCall]:
    """Run the block under a grant.

    Args:
        admission: the shared budget.
        clock: tells the time and sleeps through short waits.
        scopes: what the call draws on, narrowest first; the fleet is added.
        priority: the class of the call.
        source: name of the upstream, whose breaker judges the outcome.
        timeout_seconds: the longest the caller may be kept waiting here.
        cost: platform calls the block makes.

    Raises:
        NotAdmitted: the wait would be longer than the allowance; `until` says when to come back.
        Refused: the upstream is given up for now; `retry_after` says for how long, `scope` what of it.
    """
    asked = clock.now()
    grant = _wait_for_grant(admission, clock, scopes, priority, source, timeout_seconds, cost)
    started = clock.now()
    passage = GrantedCall(admission, grant, (started - asked).total_seconds())
    try:
        yield passage
    except BaseException as error:
        _release(passage, clock, started, error)
        raise
    _release(passage, clock, started, None)


def _release(passage: GrantedCall, clock: Clock, started: datetime, error: BaseException | None) -> None:
    now = clock.now()
    outcome = passage.outcome(max(0.0, (now - started).total_seconds()), error, now)
    passage.admission.release(passage.grant, outcome)


def _wait_for_grant(
    admission: Admission,
    clock: Clock,
    scopes: Sequence[Scope],
    priority: Priority,
    source: str,
    timeout_seconds: float,
    cost: float,
) -> Grant:
    deadline = add_seconds(clock.now(), timeout_seconds)
    while True:
        decision = admission.admit(scopes, priority, cost, source=source)
        if isinstance(decision, Granted):
            return decision.grant
        if isinstance(decision, Rejected):
            words = f"{decision.reason}; ask again then"
            raise Refused(words, retry_after=decision.retry_after, scope=decision.scope)
        _sleep_or_give_up(decision, clock, deadline)


def _sleep_or_give_up(wait: Wait, clock: Clock, deadline: datetime) -> None:
    until = add_seconds(clock.now(), wait.seconds)
    if until > deadline:
        raise NotAdmitted(f"{wait.reason}; come back then", scope=wait.scope, until=until, retry_after=wait.seconds)
    clock.sleep(max(wait.seconds, _SHORTEST_SLEEP_SECONDS))
