"""The bound: a policy that knows the future. It is the only one that is handed the whole log."""

from collections.abc import Iterator

import numpy as np

from adwarm.foundation.arrow_arrays import Codes, Micros
from adwarm.patterns.opens import Opens
from adwarm.replay.entry_lifetimes import EntryLifetime
from adwarm.replay.policy import DecisionTimes, PredictedEvent, Ranking, ReplayTiming


class Oracle:
    """Warms each key so that its entry lands at the very moment of its next open."""

    name = "oracle"
    about = "Knows the future: each entry lands at the moment of an open that would have missed. No policy can beat it."
    predicted_event: PredictedEvent | None = None

    def __init__(self, whole: Opens, lifetime: EntryLifetime) -> None:
        self._whole, self._lifetime = whole, lifetime
        self._fresh: Micros = np.zeros(0, np.int64)
        self._decided_until = -1

    def fit(self, history: Opens, timing: ReplayTiming) -> None:
        """Learn nothing."""
        return

    def rank(self, history: Opens, decisions: DecisionTimes) -> Iterator[Ranking]:
        """Yield the keys whose warm must start before the next decision; its own warms are all there is to know."""
        terms = decisions.timing
        if int(decisions.at[0]) != self._decided_until:
            self._fresh = np.zeros(self._whole.key_count, np.int64)
        for index, at in enumerate(decisions.at.tolist()):
            key, moment = self._would_miss(at + terms.latency, at + terms.step + terms.latency)
            yield Ranking(index, key, np.ones(len(key)), warm_at=moment - terms.latency)
        self._decided_until = int(decisions.at[-1]) + terms.step

    def _would_miss(self, since: int, until: int) -> tuple[Codes, Micros]:
        """Return the keys that are opened when their entry is not fresh, and when."""
        found: dict[int, int] = {}
        coming = self._whole.since(since).before(until)
        for key, at in zip(coming.key.tolist(), coming.ts.tolist(), strict=True):
            if at >= self._fresh[key] and key not in found:
                found[key] = at
                self._fresh[key] = self._lifetime.fresh_until(np.array(key), np.array(at))
        return np.array(list(found), np.int32), np.array(list(found.values()), np.int64)
