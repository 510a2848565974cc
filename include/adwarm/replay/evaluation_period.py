"""Runs a policy over a stretch of time: it is fitted at the start and every week, and asked day by day.

A policy is handed the opens before the last cutoff of the chunk and nothing else; scores for keys that were not known
at their decision's cutoff are dropped here, whatever the policy says.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from adwarm.patterns.opens import Opens
from adwarm.replay.policy import Decisions, Policy, Scores, Terms

DAY = 86_400_000_000

Progress = Callable[[float], None]
"""Told which share of the work, 0 to 1, was just done."""


def no_progress(_share: float) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the log in which decisions are taken, `[start, end)`; microseconds."""

    start: int
    end: int
    refit: int = 7 * DAY

    def chunks(self, terms: Terms) -> Iterator[tuple[bool, Decisions]]:
        """Yield the decisions day by day, and whether the policy is fitted before."""
        at = np.arange(self.start, self.end, terms.step, dtype=np.int64)
        day = (at - self.start) // DAY
        fitted = -1
        for number in np.unique(day).tolist():
            mine = at[day == number]
            era = (int(mine[0]) - self.start) // self.refit
            yield era != fitted, Decisions(mine, mine - terms.lag, terms)
            fitted = era


def scored(
    policy: Policy, opens: Opens, stretch: Stretch, terms: Terms, progress: Progress = no_progress
) -> Iterator[tuple[int, Scores]]:
    """Yield each decision's moment with what the policy says; decisions without a word get empty scores."""
    share = terms.step / max(stretch.end - stretch.start, 1)
    for fit, decisions in stretch.chunks(terms):
        if fit:
            policy.fit(opens.before(int(decisions.cutoff[0])), terms)
        known = opens.before(int(decisions.cutoff[-1]))
        given = {found.decision: found for found in policy.scores(known, decisions)}
        for index, (at, cutoff) in enumerate(zip(decisions.at.tolist(), decisions.cutoff.tolist(), strict=True)):
            found = given.get(index)
            yield at, _kept(found, opens, cutoff) if found is not None else _nothing(index)
        progress(share * len(decisions))


def _nothing(index: int) -> Scores:
    return Scores(index, np.zeros(0, np.int32), np.zeros(0))


def _kept(found: Scores, opens: Opens, cutoff: int) -> Scores:
    """Leave out keys that were unknown, and scores that say never."""
    known = int(np.searchsorted(opens.first_ts, cutoff, "left"))
    good = (found.key < known) & ((found.score > 0) | (found.probability is not None))
    score = np.where(found.score > 0, found.score, -np.inf)  # NaN is not above 0 either
    probability = None if found.probability is None else np.clip(np.nan_to_num(found.probability[good]), 0.0, 1.0)
    warm_at = None if found.warm_at is None else found.warm_at[good]
    return Scores(found.decision, found.key[good], score[good], probability, warm_at, found.renew)
