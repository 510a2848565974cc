"""Baselines that know the calendar: how often each hour of the reader's week saw a first open."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from adwarm.foundation.arrow_arrays import Floats, Micros
from adwarm.foundation.local_hours import HOUR_MICROS, hours_of_week, to_local_micros
from adwarm.foundation.local_time import WEEK_HOURS
from adwarm.patterns.opens import Opens
from adwarm.replay.policy import DecisionTimes, PredictedEvent, Ranking, ReplayTiming

WEEKLY_DECAY = 0.7
"""What a week-old observation is worth against a new one."""
PRIOR_WEEKS = 4.0
"""Weeks of observation that the prior is worth: the population's week at the key's own rate."""


def local_hours(ts: Micros, key: npt.NDArray[np.int32], zones: npt.NDArray[np.object_]) -> Micros:
    """Return the hours since 1970 on the wall clock of each key's zone."""
    found = np.zeros(len(ts), np.int64)
    names, code = np.unique(zones.astype(str), return_inverse=True)
    for number, name in enumerate(names.tolist()):
        mine = code[key] == number
        found[mine] = to_local_micros(ts[mine], name) // HOUR_MICROS
    return found


class HourProfile:
    """Chance of a first open of each key in each hour of its reader's week, counted anew every day.

    Args:
        own: whether a key's own hours count; else every key has the population's shape at its own rate.
    """

    def __init__(self, name: str, about: str, *, own: bool) -> None:
        self.name, self.about = name, about
        self._own = own
        self.predicted_event = PredictedEvent(HOUR_MICROS)

    def fit(self, history: Opens, timing: ReplayTiming) -> None:
        """Learn nothing here: `scores` counts what is known at the first decision it is asked for."""
        return

    def rank(self, history: Opens, decisions: DecisionTimes) -> Iterator[Ranking]:
        """Yield the chance of the coming hour: of each local hour it touches, by the share of it."""
        then = history.before(int(decisions.cutoff[0]))
        table = hour_probabilities(then, own=self._own)
        key = np.arange(then.key_count, dtype=np.int32)
        for index, at in enumerate(decisions.at.tolist()):
            hour = local_hours(np.full(len(key), at, np.int64), key, then.zone)
            passed = at % HOUR_MICROS / HOUR_MICROS
            now, after = (table[key, hours_of_week(hour + n)] for n in (0, 1))
            chance = now * (1 - passed) + after * passed
            yield Ranking(index, key, chance, chance)


def hour_probabilities(history: Opens, *, own: bool) -> Floats:
    """Return keys x hours of the week: the chance of a first open; at most one counts per key, hour and week."""
    first = history.only_first()
    hours = local_hours(first.ts, first.key, history.zone)
    cells = np.unique(np.stack([first.key.astype(np.int64), hours]), axis=1)
    newest = int(hours.max(initial=0))
    weight = WEEKLY_DECAY ** ((newest - cells[1]) // WEEK_HOURS)
    seen = np.zeros((history.key_count, WEEK_HOURS))
    np.add.at(seen, (cells[0], hours_of_week(cells[1])), weight)
    span = (int(history.ts[-1]) - int(history.ts[0])) / (WEEK_HOURS * HOUR_MICROS) if len(history) else 0.0
    weeks = (1 - WEEKLY_DECAY ** max(span, 1.0)) / (1 - WEEKLY_DECAY)
    shape = seen.sum(axis=0) / max(seen.sum(), 1.0)
    base = seen.sum(axis=1, keepdims=True) / weeks * shape
    return np.asarray(np.minimum((seen + PRIOR_WEEKS * base) / (weeks + PRIOR_WEEKS) if own else base, 1.0))


def population_profile_policy() -> HourProfile:
    """Return the policy that knows the population's week only."""
    about = "One profile of the week for all keys in their readers' time, scaled by how often each key is opened."
    return HourProfile("population-profile", about, own=False)


def hour_of_week_policy() -> HourProfile:
    """Return the shrunk hour-of-week policy."""
    about = (
        "How often each key was first opened in this hour of its reader's week, recent weeks counting more; few "
        "observations lean on the population's week."
    )
    return HourProfile("hour-of-week", about, own=True)
