"""Decides which hours of the week are busy and which are quiet, for many accounts at once.

Every array has a row per account and a column per hour of the week. Opens come in sessions, so counts vary more from
week to week than independent opens would: they are divided by that dispersion before any test.
docs/explanation/patterns.md explains the tests, and what they say of simulated and real logs.
"""

import numpy as np

from adwarm.foundation.arrow_arrays import Bools, Floats
from adwarm.foundation.local_time import WEEK_HOURS

MIN_WEEKS = 3
"""A busy hour was opened in at least this many weeks; with fewer observed weeks no hour is busy or quiet."""
BUSY_RATIO, QUIET_RATIO = 1.5, 0.5
"""Rates of busy and quiet hours, as multiples of the week's mean rate: at least, and less than."""

_SIGNIFICANCE = 0.05 / WEEK_HOURS  # Bonferroni: one false busy hour in 20 profiles, over all hours of the week
_QUIET_PROBABILITY = 0.95
_MEAN = 12
_RATES = np.concatenate([[0.001], np.geomspace(0.02, WEEK_HOURS, 26)])
_RATES[_MEAN] = 1.0
"""Rates that an hour may have, as multiples of the week's mean rate."""
_EVEN_HOURS, _EVEN_TIMES, _EVEN_DAYS = 4.0, 2.0, 1.5
"""Weight of the assumption that rates are even: as many hours, times of day or weekdays at the mean rate are added."""
_STEPS = 60
_ACCOUNTS_AT_ONCE = 256


def estimate_dispersion(opens: Floats, squares: Floats, observed: Floats) -> Floats:
    """Return by how much counts vary more from week to week than independent opens would, at least 1, per account.

    Args:
        opens: opens in each hour of the week.
        squares: sum over the weeks of the squared opens of that week.
        observed: how often each hour of the week was observed.
    """
    used = (opens >= 2) & (observed > 1)  # a single open does not tell how opens vary
    with np.errstate(divide="ignore", invalid="ignore"):
        chi_square = np.where(used, squares * observed / opens - opens, 0.0).sum(axis=1)
    freedom = np.where(used, observed - 1, 0.0).sum(axis=1)
    ratio = np.divide(chi_square, freedom, out=np.ones(len(opens)), where=freedom > 0)
    dispersion: Floats = np.maximum(ratio, 1.0)
    return dispersion


def find_busy_hours(opens: Floats, observed: Floats, active_weeks: Floats, dispersion: Floats) -> Bools:
    """Return which hours have a rate significantly above the mean rate of the account's week.

    Args:
        opens: opens in each hour of the week.
        observed: how often each hour of the week was observed.
        active_weeks: in how many weeks each hour had an open.
        dispersion: see `estimate_dispersion`.
    """
    effective, expected = _effective(opens, observed, dispersion)
    from scipy.special import gammainc

    # gammainc is the upper tail of the Poisson distribution: the chance of at least a count, whole or not.
    chance = gammainc(np.maximum(effective, 1e-9), expected)
    busy: Bools = (effective >= BUSY_RATIO * expected) & (chance < _SIGNIFICANCE) & (active_weeks >= MIN_WEEKS)
    return busy


def find_quiet_hours(opens: Floats, observed: Floats, dispersion: Floats) -> Bools:
    """Return which hours are very likely opened at less than half the mean rate of the account's week.

    An hour is judged by its own opens, by those of the same time on all weekdays, and by those of its whole weekday;
    in each case its own opens have to be fewer than half the mean.

    Args:
        opens: opens in each hour of the week.
        observed: how often each hour of the week was observed.
        dispersion: see `estimate_dispersion`.
    """
    quiet = np.zeros(opens.shape, np.bool_)
    for start in range(0, len(opens), _ACCOUNTS_AT_ONCE):
        rows = slice(start, start + _ACCOUNTS_AT_ONCE)
        effective, expected = _effective(opens[rows], observed[rows], dispersion[rows])
        week, usual = effective.reshape(-1, 7, 24), expected.reshape(-1, 7, 24)
        hours = _quiet_probability(effective, expected, _EVEN_HOURS) >= _QUIET_PROBABILITY
        times = _quiet_probability(week.sum(axis=1), usual.sum(axis=1), _EVEN_TIMES) >= _QUIET_PROBABILITY
        days = _quiet_probability(week.sum(axis=2), usual.sum(axis=2), _EVEN_DAYS) >= _QUIET_PROBABILITY
        pooled = (times[:, np.newaxis, :] | days[:, :, np.newaxis]).reshape(hours.shape)
        quiet[rows] = (hours | pooled) & (effective < QUIET_RATIO * expected)
    return quiet


def _effective(opens: Floats, observed: Floats, dispersion: Floats) -> tuple[Floats, Floats]:
    """Return independent opens and those expected in an even week."""
    total, weeks = opens.sum(axis=1), observed.sum(axis=1)
    mean = np.divide(total, weeks, out=np.zeros(len(opens)), where=weeks > 0)
    return opens / dispersion[:, np.newaxis], observed * (mean / dispersion)[:, np.newaxis]


def _quiet_probability(counts: Floats, expected: Floats, even: float) -> Floats:
    """Return the probability that the rate behind each count is less than half the mean.

    Which rates occur in the account's own week is estimated from all of its counts together (empirical Bayes): a
    mixture of Poisson distributions, fitted by expectation maximization. In an even week it has one rate, the mean, and
    no count is evidence for less. The colder the rest of the week, the less it takes to call one more hour quiet.
    """
    likelihood = counts[:, :, np.newaxis] * np.log(_RATES) - expected[:, :, np.newaxis] * _RATES
    likelihood = np.exp(likelihood - likelihood.max(axis=2, keepdims=True))
    weights = np.full((len(counts), len(_RATES)), 1 / len(_RATES))
    prior = np.zeros(len(_RATES))
    prior[_MEAN] = even
    for _ in range(_STEPS):
        evidence = (likelihood @ weights[:, :, np.newaxis])[:, :, 0]
        weights = weights * ((1 / evidence)[:, np.newaxis, :] @ likelihood)[:, 0, :] + prior
        weights /= weights.sum(axis=1, keepdims=True)
    low = np.where(_RATES < QUIET_RATIO, weights, 0.0)
    evidence = (likelihood @ weights[:, :, np.newaxis])[:, :, 0]
    probability: Floats = (likelihood @ low[:, :, np.newaxis])[:, :, 0] / evidence
    return probability
