"""Probes what is isolated or behind an open breaker, once its time is over and nobody has called it.

A probe is one cheap call. What it shows counts like the outcome of any other call, so that a dashboard's first reader
is not the one who finds out.

| what                                  | the probe                                        |
|---------------------------------------|--------------------------------------------------|
| `connection:NAME`                     | the first account that the connection lists; none |
|                                       | for a name that this process does not know       |
| `account:ID`                          | the account itself                               |
| `fallback:NAME` of a connection       | as for the connection                            |
| any other `fallback:NAME`             | one read of the database and of the object store |
| an open breaker of a source           | as for a connection of that source               |
| an open breaker of an account         | the account itself                               |
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from adwarm.foundation.errors import AdwarmError, Permanent, TokenDead, VersionEnded
from adwarm.foundation.gate import Rule
from adwarm.maintenance.platform_calls import PlatformCalls
from adwarm.maintenance.runner import Step, StepBudget, StepResult
from adwarm.recovery import IsolationTracker
from adwarm.sources.protocol import InsightsSource
from adwarm.store import accounts, read_transaction
from adwarm.store.entries import table as entry
from adwarm.store.gates import list_due

PROBE_CALLS = 10
"""Calls that one run makes to probe what is isolated: few beside the quota, and the next run is minutes away."""
_NO_HASH = "0" * 64


def make_check_health(calls: PlatformCalls, isolations: IsolationTracker) -> Step:
    """Return the step `check_health`."""

    def step(_cursor: Any, budget: StepBudget) -> StepResult:
        run = _Run(calls, isolations, PROBE_CALLS, budget)
        run.probe_isolated([gate.scope for gate in list_due(calls.context.engine, Rule.ISOLATION)[:PROBE_CALLS]])
        run.probe_breakers()
        if not +run.counts:
            return StepResult(skipped="nothing is due to be probed")
        return StepResult(dict(+run.counts), problems=run.problems)

    return step


@dataclass
class _Run:
    """One run of the step."""

    calls: PlatformCalls
    isolations: IsolationTracker
    left: int
    budget: StepBudget
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def probe_isolated(self, scopes: list[str]) -> None:
        """Probe scopes, and count what each probe shows."""
        for scope in scopes:
            kind, _, name = scope.partition(":")
            probe = {"connection": self._probe_connection, "account": self._probe_account}.get(kind)
            if kind == "connection" and not self._is_known(name):
                self.problems.append(f"{scope}: no connection has this name here; its next call is its probe")
                self.counts["unknown"] += 1
                continue
            if not self._may_probe():
                continue
            error = self._try(scope, name, probe or self._probe_fallback)
            if error is not None and _is_own_refusal(error):
                continue
            # A refusal in good order, such as one for a denied account, shows that the platform works.
            if error is None or (isinstance(error, Permanent) and not isinstance(error, TokenDead | VersionEnded)):
                self.isolations.record(scope, failed=False)
            else:
                self.isolations.record_failure(scope, error)

    def _is_known(self, connection: str) -> bool:
        try:
            return self.calls.has(connection)
        except AdwarmError:
            return True  # the probe says what is wrong

    def probe_breakers(self) -> None:
        """Make one call through each open breaker whose time is over; admission counts what it shows."""
        for gate in list_due(self.calls.context.engine, Rule.BREAKER):
            if not self._may_probe():
                continue
            name = gate.account_id or gate.scope.removeprefix("source:")
            self._try(f"breaker of {name}", name, self._probe_account if gate.account_id else self._probe_source)

    def _may_probe(self) -> bool:
        """Whether there are calls and time left for another probe; what is left out is counted."""
        is_allowed = self.left > 0 and not self.budget.is_used_up
        self.counts["left"] += not is_allowed
        return is_allowed

    def _try(self, label: str, name: str, probe: Callable[[str], None]) -> AdwarmError | OSError | None:
        """Run one probe; return its error."""
        try:
            probe(name)
        except (AdwarmError, OSError) as error:
            outcome = "not_admitted" if _is_own_refusal(error) else "failed"
            self.problems.append(f"{label}: {type(error).__name__}: {error}")
            self.counts[outcome] += 1
            return error
        self.counts["succeeded"] += 1
        return None

    def _probe_connection(self, name: str) -> None:
        self._list_one_account(self.calls.get_source(name))

    def _probe_source(self, name: str) -> None:
        """Call the first connection of a source."""
        sources = [source for source in self.calls.list_sources() if source.name == name]
        for source in sources[:1]:
            self._list_one_account(source)

    def _list_one_account(self, source: InsightsSource) -> None:
        self.left -= 1
        self.calls.call(source, "", lambda: source.list_account_page(None, 1))

    def _probe_account(self, account_id: str) -> None:
        account = accounts.get(self.calls.context.engine, account_id)
        source = self.calls.get_source("" if account is None else account.connection)
        self.left -= 1
        self.calls.call(source, account_id, lambda: source.get_account(account_id))

    def _probe_fallback(self, name: str) -> None:
        connection = name.partition(":")[2] or name
        if connection in self.calls.context.settings.connections:
            self._probe_connection(connection)
            return
        with read_transaction(self.calls.context.engine) as opened:
            opened.execute(select(entry.c.account_id).limit(1)).one_or_none()
        self.calls.context.objects.exists(_NO_HASH)


def _is_own_refusal(error: AdwarmError | OSError) -> bool:
    return isinstance(error, AdwarmError) and error.own_refusal
