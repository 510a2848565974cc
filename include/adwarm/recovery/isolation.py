"""Isolation: a connection, an account or a fallback that keeps failing is not called for a while, then has to succeed.

| the run ended with                                        | counts against                                         |
|-----------------------------------------------------------|--------------------------------------------------------|
| `TokenDead`, `Blocked`                                    | the connection                                         |
| `Corrupt`, `BadRequest`                                   | the account                                            |
| any other `Transient`, a lost connection, a timeout       | the account, unless the platform fails as a whole; and |
|                                                           | the connection, if another one works meanwhile         |
| `Throttled`, `NotAdmitted`, `Refused`: capacity           | nothing                                                |
| `TooMuchData`: the request is split                       | nothing                                                |
| `NotFound`, `Denied`: a proper answer                     | nothing                                                |
| a bug                                                     | nothing                                                |

An outage of the platform is the business of the source's breaker, which lasts seconds, not minutes. So temporary errors
count for nothing while that breaker is not closed, nor when several accounts fail without a success in between
(`adwarm.recovery.source_evidence`). A connection is isolated only when several of its accounts fail.

Each scope has a circuit breaker (`adwarm.foundation.circuit`, which lists the transitions) in a store, because every
task is another process. The first calls after an isolation are its probes. A scope without recent failures has no row:
its calls write nothing, and read a list of all failing scopes that is a second old at most.
"""

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import nextafter
from typing import Any, Protocol

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
)
from adwarm.foundation.redaction import redact
from adwarm.foundation.stored_errors import name_error
from adwarm.recovery.call import STORED_DATA, Call
from adwarm.recovery.source_evidence import ACCOUNTS_OF_AN_OUTAGE
from adwarm.settings import RecoverySettings
from adwarm.store.isolated_sources import MAX_SCOPE_LENGTH, Change, IsolationRow, IsolationState, new_row

CONNECTION, ACCOUNT, FALLBACK = "connection", "account", "fallback"
ISOLATION_FAILURES = 5
"""Failures within the window that isolate, when they are more than half of the calls: two tries with their retries."""
_WINDOW_SECONDS = 300.0
_GROWTH = 2.0
"""Factor by which an isolation grows with each relapse."""
MAX_ISOLATION_SECONDS = 3_600.0
"""Longest isolation: what was repaired is called again within the hour, whoever looks."""
_PROBES = 5
"""Probes of which the success rate is taken: with the default of .8 one of them may fail."""
_CACHE_SECONDS = 1.0
_MAX_REASON = 500
_CLOSED, _OPEN = BreakerState.CLOSED.value, BreakerState.OPEN.value


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


class IsolationStateStore(Protocol):
    """Where the states live. `adwarm.store.isolated_sources.SqlIsolationStore` keeps them in SQL."""

    def list_states(self, now: float) -> list[IsolationState]:
        """Return the scopes that are isolated or probed, and those whose failures still count."""
        ...

    def change(self, scope: str, change: Change) -> IsolationRow:
        """Replace the row of a scope by what `change` returns for it, and return that."""
        ...

    def delete_closed(self, before: float) -> int:
        """Delete the closed scopes whose failures stopped counting before `before`, and return how many."""
        ...


class MemoryIsolationStore:
    """The states of one process, for callers without a database."""

    def __init__(self) -> None:
        self._rows: dict[str, IsolationRow] = {}
        self._lock = threading.Lock()

    def list_states(self, now: float) -> list[IsolationState]:
        """Return the scopes that are isolated or probed, and those whose failures still count."""
        with self._lock:
            rows = sorted(self._rows.values(), key=lambda row: row.scope)
        return [_to_state(row) for row in rows if row.state != _CLOSED or (row.until or 0.0) > now]

    def change(self, scope: str, change: Change) -> IsolationRow:
        """Replace the row of a scope by what `change` returns for it, and return that."""
        with self._lock:
            after = self._rows[scope] = change(self._rows.get(scope) or new_row(scope))
        return after

    def delete_closed(self, before: float) -> int:
        """Delete the closed scopes whose failures stopped counting before `before`, and return how many."""
        with self._lock:
            old = [s for s, row in self._rows.items() if row.state == _CLOSED and (row.until or 0.0) < before]
            for scope in old:
                del self._rows[scope]
        return len(old)


class IsolationTracker:
    """Counts the failures of scopes and tells which are isolated. Safe to share between threads.

    Args:
        store: where the states live.
        settings: when a scope is isolated, and for how long.
        clock: gives the time.
    """

    def __init__(self, store: IsolationStateStore, settings: RecoverySettings, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._rules = isolation_rules(settings)
        accounts = min(ACCOUNTS_OF_AN_OUTAGE, ISOLATION_FAILURES)
        self._connection_rules = replace(self._rules, min_accounts=accounts)
        self._failing: dict[str, IsolationState] = {}
        self._read_at: float | None = None
        self._lock = threading.Lock()

    def remaining_seconds(self, scope: str) -> float:
        """Return the seconds of isolation left, 0 when the scope may be called. Reads at most once a second."""
        state = self._find(scope)
        return 0.0 if state is None else self._remaining(state)

    def find_isolation(self, scopes: Sequence[str]) -> Isolated | None:
        """Return the error to raise instead of a call: that of the longest isolation; None when it may be made."""
        states = [state for scope in scopes if (state := self._find(scope)) is not None]
        longest = max(states, key=self._remaining, default=None)
        if longest is None or (seconds := self._remaining(longest)) <= 0:
            return None
        until = "" if longest.until is None else f" until {longest.until:%Y-%m-%d %H:%M:%S}"
        message = (
            f"{longest.scope} is isolated since {longest.since:%Y-%m-%d %H:%M:%S}{until} UTC: {longest.reason}; "
            "it is tested then"
        )
        if longest.kind == TokenDead.__name__:  # a human may renew the token long before the isolation is over
            seconds = min(seconds, self._rules.cooldown_seconds)
        isolated = Isolated(message, retry_after=seconds, scope=longest.scope, kind=longest.kind)
        isolated.credential = longest.credential
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
            scope: what was called.
            failed: whether the call failed.
            reason: why, without secrets.
            kind: class of the error.
            account: the account whose call failed, where the scope is a connection and the error may be the account's.
            credential: digest of the credential that was refused, where the error is a dead token.
        """
        scope, now = scope[:MAX_SCOPE_LENGTH], self._now()
        if not failed and self._find(scope) is None:
            return
        rules = self._rules_of(scope)

        def change(row: IsolationRow) -> IsolationRow:
            before = _to_breaker(row, now)
            after = before.after_unadmitted_call(rules, now, failed=failed, account=account)
            is_healthy = after.state is BreakerState.CLOSED and not after.has_failures(rules, now)
            data = {
                **after.to_dict(),
                "failures": 0 if is_healthy else row.data.get("failures", 0) + int(failed),
                "kind": kind if failed else row.data.get("kind"),
                "credential": credential if failed else row.data.get("credential", ""),
            }
            why = _reason(after, reason) if failed and after.state is not before.state else row.reason
            if failed and after.state is BreakerState.CLOSED:
                why = reason
            until = _until(row, after, now + rules.window_seconds if failed else None)
            return IsolationRow(scope, str(after.state), after.changed_at, until, why and why[:_MAX_REASON], data)

        self._remember(self._store.change(scope, change))

    def record_failure(self, scope: str, error: Exception, account: str | None = None) -> None:
        """Count one call that failed with `error`.

        Args:
            scope: what was called.
            error: its class, its message without secrets and, for a dead token, the credential are kept: they say what
                ends the isolation.
            account: as for `record`.
        """
        kind = name_error(error)
        code = f" (code {error.code})" if isinstance(error, AdwarmError) and error.code else ""
        credential = error.credential if isinstance(error, TokenDead) else ""
        reason = redact(f"{kind}: {error}{code}")
        self.record(scope, failed=True, reason=reason, kind=kind, account=account, credential=credential)

    def release(self, scope: str) -> None:
        """End an isolation whose cause is fixed. The next one starts with the longer time of a relapse."""
        now = self._now()

        def change(row: IsolationRow) -> IsolationRow:
            closed = Breaker(changed_at=now, openings_in_a_row=_to_breaker(row, now).openings_in_a_row)
            return replace(row, state=_CLOSED, changed_at=now, until=now, data={**closed.to_dict(), "failures": 0})

        self._remember(self._store.change(scope[:MAX_SCOPE_LENGTH], change))

    def list_isolated(self) -> list[IsolationState]:
        """Return the scopes that are isolated or being probed, by scope. Not cached."""
        return [state for state in self._store.list_states(self._now()) if state.is_isolated]

    def list_due_probes(self, limit: int) -> list[str]:
        """Return up to `limit` scopes that wait for a probe: those whose time is over first, the longest over first."""
        due = [state for state in self.list_isolated() if self._remaining(state) <= 0]
        due.sort(key=lambda state: (state.state != _OPEN, state.until or state.since))
        return [state.scope for state in due[:limit]]

    def delete_healthy(self, before: datetime) -> int:
        """Delete the scopes without a failure that still counted at `before`, and return how many."""
        return self._store.delete_closed(before.timestamp())

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def _rules_of(self, scope: str) -> BreakerRules:
        return self._connection_rules if scope.startswith(f"{CONNECTION}:") else self._rules

    def _remaining(self, state: IsolationState) -> float:
        if state.state != _OPEN or state.until is None:
            return 0.0
        # Clocks of workers differ; no isolation is longer than the longest.
        longest = max(self._rules.cooldown_seconds, self._rules.max_cooldown_seconds)
        return min(longest, max(0.0, state.until.timestamp() - self._now()))

    def _find(self, scope: str) -> IsolationState | None:
        """Return the state of a failing scope, from a list that is a second old at most."""
        now = self._now()
        with self._lock:
            if self._read_at is None or not 0 <= now - self._read_at < _CACHE_SECONDS:
                self._read_at = now  # also when the store fails: the older list serves for another second
                self._failing = {state.scope: state for state in self._store.list_states(now)}
            state = self._failing.get(scope[:MAX_SCOPE_LENGTH])
        is_past = (
            state is not None and not state.is_isolated and (state.until is None or state.until.timestamp() <= now)
        )
        return None if is_past else state

    def _remember(self, row: IsolationRow) -> None:
        with self._lock:
            self._failing[row.scope] = _to_state(row)


def _reason(breaker: Breaker, last: str | None) -> str | None:
    """Return what opened the breaker, with the last failure."""
    return f"{breaker.reason}; the last: {last}" if last else breaker.reason


def _until(row: IsolationRow, breaker: Breaker, failures_count_until: float | None) -> float | None:
    """Return the end of the isolation; while closed, until when the failures count; None while it is probed."""
    if breaker.state is BreakerState.OPEN:
        return breaker.probe_at
    if breaker.state is BreakerState.HALF_OPEN:
        return None
    if failures_count_until is not None:
        return failures_count_until
    return row.until if row.state == _CLOSED else breaker.changed_at


def _to_breaker(row: IsolationRow, now: float) -> Breaker:
    if not row.data:
        return Breaker(changed_at=now)
    return Breaker.from_dict(row.state, row.changed_at, row.until or 0.0, dict(row.data))


def _to_state(row: IsolationRow) -> IsolationState:
    until = None if row.until is None else datetime.fromtimestamp(row.until, UTC)
    since = datetime.fromtimestamp(row.changed_at, UTC)
    data: dict[str, Any] = dict(row.data)
    return IsolationState(
        row.scope,
        row.state,
        since,
        until,
        row.reason,
        data.get("failures", 0),
        data.get("kind"),
        data.get("credential") or "",
    )
