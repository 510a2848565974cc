"""A circuit breaker: opens on the error rate of a sliding window, tests the upstream with a few probes, closes again.

```
closed --(enough calls, too many failed)--> open --(cool-down over)--> half-open --(enough probes well)--> closed
                                             ^---------(enough probes failed)---------'
```
The cool-down is always the same, so that calls succeed within one cool-down after the upstream has healed.

A breaker that many accounts share wants failures of `min_accounts` of them, to open as well as to reopen, and counts a
bounded number of failures of each: one bad account never opens it. A call that is not about exactly one account stands
for itself. Only a probe's outcome moves a half-open breaker, so a straggler from before cannot close it. A probe whose
worker died is given up at its expiry and another takes its place. Pure: moments are handed in, the state is a value.
"""

from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil
from typing import Any

_INTERVALS = 10
_MAX_ACCOUNTS_PER_INTERVAL = 16
"""So many failing accounts are told apart in a slice; each failure of a further one counts as an account's own."""

IntervalCounts = tuple[int, int, int, tuple[tuple[str, int], ...]]
"""Number of the slice of time, calls, failures, and of them those of named accounts."""


class BreakerState(StrEnum):
    """Whether calls pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When to open and how to come back; `min_accounts` of 1 judges calls without asking whose they are."""

    error_rate: float = 0.5
    window_seconds: float = 60.0
    min_calls: int = 10
    cooldown_seconds: float = 30.0
    probes: int = 3
    min_accounts: int = 1

    @property
    def account_cap(self) -> int:
        """The most failures of one account that count in a window: `min_accounts` of them fill the minimum volume."""
        return ceil(self.min_calls / self.min_accounts)


@dataclass(frozen=True, slots=True)
class Breaker:
    """The state of one breaker: a source's, or that of one account of a source.

    Attributes:
        slices: calls and failures of the window, oldest first.
        trips: openings since it was last closed.
        probes: tickets of the probes in flight, with the moment each is given up.
        successful_probes: probes that came back well since it was half-open.
        failed_probe_accounts: accounts whose probes failed since.
        why: what opened it.
    """

    state: BreakerState = BreakerState.CLOSED
    changed_at: float = 0.0
    probe_at: float = 0.0
    intervals: tuple[IntervalCounts, ...] = ()
    openings_in_a_row: int = 0
    probes: tuple[tuple[str, float], ...] = ()
    successful_probes: int = 0
    failed_probe_accounts: tuple[str, ...] = ()
    reason: str | None = None

    def wait_seconds(self, rules: BreakerRules, now: float) -> float:
        """Return 0 when a call may pass, else the seconds until it is worth asking again."""
        if self.state is BreakerState.CLOSED:
            return 0.0
        if self.state is BreakerState.OPEN:
            return min(rules.cooldown_seconds, max(0.0, self.probe_at - now))  # large clock readings round up
        live = [until for _, until in self.probes if until > now]
        return 0.0 if len(live) + self.successful_probes < rules.probes else min(live, default=now) - now

    def after_admission(self, now: float, ticket: str, expires_at: float) -> "Breaker":
        """Return the breaker after the call `ticket` passed; call it only where `wait` is 0."""
        if self.state is BreakerState.CLOSED:
            return self
        half = self if self.state is BreakerState.HALF_OPEN else self._in_state(BreakerState.HALF_OPEN, now)
        live = tuple(probe for probe in half.probes if probe[1] > now)
        return replace(half, probes=(*live, (ticket, expires_at)))

    def after_call(
        self, rules: BreakerRules, now: float, ticket: str, *, failed: bool, account: str | None = None
    ) -> "Breaker":
        """Return the breaker after the call `ticket` ended; `account` is whom it was about, if it was about one."""
        if self.state is BreakerState.CLOSED:
            return self._with_call(rules, now, failed, account)
        if self.state is BreakerState.OPEN or not self._is_probe(ticket):
            return self
        if failed:
            return self._probe_failed(rules, now, ticket, account)
        well = replace(self.without_probe(ticket), successful_probes=self.successful_probes + 1)
        return Breaker(changed_at=now) if well.successful_probes >= rules.probes else well

    def without_probe(self, ticket: str) -> "Breaker":
        """Return the breaker without the probe `ticket`, which taught nothing."""
        return replace(self, probes=tuple(probe for probe in self.probes if probe[0] != ticket))

    def error_rate(self, rules: BreakerRules, now: float) -> tuple[float, int]:
        """Return the failures per call, and the calls, of the window that ends at `now`."""
        inside = self._inside(rules, now)
        calls = sum(part[1] for part in inside)
        return (sum(part[2] for part in inside) / calls if calls else 0.0), calls

    def to_dict(self) -> dict[str, Any]:
        """Return what is stored beside state, change and probe time."""
        return {
            "slices": self.intervals,
            "trips": self.openings_in_a_row,
            "probes": self.probes,
            "well": self.successful_probes,
            "failed": self.failed_probe_accounts,
            "why": self.reason,
        }

    @classmethod
    def from_dict(cls, state: str, changed_at: float, probe_at: float, data: dict[str, Any]) -> "Breaker":
        """Return the breaker that was stored."""
        return cls(
            BreakerState(state),
            changed_at,
            probe_at,
            tuple(_decode_interval(stored) for stored in data.get("slices", ())),
            int(data.get("trips", 0)),
            tuple((str(ticket), float(until)) for ticket, until in data.get("probes", ())),
            int(data.get("well", 0)),
            tuple(data.get("failed", ())),
            data.get("why"),
        )

    def has_failures(self, rules: BreakerRules, now: float) -> bool:
        """Return whether any call of the window that ends at `now` failed."""
        return any(part[2] for part in self._inside(rules, now))

    def _with_call(self, rules: BreakerRules, now: float, failed: bool, account: str | None) -> "Breaker":
        slices = self._inside(rules, now)
        index = _interval_number(rules, now)
        if not slices or slices[-1][0] < index:
            slices = (*slices, (index, 0, 0, ()))
        number, calls, failures, named = slices[-1]
        if failed and account is not None and rules.min_accounts > 1:
            named = _count_failure_of(named, account)
        slices = (*slices[:-1], (number, calls + 1, failures + int(failed), named))
        counted = Breaker(self.state, self.changed_at, self.probe_at, slices, self.openings_in_a_row)
        # A success may complete the minimum volume, but it is never the news that opens.
        return counted._opened_if_failing(rules, now) if failed else counted

    def _opened_if_failing(self, rules: BreakerRules, now: float) -> "Breaker":
        """Open if enough calls of the window failed, those of one account beyond its cap left out."""
        calls, failures, by_account = 0, 0, Counter[str]()
        for _, made, failed, named in self._inside(rules, now):
            calls, failures = calls + made, failures + failed
            by_account.update(dict(named))
        beyond = sum(max(0, count - rules.account_cap) for count in by_account.values())
        accounts = len(by_account) + failures - by_account.total()
        calls, failures = calls - beyond, failures - beyond
        if calls < rules.min_calls or failures < rules.error_rate * calls or accounts < rules.min_accounts:
            return self
        whose = f" of {accounts} accounts or more" if by_account else ""
        return self._opened(rules, now, f"{failures} of {calls} calls{whose} failed in {rules.window_seconds:.0f} s")

    def _probe_failed(self, rules: BreakerRules, now: float, ticket: str, account: str | None) -> "Breaker":
        failed = tuple(dict.fromkeys((*self.failed_probe_accounts, account or ticket)))
        if account is None or len(failed) >= rules.min_accounts:
            return self._opened(rules, now, f"a probe failed after {self.openings_in_a_row} openings in a row")
        return replace(self.without_probe(ticket), failed_probe_accounts=failed)

    def _inside(self, rules: BreakerRules, now: float) -> tuple[IntervalCounts, ...]:
        oldest = _interval_number(rules, now) - _INTERVALS
        return tuple(part for part in self.intervals if part[0] > oldest)

    def _opened(self, rules: BreakerRules, now: float, why: str) -> "Breaker":
        return Breaker(BreakerState.OPEN, now, now + rules.cooldown_seconds, (), self.openings_in_a_row + 1, reason=why)

    def _in_state(self, state: BreakerState, now: float) -> "Breaker":
        return replace(self, state=state, changed_at=now, probes=(), successful_probes=0, failed_probe_accounts=())

    def _is_probe(self, ticket: str) -> bool:
        return any(ticket == probe for probe, _ in self.probes)


def _interval_number(rules: BreakerRules, now: float) -> int:
    return int(now // (rules.window_seconds / _INTERVALS))


def _count_failure_of(named: tuple[tuple[str, int], ...], account: str) -> tuple[tuple[str, int], ...]:
    """Return the failures by account with one more of `account`."""
    counts = dict(named)
    if account in counts or len(counts) < _MAX_ACCOUNTS_PER_INTERVAL:
        counts[account] = counts.get(account, 0) + 1
    return tuple(counts.items())


def _decode_interval(stored: Any) -> IntervalCounts:
    """Return a slice as it was stored; one from before accounts were told apart names none."""
    number, calls, failures, *named = stored
    return int(number), int(calls), int(failures), tuple((str(a), int(n)) for a, n in (named[0] if named else ()))
