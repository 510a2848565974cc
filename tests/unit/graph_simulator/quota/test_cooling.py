"""The insights throttle rises at once and falls by half in its half-life."""

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph_simulator.quota.decaying_usage import Cooling
from tests.unit.graph_simulator.conftest import NOW, make_simulator


def test_it_halves() -> None:
    """What was heard is half after a half-life, and never below what is really used."""
    cooling = Cooling(60)
    assert cooling.heard(80, NOW) == 80
    assert cooling.heard(10, NOW + timedelta(seconds=60)) == pytest.approx(40)
    assert cooling.heard(55, NOW + timedelta(seconds=61)) == 55


@given(st.lists(st.tuples(st.floats(0, 200), st.integers(-100, 10_000)), min_size=1, max_size=20), st.floats(0, 600))
def test_it_is_between_what_is_used_and_the_most_that_was(heard: list[tuple[float, int]], half_life: float) -> None:
    """Whatever the order of moments: at least the present use, at most the highest there was."""
    cooling, most = Cooling(half_life), 0.0
    for percent, second in heard:
        most = max(most, percent)
        assert percent <= cooling.heard(percent, NOW + timedelta(seconds=second)) <= most


def test_the_header_may_say_full_with_no_call_running() -> None:
    """After the hour has passed, the use is over and the header still tells of it."""
    driven = make_simulator({
        "quota": {"base_calls": 20, "calls_per_ad": 0, "score": False, "throttle_half_life_seconds": 7200}
    })

    def told() -> float:
        header = driven.insights(limit=1).headers["X-FB-Ads-Insights-Throttle"]
        return float(json.loads(header)["acc_id_util_pct"])

    busy = [told() for _ in range(16)][-1]
    driven.wait(3_601)
    assert busy > 70
    assert busy > told() > busy / 2
