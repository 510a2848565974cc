"""Latencies in buckets: quantiles are exact within 5 %, and counts add up."""

from hypothesis import given
from hypothesis import strategies as st

from adwarm.model import Latencies

TIMES = st.lists(st.floats(1e-5, 1e3), min_size=1, max_size=60)


@given(TIMES, st.sampled_from([0.5, 0.95]))
def test_a_quantile_is_that_of_the_sorted_times(times: list[float], share: float) -> None:
    """However the times are split between processes, it is within 5 % of the exact one, and half a unit of rounding."""
    counted = sum(map(Latencies.of, times), Latencies())
    exact = 1000 * next(time for rank, time in enumerate(sorted(times), 1) if rank >= share * len(times))
    found = counted.quantile_ms(share)
    assert found is not None
    assert abs(found / exact - 1) < 0.056
    half = len(times) // 2
    parts = [sum(map(Latencies.of, part), Latencies()) for part in (times[:half], times[half:])]
    assert parts[1] + parts[0] == counted


def test_no_call_has_no_latency() -> None:
    """Nothing is shown instead of zero; a clock that stood still counts as the shortest time."""
    assert Latencies().to_dict("pack") == {"median_pack_ms": None, "p95_pack_ms": None}
    assert Latencies.of(0.0).to_dict("x")["median_x_ms"] < 0.002
