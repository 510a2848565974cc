"""Which faults hit a call: by rate, by count and by time; equal storms and equal calls give equal faults.

Chance is a hash of the rule, the account and how many of its calls the rule has seen, so that accounts do not disturb
each other when their calls interleave differently.
"""

import hashlib
import threading
from collections import Counter
from collections.abc import Collection
from datetime import datetime, timedelta

from graph_simulator.fault_kinds import WHOLE_ANSWER, FaultKind, Route, routes_of
from graph_simulator.fault_profile import FaultProfile, FaultRule


class Fired:
    """The rules that hit one call."""

    def __init__(self, rules: Collection[FaultRule] = ()) -> None:
        self.rules = tuple(rules)

    def first(self, kinds: Collection[FaultKind]) -> FaultRule | None:
        """Return the first rule of one of these kinds."""
        return next((rule for rule in self.rules if rule.kind in kinds), None)

    def has(self, kind: FaultKind) -> bool:
        """Whether a rule of this kind hit."""
        return self.first((kind,)) is not None

    def on_the_way(self) -> FaultRule | None:
        """Return the rule that strikes the answer on its way, if one does."""
        return self.first(WHOLE_ANSWER)

    def skew(self) -> timedelta:
        """Return how far off the platform's clock seems to be."""
        rule = self.first((FaultKind.CLOCK_SKEW,))
        return timedelta(seconds=0 if rule is None else rule.seconds)


class FaultSchedule:
    """Decides for each call which rules hit it; safe to use from several threads."""

    def __init__(self, profile: FaultProfile, started: datetime) -> None:
        self._profile, self._started = profile, started
        self._seen: Counter[int] = Counter()
        self._by_account: Counter[tuple[int, str]] = Counter()
        self._lock = threading.Lock()

    def not_after(self, moment: datetime) -> None:
        """Let the storm have begun by `moment`: a clock set back does not put it off."""
        self._started = min(self._started, moment)

    def fire(self, account: str | None, route: Route, now: datetime) -> Fired:
        """Return the rules that hit a call made now; each matching rule counts it."""
        age = (now - self._started).total_seconds()
        with self._lock:
            hits = [
                rule
                for index, rule in enumerate(self._profile.fault)
                if _matches(rule, account, route) and _in_time(rule, age) and self._hits(index, rule, account or "")
            ]
        return Fired(hits)

    def _hits(self, index: int, rule: FaultRule, account: str) -> bool:
        self._seen[index] += 1
        self._by_account[index, account] += 1
        since = self._seen[index] - rule.after_calls
        if since < 1 or (rule.calls is not None and since > rule.calls) or since % rule.every:
            return False
        return rule.rate >= 1 or self._draw(index, account) < rule.rate

    def _draw(self, index: int, account: str) -> float:
        words = f"{self._profile.seed}:{index}:{account}:{self._by_account[index, account]}"
        return int.from_bytes(hashlib.sha256(words.encode()).digest()[:8]) / 2**64


def _matches(rule: FaultRule, account: str | None, route: Route) -> bool:
    return (
        route in routes_of(rule.kind)
        and (not rule.routes or route in rule.routes)
        and (not rule.accounts or account in rule.accounts)
    )


def _in_time(rule: FaultRule, age: float) -> bool:
    return age >= rule.after_seconds and (rule.for_seconds is None or age < rule.after_seconds + rule.for_seconds)
