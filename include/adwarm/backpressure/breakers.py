"""The circuit breakers of the shared budget: one for each source, and one for each account of a source that fails.

Both count a call about one account. The breaker of the account opens on the failures of that account; the breaker of
the source requires failures of several accounts, so one bad account never blocks the others. A healthy account has no
breaker: its first failure creates one, and it is removed when its window holds no failure any more.

`adwarm.foundation.circuit` lists the transitions of a breaker.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from adwarm.backpressure.admission import CallOutcome, CallOutcomeKind, Grant
from adwarm.foundation.circuit import Breaker, BreakerRules, BreakerState
from adwarm.foundation.gate import Gate, Rule
from adwarm.model import Scope, ScopeKind
from adwarm.settings import BackpressureSettings

BREAKER_ACCOUNTS = 3
"""Failing accounts that open the breaker of a whole source: two may fail by chance, each for its own reason."""
BREAKER_PROBES = 3
"""Probes that must succeed to close a breaker; one may have been lucky."""


@dataclass(frozen=True, slots=True)
class ScopedBreaker:
    """A breaker that a call must pass; `scope` is what it protects, such as `source:meta` or `account:act_1`."""

    scope: str
    breaker: Breaker
    rules: BreakerRules

    def to_gate(self, now: float) -> Gate:
        """Return the gate at `now`: closed while no call passes."""
        closed_until = now + self.breaker.wait_seconds(self.rules, now)
        return Gate(self.scope, Rule.BREAKER, closed_until=closed_until, data={"state": str(self.breaker.state)})


class BreakerRegistry:
    """Every breaker of a budget.

    Attributes:
        by_name: a source's breaker under the source's name, an account's under `account_breaker_name`.
    """

    def __init__(self, settings: BackpressureSettings) -> None:
        self.by_name: dict[str, Breaker] = {}
        self.account_rules = BreakerRules(
            error_rate=settings.breaker_error_rate,
            window_seconds=settings.breaker_window_seconds,
            min_calls=settings.breaker_min_calls,
            cooldown_seconds=settings.breaker_cooldown_seconds,
            probes=BREAKER_PROBES,
        )
        self.source_rules = replace(self.account_rules, min_accounts=BREAKER_ACCOUNTS, opens_on_burst=True)

    def find_breakers(self, source: str, scopes: Sequence[Scope], now: float) -> tuple[ScopedBreaker, ...]:
        """Return the breakers that a call on `scopes` must pass, the source's first."""
        breaker = self.by_name.get(source) or Breaker(changed_at=now)
        of_source = ScopedBreaker(source_scope(source), breaker, self.source_rules)
        account = single_account(scopes)
        own = None if account is None else self.by_name.get(account_breaker_name(source, account))
        if account is None or own is None:
            return (of_source,)
        return (of_source, ScopedBreaker(str(account), own, self.account_rules))

    def rules_for(self, name: str) -> BreakerRules:
        """Return the rules of the breaker `name`."""
        return self.source_rules if account_in_breaker_name(name) is None else self.account_rules

    def record_admission(self, grant: Grant) -> None:
        """Note that the granted call passed; where a breaker is not closed, it is a probe."""
        for name in breaker_names(grant.source, grant.scopes):
            if name == grant.source or name in self.by_name:
                before = self.by_name.get(name) or Breaker(changed_at=grant.granted_at)
                self.by_name[name] = before.after_admission(grant.granted_at, grant.id, grant.expires_at)

    def record_outcome(self, grant: Grant, outcome: CallOutcome, now: float) -> None:
        """Count how the call ended. A throttle comes from a healthy upstream and does not count; parking handles it."""
        is_neutral = outcome.kind in {CallOutcomeKind.SKIPPED, CallOutcomeKind.THROTTLED}
        failed = not is_neutral and outcome.kind is not CallOutcomeKind.OK
        account = single_account(grant.scopes)
        account_id = None if account is None else account.id
        for name in breaker_names(grant.source, grant.scopes):
            before = self.by_name.get(name)
            if before is None and not (failed or name == grant.source):
                continue
            before = before or Breaker(changed_at=now)
            if is_neutral:
                self.by_name[name] = before.without_probe(grant.id)
                continue
            rules = self.rules_for(name)
            self.by_name[name] = before.after_call(rules, now, grant.id, failed=failed, account=account_id)
            self._remove_if_healthy(name, grant.source, now)

    def _remove_if_healthy(self, name: str, source: str, now: float) -> None:
        breaker = self.by_name[name]
        is_closed = breaker.state is BreakerState.CLOSED
        if name != source and is_closed and not breaker.has_failures(self.account_rules, now):
            del self.by_name[name]


def single_account(scopes: Sequence[Scope]) -> Scope | None:
    """Return the account that a call concerns; None when it concerns none, or several."""
    account: Scope | None = None
    for scope in scopes:
        if scope.kind is ScopeKind.ACCOUNT:
            if account is not None and account != scope:
                return None
            account = scope
    return account


def breaker_names(source: str, scopes: Sequence[Scope]) -> tuple[str, ...]:
    """Return the names of the breakers that count a call, the source's first."""
    account = single_account(scopes)
    return (source,) if account is None else (source, account_breaker_name(source, account))


def account_breaker_name(source: str, account: Scope) -> str:
    """Return the name of the breaker of one account of a source."""
    return f"{source} {account}"


def account_in_breaker_name(name: str) -> str | None:
    """Return the account scope at the end of a breaker's name; None for a source's breaker."""
    _, _, last = name.rpartition(" ")
    return last if last != name and last.startswith(f"{ScopeKind.ACCOUNT.value}:") else None


def source_scope(source: str) -> str:
    """Return the scope of a whole source by its name; of a breaker by its name, the scope of its row."""
    return f"source:{source}"
