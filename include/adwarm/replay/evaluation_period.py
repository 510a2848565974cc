"""Runs a policy over a stretch of time: it is fitted at the start and every week, and asked day by day.

A policy is handed the opens before the last cutoff of the chunk and nothing else; scores for keys that were not known
at their decision's cutoff are dropped here, whatever the policy says.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from adwarm.patterns.opens import Opens
from adwarm.replay.policy import DecisionTimes, Policy, Ranking, ReplayTiming

DAY = 86_400_000_000

ProgressCallback = Callable[[float], None]
"""Told which share of the work, 0 to 1, was just done."""


def ignore_progress(_share: float) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class EvaluationPeriod:
    """A part of the log in which decisions are taken, `[start, end)`; microseconds."""

    start: int
    end: int
    refit_every: int = 7 * DAY

    def iter_days(self, timing: ReplayTiming) -> Iterator[tuple[bool, DecisionTimes]]:
        """Yield the decisions day by day, and whether the policy is fitted before."""
        at = np.arange(self.start, self.end, timing.step, dtype=np.int64)
        day = (at - self.start) // DAY
        fitted = -1
        for number in np.unique(day).tolist():
            mine = at[day == number]
            era = (int(mine[0]) - self.start) // self.refit_every
            yield era != fitted, DecisionTimes(mine, mine - timing.lag, timing)
            fitted = era


def iter_rankings(
    policy: Policy,
    opens: Opens,
    period: EvaluationPeriod,
    timing: ReplayTiming,
    progress: ProgressCallback = ignore_progress,
) -> Iterator[tuple[int, Ranking]]:
    """Yield each decision's moment with what the policy says; decisions without a word get empty scores."""
    share = timing.step / max(period.end - period.start, 1)
    for fit, decisions in period.iter_days(timing):
        if fit:
            policy.fit(opens.before(int(decisions.cutoff[0])), timing)
        known = opens.before(int(decisions.cutoff[-1]))
        given = {found.decision: found for found in policy.rank(known, decisions)}
        for index, (at, cutoff) in enumerate(zip(decisions.at.tolist(), decisions.cutoff.tolist(), strict=True)):
            found = given.get(index)
            yield at, _known_keys_only(found, opens, cutoff) if found is not None else _empty_ranking(index)
        progress(share * len(decisions))


def _empty_ranking(index: int) -> Ranking:
    return Ranking(index, np.zeros(0, np.int32), np.zeros(0))


def _known_keys_only(ranking: Ranking, opens: Opens, cutoff: int) -> Ranking:
    """Leave out keys that were unknown, and scores that say never."""
    known = int(np.searchsorted(opens.first_ts, cutoff, "left"))
    good = (ranking.key < known) & ((ranking.warm_value > 0) | (ranking.probability is not None))
    score = np.where(ranking.warm_value > 0, ranking.warm_value, -np.inf)  # NaN is not above 0 either
    probability = None if ranking.probability is None else np.clip(np.nan_to_num(ranking.probability[good]), 0.0, 1.0)
    warm_at = None if ranking.warm_at is None else ranking.warm_at[good]
    return Ranking(ranking.decision, ranking.key[good], score[good], probability, warm_at, ranking.renew_at_expiry)
