"""How good a policy's probabilities are, counted in narrow bins so that memory does not grow with the log.

Every known key at every decision is a case; a key the policy did not name counts as probability 0.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from adwarm.foundation.arrow_arrays import Floats
from adwarm.patterns.opens import Opens
from adwarm.replay.policy import PredictedEvent, Ranking, ReplayTiming

BINS = 20_000
MIN_PROBABILITY = 0.1
"""Calibration is judged where the probability is at least this."""
CALIBRATION_BINS = 10
_SPREAD = 14.0
_TINY = 1e-6


class ProbabilityMetrics:
    """Compares probabilities with what came true."""

    def __init__(self, opens: Opens, event: PredictedEvent, timing: ReplayTiming, end: int) -> None:
        self._opens = opens.only_first() if event.first_opens_only else opens
        self._first_ts = opens.first_ts
        self._event, self._timing, self._end = event, timing, end
        self._cases = np.zeros(BINS, np.int64)
        self._true = np.zeros(BINS, np.int64)
        self._sum = np.zeros(BINS)
        self._squares = 0.0
        self._loss = 0.0

    def update(self, at: int, ranking: Ranking) -> None:
        """Count what was said at a decision, unless its horizon ends after the log."""
        if ranking.probability is not None and at + self._event.horizon <= self._end:
            self._count(at, ranking.key, ranking.probability)

    def _count(self, at: int, key: npt.NDArray[np.int32], probability: Floats) -> None:
        known = int(np.searchsorted(self._first_ts, at - self._timing.lag, "left"))
        stated: Floats = np.zeros(known)
        stated[key] = probability
        happened = np.zeros(known, np.bool_)
        coming = self._opens.since(at).before(at + self._event.horizon).key
        happened[coming[coming < known]] = True
        place = _bin(stated)
        self._cases += np.bincount(place, minlength=BINS)
        self._true += np.bincount(place[happened], minlength=BINS)
        self._sum += np.bincount(place, stated, minlength=BINS)
        self._squares += float(np.square(stated - happened).sum())
        sure = np.clip(np.where(happened, stated, 1.0 - stated), _TINY, 1.0)
        self._loss -= float(np.log(sure).sum())

    def compute(self) -> dict[str, Any] | None:
        """Return Brier score, log loss, PR-AUC and calibration; None when no probability was stated."""
        cases, true = int(self._cases.sum()), int(self._true.sum())
        if not cases:
            return None
        rate = true / cases
        likely = np.arange(BINS) >= int(_bin(np.array([MIN_PROBABILITY]))[0])
        bins = _equal_mass(self._cases[likely], self._true[likely], self._sum[likely])
        mass = sum(found["cases"] for found in bins)
        gap = sum(found["cases"] * abs(found["stated"] - found["came_true"]) for found in bins)
        brier, plain = self._squares / cases, rate * (1 - rate)
        return {
            "cases": cases,
            "base_rate": rate,
            "horizon_seconds": self._event.horizon / 1e6,
            "event": "first open" if self._event.first_opens_only else "open",
            "brier": brier,
            "skill": 1 - brier / plain if plain else None,
            "log_loss": self._loss / cases,
            "pr_auc": self._pr_auc(),
            "ece": gap / mass if mass else None,
            "ece_at_least": MIN_PROBABILITY,
            "ece_share_of_cases": mass / cases,
            "bins": bins,
        }

    def _pr_auc(self) -> float | None:
        true, cases = np.cumsum(self._true[::-1]), np.cumsum(self._cases[::-1])
        if not true[-1]:
            return None
        return float((np.diff(true, prepend=0) * (true / np.maximum(cases, 1))).sum() / true[-1])


def _bin(probability: Floats) -> npt.NDArray[np.int64]:
    """Return the bin of each probability: narrow near 0 and 1, by the logit."""
    clipped = np.clip(probability, _TINY, 1 - _TINY)
    logit = np.log(clipped / (1 - clipped))
    return np.asarray((logit + _SPREAD) / (2 * _SPREAD) * BINS, np.int64)


def _equal_mass(cases: npt.NDArray[np.int64], true: npt.NDArray[np.int64], total: Floats) -> list[dict[str, float]]:
    """Return up to ten bins of about equal size: cases, mean probability stated, share that came true."""
    if not cases.sum():
        return []
    middle = np.cumsum(cases) - cases / 2
    group = np.minimum((middle / cases.sum() * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    sizes, hits, sums = (np.bincount(group, values, minlength=CALIBRATION_BINS) for values in (cases, true, total))
    return [
        {"cases": int(n), "stated": float(s / n), "came_true": float(h / n)}
        for n, h, s in zip(sizes, hits, sums, strict=True)
        if n
    ]
