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
that a first open of the key falls into `[at, at + horizon)`. Brier score, log loss, PR-AUC and
calibration are computed from it; keys that are not named count as probability 0.

A policy is deterministic: its random numbers have a constant seed. It does no I/O and reads no clock.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np

from adwarm.access_log.timestamps import from_micros, to_micros
from adwarm.foundation.arrow_arrays import Bools, Codes, Floats, Ints, Micros
from adwarm.foundation.local_time import local_day, local_midnight
from adwarm.model import Account, FreshnessRules, ReportKey, resolve_window
from adwarm.patterns.opens import Opens
from adwarm.planning.store_view import NEVER, useful_until

FOREVER = np.iinfo(np.int64).max // 4
_DAY = 86_400_000_000
_AGES = timedelta(days=3650)


class EntryLifetime(Protocol):
    """Computes until when an entry is fresh."""

    def fresh_until(self, key: Ints, fetched: Ints) -> Ints:
        """Return until when entries of `key` fetched at `fetched` are fresh; microseconds, arrays broadcast."""
        ...


class FixedLifetime:
    """Every entry is fresh for `ttl` microseconds."""

    def __init__(self, ttl: int) -> None:
        self.ttl = ttl

    def fresh_until(self, key: Ints, fetched: Ints) -> Ints:
        """Return `fetched` plus the ttl."""
        return np.asarray(fetched + self.ttl, np.int64)


class FreshnessLifetime:
    """Freshness by date range: `useful_until` in tables by date range, zone and local day.

    Args:
        opens: the keys; a key's data zone is its reader zone.
        start: first moment of the replay, microseconds since 1970.
        rules: the freshness rules; the defaults when None.
    """

    def __init__(self, opens: Opens, start: int, end: int, rules: FreshnessRules | None = None) -> None:
        self._rules = rules or FreshnessRules()
        names = [(str(r), str(z)) for r, z in zip(opens.date_range, opens.zone, strict=True)]
        kinds = sorted(set(names))
        numbers = {name: number for number, name in enumerate(kinds)}
        self._kind = np.array([numbers[name] for name in names], np.int64)
        tables = [self._table(date_range, zone_name, start, end) for date_range, zone_name in kinds]
        self._midnights = [table[0] for table in tables]
        self._max_age = [table[1] for table in tables]
        self._change = [table[2] for table in tables]

    def fresh_until(self, key: Ints, fetched: Ints) -> Ints:
        """Return when entries stop being the answer to their key; see `EntryLifetime`."""
        keys, moments = np.broadcast_arrays(key, fetched)
        kinds = self._kind[keys]
        fresh_until = np.empty(keys.shape, np.int64)
        for kind in np.unique(kinds).tolist():
            rows = kinds == kind
            at = moments[rows]
            day = np.searchsorted(self._midnights[kind], at, "right") - 1
            fresh_until[rows] = np.minimum(at + self._max_age[kind][day], self._change[kind][day])
        return fresh_until

    def _table(self, date_range: str, zone_name: str, start: int, end: int) -> tuple[Ints, Ints, Ints]:
        """Return, per local day: start, freshness of data fetched on it, and when the range means other days."""
        first = local_day(from_micros(start - 2 * _DAY), zone_name)
        days = [first + timedelta(days=n) for n in range((end - start) // _DAY + 6)]
        midnights = [local_midnight(day, zone_name) for day in days]
        account, key = Account("act_0", zone_name, zone_name, currency=""), ReportKey("act_0", date_range)
        return (
            np.array([to_micros(moment) for moment in midnights], np.int64),
            np.array([self._max_age_on(key, account, moment) for moment in midnights], np.int64),
            np.array([self._change_after(key, account, moment) for moment in midnights], np.int64),
        )

    def _max_age_on(self, key: ReportKey, account: Account, moment: datetime) -> int:
        window = resolve_window(key.date_range, account.data_zone, moment)
        max_age = self._rules.max_age((local_day(moment, account.data_zone) - window.until).days)
        return FOREVER if max_age is None else max_age // timedelta(microseconds=1)

    def _change_after(self, key: ReportKey, account: Account, midnight: datetime) -> int:
        """Return when the range means other days, seen from `midnight`: the end of an entry at the latest."""
        lasting = FreshnessRules(_AGES, _AGES, _AGES, _AGES, self._rules.settle_days)
        change = useful_until(key, account, midnight, lasting)
        return FOREVER if change == NEVER or change - midnight > timedelta(days=3000) else to_micros(change)


@dataclass(frozen=True, slots=True)
class ReplayTiming:
    """Times that hold for the whole replay, in microseconds.

    Attributes:
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
    """The event whose probability a policy states: a first open in `[at, at + horizon)`, microseconds."""

    horizon: int


@dataclass(frozen=True)
class DecisionTimes:
    """Consecutive decisions of one day.

    Attributes:
        at: when each is taken, microseconds, ascending.
        cutoff: per decision, `at - lag`; opens at or after it are not known yet.
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
        """
