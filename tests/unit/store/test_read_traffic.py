"""Reads and their latencies by hour, account and actor."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from adwarm.model import Latencies
from adwarm.store import read_traffic

AT = datetime(2026, 11, 25, 12, 59, 59, tzinfo=UTC)
HOUR = timedelta(hours=1)
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def test_counts_add_up_in_their_hour(engine: Engine) -> None:
    """Reads of one hour share a row; the mean latency is over reads; the window is half open."""
    read_traffic.increment(engine, AT, "act_1", "human", latency_ms=2, hits=1, first_opens=2, first_hits=2)
    read_traffic.increment(engine, AT, "act_1", "human", latency_ms=4, misses=1, first_opens=1)
    read_traffic.increment(engine, AT, "act_2", "api", latency_ms=6, stale=1, errors=1)
    read_traffic.increment(engine, AT + HOUR, "act_1", "human", latency_ms=100, hits=1)
    found = read_traffic.get_totals(engine, NOON, NOON + HOUR)
    assert found == {
        "hits": 1,
        "stale": 1,
        "misses": 1,
        "first_opens": 3,
        "first_hits": 2,
        "first_hit_ratio": 2 / 3,
        "errors": 1,
        "upstream_calls": 0,
        "throttles": 0,
        "mean_latency_ms": 4,
    }
    latency = read_traffic.get_day_latency(engine, NOON)
    assert latency["median_latency_ms"] == Latencies.of(0.004).quantile_ms(0.5)
    assert latency["p95_latency_ms"] == Latencies.of(0.006).quantile_ms(0.5)
    assert read_traffic.get_day_latency(engine, NOON - HOUR)["median_latency_ms"] is None


def test_the_warmers_own_reads_are_not_counted(engine: Engine) -> None:
    """Canary reads are left out; without reads the mean latency is 0, and no ratio is known."""
    read_traffic.increment(engine, AT, "act_1", "warmer", latency_ms=2, hits=1)
    found = read_traffic.get_totals(engine, NOON, NOON + HOUR)
    assert (found["hits"], found["mean_latency_ms"], found["first_hit_ratio"]) == (0, 0, None)
    assert read_traffic.get_day_latency(engine, NOON) == {"median_latency_ms": None, "p95_latency_ms": None}
