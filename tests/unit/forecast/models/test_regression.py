"""The logistic regression finds the minimum of its loss."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from threadpoolctl import threadpool_info, threadpool_limits

from adwarm.forecast.models.regression import fit_regression


def _loss(found: np.ndarray, rows: np.ndarray, label: np.ndarray, weight: np.ndarray, looseness: float) -> float:
    log_odds = rows @ found[:-1] + found[-1]
    losses = weight * (np.logaddexp(0, log_odds) - label * log_odds)
    return float(looseness * losses.sum() + (found[:-1] ** 2).sum() / 2)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 5), st.sampled_from([0.1, 1.0, 100.0]), st.booleans())
def test_no_other_regression_has_a_lower_loss(seed: int, columns: int, looseness: float, is_separable: bool) -> None:
    """An optimizer that starts at the result, or at 0, does not get below it; labels may even be separable."""
    draw = np.random.default_rng(seed)
    rows, weight = draw.normal(size=(300, columns)) * draw.uniform(0.1, 10), draw.uniform(0, 20, 300)
    log_odds = rows @ draw.normal(size=columns) - 1.0
    label = log_odds > np.median(log_odds) if is_separable else draw.random(300) < 1 / (1 + np.exp(-log_odds))
    label[0], label[-1] = True, False
    fitted = fit_regression(rows, label, weight, looseness)
    found, facts = np.append(fitted.slopes, fitted.intercept), (rows, label, weight, looseness)
    lowest = min(minimize(_loss, start, facts).fun for start in (found, np.zeros(columns + 1)))

    assert _loss(found, *facts) <= lowest * (1 + 1e-6) + 1e-9


def test_equal_columns_share_a_slope() -> None:
    """Columns that say the same do not break the fit."""
    draw = np.random.default_rng(4)
    column = draw.normal(size=500)
    fitted = fit_regression(np.stack([column, column], axis=1), draw.random(500) < 0.3, np.ones(500), 1.0)

    assert fitted.slopes[0] == pytest.approx(fitted.slopes[1])


def test_a_regression_is_fitted_in_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of the library do not wait for each other, and its sums do not depend on how many cores there are."""
    solve, counts = np.linalg.lstsq, set()

    def watch(*arguments: Any, **named: Any) -> Any:
        counts.update(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return solve(*arguments, **named)

    monkeypatch.setattr(np.linalg, "lstsq", watch)
    with threadpool_limits(2, "blas"):
        fit_regression(np.linspace(0.0, 1.0, 400)[:, None], np.arange(400) % 2 > 0, np.ones(400), 1.0)

    assert counts == {1}
