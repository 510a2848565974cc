"""The seam every policy fits: it sees the past, and says which keys to warm with which score.

A replay asks a policy like this, and nothing else:

```
policy.fit(known, terms)                      at the start of each stretch, and again every week
for scores in policy.scores(known, decisions) once per chunk of decisions (at most a day), in time order
```

`known` (see `adwarm.patterns.opens.Opens`) holds opens only: microseconds, key numbers, whether each is a first open.
In `fit` it ends strictly before the first decision's cutoff. In `scores` it ends strictly before the *last* cutoff of
the chunk, so that a policy may work on whole arrays; for decision i it must look only at opens before
`decisions.cutoff[i]`. The replay's tests cut the log to prove that it does. Keys are numbered by first appearance:
numbers never change between calls, later calls know more keys, and a key that is not known cannot be warmed.

The replay lowers a threshold over `score`: a key is warmed when its score reaches it and its entry is not fresh. So a
score may be any number that ranks keys at that decision given that nothing fresh is stored; only its order and its
steadiness over time matter. Skipping what is fresh, single flight and latency are the simulator's part.

A policy that also states a probability gives it as `Scores.probability` and says by `claim` what of: that a first open
(or any open) of the key falls into `[at, at + horizon)`. Brier, log loss, PR-AUC and calibration are computed of it;
keys that are not named count as probability 0.

A policy is deterministic: what is random in it is seeded by a constant. It does no I/O and reads no clock.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from adwarm.foundation.arrow_arrays import Codes, Floats, Micros
from adwarm.patterns.opens import Opens


@dataclass(frozen=True, slots=True)
class ReplayTiming:
    """What holds for the whole replay, in microseconds.

    Attributes:
        step: time between two decisions.
        lag: how long an open takes to become known.
        latency: from a decision, or the chosen warm time, until the entry can be served.
        ttl: how long an entry is fresh; with freshness by class, that of today's data.
    """

    step: int
    lag: int
    latency: int
    ttl: int


@dataclass(frozen=True, slots=True)
class PredictedEvent:
    """What a policy's probabilities are of: a first open, or any open, in `[at, at + horizon)`; microseconds."""

    horizon: int
    first_opens_only: bool = True


@dataclass(frozen=True)
class DecisionTimes:
    """Consecutive decisions.

    Attributes:
        at: when each is taken, microseconds, ascending.
        cutoff: per decision, `at - lag`; opens at or after it are not known yet.
        terms: see `Terms`.
    """

    at: Micros
    cutoff: Micros
    timing: ReplayTiming

    def __len__(self) -> int:
        return len(self.at)


@dataclass(frozen=True)
class Ranking:
    """What a policy says at one decision.

    Attributes:
        decision: index into the asked `Decisions`; a decision may be left out (nothing to warm), none may be repeated.
        key: key numbers, each at most once, in any order.
        score: per key; higher is warmed sooner. Keys with a score of 0 or less, or NaN, are never warmed.
        probability: per key, 0 to 1; None when the policy states none.
        warm_at: per key, when to fetch, microseconds; clipped to `[at, at + step)`. None: at once.
        renew: warm a key whose entry runs out before the next decision at that very moment, instead of leaving it
            to the next decision.
    """

    decision: int
    key: Codes
    warm_value: Floats
    probability: Floats | None = None
    warm_at: Micros | None = None
    renew_at_expiry: bool = False


class Policy(Protocol):
    """A way to choose what to warm."""

    @property
    def name(self) -> str:
        """What `--policy` calls it: lower case, words joined by hyphens."""
        ...

    @property
    def about(self) -> str:
        """One sentence for the report: how it chooses."""
        ...

    @property
    def predicted_event(self) -> PredictedEvent | None:
        """What its probabilities are of; None when it states none. Read after `fit`."""
        ...

    def fit(self, history: Opens, timing: ReplayTiming) -> None:
        """Learn from the opens known so far; everything learnt before is replaced."""
        ...

    def rank(self, history: Opens, decisions: DecisionTimes) -> Iterator[Ranking]:
        """Yield scores for the decisions, in order."""
        ...


class SimplePolicy(ABC):
    """A policy that is asked decision by decision: write `name` and `choose`, and it can be replayed."""

    name: str
    about: str = ""
    predicted_event: PredictedEvent | None = None

    def fit(self, history: Opens, timing: ReplayTiming) -> None:
        """Learn nothing; override it to learn something."""
        return

    def rank(self, history: Opens, decisions: DecisionTimes) -> Iterator[Ranking]:
        """Yield what `choose` says of each decision."""
        for index, (at, cutoff) in enumerate(zip(decisions.at.tolist(), decisions.cutoff.tolist(), strict=True)):
            score = self.warm_values(at, history.before(cutoff), decisions.timing)
            chosen = np.flatnonzero(score > 0).astype(np.int32)
            yield Ranking(index, chosen, score[chosen])

    @abstractmethod
    def warm_values(self, at: int, history: Opens, timing: ReplayTiming) -> Floats:
        """Return a score per known key (0: never) for the decision at `at`, microseconds; `known` is what is known."""
