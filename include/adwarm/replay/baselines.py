"""The policies that a forecast has to beat, and the oracle that none can beat.

First simple rules without a probability, then weekly profiles, and the oracle.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from adwarm.foundation.arrow_arrays import Codes, Floats, Micros
from adwarm.foundation.local_hours import HOUR_MICROS, hours_of_week, to_local_micros
from adwarm.foundation.local_time import WEEK_HOURS
from adwarm.patterns.opens import Opens
from adwarm.replay.policy import DecisionTimes, EntryLifetime, PredictedEvent, Ranking, ReplayTiming, SimplePolicy

HOUR = 3_600_000_000
DAY = 24 * HOUR
WEEKLY_DECAY = 0.7
"""Weight of a week-old observation relative to a new one."""
PRIOR_WEEKS = 4.0
"""Weeks that the prior is worth: the population's weekly profile at the key's own rate."""


def count_opens(history: Opens, since: int) -> Floats:
    """Return, per key, the opens since then."""
    return np.bincount(history.since(since).key, minlength=history.key_count).astype(float)


class NoWarming(SimplePolicy):
    """Fetches at an open only."""

    name = "none"
    about = "Warms nothing: a report is fetched when somebody opens it and waits. The yardstick for calls."

    def warm_values(self, at: int, history: Opens, timing: ReplayTiming) -> Floats:
        """Return 0 for every key."""
        return np.zeros(history.key_count)


class WarmEverything(SimplePolicy):
    """Keeps all keys fresh all the time."""

    name = "everything"
    about = "Warms every known key whenever its entry is no longer fresh."

    def warm_values(self, at: int, history: Opens, timing: ReplayTiming) -> Floats:
        """Return 1 for every key."""
        return np.ones(history.key_count)


class Popularity(SimplePolicy):
    """Keeps the most opened keys fresh."""

    name = "popularity"
    about = "Keeps the keys with the most opens in the last 7 days fresh; the threshold is how many of them."

    def warm_values(self, at: int, history: Opens, timing: ReplayTiming) -> Floats:
        """Return a value by rank in the opens of the last week."""
        week = count_opens(history, at - 7 * DAY)
        order = np.argsort(-week, kind="stable")
        value = np.zeros(history.key_count)
        value[order] = 1.0 / (1.0 + np.arange(history.key_count))
        return np.where(week > 0, value, 0.0)


class TopEachHour(Popularity):
    """Fetches the most opened keys at each full hour, as the warm-up that Superset ships does."""

    name = "top-each-hour"
    about = "Warms the keys with the most opens in the last 7 days at each full hour; the threshold is how many."

    def warm_values(self, at: int, history: Opens, timing: ReplayTiming) -> Floats:
        """Return a value by rank in the first decision of an hour, else 0."""
        return super().warm_values(at, history, timing) * (at % HOUR < timing.step)


def local_hours(ts: Micros, key: npt.NDArray[np.int32], zones: npt.NDArray[np.object_]) -> Micros:
    """Return, per open, the hours since 1970 on the wall clock of its key's zone."""
    hours = np.zeros(len(ts), np.int64)
    names, code = np.unique(zones.astype(str), return_inverse=True)
    for number, name in enumerate(names.tolist()):
        rows = code[key] == number
        hours[rows] = to_local_micros(ts[rows], name) // HOUR_MICROS
    return hours


class HourOfWeek:
    """Ranks keys by their chance of a first open in the hour of the reader's week, counted anew every day."""

    name = "hour-of-week"
    about = (
        "How often each key was first opened in this hour of its reader's week, recent weeks counting more; few "
        "observations are shrunk towards the population's week."
    )
    predicted_event: PredictedEvent | None = PredictedEvent(HOUR_MICROS)
    has_own_hours = True
    """Whether a key's own hours count, or only those of all keys, at the key's own rate."""

    def fit(self, history: Opens, timing: ReplayTiming) -> None:
        """Do nothing: `rank` counts the opens before the first decision of each day."""
        return

    def rank(self, history: Opens, decisions: DecisionTimes) -> Iterator[Ranking]:
        """Yield the chance of a first open in the coming hour, which touches two local hours."""
        past_opens = history.before(int(decisions.cutoff[0]))
        table = hour_probabilities(past_opens, own=self.has_own_hours)
        key = np.arange(past_opens.key_count, dtype=np.int32)
        for index, at in enumerate(decisions.at.tolist()):
            hour = local_hours(np.full(len(key), at, np.int64), key, past_opens.zone)
            passed = at % HOUR_MICROS / HOUR_MICROS
            now, after = (table[key, hours_of_week(hour + n)] for n in (0, 1))
            chance = now * (1 - passed) + after * passed
            yield Ranking(index, key, chance, chance)


class PopulationProfile(HourOfWeek):
    """The same with one week for all keys."""

    name = "population-profile"
    about = "One profile of the week for all keys in their readers' time, scaled by how often each key is opened."
    has_own_hours = False


def hour_probabilities(history: Opens, *, own: bool = True) -> Floats:
    """Return the chance of a first open, keys x hours of the week; at most one open counts per key, hour and week."""
    first = history.only_first()
    hours = local_hours(first.ts, first.key, history.zone)
    cells = np.unique(np.stack([first.key.astype(np.int64), hours]), axis=1)
    newest = int(hours.max(initial=0))
    weight = WEEKLY_DECAY ** ((newest - cells[1]) // WEEK_HOURS)
    opens = np.zeros((history.key_count, WEEK_HOURS))
    np.add.at(opens, (cells[0], hours_of_week(cells[1])), weight)
    span = (int(history.ts[-1]) - int(history.ts[0])) / (WEEK_HOURS * HOUR_MICROS) if len(history) else 0.0
    weeks = (1 - WEEKLY_DECAY ** max(span, 1.0)) / (1 - WEEKLY_DECAY)
    profile = opens.sum(axis=0) / max(opens.sum(), 1.0)
    prior = opens.sum(axis=1, keepdims=True) / weeks * profile
    return np.asarray(np.minimum((opens + PRIOR_WEEKS * prior) / (weeks + PRIOR_WEEKS) if own else prior, 1.0))


class Oracle:
    """Warms each key so that its entry lands at the moment of its next open; it alone gets the whole log."""

    name = "oracle"
    about = "Knows the future: each entry lands at the moment of an open that would have missed. No policy can beat it."
    predicted_event: PredictedEvent | None = None

    def __init__(self, whole: Opens, lifetime: EntryLifetime) -> None:
        self._whole, self._lifetime = whole, lifetime
        self._fresh: Micros = np.zeros(0, np.int64)
        self._decided_until = -1

    def fit(self, history: Opens, timing: ReplayTiming) -> None:
        """Do nothing."""
        return

    def rank(self, history: Opens, decisions: DecisionTimes) -> Iterator[Ranking]:
        """Yield the keys whose warm must start before the next decision, given its own earlier warms."""
        timing = decisions.timing
        if int(decisions.at[0]) != self._decided_until:
            self._fresh = np.zeros(self._whole.key_count, np.int64)
        for index, at in enumerate(decisions.at.tolist()):
            key, moment = self._would_miss(at + timing.latency, at + timing.step + timing.latency)
            yield Ranking(index, key, np.ones(len(key)), warm_at=moment - timing.latency)
        self._decided_until = int(decisions.at[-1]) + timing.step

    def _would_miss(self, since: int, until: int) -> tuple[Codes, Micros]:
        """Return the keys that are opened while their entry is not fresh, and when."""
        misses: dict[int, int] = {}
        coming = self._whole.since(since).before(until)
        for key, at in zip(coming.key.tolist(), coming.ts.tolist(), strict=True):
            if at >= self._fresh[key] and key not in misses:
                misses[key] = at
                self._fresh[key] = self._lifetime.fresh_until(np.array(key), np.array(at))
        return np.array(list(misses), np.int32), np.array(list(misses.values()), np.int64)
