"""Idle-time histograms per key, as serverless platforms use them (Shahrad et al., USENIX ATC 2020).

Gaps between opens are counted in bins of a minute up to four hours. After an open the key is left alone until the head
of the histogram (5th percentile less 10 %), and kept warm from then to its tail (99th percentile plus 10 %). Where the
histogram is not peaked (coefficient of variation of its bins below 2) the key is kept warm for the whole range. Where
half of the gaps or more lie outside the range, the next gap is forecast from the series of gaps, with a margin of 15 %
either way; the forecast is exponential smoothing, which is ARIMA(0,1,1).
"""

from collections.abc import Iterator

import numpy as np

from adwarm.foundation.arrow_arrays import Floats
from adwarm.patterns.opens import Opens
from adwarm.replay.baselines import DAY, last_open_times
from adwarm.replay.policy import DecisionTimes, PredictedEvent, Ranking, ReplayTiming

MINUTE = 60_000_000
BINS = 240
HEAD, TAIL, HEAD_MARGIN, TAIL_MARGIN = 0.05, 0.99, 0.9, 1.1
PEAKED, OUT_OF_BOUNDS, FORECAST_MARGIN, SMOOTHING = 2.0, 0.5, 0.15, 0.3
MEMORY = 14 * DAY


class HybridHistogram:
    """Warms a key inside the window of idle times in which its next open is likely. Windows are renewed daily."""

    name = "hybrid-histogram"
    about = (
        "Learns how long each key is idle between two opens (minutes, up to 4 hours, two weeks of them) and keeps it "
        "warm in the window in which the next open is due. Has no calendar."
    )
    predicted_event: PredictedEvent | None = None

    def fit(self, history: Opens, timing: ReplayTiming) -> None:
        """Learn nothing here: `scores` renews the windows for each day."""
        return

    def rank(self, history: Opens, decisions: DecisionTimes) -> Iterator[Ranking]:
        """Yield the keys whose idle time is inside their window before the next decision."""
        begin, end = idle_windows(history.before(int(decisions.cutoff[0])), int(decisions.at[0]) - MEMORY)
        for index, (at, cutoff) in enumerate(zip(decisions.at.tolist(), decisions.cutoff.tolist(), strict=True)):
            idle = (at - last_open_times(history.before(cutoff))[: len(begin)]) / MINUTE
            due = (idle + decisions.timing.step / MINUTE > begin) & (idle <= end)
            key = np.flatnonzero(due).astype(np.int32)
            yield Ranking(index, key, np.ones(len(key)))


def idle_windows(history: Opens, since: int) -> tuple[Floats, Floats]:
    """Return per key the idle times, in minutes, between which it is kept warm; an endless start means never."""
    begin, end = np.full(history.key_count, np.inf), np.full(history.key_count, -np.inf)
    recent = history.since(since)
    order = np.lexsort((recent.ts, recent.key))
    key, ts = recent.key[order], recent.ts[order]
    same = key[1:] == key[:-1]
    owner, gaps = key[1:][same], (ts[1:] - ts[:-1])[same] / MINUTE
    names, start = np.unique(owner, return_index=True)
    for name, first, after in zip(names.tolist(), start.tolist(), [*start[1:].tolist(), len(gaps)], strict=False):
        mine = gaps[first:after]
        begin[name], end[name] = idle_window(mine)
    return begin, end


def idle_window(gaps: Floats) -> tuple[float, float]:
    """Return the window of one key from its gaps in minutes, oldest first; there must be one gap at least."""
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
