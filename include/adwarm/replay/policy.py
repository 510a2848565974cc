"""The interface of a policy: it sees the past, and returns which keys to warm with which value.

A replay calls a policy like this, and nothing else:

```
policy.fit(history, timing)                     at the start of each period, and again every week
for ranking in policy.rank(history, decisions)  once per day of decisions, in time order
```

`history` (see `adwarm.patterns.opens.Opens`) holds opens only: microseconds, key numbers, whether each is a first open.
In `fit` it ends strictly before the first decision's cutoff. In `rank` it ends strictly before the *last* cutoff of the
day, so that a policy can work on whole arrays; for decision i it must use only opens before `decisions.cutoff[i]`. The
replay's tests cut the log to prove that it does. Keys are numbered by first appearance: numbers never change between
calls, later calls know more keys, and a key that is not known cannot be warmed.

The replay lowers a threshold over `warm_value`: a key is warmed when its value reaches it and its entry is not fresh.
So a value may be any number that ranks keys at that decision given that nothing fresh is stored; only its order and its
steadiness over time matter. Fresh entries, single flight and latency are handled by the simulation.

A policy that also states a probability returns it as `Ranking.probability`, and its `predicted_event` tells of what:
that a first open (or any open) of the key falls into `[at, at + horizon)`. Brier score, log loss, PR-AUC and
calibration are computed from it; keys that are not named count as probability 0.

A policy is deterministic: its random numbers have a constant seed. It does no I/O and reads no clock.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from adwarm.foundation.arrow_arrays import Bools, Codes, Floats, Micros
from adwarm.patterns.opens import Opens


@dataclass(frozen=True, slots=True)
class ReplayTiming:
    """Times that hold for the whole replay, in microseconds.

    Attributes:
        step: time between two decisions.
        lag: how long an open takes to become known.
        latency: from a decision, or the chosen `warm_at`, until the entry can be served.
        ttl: how long an entry is fresh; with freshness by class, that of today's data.
    """

    step: int
    lag: int
    latency: int
    ttl: int


@dataclass(frozen=True, slots=True)
class PredictedEvent:
    """The event whose probability a policy states.

    Attributes:
        horizon: it happens in `[at, at + horizon)`, microseconds.
        first_opens_only: whether it is a first open, or any open.
    """

    horizon: int
    first_opens_only: bool = True


@dataclass(frozen=True)
class DecisionTimes:
    """Consecutive decisions of one day.

    Attributes:
        at: when each is taken, microseconds, ascending.
        cutoff: per decision, `at - lag`; opens at or after it are not known yet.
        timing: see `ReplayTiming`.
    """

    at: Micros
    cutoff: Micros
    timing: ReplayTiming

    def __len__(self) -> int:
        return len(self.at)


@dataclass(frozen=True)
class Ranking:
    """A policy's values at one decision.

    Attributes:
        decision: index into the `DecisionTimes`; a decision may be left out (nothing to warm), none may be repeated.
        key: key numbers, each at most once, in any order.
        warm_value: per key; a higher one is warmed sooner. Keys with a value of 0 or less, or NaN, are never warmed.
        probability: per key, 0 to 1; None when the policy states none.
        warm_at: per key, when to fetch, microseconds; clipped to `[at, at + step)`. None: at once.
        renew_at_expiry: warm a key whose entry expires before the next decision at the moment it expires, instead of
            at the next decision.
    """

    decision: int
    key: Codes
    warm_value: Floats
    probability: Floats | None = None
    warm_at: Micros | None = None
    renew_at_expiry: bool = False
    known_until: int | None = None


def find_evaluated(ranking: Ranking, opens: Opens, at: int) -> Bools:
    """Return, per key of `opens`, whether the ranking's probability is compared with what happened.

    A key that was opened after the last open that the policy knows has an entry by the decision, so nothing is decided
    on it; a chance that is given no open until then says nothing about it.

    Args:
        ranking: with probabilities.
        opens: the whole log.
        at: the decision, microseconds.
    """
    evaluated: Bools = np.ones(opens.key_count, np.bool_)
    if ranking.known_until is not None:
        evaluated[opens.since(ranking.known_until).before(at).key] = False
    return evaluated


class Policy(Protocol):
    """A way to choose what to warm."""

    @property
    def name(self) -> str:
        """The name for `--policy`: lower case, words joined by hyphens."""
        ...

    @property
    def about(self) -> str:
        """One sentence for the page: how it chooses."""
        ...

    @property
    def predicted_event(self) -> PredictedEvent | None:
        """The event whose probability it states; None when it states none. Read after `fit`."""
        ...

    def fit(self, history: Opens, timing: ReplayTiming) -> None:
        """Learn from the opens known so far; replaces everything learned before."""
        ...

    def rank(self, history: Opens, decisions: DecisionTimes) -> Iterator[Ranking]:
        """Yield a ranking per decision, in order."""
        ...


class SimplePolicy(ABC):
    """A policy that values keys decision by decision; a subclass needs `name` and `warm_values` only."""

    name: str
    about: str = ""
    predicted_event: PredictedEvent | None = None

    def fit(self, history: Opens, timing: ReplayTiming) -> None:
        """Learn nothing; override it to learn something."""
        return

    def rank(self, history: Opens, decisions: DecisionTimes) -> Iterator[Ranking]:
        """Yield the keys to which `warm_values` gives more than 0."""
        for index, (at, cutoff) in enumerate(zip(decisions.at.tolist(), decisions.cutoff.tolist(), strict=True)):
            value = self.warm_values(at, history.before(cutoff), decisions.timing)
            key = np.flatnonzero(value > 0).astype(np.int32)
            yield Ranking(index, key, value[key])

    @abstractmethod
    def warm_values(self, at: int, history: Opens, timing: ReplayTiming) -> Floats:
        """Return a value per known key; 0 never warms it.

        Args:
            at: the decision, microseconds since 1970.
            history: the opens that are known then.
            timing: see `ReplayTiming`.
        """
