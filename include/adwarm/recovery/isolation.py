"""Isolation: a connection, an account or a fallback that keeps failing is not called for a while, then has to succeed.

| the run ended with                                        | counts against                                         |
|-----------------------------------------------------------|--------------------------------------------------------|
| `TokenDead`, `Blocked`                                    | the connection                                         |
| `VersionEnded`                                            | the version of the API of the connection, at once      |
| `Corrupt`, `BadRequest`                                   | the account                                            |
| any other `Transient`, a lost connection, a timeout       | the account, unless the platform fails as a whole; and |
|                                                           | the connection, if another one works meanwhile         |
| `Throttled`, `NotAdmitted`, `Refused`: capacity           | nothing                                                |
| `TooMuchData`: the request is split                       | nothing                                                |
| `NotFound`, `Denied`: a proper answer                     | nothing                                                |
| a bug                                                     | nothing                                                |

An outage of the platform is the business of the source's breaker, which lasts seconds, not minutes. So temporary errors
count for nothing while that breaker is not closed, nor when several accounts fail without a success in between
(`adwarm.recovery.run_outcomes`). A connection is isolated only when several of its accounts fail.

Each scope has a circuit breaker (`adwarm.foundation.circuit`, which lists the transitions) in its gate, a row of the
database, because every task is another process. The first calls after an isolation are its probes. A scope without
recent failures has no row:
its calls write nothing, and read a list of all failing scopes that is a second old at most.
"""

import threading
from collections.abc import Sequence
from dataclasses import replace
from math import nextafter

from adwarm.foundation.circuit import Breaker, BreakerRules, BreakerState
from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import (
    AdwarmError,
    BadRequest,
    Blocked,
    Corrupt,
    Isolated,
    Throttled,
    TokenDead,
    Transient,
    VersionEnded,
    name_error,
)
from adwarm.foundation.gate import Gate, OpenedBy, Rule, may_call, to_datetime
from adwarm.foundation.redaction import redact
from adwarm.recovery.call import STORED_DATA, Call
from adwarm.settings import RecoverySettings
from adwarm.store.denials import make_ended, make_version_scope
from adwarm.store.gates import MAX_SCOPE_LENGTH, SqlGates

CONNECTION, ACCOUNT, FALLBACK = "connection", "account", "fallback"
ISOLATION_FAILURES = 5
"""Failures within the window that isolate, when they are more than half of the calls: two tries with their retries."""
ACCOUNTS_OF_AN_OUTAGE = 3
"""So many accounts that fail without a success in between are the platform's failure."""
_WINDOW_SECONDS = 300.0
_GROWTH = 2.0
"""Factor by which an isolation grows with each relapse."""
MAX_ISOLATION_SECONDS = 3_600.0
"""Longest isolation: what was repaired is called again within the hour, without help."""
_PROBES = 5
"""Probes of which the success rate is taken: with the default of .8 one of them may fail."""
_CACHE_SECONDS = 1.0
_MAX_REASON = 500


def connection_scope(call: Call) -> str:
    """Return the scope of the call's connection; an operation without one has the name of its source."""
    return f"{CONNECTION}:{call.connection or call.source}"


def account_scope(account_id: str) -> str:
    """Return the scope of an account."""
    return f"{ACCOUNT}:{account_id}"


def fallback_scope(name: str) -> str:
    """Return the scope of a fallback."""
    return f"{FALLBACK}:{name}"


def list_scopes(call: Call) -> tuple[str, ...]:
    """Return the scopes in which the call may be isolated; none for stored data."""
    if call.source == STORED_DATA:
        return ()
    own = (account_scope(call.account_id),) if call.account_id else ()
    return (connection_scope(call), *own)


def version_scope(call: Call) -> str:
    """Return the scope of the version of the API that the call is made by."""
    return make_version_scope(call.connection or call.source, call.version)


def is_temporary(error: BaseException) -> bool:
    """Return whether the error may be the account's, the connection's or the platform's fault."""
    if isinstance(error, Transient):
        return not error.own_refusal and not isinstance(error, Throttled)
    return isinstance(error, ConnectionError | TimeoutError)


def counts_for_connection(error: BaseException) -> bool:
    """Return whether the error is always the connection's fault."""
    return isinstance(error, TokenDead | Blocked)


def counts_for_account(error: BaseException) -> bool:
    """Return whether the error is always the account's fault."""
    return isinstance(error, Corrupt | BadRequest)


def isolation_rules(settings: RecoverySettings) -> BreakerRules:
    """Return the rules by which a scope is isolated and comes back."""
    return BreakerRules(
        error_rate=nextafter(0.5, 1.0),  # more than half of the calls
        window_seconds=_WINDOW_SECONDS,
        min_calls=ISOLATION_FAILURES,
        min_failures=ISOLATION_FAILURES,
        cooldown_seconds=settings.isolation_seconds,
        cooldown_growth=_GROWTH,
        max_cooldown_seconds=MAX_ISOLATION_SECONDS,
        probes=_PROBES,
        recovery_rate=settings.recovery_threshold,
    )


class IsolationTracker:
    """Counts the failures of scopes and tells which are isolated. Safe to share between threads."""

    def __init__(self, gates: SqlGates, settings: RecoverySettings, clock: Clock) -> None:
        self._gates = gates
        self._clock = clock
        self._rules = isolation_rules(settings)
        accounts = min(ACCOUNTS_OF_AN_OUTAGE, ISOLATION_FAILURES)
        self._connection_rules = replace(self._rules, min_accounts=accounts)
        self._failing: dict[str, Gate] = {}
        self._read_at: float | None = None
        self._lock = threading.Lock()

    def remaining_seconds(self, scope: str) -> float:
        """Return the seconds of isolation left, 0 when the scope may be called. Reads at most once a second."""
        gate = self._find(scope)
        return 0.0 if gate is None else gate.remaining_seconds(self._now())

    def find_isolation(self, scopes: Sequence[str]) -> Isolated | VersionEnded | None:
        """Return the error to raise instead of a call: that of the longest isolation; None when it may be made.

        Of a version of the API that has ended it is the platform's own error.
        """
        now = self._now()
        longest = may_call((gate for scope in scopes if (gate := self._find(scope)) is not None), now)
        if longest is None:
            return None
        if longest.rule is Rule.VERSION:
            return VersionEnded(f"{longest.why}; it is tried again after a day, or after `adwarm gate open`")
        since, until = to_datetime(longest.since), to_datetime(longest.closed_until)
        message = (
            f"{longest.scope} is isolated since {since:%Y-%m-%d %H:%M:%S} until {until:%Y-%m-%d %H:%M:%S} UTC: "
            f"{longest.why}; it is tested then"
        )
        seconds, kind = longest.remaining_seconds(now), longest.data.get("kind")
        if longest.opened_by is OpenedBy.CREDENTIAL:  # a human may renew the token long before the isolation is over
            seconds = min(seconds, self._rules.cooldown_seconds)
        isolated = Isolated(message, retry_after=seconds, scope=longest.scope, kind=kind)
        isolated.credential = longest.data.get("credential", "")
        return isolated

    def record(
        self,
        scope: str,
        *,
        failed: bool,
        reason: str | None = None,
        kind: str | None = None,
        account: str | None = None,
        credential: str = "",
    ) -> None:
        """Count one call. A success is counted only while failures of the scope count, or after its isolation.

        Args:
            reason: why, without secrets.
            account: the account whose call failed, where the scope is a connection and the error may be the account's.
            credential: digest of the credential that was refused, where the error is a dead token.
        """
        scope, now = scope[:MAX_SCOPE_LENGTH], self._now()
        if not failed and self._find(scope) is None:
            return
        rules = self._rules_of(scope)

        def change(gate: Gate) -> Gate:
            before = _to_breaker(gate, now)
            after = before.after_unadmitted_call(rules, now, failed=failed, account=account)
            is_healthy = after.state is BreakerState.CLOSED and not after.has_failures(rules, now)
            data = {
                **after.to_dict(),
                "failures": 0 if is_healthy else gate.data.get("failures", 0) + int(failed),
                "kind": kind if failed else gate.data.get("kind"),
                "credential": credential if failed else gate.data.get("credential", ""),
            }
            why = _reason(after, reason) if failed and after.state is not before.state else gate.why
            if failed and after.state is BreakerState.CLOSED:
                why = reason or ""
            return Gate(
                scope=scope,
                rule=Rule.ISOLATION,
                since=after.changed_at,
                closed_until=after.closed_until(rules),
                why=why[:_MAX_REASON],
                opened_by=OpenedBy.CREDENTIAL if data["kind"] == TokenDead.__name__ else OpenedBy.PROBES,
                kept_until=_kept_until(gate, after, now + rules.window_seconds if failed else None),
                data=data,
            )

        self._remember(self._gates.change(scope, Rule.ISOLATION, change))

    def record_failure(self, scope: str, error: Exception, account: str | None = None) -> None:
        """Count one call that failed with `error`.

        Args:
            error: its class, its message without secrets and, for a dead token, the credential are kept: they say what
                ends the isolation.
            account: as for `record`.
        """
        kind = name_error(error)
        code = f" (code {error.code})" if isinstance(error, AdwarmError) and error.code else ""
        credential = error.credential if isinstance(error, TokenDead) else ""
        reason = redact(f"{kind}: {error}{code}")
        self.record(scope, failed=True, reason=reason, kind=kind, account=account, credential=credential)

    def end_version(self, call: Call, error: VersionEnded) -> None:
        """Make no further call by a version of the API that the platform refuses."""
        ended = make_ended(version_scope(call), redact(str(error)), self._clock.now())
        self._remember(self._gates.change(ended.scope, ended.rule, lambda _: ended))

    def release(self, scope: str) -> None:
        """End an isolation whose cause is fixed. The next one starts with the longer time of a relapse."""
        now = self._now()

        def change(gate: Gate) -> Gate:
            closed = Breaker(changed_at=now, openings_in_a_row=_to_breaker(gate, now).openings_in_a_row)
            data = {**closed.to_dict(), "failures": 0}
            return replace(gate, since=now, closed_until=None, kept_until=now, data=data)

        self._remember(self._gates.change(scope[:MAX_SCOPE_LENGTH], Rule.ISOLATION, change))

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def _rules_of(self, scope: str) -> BreakerRules:
        return self._connection_rules if scope.startswith(f"{CONNECTION}:") else self._rules

    def _bounded(self, gate: Gate) -> Gate:
        return gate.bounded(self._now(), max(self._rules.cooldown_seconds, self._rules.max_cooldown_seconds))

    def _find(self, scope: str) -> Gate | None:
        """Return the gate of a failing scope, from a list that is a second old at most."""
        now = self._now()
        with self._lock:
            if self._read_at is None or not 0 <= now - self._read_at < _CACHE_SECONDS:
                self._read_at = now  # also when the store fails: the older list serves for another second
                self._failing = {gate.scope: gate for gate in self._gates.list_gates(now, Rule.ISOLATION, Rule.VERSION)}
            gate = self._failing.get(scope[:MAX_SCOPE_LENGTH])
        is_past = gate is None or (gate.kept_until is not None and gate.kept_until <= now)
        return None if gate is None or is_past else self._bounded(gate)

    def _remember(self, gate: Gate) -> None:
        with self._lock:
            self._failing[gate.scope] = gate


def _reason(breaker: Breaker, last: str | None) -> str:
    """Return what opened the breaker, with the last failure."""
    return f"{breaker.reason}; the last: {last}" if last else breaker.reason or ""


def _kept_until(gate: Gate, breaker: Breaker, failures_count_until: float | None) -> float | None:
    """Return until when the failures of a scope that may be called count; None while it is isolated or probed."""
    if breaker.state is not BreakerState.CLOSED:
        return None
    if failures_count_until is not None:
        return failures_count_until
    was_failing = gate.closed_until is None and gate.kept_until is not None
    return gate.kept_until if was_failing else breaker.changed_at


def _to_breaker(gate: Gate, now: float) -> Breaker:
    return Breaker.from_dict(gate.data) if gate.data else Breaker(changed_at=now)
