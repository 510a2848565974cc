"""The gate a call goes through: waits while waiting is short, hands out the grant, and settles it whatever happens.

A wait longer than the caller's allowance is not slept through: `NotAdmitted` tells the caller until when to defer.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from adwarm.backpressure.admission import Admission, CallOutcome, CallOutcomeKind, Grant, Granted, Wait
from adwarm.backpressure.admission import Rejected as RefusedDecision
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
from adwarm.model import Priority, Scope, UsageSample

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
        if isinstance(decision, RefusedDecision):
            words = f"{decision.reason}; ask again then"
            raise Refused(words, retry_after=decision.retry_after, scope=decision.scope)
        _sleep_or_give_up(decision, clock, deadline)


def _sleep_or_give_up(wait: Wait, clock: Clock, deadline: datetime) -> None:
    until = add_seconds(clock.now(), wait.seconds)
    if until > deadline:
        raise NotAdmitted(f"{wait.reason}; come back then", scope=wait.scope, until=until, retry_after=wait.seconds)
    clock.sleep(max(wait.seconds, _SHORTEST_SLEEP_SECONDS))
