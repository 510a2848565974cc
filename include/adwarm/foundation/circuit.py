"""A circuit breaker as a value: it opens on the error rate of a sliding window and closes after successful probes.

Transitions, given the rules:

| state     | event                                                    | next state                           |
|-----------|----------------------------------------------------------|--------------------------------------|
| closed    | a call fails and the window is over the thresholds below | open until `now` plus the cool-down  |
| closed    | any other call ends                                      | closed, with the call counted        |
| open      | a call is admitted at `probe_at` or later                | half-open, with it as first probe    |
| open      | a human asks for a test                                  | open, with `probe_at` now            |
| open      | anything else                                            | open, unchanged                      |
| half-open | a probe succeeds, the last of `required_successes`       | closed, with an empty window         |
| half-open | a probe fails, and too few can still succeed             | open until `now` plus the cool-down  |
| half-open | another probe ends                                       | half-open, with the outcome counted  |
| half-open | a call that is not a probe ends                          | half-open, unchanged                 |

The thresholds: at least `min_calls` calls in the window, at least `error_rate` of them and `min_failures` failed, and
the failures concern at least `min_accounts` accounts. The same number of accounts must fail as probes to open a
half-open breaker again.

A busy upstream that fails completely would take half a window to reach the error rate, because the successes from
before still count. Where `opens_on_burst` is set, a tenth of a window with `min_calls` calls that all failed is enough.

The cool-down is `cooldown_seconds`, multiplied by `cooldown_growth` for each further opening in a row, and at most
`max_cooldown_seconds`. By default it does not grow, so calls succeed within one cool-down after the upstream has
recovered. Where it grows, a breaker that has been closed for one window starts again from `cooldown_seconds`.

A breaker that several accounts share (`min_accounts` above 1) counts a bounded number of failures of each account, so
one bad account never opens it. A call that concerns no single account counts as an account of its own. A probe whose
worker died is dropped at its expiry, and another call takes its place.

The module is pure: callers pass the time in seconds and store the value. It serves the shared budget (one breaker for
each source and each failing account) and the recovery pipeline (one for each connection, account or fallback that has
failed).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from typing import Any

import msgspec
from msgspec.structs import replace

from adwarm.foundation.wording import format_part

_INTERVALS = 10
_MAX_ACCOUNTS_PER_INTERVAL = 16
"""Failing accounts named per interval; a failure of a further account counts as an account of its own."""
_ROUNDING = 1e-9


class BreakerState(StrEnum):
    """Whether calls pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When a breaker opens and what closes it again.

    Attributes:
        error_rate: failures per call, from which the breaker opens.
        window_seconds: length of the sliding window in which calls are counted.
        min_calls: fewer calls in the window never open it.
        cooldown_seconds: time from opening to the first probe.
        probes: probes that may be in flight or have succeeded while half-open.
        min_accounts: accounts that must fail to open it; 1 ignores accounts.
        recovery_rate: share of `probes` that must succeed to close it.
        min_failures: fewer failures in the window never open it.
        opens_on_burst: whether a tenth of the window, with `min_calls` calls that all failed, opens it.
        cooldown_growth: factor by which the cool-down grows with each opening in a row; 1 keeps it constant.
        max_cooldown_seconds: longest cool-down, unless `cooldown_seconds` is longer.
    """

    error_rate: float = 0.5
    window_seconds: float = 60.0
    min_calls: int = 10
    cooldown_seconds: float = 30.0
    probes: int = 3
    min_accounts: int = 1
    recovery_rate: float = 1.0
    min_failures: int = 0
    opens_on_burst: bool = False
    cooldown_growth: float = 1.0
    max_cooldown_seconds: float = 0.0

    @property
    def account_cap(self) -> int:
        """The most failures of one account that count in a window: `min_accounts` of them make up `min_calls`."""
        return ceil(self.min_calls / self.min_accounts)

    @property
    def required_successes(self) -> int:
        """Probes that must succeed to close the breaker."""
        return max(1, ceil(self.recovery_rate * self.probes - _ROUNDING))

    def cooldown_after(self, openings: int) -> float:
        """Return the cool-down in seconds after the `openings`-th opening in a row, from 1."""
        longest = max(self.cooldown_seconds, self.max_cooldown_seconds)
        # The exponent is bounded so that thousands of openings do not overflow.
        return min(longest, self.cooldown_seconds * self.cooldown_growth ** min(max(0, openings - 1), 64))


class IntervalCounts(msgspec.Struct, frozen=True, array_like=True):
    """The calls of one tenth of the window; stored as a list of its fields.

    Attributes:
        number: start of the interval in interval lengths since the epoch.
        failures_by_account: the failures of named accounts.
    """

    number: int
    calls: int
    failures: int
    failures_by_account: tuple[tuple[str, int], ...] = ()


class Breaker(msgspec.Struct, frozen=True):
    """The state of one breaker. Times are in seconds since the epoch.

    Attributes:
        probe_at: when an open breaker admits its first probe.
        intervals: calls and failures in the window, oldest first.
        openings_in_a_row: openings since it was last closed; where the cool-down grows, since it was last closed for a
            whole window.
        probes: tickets of the probes in flight, each with its expiry.
        successful_probes: probes that succeeded since it became half-open.
        failed_probe_accounts: accounts whose probes failed since then; the ticket of a probe of no single account.
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
        """Return 0 when a call may pass, else the seconds after which to check again."""
        until = self.closed_until(rules)
        if until is None:
            return 0.0
        longest = rules.cooldown_after(self.openings_in_a_row) if self.state is BreakerState.OPEN else float("inf")
        return min(longest, max(0.0, until - now))  # large clock readings round up

    def closed_until(self, rules: BreakerRules) -> float | None:
        """Return until when no call passes; None while it is closed, a past time where the next call is a probe."""
        if self.state is BreakerState.CLOSED:
            return None
        if self.state is BreakerState.OPEN:
            return self.probe_at
        excess = len(self.probes) + self.successful_probes - rules.probes
        expiries = sorted(expires_at for _, expires_at in self.probes)
        return expiries[excess] if 0 <= excess < len(expiries) else self.changed_at

    def after_admission(self, now: float, ticket: str, expires_at: float) -> "Breaker":
        """Return the breaker after the call `ticket` passed; call it only where `wait_seconds` is 0."""
        if self.state is BreakerState.CLOSED:
            return self
        half_open = self
        if self.state is BreakerState.OPEN:
            half_open = replace(
                self,
                state=BreakerState.HALF_OPEN,
                changed_at=now,
                probes=(),
                successful_probes=0,
                failed_probe_accounts=(),
            )
        in_flight = tuple(probe for probe in half_open.probes if probe[1] > now)
        return replace(half_open, probes=(*in_flight, (ticket, expires_at)))

    def after_call(
        self, rules: BreakerRules, now: float, ticket: str, *, failed: bool, account: str | None = None
    ) -> "Breaker":
        """Return the breaker after the call `ticket` ended; `account` is the single account it concerned, if any."""
        if self.state is BreakerState.CLOSED:
            return self._with_call(rules, now, failed, account)
        if self.state is BreakerState.OPEN or not any(ticket == probe for probe, _ in self.probes):
            return self
        if failed:
            return self._with_failed_probe(rules, now, ticket, account)
        succeeded = replace(self.without_probe(ticket), successful_probes=self.successful_probes + 1)
        return succeeded._closed(rules, now) if succeeded.successful_probes >= rules.required_successes else succeeded

    def after_unadmitted_call(
        self, rules: BreakerRules, now: float, *, failed: bool, account: str | None = None
    ) -> "Breaker":
        """Return the breaker after a call that was never admitted by ticket ended.

        Once the cool-down is over, such a call counts as a probe; during it, it counts for nothing. `account` is the
        single account it concerned, if any.
        """
        if self.wait_seconds(rules, now) > 0:
            return self
        # Tickets of failed probes are kept, so each must be new.
        ticket = f"call {self.successful_probes + len(self.failed_probe_accounts)} at {now:.6f}"
        return self.after_admission(now, ticket, now).after_call(rules, now, ticket, failed=failed, account=account)

    def tested_now(self, now: float) -> "Breaker":
        """Return an open breaker that admits its first probe at `now` at the latest, as a human asks for."""
        is_waiting = self.state is BreakerState.OPEN and self.probe_at > now
        return replace(self, probe_at=now) if is_waiting else self

    def without_probe(self, ticket: str) -> "Breaker":
        """Return the breaker without the probe `ticket`, whose outcome says nothing about the upstream."""
        return replace(self, probes=tuple(probe for probe in self.probes if probe[0] != ticket))

    def error_rate(self, rules: BreakerRules, now: float) -> tuple[float, int]:
        """Return the failures per call, and the number of calls, in the window that ends at `now`."""
        intervals = self._in_window(rules, now)
        calls = sum(interval.calls for interval in intervals)
        return (sum(interval.failures for interval in intervals) / calls if calls else 0.0), calls

    def has_failures(self, rules: BreakerRules, now: float) -> bool:
        """Return whether any call in the window that ends at `now` failed."""
        return self.count_failures(rules, now) > 0

    def count_failures(self, rules: BreakerRules, now: float) -> int:
        """Return how many calls in the window that ends at `now` failed."""
        return sum(interval.failures for interval in self._in_window(rules, now))

    def to_dict(self) -> dict[str, Any]:
        """Return what is stored."""
        stored: dict[str, Any] = msgspec.to_builtins(self)
        return stored

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Breaker":
        """Return the stored breaker; other values in `data` are left out."""
        return msgspec.convert(data, cls)

    def _with_call(self, rules: BreakerRules, now: float, failed: bool, account: str | None) -> "Breaker":
        intervals = self._in_window(rules, now)
        number = interval_number(rules, now)
        if not intervals or intervals[-1].number < number:
            intervals = (*intervals, IntervalCounts(number, 0, 0))
        last = intervals[-1]
        by_account = last.failures_by_account
        if failed and account is not None and rules.min_accounts > 1:
            by_account = _count_failure_of(by_account, account)
        counts = IntervalCounts(last.number, last.calls + 1, last.failures + int(failed), by_account)
        openings = 0 if now - self.changed_at >= rules.window_seconds else self.openings_in_a_row
        counted = Breaker(self.state, self.changed_at, self.probe_at, (*intervals[:-1], counts), openings)
        # A success may complete the minimum volume, but a breaker that opened on one would open on good news.
        return counted._opened_if_failing(rules, now) if failed else counted

    def _opened_if_failing(self, rules: BreakerRules, now: float) -> "Breaker":
        """Open if enough calls in the window failed; failures of an account beyond its cap are left out."""
        intervals = self._in_window(rules, now)
        calls, failures, accounts, are_named = _count_calls(rules, intervals)
        seconds = rules.window_seconds
        if failures < rules.error_rate * calls and rules.opens_on_burst:
            calls, failures, accounts, are_named = _count_calls(rules, intervals[-1:])
            seconds = rules.window_seconds / _INTERVALS
            if failures < calls:
                return self
        is_failing = failures >= max(rules.min_failures, rules.error_rate * calls)
        if calls < rules.min_calls or not is_failing or accounts < rules.min_accounts:
            return self
        whose = f" of {accounts} accounts or more" if are_named else ""
        return self._opened(rules, now, f"{format_part(failures, calls, 'call')}{whose} failed in {seconds:.0f} s")

    def _with_failed_probe(self, rules: BreakerRules, now: float, ticket: str, account: str | None) -> "Breaker":
        failed = tuple(dict.fromkeys((*self.failed_probe_accounts, account or ticket)))
        tolerated = rules.probes - rules.required_successes
        if account is not None:
            tolerated = max(tolerated, rules.min_accounts - 1)
        if len(failed) > tolerated:
            pauses = self.openings_in_a_row + 1
            return self._opened(rules, now, f"a test call failed; this is pause {pauses} in a row")
        return replace(self.without_probe(ticket), failed_probe_accounts=failed)

    def _in_window(self, rules: BreakerRules, now: float) -> tuple[IntervalCounts, ...]:
        oldest = interval_number(rules, now) - _INTERVALS
        return tuple(interval for interval in self.intervals if interval.number > oldest)

    def _opened(self, rules: BreakerRules, now: float, reason: str) -> "Breaker":
        openings = self.openings_in_a_row + 1
        cooldown = rules.cooldown_after(openings)
        return Breaker(BreakerState.OPEN, now, now + cooldown, openings_in_a_row=openings, reason=reason)

    def _closed(self, rules: BreakerRules, now: float) -> "Breaker":
        relapses = self.openings_in_a_row if rules.cooldown_growth > 1 else 0
        return Breaker(changed_at=now, openings_in_a_row=relapses)


def interval_number(rules: BreakerRules, now: float) -> int:
    """Return the number of the interval that holds `now`."""
    return int(now // (rules.window_seconds / _INTERVALS))


def _count_calls(rules: BreakerRules, intervals: Sequence[IntervalCounts]) -> tuple[int, int, int, bool]:
    """Return calls, failures, the accounts they concern, and whether these are named; each account up to its cap."""
    calls, failures, by_account = 0, 0, Counter[str]()
    for interval in intervals:
        calls, failures = calls + interval.calls, failures + interval.failures
        by_account.update(dict(interval.failures_by_account))
    excess = sum(max(0, count - rules.account_cap) for count in by_account.values())
    accounts = len(by_account) + failures - by_account.total()
    return calls - excess, failures - excess, accounts, bool(by_account)


def _count_failure_of(by_account: tuple[tuple[str, int], ...], account: str) -> tuple[tuple[str, int], ...]:
    """Return the failures by account with one more of `account`."""
    counts = dict(by_account)
    if account in counts or len(counts) < _MAX_ACCOUNTS_PER_INTERVAL:
        counts[account] = counts.get(account, 0) + 1
    return tuple(counts.items())
