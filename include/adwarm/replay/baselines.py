"""The simple policies that a forecast has to beat. None of them states a probability."""

import numpy as np

from adwarm.foundation.arrow_arrays import Floats
from adwarm.patterns.opens import Opens
from adwarm.replay.policy import ReplayTiming, SimplePolicy

HOUR = 3_600_000_000
DAY = 24 * HOUR
MINUTE = 60_000_000


def last_open_times(history: Opens) -> Floats:
    """Return per key the moment of its latest open, microseconds; every known key has one."""
    last = np.zeros(history.key_count)
    last[history.key] = history.ts  # sorted by moment: the latest one stays
    return last


def count_opens(history: Opens, since: int, until: int | None = None) -> Floats:
    """Return per key the opens in `[since, until)`."""
    recent = history.since(since)
    return np.bincount(recent.key if until is None else recent.before(until).key, minlength=history.key_count).astype(
        float
    )


class NoWarming(SimplePolicy):
    """Fetches at an open only."""

    name = "none"
    about = "Warms nothing: a report is fetched when somebody opens it and waits. The yardstick for calls."

    def warm_values(self, at: int, history: Opens, timing: ReplayTiming) -> Floats:
        """Choose none."""
        return np.zeros(history.key_count)


class WarmEverything(SimplePolicy):
    """Keeps all keys fresh all the time."""

    name = "everything"
    about = "Warms every known key whenever its entry is no longer fresh."

    def warm_values(self, at: int, history: Opens, timing: ReplayTiming) -> Floats:
        """Choose all."""
        return np.ones(history.key_count)


class Popularity(SimplePolicy):
    """Keeps the most opened keys fresh."""

    name = "popularity"
    about = "Keeps the keys with the most opens in the last 7 days fresh; the threshold is how many of them."

    def warm_values(self, at: int, history: Opens, timing: ReplayTiming) -> Floats:
        """Score by place in the ranking of the week."""
        week = count_opens(history, at - 7 * DAY)
        order = np.argsort(-week, kind="stable")
        score = np.zeros(history.key_count)
        score[order] = 1.0 / (1.0 + np.arange(history.key_count))
        return np.where(week > 0, score, 0.0)


class ViewedRecently(SimplePolicy):
    """Keeps fresh what was viewed in the last week."""

    name = "viewed-7-days"
    about = "Keeps every key fresh that was opened in the last 7 days; the threshold shortens the 7 days."

    def warm_values(self, at: int, history: Opens, timing: ReplayTiming) -> Floats:
        """Score by how recent the last open is."""
        return np.maximum(1.0 - (at - last_open_times(history)) / (7 * DAY), 0.0)


class SameHour(SimplePolicy):
    """Expects what happened at this hour some days ago."""

    def __init__(self, days: int, name: str, about: str) -> None:
        self.name, self.about = name, about
        self._days = days

    def warm_values(self, at: int, history: Opens, timing: ReplayTiming) -> Floats:
        """Choose the keys that were opened in the hour that begins whole days before."""
        then = at - self._days * DAY
        return np.minimum(count_opens(history, then, then + max(HOUR, timing.step)), 1.0)


def same_hour_last_week() -> SimplePolicy:
    """Return the policy that repeats last week."""
    return SameHour(7, "same-hour-last-week", "Warms a key that was opened within the same hour a week ago.")


def same_hour_yesterday() -> SimplePolicy:
    """Return the policy that repeats yesterday."""
    return SameHour(1, "same-hour-yesterday", "Warms a key that was opened within the same hour a day ago.")


class PeakHours(SimplePolicy):
    """The rule of three: the busiest hours of all, for all active keys."""

    name = "peak-hours"
    about = (
        "Finds the three busiest hours of the day over all keys (UTC) and warms active keys ten minutes before each; "
        "the threshold is how often a key was opened in 7 days."
    )

    def __init__(self) -> None:
        self._peaks: set[int] = set()

    def fit(self, history: Opens, timing: ReplayTiming) -> None:
        """Find the three busiest hours."""
        busy = np.bincount((history.ts // HOUR % 24).astype(np.int64), minlength=24)
        self._peaks = set(np.argsort(-busy, kind="stable")[:3].tolist())

    def warm_values(self, at: int, history: Opens, timing: ReplayTiming) -> Floats:
        """Choose active keys when a peak is about to begin."""
        soon = at + 10 * MINUTE + timing.step - 1
        begins = soon // HOUR * HOUR
        due = at <= begins - 10 * MINUTE and begins // HOUR % 24 in self._peaks
        return count_opens(history, at - 7 * DAY) if due else np.zeros(history.key_count)
