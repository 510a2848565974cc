"""Drift per account: whether its readers still come at the same hours, and whether probabilities are still right.

The population stability index compares the shares of first opens by time of day and kind of day before and after a
moment: the sum of (after - before) x ln(after / before) over the shares. Above 0.25, and above the expected value by
chance with so few opens, the account has drifted. Probabilities are summed over spans that do not overlap; the sum is
the expected number of first opens.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from adwarm.foundation.arrow_arrays import Floats
from adwarm.foundation.local_hours import hours_of_week
from adwarm.patterns.opens import Opens
from adwarm.replay.baselines import local_hours
from adwarm.replay.policy import DecisionTimes, Policy, PredictedEvent, Ranking, ReplayTiming, find_evaluated

DRIFT_THRESHOLD = 0.25
"""Population stability index above which an account has drifted; the customary bound."""
MIN_ACCOUNT_OPENS = 20
"""First opens, before and after, that an account needs to be compared."""
MIN_SIGMAS = 4.0
"""Standard deviations by which opens must miss their expected number."""
MIN_RELATIVE_ERROR = 0.25
"""Share of the expected number by which they must miss it too."""
MAX_LISTED = 50
_BLOCK_HOURS, _DAY_HOURS, _WORKING = 4, 24, 5
_BINS = 2 * _DAY_HOURS // _BLOCK_HOURS


class MonitoredPolicy:
    """Wraps a policy and counts its probabilities by account while it is replayed.

    Args:
        policy: the wrapped policy.
        opens: the whole log; the wrapped policy still sees the past only.
        start: decisions before it are not counted, microseconds since 1970.
        end: spans that end after it are not counted.
    """

    def __init__(self, policy: Policy, opens: Opens, start: int, end: int) -> None:
        self._policy, self._opens, self._start, self._end = policy, opens, start, end
        self._first = opens.only_first()
        accounts = int(opens.account.max(initial=-1)) + 1
        self.expected, self.variance, self.observed = np.zeros(accounts), np.zeros(accounts), np.zeros(accounts)

    @property
    def wrapped(self) -> Policy:
        """The wrapped policy."""
        return self._policy

    @property
    def name(self) -> str:
        """The wrapped policy's name."""
        return self._policy.name

    @property
    def about(self) -> str:
        """The wrapped policy's description."""
        return self._policy.about

    @property
    def predicted_event(self) -> PredictedEvent | None:
        """The wrapped policy's event."""
        return self._policy.predicted_event

    def fit(self, history: Opens, timing: ReplayTiming) -> None:
        """Fit the wrapped policy."""
        self._policy.fit(history, timing)

    def rank(self, history: Opens, decisions: DecisionTimes) -> Iterator[Ranking]:
        """Yield the wrapped policy's rankings, and count their probabilities."""
        for ranking in self._policy.rank(history, decisions):
            event = self.predicted_event
            if event is not None and ranking.probability is not None:
                self._count(int(decisions.at[ranking.decision]), ranking, event, decisions.timing)
            yield ranking

    def _count(self, at: int, ranking: Ranking, event: PredictedEvent, timing: ReplayTiming) -> None:
        starts_span = (at - self._start) % event.horizon < timing.step
        if at < self._start or at + event.horizon > self._end or not starts_span or ranking.probability is None:
            return
        key_count = int(np.searchsorted(self._opens.first_ts, at - timing.lag, "left"))
        evaluated = find_evaluated(ranking, self._opens, at)
        evaluated[key_count:] = False
        is_known = evaluated[ranking.key]
        account, chance = self._opens.account[ranking.key[is_known]], ranking.probability[is_known]
        size = len(self.expected)
        self.expected += np.bincount(account, chance, size)
        self.variance += np.bincount(account, chance * (1.0 - chance), size)
        opened = np.unique(self._first.since(at).before(at + event.horizon).key)
        self.observed += np.bincount(self._opens.account[opened[evaluated[opened]]], minlength=size)


def measure_drift(opens: Opens, start: int, test: int, end: int, monitored: MonitoredPolicy) -> dict[str, Any]:
    """Return the drift of all opens, and the accounts that drifted, the worst first, as JSON values.

    Args:
        start: start of training, microseconds since 1970.
        test: start of the test.
        monitored: the live policy after the replay.
    """
    before, after = (_first_opens_by_account(opens, *span) for span in ((start, test), (test, end)))
    owner = {int(number): str(name) for number, name in zip(opens.account, opens.account_id, strict=True)}
    accounts = [_account_drift(owner[n], before[n], after[n], monitored, n) for n in range(len(before))]
    moved = sorted((account for account in accounts if account["why"]), key=_severity, reverse=True)
    return {
        "stability": stability_index(before.sum(axis=0), after.sum(axis=0)),
        "accounts": len(accounts),
        "judged": sum(account["stability"] is not None for account in accounts),
        "moved": len(moved),
        "worst": moved[:MAX_LISTED],
    }


def stability_index(before: Floats, after: Floats) -> float | None:
    """Return the population stability index of two counts by the same bins; None with too few opens in one."""
    if min(before.sum(), after.sum()) < MIN_ACCOUNT_OPENS:
        return None
    old, new = ((counts + 0.5) / (counts + 0.5).sum() for counts in (before, after))
    return float(((new - old) * np.log(new / old)).sum())


def expected_stability_index(before: float, after: float) -> float:
    """Return the mean of the index for so many opens when nothing drifted."""
    return (_BINS - 1) * (1.0 / before + 1.0 / after)


def _account_drift(
    account_id: str, before: Floats, after: Floats, monitored: MonitoredPolicy, number: int
) -> dict[str, Any]:
    """Return first opens in training and since, their stability, and what was stated and came since, with `why`."""
    index = stability_index(before, after)
    stated, came = float(monitored.expected[number]), float(monitored.observed[number])
    why = []
    if index is not None and index > DRIFT_THRESHOLD + expected_stability_index(before.sum(), after.sum()):
        why.append("its readers come at other hours")
    gap, sure = came - stated, MIN_SIGMAS * max(float(monitored.variance[number]), 1.0) ** 0.5
    if max(stated, came) >= MIN_ACCOUNT_OPENS and abs(gap) > max(sure, MIN_RELATIVE_ERROR * stated):
        why.append(f"{'more' if gap > 0 else 'fewer'} opens than stated")
    return {
        "account_id": account_id,
        "before": int(before.sum()),
        "after": int(after.sum()),
        "stability": index,
        "stated": round(stated, 1),
        "came": int(came),
        "why": "; ".join(why),
    }


def _severity(drift: dict[str, Any]) -> float:
    stated = drift["stated"]
    return float((drift["stability"] or 0.0) + abs(drift["came"] - stated) / max(stated, 1.0))


def _first_opens_by_account(opens: Opens, start: int, end: int) -> Floats:
    """Return first opens by account and bin: blocks of four hours, working days apart from weekends."""
    first = opens.only_first().since(start).before(end)
    hour = hours_of_week(local_hours(first.ts, first.key, opens.zone))
    weekend = hour // _DAY_HOURS >= _WORKING
    time_bin = hour % _DAY_HOURS // _BLOCK_HOURS + weekend * (_BINS // 2)
    counts = np.zeros((int(opens.account.max(initial=-1)) + 1, _BINS))
    np.add.at(counts, (opens.account[first.key], time_bin), 1.0)
    return counts
