"""Whether a call may be made: what is asked before it, in which order, and who answers.

| the questions, in their order                        | who answers             | when not                   |
|------------------------------------------------------|-------------------------|----------------------------|
| is planned warming switched on?                      | `KillSwitch` of a batch | `WarmingStopped`           |
| has the batch met no dead token and no open breaker? | `Batch`                 | `TokenDead`, `Refused`     |
| is nothing isolated, and the version not ended?      | `RecoveryPipeline`      | `Isolated`, `VersionEnded` |
| is time left for the call, its account, its batch?   | `acquire_grant`         | `TimeLimitReached`         |
| is the reader's request before its deadline?         | `DeadlineAdmission`     | `Rejected`                 |
| was the breaker still closed a second ago?           | `ProcessAdmission`      | `Rejected`                 |
| may this machine have one more call in flight?       | `ProcessAdmission`      | `Wait`                     |
| are calls on, scopes not parked, quotas not used up? | `SqlAdmission`          | `Wait`                     |
| are the breakers of source and account closed?       | `SqlAdmission`          | `Rejected` or `Wait`       |
| has every scope a free slot, and its rate a token?   | `SqlAdmission`          | `Wait`                     |

The first three are asked by whoever makes the call; a `CallRequest` then passes `acquire_grant` and three admissions.
`SqlAdmission` decides by the rules of `SharedBudget`, because all processes share one budget. `ProcessAdmission` is in
front of it, because only the process can renew the leases of its calls and count those of its machine.
`DeadlineAdmission` is in front of that in a worker of the queue, because nobody waits for an answer that is too late.

A platform call runs inside `acquire_grant`. The context manager sleeps through short waits, yields the granted call,
and releases the grant with the call's outcome, whatever ends the block. A wait longer than the caller's timeout raises
`NotAdmitted` instead of blocking.

Times are seconds since the epoch by the database's clock, the only clock that all workers share.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from adwarm.foundation import telemetry
from adwarm.foundation.clock import (
    Clock,
    TimeLimit,
    add_seconds,
    check_limits,
    limited,
    seconds_left,
    start_limits,
    utc,
)
from adwarm.foundation.errors import (
    TIMEOUTS,
    AdwarmError,
    BadRequest,
    NotAdmitted,
    Permanent,
    Refused,
    Throttled,
    TokenDead,
    Transient,
)
from adwarm.foundation.wording import format_duration
from adwarm.model import Priority, Scope, ScopeKind, UsageSample

log = logging.getLogger(__name__)

FLEET = Scope(ScopeKind.FLEET)
_SHORTEST_SLEEP_SECONDS = 0.001
_NAMED = frozenset({"connection", "machine"})
"""Gates of a call that are no capacity scopes."""


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A call that needs admission.

    Attributes:
        scopes: the capacity scopes it draws on; the fleet is added.
        source: name of the upstream, whose breaker counts the outcome.
        cost: tokens to take from the rate, one per platform call.
        connection: whose credential is used; names the scope of its token in errors.
        machine: where the call is made, when that is another machine than the one that previews it.

    Raises:
        BadRequest: `cost` is not positive.
    """

    scopes: tuple[Scope, ...]
    priority: Priority
    source: str
    cost: float = 1.0
    connection: str = ""
    machine: str = ""

    def __post_init__(self) -> None:
        if not self.cost > 0:
            raise BadRequest(f"a call's cost must be above 0, not {self.cost}; count one per platform call")

    @classmethod
    def parse(cls, gates: Sequence[str], priority: Priority, source: str) -> "CallRequest":
        """Return the call that has to pass the gates of these names: scopes, `connection:NAME` and `machine:NAME`."""
        named = {kind: name for kind, _, name in (gate.partition(":") for gate in gates) if kind in _NAMED}
        scopes = tuple(Scope.parse(gate) for gate in gates if gate.partition(":")[0] not in _NAMED)
        return cls(scopes, priority, source, connection=named.get("connection", ""), machine=named.get("machine", ""))

    def describe_limit(self, reason: str, scope: str) -> str:
        """Return the reason why a scope lets no call in, with the connection in place of the hash of its token."""
        if not scope.startswith(f"{ScopeKind.TOKEN}:"):
            return reason
        owner = f"the connection {self.connection}" if self.connection else f"the source {self.source}"
        return reason.replace(scope, f"the token of {owner}")


@dataclass(frozen=True, slots=True)
class Grant:
    """Permission to make a call; it ends when it is released, or by itself at `expires_at`.

    Attributes:
        scopes: narrowest first, the fleet last. The grant holds one slot of each.
        cost: tokens that it took from the rate, one per platform call.
        source: name of the upstream, whose breaker counts the outcome.
        is_probe: whether the call tests an upstream whose breaker is not closed.
        token: fencing token; it grows with every grant and renewal, and only the newest one is accepted.
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


@dataclass(frozen=True, slots=True)
class Wait:
    """No capacity now; try again in `seconds`. `scope` names what has none, `reason` describes it."""

    seconds: float
    reason: str
    scope: str = str(FLEET)


@dataclass(frozen=True, slots=True)
class Rejected:
    """The upstream is failing; do not wait, and try again in `retry_after` seconds.

    Attributes:
        scope: whose breaker is open: `source:` and a name for every call of the source, or an account's scope.
    """

    reason: str
    retry_after: float
    scope: str | None = None


Decision = Grant | Wait | Rejected


class CallsStopped(Transient):
    """Calls are switched off, so a grant is not renewed; the message says by whom and why."""

    own_refusal = True


class CallOutcomeKind(StrEnum):
    """How a granted call ended. `SKIPPED` says nothing about the upstream."""

    OK = "ok"
    THROTTLED = "throttled"
    FAILED = "failed"
    TIMEOUT = "timeout"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """What a granted call showed about the upstream.

    Attributes:
        usage: the platform's own usage figures, if it sent any.
        park_seconds: how long the platform asked callers to stay away, if it throttled the call and named a time.
        parked_scope: the scope it throttled; None means the narrowest scope of the grant.
    """

    kind: CallOutcomeKind
    latency_seconds: float = 0.0
    usage: tuple[UsageSample, ...] = field(default=())
    park_seconds: float | None = None
    parked_scope: Scope | None = None


class Admission(Protocol):
    """The shared budget as callers see it. Implementations are safe to share between threads."""

    def admit(self, call: CallRequest) -> Decision:
        """Request one slot in every scope of the call, and its tokens. Never blocks for capacity."""
        ...

    def renew(self, grant: Grant) -> Grant:
        """Extend the grant's lease and return the renewed grant.

        Raises:
            Transient: the lease had expired, so another caller may hold the slot; request admission again.
        """
        ...

    def release(self, grant: Grant, outcome: CallOutcome) -> None:
        """Return the grant and learn from the outcome. A second release has no effect."""
        ...


@dataclass
class GrantedCall:
    """A call that holds a grant. Report the platform's usage figures to it while the block runs."""

    admission: Admission
    grant: Grant
    _usage: list[UsageSample] = field(default_factory=list)

    def record_usage(self, usage: Sequence[UsageSample]) -> None:
        """Add usage figures that came with a response."""
        self._usage.extend(usage)

    def renew(self) -> None:
        """Extend the grant's lease; call it between the pages of a long response.

        Raises:
            Transient: the lease had expired already.
        """
        self.grant = self.admission.renew(self.grant)

    def outcome(self, latency_seconds: float, error: BaseException | None, now: datetime) -> CallOutcome:
        """Return the outcome of a block that ended with `error`, or without one."""
        usage = tuple(self._usage)
        if isinstance(error, Throttled):
            seconds = max(0.0, (utc(error.until) - now).total_seconds())
            scope = self._parse_scope(error.scope)
            return CallOutcome(CallOutcomeKind.THROTTLED, latency_seconds, usage, seconds, scope)
        return CallOutcome(_outcome_kind(error), latency_seconds, usage)

    def _parse_scope(self, name: str) -> Scope:
        try:
            return Scope.parse(name)
        except BadRequest:
            return self.grant.scopes[0]


def _outcome_kind(error: BaseException | None) -> CallOutcomeKind:
    """Classify the error: an upstream that refuses a request in good order is a healthy one."""
    if error is None:
        return CallOutcomeKind.OK
    if isinstance(error, AdwarmError) and error.own_refusal:  # raised by a nested call that was not admitted
        return CallOutcomeKind.SKIPPED
    if isinstance(error, TimeoutError) or (isinstance(error, Transient) and error.code in TIMEOUTS):
        return CallOutcomeKind.TIMEOUT
    if isinstance(error, Transient | TokenDead):
        return CallOutcomeKind.FAILED
    return CallOutcomeKind.OK if isinstance(error, Permanent) else CallOutcomeKind.SKIPPED


@contextmanager
def acquire_grant(
    admission: Admission, clock: Clock, call: CallRequest, *, timeout_seconds: float
) -> Iterator[GrantedCall]:
    """Run the block under a grant for `call`.

    Args:
        clock: gives the time and sleeps through short waits.
        timeout_seconds: the longest time to wait for admission.

    Raises:
        TimeLimitReached: the work that the call is a part of has used up its time; no call is made.
        NotAdmitted: the wait would exceed the timeout; `until` says when to try again.
        Refused: the breaker of the upstream is open; `retry_after` says how long, `scope` whose breaker it is.
    """
    check_limits()
    wait = min(timeout_seconds, seconds_left())
    with limited(TimeLimit(wait, "the wait for admission")):
        grant = _wait_for_grant(admission, clock, call, wait)
    start_limits()
    granted = GrantedCall(admission, grant)
    started = clock.now()
    try:
        yield granted
    except BaseException as error:
        _release(granted, clock, started, error)
        raise
    _release(granted, clock, started, None)


def _release(call: GrantedCall, clock: Clock, started: datetime, error: BaseException | None) -> None:
    now = clock.now()
    outcome = call.outcome(max(0.0, (now - started).total_seconds()), error, now)
    call.admission.release(call.grant, outcome)
    source = call.grant.source
    log.debug("call of %s: %s after %.2f s", source, outcome.kind, outcome.latency_seconds)
    telemetry.report(telemetry.CALLS, source=source, outcome=outcome.kind.value)
    telemetry.report(telemetry.CALL_SECONDS, outcome.latency_seconds, source=source)


def _wait_for_grant(admission: Admission, clock: Clock, call: CallRequest, timeout_seconds: float) -> Grant:
    started, priority = clock.now(), call.priority.name.lower()
    deadline = add_seconds(started, timeout_seconds)
    while True:
        decision = admission.admit(call)
        if isinstance(decision, Grant):
            telemetry.report(telemetry.ADMISSIONS, priority=priority, decision="granted")
            waited = (clock.now() - started).total_seconds()
            telemetry.report(telemetry.ADMISSION_SECONDS, max(0.0, waited), priority=priority)
            return decision
        if isinstance(decision, Rejected):
            telemetry.report(telemetry.ADMISSIONS, priority=priority, decision="rejected")
            reason = call.describe_limit(decision.reason, decision.scope or "")
            raise Refused(reason, retry_after=decision.retry_after, scope=decision.scope)
        if add_seconds(clock.now(), decision.seconds) > deadline:
            telemetry.report(telemetry.ADMISSIONS, priority=priority, decision="postponed")
        _sleep_or_give_up(decision, clock, deadline, call)


def _sleep_or_give_up(wait: Wait, clock: Clock, deadline: datetime, call: CallRequest) -> None:
    until = add_seconds(clock.now(), wait.seconds)
    if until > deadline:
        reason = call.describe_limit(wait.reason, wait.scope or "")
        reason = f"{reason}; try again in {format_duration(wait.seconds)}"
        raise NotAdmitted(reason, scope=wait.scope, until=until, retry_after=wait.seconds)
    clock.sleep(max(wait.seconds, _SHORTEST_SLEEP_SECONDS))
