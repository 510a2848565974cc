"""Decides which faults hit a call: by rate, by count and by time.

Equal profiles and equal calls give equal faults. Chance is a hash of the rule, the account and the number of the
account's calls that the rule has matched, so that interleaving the calls of several accounts changes nothing.
"""

import hashlib
import threading
from collections import Counter
from collections.abc import Collection
from datetime import datetime, timedelta

from graph_simulator.fault_kinds import SENDING_FAULTS, FaultKind, Route, routes_of
from graph_simulator.fault_profile import FaultProfile, FaultRule


class ActiveFaults:
    """The fault rules that hit one call."""

    def __init__(self, rules: Collection[FaultRule] = ()) -> None:
        self.rules = tuple(rules)

    def first(self, kinds: Collection[FaultKind]) -> FaultRule | None:
        """Return the first rule of one of these kinds; None when there is none."""
        return next((rule for rule in self.rules if rule.kind in kinds), None)

    def has(self, kind: FaultKind) -> bool:
        """Whether a rule of this kind hits the call."""
        return self.first((kind,)) is not None

    def on_the_wire(self) -> FaultRule | None:
        """Return the rule that strikes while the response is sent; None when there is none."""
        return self.first(SENDING_FAULTS)

    def skew(self) -> timedelta:
        """Return how far the platform's clock appears to be off."""
        rule = self.first((FaultKind.CLOCK_SKEW,))
        return timedelta(seconds=0 if rule is None else rule.seconds)


class FaultSchedule:
    """Decides for each call which rules hit it. Thread-safe."""

    def __init__(self, profile: FaultProfile, started: datetime) -> None:
        self._profile, self._started = profile, started
        self._matched: Counter[int] = Counter()
        self._matched_by_account: Counter[tuple[int, str]] = Counter()
        self._lock = threading.Lock()

    def not_after(self, moment: datetime) -> None:
        """Move the start back to `moment` if it is later: setting the clock back must not delay the faults."""
        self._started = min(self._started, moment)

    def fire(self, account: str | None, route: Route, now: datetime) -> ActiveFaults:
        """Return the rules that hit a call at `now`. Each matching rule counts the call."""
        age = (now - self._started).total_seconds()
        with self._lock:
            hits = [
                rule
                for index, rule in enumerate(self._profile.fault)
                if _matches(rule, account, route) and _in_time(rule, age) and self._hits(index, rule, account or "")
            ]
        return ActiveFaults(hits)

    def _hits(self, index: int, rule: FaultRule, account: str) -> bool:
        self._matched[index] += 1
        self._matched_by_account[index, account] += 1
        number = self._matched[index] - rule.after_calls
        if number < 1 or (rule.calls is not None and number > rule.calls) or number % rule.every:
            return False
        return rule.rate >= 1 or self._draw(index, account) < rule.rate

    def _draw(self, index: int, account: str) -> float:
        text = f"{self._profile.seed}:{index}:{account}:{self._matched_by_account[index, account]}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64


def _matches(rule: FaultRule, account: str | None, route: Route) -> bool:
    return (
        route in routes_of(rule.kind)
        and (not rule.routes or route in rule.routes)
        and (not rule.accounts or account in rule.accounts)
    )


def _in_time(rule: FaultRule, age: float) -> bool:
    return age >= rule.after_seconds and (rule.for_seconds is None or age < rule.after_seconds + rule.for_seconds)
