"""What warming gains, estimated from units that were drawn at random and not warmed. Pure arithmetic.

A unit is one account in one ISO week. With `opens`, `hits` and `calls` summed over units,

    gain per call = (hits / opens of treated - hits / opens of held-out) x opens of treated / calls of treated

is the number of first opens that found a fresh report only because of a predicted warm, per upstream call of such a
warm. The first factor is the difference of two means of a randomized experiment, weighted by opens.

The interval is a studentized bootstrap: units are drawn with replacement within each group, the error of each draw is
divided by the standard error of that draw, and quantiles of these ratios take the place of those of the normal
distribution (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 12.5). Units are drawn, not
accounts, because chance decides about each unit by itself. It covers the accounts and weeks that were measured, and
makes no claim about others.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from adwarm.foundation.arrow_arrays import Floats
from adwarm.model import ImpactUnit

MIN_HOLD_OUT_UNITS: Final = 20
"""Held-out units with opens that an interval takes; with fewer the resampling distribution is too coarse."""
USEFUL_HALF_WIDTH: Final = 0.5
"""An estimate is useful when half of its interval is at most this share of it, which excludes 0."""
MAX_PROJECTED_WEEKS: Final = 104
"""A projection beyond this many weeks is reported as none."""
_CHUNK: Final = 4_000_000
_FLOOR: Final = 1e-12


@dataclass(frozen=True, slots=True)
class ImpactRules:
    """How an estimate is made.

    Attributes:
        confidence: of the interval, such as 0.95.
        samples: draws of the bootstrap; twice as many move the ends of the interval by less than they are rounded.
        min_weeks: whole weeks before an interval is given; fewer are not like each other.
        seed: of the draws; equal units and seeds give equal intervals.
    """

    confidence: float = 0.95
    samples: int = 2000
    min_weeks: int = 4
    seed: int = 0


@dataclass(frozen=True, slots=True)
class GroupTotals:
    """Sums over the treated or the held-out units.

    Attributes:
        units: units with a first open.
        calls: upstream calls of their predicted warms.
    """

    units: int
    first_opens: int
    first_hits: int
    calls: int

    @property
    def hit_rate(self) -> float | None:
        """The share of first opens that found a fresh report; None without an open."""
        return self.first_hits / self.first_opens if self.first_opens else None


@dataclass(frozen=True, slots=True)
class ImpactEstimate:
    """Hits gained per call, and how sure that is.

    Attributes:
        weeks: whole weeks with units.
        treated: sums over units that were warmed.
        held_out: sums over units that were not.
        gain_per_call: hits gained per upstream call; None when a group has no opens, or no call was made.
        low: lower end of the interval; None when there is none yet.
        high: upper end of it.
        weeks_left: projected weeks until the estimate is useful; 0 when it is, None when that is not in sight.
        why: what is missing or known, as a sentence.
    """

    weeks: int
    treated: GroupTotals
    held_out: GroupTotals
    gain_per_call: float | None
    low: float | None
    high: float | None
    confidence: float
    weeks_left: int | None
    why: str

    @property
    def half_width(self) -> float | None:
        """Half of the length of the interval, in hits per call."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def is_useful(self) -> bool:
        """Whether the interval is narrow enough to act on."""
        return self.weeks_left == 0


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums of one or more draws; arrays of equal length.

    `hh`, `hn`, `nn` and so on are sums of products of hits (h), opens (n) and calls (c), for standard errors.
    """

    columns: Floats

    def __getitem__(self, name: str) -> Floats:
        result: Floats = self.columns[:, _NAMES.index(name)]
        return result


_NAMES: Final = ("units", "h", "n", "c", "hh", "hn", "nn", "hc", "nc", "cc")


def estimate_impact(units: Sequence[ImpactUnit], rules: ImpactRules) -> ImpactEstimate:
    """Return what warming gains in these units; those without a first open and without a call do not count."""
    counted = [unit for unit in units if unit.first_opens or unit.calls]
    weeks = len({unit.week for unit in counted})
    treated = [unit for unit in counted if not unit.is_held_out]
    held_out = [unit for unit in counted if unit.is_held_out]
    totals = get_totals(treated), get_totals(held_out)
    gain, why = _get_gain(*totals), _explain_missing(weeks, totals, rules)
    low = high = None
    if gain is None or why:
        left = _project_start(weeks, totals[1].units, rules)
    else:
        low, high = get_interval(treated, held_out, rules)
        left, why = _project(gain, low, high, weeks)
    return ImpactEstimate(
        weeks=weeks,
        treated=totals[0],
        held_out=totals[1],
        gain_per_call=gain,
        low=low,
        high=high,
        confidence=rules.confidence,
        weeks_left=left,
        why=why,
    )


def get_totals(units: Sequence[ImpactUnit]) -> GroupTotals:
    """Return the sums over units."""
    return GroupTotals(
        sum(unit.first_opens > 0 for unit in units),
        sum(unit.first_opens for unit in units),
        sum(unit.first_hits for unit in units),
        sum(unit.calls for unit in units),
    )


def get_interval(
    treated: Sequence[ImpactUnit], held_out: Sequence[ImpactUnit], rules: ImpactRules
) -> tuple[float, float]:
    """Return the ends of the interval of the gain per call, by a studentized bootstrap over units."""
    rng = np.random.default_rng(rules.seed)
    groups = _products(treated), _products(held_out)
    whole = [_Sums(group.sum(axis=0, keepdims=True)) for group in groups]
    gain, error = (float(values[0]) for values in _evaluate(*whole))
    gains, errors = _evaluate(*(_draw(group, rules.samples, rng) for group in groups))
    is_valid = np.isfinite(gains) & (errors > _FLOOR)
    ratios = (gains[is_valid] - gain) / errors[is_valid]
    if not len(ratios) or error <= _FLOOR:
        return gain, gain
    tail = (1.0 - rules.confidence) / 2
    below, above = np.quantile(ratios, [tail, 1.0 - tail])
    return gain - float(above) * error, gain - float(below) * error


def _products(units: Sequence[ImpactUnit]) -> Floats:
    h, n, c = (np.array(values, np.float64) for values in zip(*map(_figures, units), strict=True))
    columns = [np.ones(len(units)), h, n, c, h * h, h * n, n * n, h * c, n * c, c * c]
    return np.column_stack(columns)


def _figures(unit: ImpactUnit) -> tuple[int, int, int]:
    return unit.first_hits, unit.first_opens, unit.calls


def _draw(products: Floats, samples: int, rng: np.random.Generator) -> _Sums:
    """Return the sums of `samples` draws of as many units as there are, with replacement."""
    count = len(products)
    rows = np.empty((samples, products.shape[1]))
    step = max(1, _CHUNK // count)
    for start in range(0, samples, step):
        size = min(step, samples - start)
        # How often each unit is drawn, as a matrix: one product of matrices then sums every column of every draw.
        drawn = rng.integers(0, count, (size, count)) + count * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)
        rows[start : start + size] = times @ products
    return _Sums(rows)


def _evaluate(treated: _Sums, held_out: _Sums) -> tuple[Floats, Floats]:
    """Return the gain per call of each draw, and its standard error by the delta method."""
    with np.errstate(divide="ignore", invalid="ignore"):
        n, c = treated["n"], treated["c"]
        base = held_out["h"] / held_out["n"]
        gain = (treated["h"] - base * n) / c
        # The gain as a function of the means: one linear term per unit of each group.
        squares = (
            treated["hh"]
            + base**2 * treated["nn"]
            + gain**2 * treated["cc"]
            - 2 * base * treated["hn"]
            - 2 * gain * treated["hc"]
            + 2 * base * gain * treated["nc"]
        )
        of_base = held_out["hh"] - 2 * base * held_out["hn"] + base**2 * held_out["nn"]
        correction = [group["units"] / np.maximum(group["units"] - 1, 1) for group in (treated, held_out)]
        variance = correction[0] * squares / c**2 + correction[1] * of_base * (n / c) ** 2 / held_out["n"] ** 2
        return gain, np.sqrt(np.maximum(variance, 0.0))


def _get_gain(treated: GroupTotals, held_out: GroupTotals) -> float | None:
    if treated.hit_rate is None or held_out.hit_rate is None or not treated.calls:
        return None
    return (treated.hit_rate - held_out.hit_rate) * treated.first_opens / treated.calls


def _explain_missing(weeks: int, totals: tuple[GroupTotals, GroupTotals], rules: ImpactRules) -> str:
    treated, held_out = totals
    if weeks < rules.min_weeks:
        return f"{weeks} of {rules.min_weeks} whole weeks are measured"
    if held_out.units < MIN_HOLD_OUT_UNITS:
        return f"{held_out.units} of {MIN_HOLD_OUT_UNITS} held-out accounts and weeks with opens are measured"
    if not treated.calls:
        return "no upstream call was made for a predicted open"
    return "" if treated.first_opens else "no report of a warmed account was opened"


def _project_start(weeks: int, held_out: int, rules: ImpactRules) -> int | None:
    """Return the weeks until an interval can be given, at the pace so far; None while there is no pace."""
    by_weeks = max(0, rules.min_weeks - weeks)
    if held_out >= MIN_HOLD_OUT_UNITS:
        return by_weeks or None
    if not weeks or not held_out:
        return None
    left = max(by_weeks, math.ceil((MIN_HOLD_OUT_UNITS - held_out) * weeks / held_out))
    return left if left <= MAX_PROJECTED_WEEKS else None


def _project(gain: float, low: float, high: float, weeks: int) -> tuple[int | None, str]:
    """Return the weeks until the interval is narrow enough: its width shrinks with the square root of the weeks."""
    half, aim = (high - low) / 2, USEFUL_HALF_WIDTH * abs(gain)
    if half <= aim and (low > 0.0 or high < 0.0):
        return 0, "the interval is narrow enough to act on"
    left = math.ceil(weeks * (half / aim) ** 2) - weeks if aim > _FLOOR else MAX_PROJECTED_WEEKS + 1
    if left > MAX_PROJECTED_WEEKS:
        return None, "the effect is too small to tell from chance; a larger share would narrow the interval"
    return max(1, left), "the interval is still too wide to act on"
