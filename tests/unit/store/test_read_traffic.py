"""Reads and their latencies by hour, account and actor."""

import importlib
import pkgutil
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

import adwarm
from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import AdwarmError, NotAdmitted, Refused, Throttled
from adwarm.model import CallCause, CauseKind, Latencies
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
        "postponed": 0,
        "mean_latency_ms": 4,
    }
    latency = read_traffic.get_day_latency(engine, NOON)
    assert latency["median_latency_ms"] == Latencies.of(0.004).quantile_ms(0.5)
    assert latency["p95_latency_ms"] == Latencies.of(0.006).quantile_ms(0.5)
    assert read_traffic.get_day_latency(engine, NOON - HOUR)["median_latency_ms"] is None


def _iter_errors(kind: type[AdwarmError]) -> set[type[AdwarmError]]:
    return {kind}.union(*map(_iter_errors, kind.__subclasses__()))


def test_no_own_refusal_is_a_throttle() -> None:
    """No class of error of the product is both: whatever counts or labels throttles by their class, counts no wait."""
    for module in pkgutil.walk_packages(adwarm.__path__, "adwarm."):
        if module.name != "adwarm.__main__" and ".migrations." not in module.name:
            importlib.import_module(module.name)
    kinds = _iter_errors(AdwarmError)
    assert {NotAdmitted, Refused} < {kind for kind in kinds if kind.own_refusal}
    assert [kind for kind in kinds if kind.own_refusal and issubclass(kind, Throttled)] == []


@pytest.mark.parametrize(
    ("error", "throttles", "postponed"),
    [
        (Throttled(scope="app:1", until=AT), 1, 0),
        (NotAdmitted(scope="app:1", until=AT), 0, 1),
        (Refused(retry_after=1.0), 0, 1),
    ],
)
def test_the_platform_is_counted_apart_from_adwarm(
    engine: Engine, error: AdwarmError, throttles: int, postponed: int
) -> None:
    """A call that the platform throttled is a throttle; one that adwarm put off is none, and no call either."""
    counting = read_traffic.counting_refusals(engine, VirtualClock(AT), "act_1", CallCause(CauseKind.CHECK))
    with pytest.raises(type(error)), counting:
        raise error
    found = read_traffic.get_totals(engine, NOON, NOON + HOUR)
    assert (found["throttles"], found["postponed"], found["upstream_calls"]) == (throttles, postponed, 0)


def test_the_warmers_own_reads_are_not_counted(engine: Engine) -> None:
    """Canary reads are left out; without reads the mean latency is 0, and no ratio is known."""
    read_traffic.increment(engine, AT, "act_1", "warmer", latency_ms=2, hits=1)
    found = read_traffic.get_totals(engine, NOON, NOON + HOUR)
    assert (found["hits"], found["mean_latency_ms"], found["first_hit_ratio"]) == (0, 0, None)
    assert read_traffic.get_day_latency(engine, NOON) == {"median_latency_ms": None, "p95_latency_ms": None}
