"""Busy and quiet hours are found where they are, and hardly ever where they are not."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adwarm.foundation.arrow_arrays import Bools, Floats
from adwarm.patterns.access_profiles import profile_and_count_log
from adwarm.patterns.profile import (
    BUSY_RATIO,
    MIN_WEEKS,
    QUIET_RATIO,
    estimate_dispersion,
    find_busy_hours,
    find_quiet_hours,
)
from adwarm.settings import Settings

EVEN = np.ones(168)
OFFICE = np.zeros((7, 24))
OFFICE[:5, 9:17] = 1  # Mon-Fri 09:00-17:00
OFFICE = OFFICE.ravel()
WEEKS = 8


def _draw(shape: Floats, opens: float, seed: int, *, accounts: int = 200, session: int = 1) -> Floats:
    """Return opens by account, week and hour: about `opens` an account, in sessions of about `session` opens."""
    chance = np.random.default_rng(seed)
    mean = shape / shape.sum() * opens / session / WEEKS
    sessions = chance.poisson(np.broadcast_to(mean, (accounts, WEEKS, 168)))
    return (sessions + chance.poisson((session - 1) * sessions)).astype(np.float64)


def _decide(weeks: Floats) -> tuple[Bools, Bools]:
    opens, squares, active = weeks.sum(axis=1), (weeks**2).sum(axis=1), (weeks > 0).sum(axis=1)
    observed = np.full(opens.shape, float(weeks.shape[1]))
    dispersion = estimate_dispersion(opens, squares, observed)
    busy = find_busy_hours(opens, observed, active.astype(np.float64), dispersion)
    return busy, find_quiet_hours(opens, observed, dispersion)


def test_even_weeks_have_neither(subtests: pytest.Subtests) -> None:
    """At most one profile in 20 of opens at random hours has a busy or a quiet hour, also when opens come in bursts."""
    for session in [1, 5]:
        for opens in [20, 150, 1_000, 5_000]:
            with subtests.test(session=session, opens=opens):
                busy, quiet = _decide(_draw(EVEN, opens, seed=opens + session))
                assert busy.any(axis=1).mean() <= 0.05
                assert quiet.any(axis=1).mean() <= 0.05


def test_a_mostly_empty_week_is_quiet(subtests: pytest.Subtests) -> None:
    """Ten opens a week in office hours are enough: nights and weekends are quiet, and office hours are not."""
    for opens, share in [(80, 0.9), (200, 0.98), (1_000, 0.99)]:
        with subtests.test(opens=opens, share=share):
            _, quiet = _decide(_draw(OFFICE, opens, seed=opens))
            assert quiet[:, OFFICE == 0].mean() >= share
            assert quiet[:, OFFICE > 0].sum() <= 0.01 * quiet.sum()


def test_few_opens_prove_nothing() -> None:
    """Eight opens in eight weeks make no hour quiet, and hardly any busy."""
    busy, quiet = _decide(_draw(OFFICE, 8, seed=1))
    assert busy.any(axis=1).mean() <= 0.05
    assert not quiet.any()


def test_shifts_are_not_mixed_up() -> None:
    """Hours of the day differ by weekday: a night that is quiet on Monday is not on Friday when people work then."""
    shifts = np.zeros((7, 24))
    shifts[:4, 8:16] = shifts[4:, :6] = 1
    busy, quiet = _decide(_draw(shifts.ravel(), 1_000, seed=3))
    assert quiet[:, shifts.ravel() == 0].mean() > 0.98
    assert quiet[:, shifts.ravel() > 0].mean() < 0.01
    assert busy[:, shifts.ravel() == 0].mean() < 0.001


def test_one_session_is_no_habit() -> None:
    """Thirty opens in one hour of one week are not busy; one open in each of eight weeks at that hour is."""
    weeks = np.zeros((2, WEEKS, 168))
    weeks[0, 3, 33] = 30
    weeks[1, :, 33] = 1
    busy, _ = _decide(weeks)
    assert np.argwhere(busy).tolist() == [[1, 33]]


WEEK = st.lists(st.integers(0, 6), min_size=168, max_size=168)


@settings(max_examples=15)
@given(st.lists(st.lists(WEEK, min_size=4, max_size=4), min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_decisions_are_consistent(counts: list[list[list[int]]], chance: npt.NDArray[np.int64]) -> None:
    """No hour is both; busy and quiet keep their ratios to the mean; each account is decided by itself."""
    weeks = np.array(counts, np.float64)
    busy, quiet = _decide(weeks)
    opens = weeks.sum(axis=1)
    mean = opens.mean(axis=1, keepdims=True)
    assert not (busy & quiet).any()
    assert (opens[busy] >= BUSY_RATIO * np.broadcast_to(mean, opens.shape)[busy] - 1e-9).all()
    assert (opens[quiet] < QUIET_RATIO * np.broadcast_to(mean, opens.shape)[quiet]).all()
    assert ((weeks > 0).sum(axis=1)[busy] >= MIN_WEEKS).all()
    for number in range(len(weeks)):
        own_busy, own_quiet = _decide(weeks[number : number + 1])
        assert np.array_equal(own_busy[0], busy[number])
        assert np.array_equal(own_quiet[0], quiet[number])


@pytest.mark.slow
def test_real_logs_have_nights(shared_log: Path) -> None:
    """All accounts of each real log together have quiet nights, busy days, and never both."""
    profiles, _ = profile_and_count_log(str(shared_log), Settings(access_log={"url": str(shared_log)}))
    everyone = profiles.accounts.loc["all"]
    nights = {day * 24 + hour for day in range(7) for hour in (3, 4)}
    assert nights <= set(everyone["quiet_hours"])
    assert 15 <= len(everyone["busy_hours"]) <= 84
    assert len(everyone["peak_hours"]) <= 21
    assert not (profiles.hours["is_busy"] & profiles.hours["is_quiet"]).any()
