"""Logistic regression with a penalty on the slopes, by Newton's method.

It minimizes `looseness` x the weighted sum of log losses + half the sum of squared slopes; the intercept is free. The
minimum is unique. For the few columns it is used with, each step is one small linear system.
"""

from dataclasses import dataclass

import numpy as np

from adwarm.foundation.arrow_arrays import Bools, Floats

_MAX_STEPS = 100
_MAX_HALVINGS = 30
_ENOUGH = 1e-10
"""A step that improves the loss by less than this share of it is the last."""


@dataclass(frozen=True, slots=True)
class Regression:
    """A fitted regression: log odds = `rows @ slopes + intercept`."""

    slopes: Floats
    intercept: float


def fit_regression(rows: Floats, label: Bools, weight: Floats, looseness: float) -> Regression:
    """Return the regression fitted to labels of both kinds.

    Args:
        rows: rows x columns.
        weight: per row, 0 or more.
        looseness: the larger, the less slopes are drawn to 0.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    # One BLAS thread: for so few columns several take up to seven times the CPU, and most of it is waiting.
    with threadpool_limits(1, "blas"):
        return _minimize(np.column_stack([rows, np.ones(len(rows))]), label, looseness * weight)


def _minimize(rows: Floats, label: Bools, weight: Floats) -> Regression:
    from scipy.special import expit

    penalty = np.append(np.ones(rows.shape[1] - 1), 0.0)
    mean = np.average(label, weights=weight)
    coefficients = np.append(np.zeros(rows.shape[1] - 1), np.log(mean) - np.log1p(-mean))
    log_odds = rows @ coefficients
    loss = _loss(log_odds, label, weight, penalty, coefficients)
    for _ in range(_MAX_STEPS):
        chance = expit(log_odds)
        slope = rows.T @ (weight * (chance - label)) + penalty * coefficients
        curvature = (rows.T * (weight * chance * (1.0 - chance))) @ rows + np.diag(penalty)
        step = np.linalg.lstsq(curvature, slope, rcond=None)[0]
        before = loss
        for _ in range(_MAX_HALVINGS):
            tried = coefficients - step
            odds_tried = rows @ tried
            loss_tried = _loss(odds_tried, label, weight, penalty, tried)
            if loss_tried <= before:
                coefficients, log_odds, loss = tried, odds_tried, loss_tried
                break
            step = step / 2
        if before - loss <= _ENOUGH * before:
            break
    return Regression(coefficients[:-1], float(coefficients[-1]))


def _loss(log_odds: Floats, label: Bools, weight: Floats, penalty: Floats, coefficients: Floats) -> float:
    losses = np.logaddexp(0.0, log_odds) - label * log_odds
    return float(weight @ losses + penalty @ coefficients**2 / 2)
