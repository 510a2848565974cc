"""Whether habits have moved: per account, do its people still come at their hours, and do probabilities come true?

Population stability compares the shares of first opens by time of day and kind of day before and after a moment: the
sum of (after - before) x ln(after / before) over the shares. Above 0.25, and above what chance gives with so few opens,
habits have moved. Probabilities are watched over spans that do not overlap; their sum is what was expected to come.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from adwarm.foundation.arrow_arrays import Floats
from adwarm.foundation.local_hours import hours_of_week
from adwarm.patterns.opens import Opens
from adwarm.replay.baselines import local_hours
from adwarm.replay.policy import DecisionTimes, Policy, PredictedEvent, Ranking, ReplayTiming

DRIFT_THRESHOLD = 0.25
"""Population stability above which habits have moved; the customary bound."""
MIN_ACCOUNT_OPENS = 20
"""First opens, before and after, below which an account is not judged."""
MIN_SIGMAS = 4.0
"""Standard deviations by which what came true must miss what was stated."""
MIN_RELATIVE_ERROR = 0.25
"""Share of what was stated by which it must miss it too."""
MAX_LISTED = 50
_BLOCK_HOURS, _DAY_HOURS, _WORKING = 4, 24, 5
_BINS = 2 * _DAY_HOURS // _BLOCK_HOURS


class MonitoredPolicy:
    """A policy whose probabilities are counted by account while it is replayed; else it is as it was.

    Args:
        opens: the whole log; the policy itself still sees the past only.
        start: decisions before it are not counted, microseconds; likewise spans that end after `end`.
    """

    def __init__(self, policy: Policy, opens: Opens, start: int, end: int) -> None:
        self._policy, self._opens, self._start, self._end = policy, opens, start, end
        self._first = opens.only_first()
        accounts = int(opens.account.max(initial=-1)) + 1
        self.expected, self.variance, self.observed = np.zeros(accounts), np.zeros(accounts), np.zeros(accounts)

    @property
    def name(self) -> str:
        """That of the policy."""
        return self._policy.name

    @property
    def about(self) -> str:
        """What the policy says of itself."""
        return self._policy.about

    @property
    def predicted_event(self) -> PredictedEvent | None:
        """What the policy's probabilities are of."""
        return self._policy.predicted_event

    def fit(self, history: Opens, timing: ReplayTiming) -> None:
        """Let the policy learn."""
        self._policy.fit(history, timing)

    def rank(self, history: Opens, decisions: DecisionTimes) -> Iterator[Ranking]:
        """Pass on what the policy says, and count it."""
        for found in self._policy.rank(history, decisions):
            claim = self.predicted_event
            if claim is not None and found.probability is not None:
                self._count(int(decisions.at[found.decision]), found, claim, decisions.timing)
            yield found

    def _count(self, at: int, ranking: Ranking, event: PredictedEvent, timing: ReplayTiming) -> None:
        apart = (at - self._start) % event.horizon < timing.step
        if at < self._start or at + event.horizon > self._end or not apart or ranking.probability is None:
            return
        known = int(np.searchsorted(self._opens.first_ts, at - timing.lag, "left"))
        good = ranking.key < known
        account, chance = self._opens.account[ranking.key[good]], ranking.probability[good]
        size = len(self.expected)
        self.expected += np.bincount(account, chance, size)
        self.variance += np.bincount(account, chance * (1.0 - chance), size)
        log = self._first if event.first_opens_only else self._opens
        coming = np.unique(log.since(at).before(at + event.horizon).key)
        self.observed += np.bincount(self._opens.account[coming[coming < known]], minlength=size)


@dataclass(frozen=True, slots=True)
class AccountDrift:
    """How an account has moved.

    Attributes:
        before: first opens in training.
        after: first opens since.
        stability: see above; None with too few opens.
        stated: first opens that the probabilities promised, over spans that do not overlap.
        came: those that came.
        why: in words, empty when it has not moved.
    """

    account_id: str
    before: int
    after: int
    stability: float | None
    stated: float
    came: int
    why: str


def measure_drift(opens: Opens, start: int, test: int, end: int, monitored: MonitoredPolicy) -> dict[str, Any]:
    """Return the drift of everybody and the accounts that have moved, the worst first, as plain values."""
    before, after = (_first_opens_by_account(opens, *span) for span in ((start, test), (test, end)))
    owner = {int(number): str(name) for number, name in zip(opens.account, opens.account_id, strict=True)}
    accounts = [_account_drift(owner[n], before[n], after[n], monitored, n) for n in range(len(before))]
    moved = sorted((found for found in accounts if found.why), key=_severity, reverse=True)
    return {
        "stability": stability_index(before.sum(axis=0), after.sum(axis=0)),
        "accounts": len(accounts),
        "judged": sum(found.stability is not None for found in accounts),
        "moved": len(moved),
        "worst": [{name: getattr(found, name) for name in AccountDrift.__slots__} for found in moved[:MAX_LISTED]],
    }


def stability_index(before: Floats, after: Floats) -> float | None:
    """Return the population stability index of two counts by the same bins; None with fewer than `LEAST` in one."""
    if min(before.sum(), after.sum()) < MIN_ACCOUNT_OPENS:
        return None
    old, new = ((counts + 0.5) / (counts + 0.5).sum() for counts in (before, after))
    return float(((new - old) * np.log(new / old)).sum())


def expected_stability_index(before: float, after: float) -> float:
    """Return the index that so many opens give on average when nothing has moved."""
    return (_BINS - 1) * (1.0 / before + 1.0 / after)


def _account_drift(
    account_id: str, before: Floats, after: Floats, monitored: MonitoredPolicy, number: int
) -> AccountDrift:
    index = stability_index(before, after)
    stated, came = float(monitored.expected[number]), float(monitored.observed[number])
    why = []
    if index is not None and index > DRIFT_THRESHOLD + expected_stability_index(before.sum(), after.sum()):
        why.append("its people come at other hours")
    gap, sure = came - stated, MIN_SIGMAS * max(float(monitored.variance[number]), 1.0) ** 0.5
    if max(stated, came) >= MIN_ACCOUNT_OPENS and abs(gap) > max(sure, MIN_RELATIVE_ERROR * stated):
        why.append(f"{'more' if gap > 0 else 'fewer'} opens than stated")
    return AccountDrift(
        account_id, int(before.sum()), int(after.sum()), index, round(stated, 1), int(came), "; ".join(why)
    )


def _severity(found: AccountDrift) -> float:
    return (found.stability or 0.0) + abs(found.came - found.stated) / max(found.stated, 1.0)


def _first_opens_by_account(opens: Opens, start: int, end: int) -> Floats:
    """Return first opens by account and bin: hours of the day in fours, working days apart from the others."""
    first = opens.only_first().since(start).before(end)
    hour = hours_of_week(local_hours(first.ts, first.key, opens.zone))
    weekend = hour // _DAY_HOURS >= _WORKING
    place = hour % _DAY_HOURS // _BLOCK_HOURS + weekend * (_BINS // 2)
    counts = np.zeros((int(opens.account.max(initial=-1)) + 1, _BINS))
    np.add.at(counts, (opens.account[first.key], place), 1.0)
    return counts
