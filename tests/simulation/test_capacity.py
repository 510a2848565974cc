"""Tests of three limiters against a platform whose capacity halves and doubles."""

import pytest

from . import capacity


@pytest.mark.slow
def test_the_adaptive_limit_follows_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a hand-picked number it completes nearly as much as the best fixed one, and is seldom throttled."""
    monkeypatch.setattr(capacity, "PHASE_SECONDS", 60.0)
    ours = capacity.simulate_capacity("adaptive")
    fixed = [capacity.simulate_capacity("fixed", slots) for slots in (20, 40)]
    pool = capacity.simulate_capacity("pool", 40)

    assert ours.completed > 0.9 * max(score.completed for score in fixed)
    assert ours.throttled < pool.throttled


def test_equal_seeds_give_equal_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """A seed replays exactly."""
    monkeypatch.setattr(capacity, "PHASE_SECONDS", 4.0)
    assert capacity.simulate_capacity("adaptive", seed=3) == capacity.simulate_capacity("adaptive", seed=3)
