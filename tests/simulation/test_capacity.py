"""The three ways to bound calls, against a platform that halves and doubles."""

import pytest

from . import capacity


def test_the_adaptive_limit_follows_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a number chosen by hand it completes nearly what the best fixed one does, and seldom meets a shed."""
    monkeypatch.setattr(capacity, "PHASE_SECONDS", 60.0)
    ours = capacity.simulate_capacity("adaptive")
    fixed = [capacity.simulate_capacity("fixed", slots) for slots in (20, 40)]
    pool = capacity.simulate_capacity("pool", 40)

    assert ours.completed > 0.9 * max(score.completed for score in fixed)
    assert ours.throttled < pool.throttled


def test_equal_seeds_are_equal_courses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A seed replays exactly."""
    monkeypatch.setattr(capacity, "PHASE_SECONDS", 20.0)
    assert capacity.simulate_capacity("adaptive", seed=3) == capacity.simulate_capacity("adaptive", seed=3)
