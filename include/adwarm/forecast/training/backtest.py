"""Chooses between candidates by what counts: hits for the same calls, played over held-back weeks of training.

Log loss is a poor judge here: on logs of irregular people it prefers a model that sorts the many hopeless hours well to
one that finds the few that are worth a warm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from adwarm.forecast.features.grid import SLOTS_PER_DAY, OpenGrid
from adwarm.foundation.arrow_arrays import Floats

MULTIPLES = (1.25, 1.5, 2.0, 2.5, 3.0)
"""Calls, as multiples of those of no warming, at which hits are compared."""
CALLS_PER_HIT = 50
"""What a first open served fresh is worth at most, in calls. Where fewer warms than that meet one, none is sent."""
MIN_CHANCE = 1.0 / CALLS_PER_HIT
MIN_HITS_PER_CALL = 1.0 / 8
"""First opens per call that doubling the calls has to gain, or the log counts as one that cannot be foreseen."""
GROUPS = 20
_THRESHOLDS = 14
_TINY = 1e-6


def warm_value(stated: Floats, windows: Sequence[int], chance: Floats) -> Floats:
    """Return how much a warm now is worth, for ranking; 0 where it never is.

    An open within the life is what pays for a warm. But waiting costs nothing while none is likely before the next
    decision, and a later warm lasts longer. So a warm is worth little when either is unlikely: it is the harmonic mean
    of the chances of a life at the pace of each window.

    Args:
        stated: windows x pairs, the chance of a first open in each window; the last is the life.
        windows: their lengths.
        chance: that within the life, calibrated.
    """
    paces = (windows[-1] / size * np.maximum(part, _TINY) for size, part in zip(windows, stated, strict=True))
    mean = len(windows) / sum((1.0 / pace for pace in paces), np.zeros(1))
    result: Floats = np.where(chance >= MIN_CHANCE, mean, 0.0)
    return result


@dataclass(frozen=True)
class BacktestResult:
    """How a candidate did.

    Attributes:
        hits: share of first opens served fresh, averaged over `MULTIPLES`.
        without: the same with each of `GROUPS` parts of the play left out.
        yields: first opens more that are served fresh, per call more, when calls are doubled.
    """

    hit_share: float
    jackknife_hit_shares: Floats
    hits_per_call: float

    @property
    def pays(self) -> bool:
        """Whether doubling the calls is worth it. If not even that is, opens cannot be foreseen here."""
        return self.hits_per_call >= MIN_HITS_PER_CALL

    def beats(self, other: "BacktestResult") -> bool:
        """Whether it is ahead by more than two standard errors of the difference (jackknife)."""
        gaps = self.jackknife_hit_shares - other.jackknife_hit_shares
        error = np.sqrt((GROUPS - 1) / GROUPS * np.square(gaps - gaps.mean()).sum())
        return bool(self.hit_share - other.hit_share > 2.0 * error)


@dataclass(frozen=True)
class Backtest:
    """Held-back time to play: decisions at `columns`, entries fresh for `life` columns.

    Attributes:
        grid: what was opened.
        columns: the decisions, ascending and evenly spaced.
        life: how long an entry is fresh.
    """

    grid: OpenGrid
    columns: npt.NDArray[np.int64]
    lifetime: int

    def hit_share(self, worth: Floats) -> float:
        """Return the share of first opens served fresh; see `standing`."""
        return self.run(worth).hit_share

    def run(self, worth: Floats) -> BacktestResult:
        """Return the share of first opens served fresh, averaged over `MULTIPLES`, warming by `worth`.

        `worth` is decisions x keys.
        """
        calls, hits, firsts = self._play(worth, _thresholds(worth))
        left = np.concatenate([np.ones((1, GROUPS)), 1.0 - np.eye(GROUPS)])
        played = zip(left @ calls.T, left @ hits.T, left @ firsts, strict=True)
        shares = np.stack([_read_off(*parts) for parts in played])
        means = shares[:, 1:].mean(axis=1)
        gained = (shares[0, 1 + MULTIPLES.index(2.0)] - shares[0, 0]) * firsts.sum()
        return BacktestResult(float(means[0]), means[1:], float(gained / max(calls[0].sum(), 1.0)))

    @cached_property
    def _members(self) -> Floats:
        """Weekdays x keys x groups: 1 for the group that a key's opens on such a day belong to."""
        group = (self.grid.account[None, :] * 3 + np.arange(7)[:, None]) % GROUPS
        return np.asarray(np.eye(GROUPS)[group])

    def _play(self, worth: Floats, thresholds: Floats) -> tuple[Floats, Floats, Floats]:
        """Return calls and hits, thresholds x groups, and first opens per group."""
        grid, step = self.grid, int(self.columns[1] - self.columns[0]) if len(self.columns) > 1 else 1
        stale_from = np.zeros((len(thresholds), grid.key_count), np.int64)
        calls, hits, firsts = *np.zeros((2, len(thresholds), GROUPS)), np.zeros(GROUPS)
        for decision, start in zip(worth, self.columns.tolist(), strict=True):
            member = self._members[start // SLOTS_PER_DAY % 7]
            warm = (decision[None, :] >= thresholds[:, None]) & (stale_from <= start)
            calls += warm @ member
            stale_from[warm] = start + self.lifetime
            for column in range(start, min(start + step, grid.column_count)):
                opened = np.flatnonzero(grid.opens[:, column + 1] > grid.opens[:, column])
                if not len(opened):
                    continue
                fresh = stale_from[:, opened] > column
                first = grid.firsts[opened, column + 1] > grid.firsts[opened, column]
                hits += (fresh & first) @ member[opened]
                firsts += first @ member[opened]
                calls += ~fresh @ member[opened]
                stale_from[:, opened] = np.where(fresh, stale_from[:, opened], column + self.lifetime)
        return calls, hits, firsts


def choose_best(standings: Mapping[str, BacktestResult]) -> str:
    """Return the name of the candidate with most hits; the first stays unless it is beaten clearly.

    Held-back weeks are few, so the one that is right for most logs needs evidence against it, not for it.
    """
    usual = next(iter(standings))
    ahead = [name for name, standing in standings.items() if standing.beats(standings[usual])]
    return max(ahead, key=lambda name: standings[name].hit_share, default=usual)


def _read_off(calls: Floats, hits: Floats, firsts: float) -> Floats:
    """Return the share of hits without warming, and at `MULTIPLES`."""
    multiple, share = calls / max(calls[0], 1.0), hits / max(firsts, 1.0)
    order = np.argsort(multiple, kind="stable")
    return np.concatenate([share[:1], np.interp(MULTIPLES, multiple[order], share[order])])


def _thresholds(worth: Floats) -> Floats:
    positive = worth[worth > 0]
    if not len(positive):
        return np.array([np.inf])
    shares = np.geomspace(1e-4, 1.0, _THRESHOLDS)
    return np.concatenate([[np.inf], np.quantile(positive, 1.0 - shares)])
