"""The breakers of a budget: one for each source, and one for each account of a source that fails.

A call about one account is judged by both. An account's breaker opens on that account's failures; the source's wants
failures of several accounts, so that nobody is refused for somebody else's. A healthy account has no breaker: it comes
into being with the first failure, and is forgotten once its window holds none.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from adwarm.backpressure.admission import CallOutcome, CallOutcomeKind, Grant
from adwarm.foundation.circuit import Breaker, BreakerRules, BreakerState
from adwarm.model import Scope, ScopeKind
from adwarm.settings import BackpressureSettings


@dataclass(frozen=True, slots=True)
class ScopedBreaker:
    """A breaker that a call must pass; `scope` is what it guards, such as `source:meta` or `account:act_1`."""

    scope: str
    breaker: Breaker
    rules: BreakerRules


class BreakerRegistry:
    """Every breaker of a budget.

    Attributes:
        by_name: a source's under the source's name, an account's under `account_breaker`.
    """

    def __init__(self, settings: BackpressureSettings) -> None:
        self.by_name: dict[str, Breaker] = {}
        self.account_rules = BreakerRules(
            error_rate=settings.breaker_error_rate,
            window_seconds=settings.breaker_window_seconds,
            min_calls=settings.breaker_min_calls,
            cooldown_seconds=settings.breaker_cooldown_seconds,
            probes=settings.breaker_probes,
        )
        self.source_rules = replace(self.account_rules, min_accounts=settings.breaker_min_accounts)

    def find_breakers(self, source: str, scopes: Sequence[Scope], now: float) -> tuple[ScopedBreaker, ...]:
        """Return the breakers that a call on `scopes` must pass, the source's first."""
        found = self.by_name.get(source) or Breaker(changed_at=now)
        first = ScopedBreaker(source_scope(source), found, self.source_rules)
        account = single_account(scopes)
        own = None if account is None else self.by_name.get(account_breaker_name(source, account))
        return (
            (first,)
            if account is None or own is None
            else (first, ScopedBreaker(str(account), own, self.account_rules))
        )

    def rules_for(self, name: str) -> BreakerRules:
        """Return the rules of the breaker `name`."""
        return self.source_rules if account_in_breaker_name(name) is None else self.account_rules

    def record_admission(self, grant: Grant) -> None:
        """Take note that the granted call passed."""
        for name in breaker_names(grant.source, grant.scopes):
            if name == grant.source or name in self.by_name:
                before = self.by_name.get(name) or Breaker(changed_at=grant.granted_at)
                self.by_name[name] = before.after_admission(grant.granted_at, grant.id, grant.expires_at)

    def record_outcome(self, grant: Grant, outcome: CallOutcome, now: float) -> None:
        """Take in how the call ended. A throttle is a healthy upstream's answer: parking deals with it."""
        says_nothing = outcome.kind in {CallOutcomeKind.SKIPPED, CallOutcomeKind.THROTTLED}
        failed = not says_nothing and outcome.kind is not CallOutcomeKind.OK
        account = single_account(grant.scopes)
        for name in breaker_names(grant.source, grant.scopes):
            before = self.by_name.get(name)
            if before is None and not (failed or name == grant.source):
                continue
            before = before or Breaker(changed_at=now)
            if says_nothing:
                self.by_name[name] = before.without_probe(grant.id)
                continue
            whose = None if account is None or name != grant.source else account.id
            self.by_name[name] = before.after_call(self.rules_for(name), now, grant.id, failed=failed, account=whose)
            self._forget_healthy(name, grant.source, now)

    def _forget_healthy(self, name: str, source: str, now: float) -> None:
        found = self.by_name[name]
        if name != source and found.state is BreakerState.CLOSED and not found.has_failures(self.account_rules, now):
            del self.by_name[name]


def single_account(scopes: Sequence[Scope]) -> Scope | None:
    """Return the account that a call is about; None when it is about none, or about several."""
    found: Scope | None = None
    for scope in scopes:
        if scope.kind is ScopeKind.ACCOUNT:
            if found is not None and found != scope:
                return None
            found = scope
    return found


def breaker_names(source: str, scopes: Sequence[Scope]) -> tuple[str, ...]:
    """Return the names of the breakers that judge a call, the source's first."""
    account = single_account(scopes)
    return (source,) if account is None else (source, account_breaker_name(source, account))


def account_breaker_name(source: str, account: Scope) -> str:
    """Return the name of the breaker of one account of a source."""
    return f"{source} {account}"


def account_in_breaker_name(name: str) -> str | None:
    """Return the account scope that a breaker's name ends in; None for a source's."""
    _, _, last = name.rpartition(" ")
    return last if last != name and last.startswith(f"{ScopeKind.ACCOUNT.value}:") else None


def source_scope(source: str) -> str:
    """Return what stands for a whole source where scopes are named."""
    return f"source:{source}"
