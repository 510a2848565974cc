"""The estimate of what warming gains: its formula, its interval, and what it says about its own usefulness."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.model import ImpactUnit
from adwarm.planning.impact import MIN_HOLD_OUT_UNITS, ImpactRules, estimate_impact, get_interval
from tests.benchmarks.impact import Scenario, plant, run_scenario

MONDAY = date(2026, 1, 5)
WEEK = timedelta(days=7)
FAST = ImpactRules(samples=400, seed=1)


def _unit(number: int, *, held: bool, opens: int = 10, hits: int = 5, calls: int = 4, week: int = 0) -> ImpactUnit:
    return ImpactUnit(
        account_id=f"act_{number}",
        week=MONDAY + week * WEEK,
        is_held_out=held,
        first_opens=opens,
        first_hits=hits,
        calls=0 if held else calls,
    )


def test_the_formula() -> None:
    """The difference of the hit rates, times the opens of the warmed, per call: (0.9 - 0.4) x 200 / 80 = 1.25."""
    units = [_unit(n, held=False, opens=20, hits=18, calls=8) for n in range(10)]
    units += [_unit(n, held=True, opens=5, hits=2) for n in range(10, 14)]
    result = estimate_impact(units, FAST)
    assert result.gain_per_call == pytest.approx(1.25)
    assert (result.treated.first_opens, result.treated.calls, result.held_out.units) == (200, 80, 4)
    assert result.low is None
    assert "1 of 4 whole weeks" in result.why


def test_without_opens_or_calls_there_is_no_estimate() -> None:
    """Nothing is divided by zero; the sentence says what is missing."""
    assert estimate_impact([], FAST).gain_per_call is None
    units = [_unit(n, held=n % 2 == 0, calls=0, week=n % 5) for n in range(60)]
    result = estimate_impact(units, FAST)
    assert (result.gain_per_call, result.low) == (None, None)
    assert result.why == "no upstream call was made for a predicted open"


def test_an_interval_needs_enough_held_out_units() -> None:
    """With few held-out units there is a projection of when there are enough, instead of an interval."""
    units = [_unit(n, held=n >= 40, week=n % 4) for n in range(44)]
    result = estimate_impact(units, FAST)
    assert result.low is None
    assert f"4 of {MIN_HOLD_OUT_UNITS}" in result.why
    assert result.weeks_left == 16


def test_a_wide_interval_says_how_long_it_takes() -> None:
    """The projection follows the square root of the weeks, and an effect that is lost in noise has no end in sight."""
    small = estimate_impact(plant(Scenario("small", 60, 8, 0.1, 0.3), 3).units, FAST)
    assert small.half_width is not None
    assert not small.is_useful
    assert small.weeks_left is None or small.weeks_left > 0
    none = estimate_impact(plant(Scenario("none", 60, 8, 0.1, 0.0), 5).units, FAST)
    assert none.weeks_left != 0
    large = estimate_impact(plant(Scenario("large", 300, 26, 0.2, 0.8), 1).units, FAST)
    assert (large.is_useful, large.weeks_left) == (True, 0)
    assert large.low is not None
    assert large.low > 0


def test_equal_seeds_give_equal_intervals() -> None:
    """The interval is a function of units and seed, and does not depend on the order of the units."""
    units = plant(Scenario("any", 30, 8, 0.2, 0.5), 2).units
    assert estimate_impact(units, FAST) == estimate_impact(units, FAST)
    treated, held = ([u for u in units if u.is_held_out is out] for out in (False, True))
    low, high = get_interval(treated, held, FAST)
    other_low, other_high = get_interval(treated, held, ImpactRules(samples=400, seed=2))
    assert (low, high) != (other_low, other_high)
    assert abs(low - other_low) < (high - low) / 2


@given(st.integers(1, 50), st.integers(2, 6))
def test_scaling_calls_scales_the_gain(seed: int, factor: int) -> None:
    """Twice the calls for the same hits is half the gain, and so are the ends of its interval."""
    units = plant(Scenario("any", 30, 6, 0.3, 0.5), seed).units
    dear = [ImpactUnit(**{**_fields(unit), "calls": unit.calls * factor}) for unit in units]
    cheap, costly = estimate_impact(units, FAST), estimate_impact(dear, FAST)
    for name in ("gain_per_call", "low", "high"):
        assert getattr(costly, name) * factor == pytest.approx(getattr(cheap, name))


def _fields(unit: ImpactUnit) -> dict[str, object]:
    return {name: getattr(unit, name) for name in ImpactUnit.__slots__}


@pytest.mark.slow
@pytest.mark.parametrize("effect", [0.0, 0.7])
def test_the_interval_holds_a_planted_effect(effect: float) -> None:
    """Over 60 seeds the 95 % interval holds the true gain nine times in ten, and a naive one far less often."""
    row = run_scenario(Scenario("short", 60, 8, 0.1, effect), 60, samples=500)
    assert row["intervals"] == 60
    assert row["coverage"] >= 0.9
    assert row["naive coverage"] < 0.6
    assert abs(row["bias"]) < 0.1
