"""The policies that a forecast has to beat, and the oracle that none can beat.

First simple rules without a probability, then weekly profiles, idle-time histograms, and the oracle.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from adwarm.foundation.arrow_arrays import Codes, Floats, Micros
from adwarm.foundation.local_hours import HOUR_MICROS, hours_of_week, to_local_micros
from adwarm.foundation.local_time import WEEK_HOURS
from adwarm.patterns.opens import Opens
from adwarm.replay.policy import DecisionTimes, EntryLifetime, PredictedEvent, Ranking, ReplayTiming, SimplePolicy

MINUTE = 60_000_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def last_open_times(history: Opens) -> Floats:
    """Return, per key, the moment of its last open, microseconds since 1970; every known key has one."""
    last = np.zeros(history.key_count)
    last[history.key] = history.ts  # sorted by time, so the last open of a key is assigned last
    return last


def count_opens(history: Opens, since: int, until: int | None = None) -> Floats:
    """Return, per key, the opens in `[since, until)`."""
    recent = history.since(since)
    key = recent.key if until is None else recent.before(until).key
    return np.bincount(key, minlength=history.key_count).astype(float)


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


class ViewedRecently(SimplePolicy):
    """Keeps the keys fresh that were opened in the last week."""

    name = "viewed-7-days"
    about = "Keeps every key fresh that was opened in the last 7 days; the threshold shortens the 7 days."

    def warm_values(self, at: int, history: Opens, timing: ReplayTiming) -> Floats:
        """Return a value by how recent the last open is."""
        return np.maximum(1.0 - (at - last_open_times(history)) / (7 * DAY), 0.0)


class SameHour(SimplePolicy):
    """Repeats the opens of the same hour some days ago."""

    def __init__(self, days: int, name: str, about: str) -> None:
        self.name, self.about = name, about
        self._days = days

    def warm_values(self, at: int, history: Opens, timing: ReplayTiming) -> Floats:
        """Return 1 for keys that were opened in the hour that begins exactly some days earlier."""
        then = at - self._days * DAY
        return np.minimum(count_opens(history, then, then + max(HOUR, timing.step)), 1.0)


def same_hour_last_week() -> SimplePolicy:
    """Return the policy that repeats last week."""
    return SameHour(7, "same-hour-last-week", "Warms a key that was opened within the same hour a week ago.")


def same_hour_yesterday() -> SimplePolicy:
    """Return the policy that repeats yesterday."""
    return SameHour(1, "same-hour-yesterday", "Warms a key that was opened within the same hour a day ago.")


class PeakHours(SimplePolicy):
    """Warms all active keys before the three busiest hours of the day."""

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
        """Return the opens of the last week when a peak begins soon, else 0."""
        next_decision = at + 10 * MINUTE + timing.step - 1
        begins = next_decision // HOUR * HOUR
        due = at <= begins - 10 * MINUTE and begins // HOUR % 24 in self._peaks
        return count_opens(history, at - 7 * DAY) if due else np.zeros(history.key_count)


WEEKLY_DECAY = 0.7
"""Weight of a week-old observation relative to a new one."""
PRIOR_WEEKS = 4.0
"""Weeks that the prior is worth: the population's weekly profile at the key's own rate."""


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

    def fit(self, history: Opens, timing: ReplayTiming) -> None:
        """Do nothing: `rank` counts the opens before the first decision of each day."""
        return

    def rank(self, history: Opens, decisions: DecisionTimes) -> Iterator[Ranking]:
        """Yield the chance of a first open in the coming hour, which touches two local hours."""
        past_opens = history.before(int(decisions.cutoff[0]))
        table = hour_probabilities(past_opens)
        key = np.arange(past_opens.key_count, dtype=np.int32)
        for index, at in enumerate(decisions.at.tolist()):
            hour = local_hours(np.full(len(key), at, np.int64), key, past_opens.zone)
            passed = at % HOUR_MICROS / HOUR_MICROS
            now, after = (table[key, hours_of_week(hour + n)] for n in (0, 1))
            chance = now * (1 - passed) + after * passed
            yield Ranking(index, key, chance, chance)


def hour_probabilities(history: Opens) -> Floats:
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
    return np.asarray(np.minimum((opens + PRIOR_WEEKS * prior) / (weeks + PRIOR_WEEKS), 1.0))


BINS = 240
HEAD, TAIL, HEAD_MARGIN, TAIL_MARGIN = 0.05, 0.99, 0.9, 1.1
PEAKED, OUT_OF_BOUNDS, FORECAST_MARGIN, SMOOTHING = 2.0, 0.5, 0.15, 0.3
MEMORY = 14 * DAY


class HybridHistogram:
    """Warms a key inside the window of idle times in which its next open is likely (Shahrad et al., USENIX ATC 2020).

    Gaps between opens are counted in bins of a minute up to four hours. After an open the key is left alone until the
    head of the histogram (5th percentile less 10 %), and kept warm from then to its tail (99th percentile plus 10 %).
    Where the histogram is not peaked (coefficient of variation of its bins below 2) the key is kept warm for the whole
    range. Where half of the gaps or more lie outside the range, the next gap is predicted from the series of gaps, with
    a margin of 15 % either way, by exponential smoothing, which is ARIMA(0,1,1). Windows are computed daily.
    """

    name = "hybrid-histogram"
    about = (
        "Learns how long each key is idle between two opens (minutes, up to 4 hours, two weeks of them) and keeps it "
        "warm in the window in which the next open is due. Has no calendar."
    )
    predicted_event: PredictedEvent | None = None

    def fit(self, history: Opens, timing: ReplayTiming) -> None:
        """Do nothing: `rank` computes the windows of each day."""
        return

    def rank(self, history: Opens, decisions: DecisionTimes) -> Iterator[Ranking]:
        """Yield the keys whose idle time enters their window before the next decision."""
        begin, end = idle_windows(history.before(int(decisions.cutoff[0])), int(decisions.at[0]) - MEMORY)
        for index, (at, cutoff) in enumerate(zip(decisions.at.tolist(), decisions.cutoff.tolist(), strict=True)):
            idle = (at - last_open_times(history.before(cutoff))[: len(begin)]) / MINUTE
            due = (idle + decisions.timing.step / MINUTE > begin) & (idle <= end)
            key = np.flatnonzero(due).astype(np.int32)
            yield Ranking(index, key, np.ones(len(key)))


def idle_windows(history: Opens, since: int) -> tuple[Floats, Floats]:
    """Return, per key, the idle times in minutes between which it is kept warm; from infinity: never."""
    begin, end = np.full(history.key_count, np.inf), np.full(history.key_count, -np.inf)
    recent = history.since(since)
    order = np.lexsort((recent.ts, recent.key))
    key, ts = recent.key[order], recent.ts[order]
    same = key[1:] == key[:-1]
    owner, gaps = key[1:][same], (ts[1:] - ts[:-1])[same] / MINUTE
    names, start = np.unique(owner, return_index=True)
    for name, first, after in zip(names.tolist(), start.tolist(), [*start[1:].tolist(), len(gaps)], strict=False):
        begin[name], end[name] = idle_window(gaps[first:after])
    return begin, end


def idle_window(gaps: Floats) -> tuple[float, float]:
    """Return the window of one key from its gaps in minutes, oldest first, at least one."""
    inside = gaps[gaps < BINS]
    if len(inside) <= OUT_OF_BOUNDS * len(gaps):
        level = float(gaps[0])
        for gap in gaps[1:].tolist():
            level += SMOOTHING * (gap - level)
        return level * (1 - FORECAST_MARGIN), level * (1 + FORECAST_MARGIN)
    bins = np.bincount(inside.astype(np.int64), minlength=BINS).astype(float)
    if bins.std() / bins.mean() < PEAKED:
        return 0.0, float(BINS)
    share = np.cumsum(bins) / bins.sum()
    head, tail = (int(np.searchsorted(share, part)) for part in (HEAD, TAIL))
    return head * HEAD_MARGIN, (tail + 1) * TAIL_MARGIN


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
