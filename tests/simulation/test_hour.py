"""Tests of the simulated hour: its invariants hold, it replays exactly, and a violation is detected."""

from dataclasses import replace

import pytest

from adwarm.backpressure import shared_budget

from . import watch
from .hour import MINIMUM_CALLS, QuotaVisibility, draw_scenario, simulate_hour
from .watch import InvariantViolation


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 8))])
def test_an_hour_keeps_every_invariant(seed: int) -> None:
    """No parked scope is called, no known limit passed, shares are kept, every request ends; calls are made."""
    assert simulate_hour(draw_scenario(seed)).calls >= MINIMUM_CALLS


def test_the_same_seed_is_the_same_hour() -> None:
    """Equal seeds give equal traces, event for event; other seeds give others."""
    assert simulate_hour(draw_scenario(3)) == simulate_hour(draw_scenario(3))
    assert simulate_hour(draw_scenario(3)).digest != simulate_hour(draw_scenario(4)).digest


def test_a_call_to_a_parked_scope_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """An admission that ignores parks breaks the invariant at the first such call."""
    blind = next(hour for hour in map(draw_scenario, range(100)) if hour.quota_visibility is QuotaVisibility.NOTHING)
    narrow = replace(blind.rules, quota=blind.rules.quota.model_copy(update={"base_calls": 30}))
    monkeypatch.setattr(shared_budget, "may_call", lambda *_: None)
    with pytest.raises(InvariantViolation, match="while it was parked"):
        simulate_hour(replace(blind, rules=narrow))


def test_a_call_over_the_limit_is_detected() -> None:
    """A cap that is set too high shows in the platform's own count."""
    capped = next(hour for hour in map(draw_scenario, range(100)) if hour.quota_visibility is QuotaVisibility.CAP)
    loose = capped.settings.model_copy(update={"account_calls_per_window": 1_000})
    with pytest.raises(InvariantViolation, match="over a limit"):
        simulate_hour(replace(capped, settings=loose, requests=900))


def test_a_class_below_its_share_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all classes compete, shares are checked: no class could get half as much again."""
    crowds = (hour for hour in map(draw_scenario, range(200)) if hour.quota_visibility is QuotaVisibility.CROWD)
    crowd = next(hour for hour in crowds if simulate_hour(hour).windows)
    monkeypatch.setattr(watch, "SHARE_KEPT", 1.5)
    with pytest.raises(InvariantViolation, match="less than its share"):
        simulate_hour(crowd)
