"""The bound: a policy that knows the future. It is the only one that is handed the whole log."""

from collections.abc import Iterator

import numpy as np

from adwarm.patterns.opens import Opens
from adwarm.replay.policy import Claim, Decisions, Scores, Terms


class Oracle:
    """Warms each key so that its entry lands at the very moment of its next open."""

    name = "oracle"
    about = "Knows the future: each entry lands at the moment of an open that would have missed. No policy can beat it."
    claim: Claim | None = None

    def __init__(self, whole: Opens) -> None:
        self._whole = whole

    def fit(self, known: Opens, terms: Terms) -> None:
        """Learn nothing."""
        return

    def scores(self, known: Opens, decisions: Decisions) -> Iterator[Scores]:
        """Yield the keys whose warm must start before the next decision."""
        terms = decisions.terms
        for index, at in enumerate(decisions.at.tolist()):
            coming = self._whole.since(at + terms.latency).before(at + terms.step + terms.latency)
            key, place = np.unique(coming.key, return_index=True)  # the first open of each
            yield Scores(index, key.astype(np.int32), np.ones(len(key)), warm_at=coming.ts[place] - terms.latency)
