"""Reporting of metrics: sinks, and that reporting never fails."""

from collections.abc import Iterator, Mapping

import pytest

from adwarm.foundation import telemetry
from adwarm.foundation.telemetry import Metric, MetricKind


class Collected:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.values: list[tuple[str, float, dict[str, str]]] = []

    def record(self, metric: Metric, value: float, tags: Mapping[str, str]) -> None:
        self.values.append((metric.name, value, dict(tags)))


class Broken:
    """A sink that fails."""

    def record(self, metric: Metric, value: float, tags: Mapping[str, str]) -> None:
        raise ConnectionError("no agent")


@pytest.fixture
def sink() -> Iterator[Collected]:
    """A sink for the time of a test."""
    collected = Collected()
    telemetry.add_sink(collected)
    yield collected
    telemetry.remove_sink(collected)


def test_each_sink_gets_each_value_once(sink: Collected) -> None:
    """A sink that is added twice gets a value once; a removed one gets nothing."""
    telemetry.add_sink(sink)
    telemetry.report(telemetry.WARMS, 3, status="fetched")
    telemetry.remove_sink(sink)
    telemetry.report(telemetry.WARMS, 3, status="fetched")
    assert sink.values == [("adwarm.warms", 3, {"status": "fetched"})]


def test_a_counter_leaves_out_zero_and_a_gauge_does_not(sink: Collected) -> None:
    """No event is no report; a state of zero is one."""
    telemetry.report(telemetry.WARMS, 0, status="fetched")
    telemetry.report(telemetry.OPEN_ALERTS, 0)
    assert sink.values == [("adwarm.open_alerts", 0, {})]


def test_a_broken_sink_breaks_nothing(sink: Collected) -> None:
    """A sink that fails raises nothing, and the others still get the value."""
    broken = Broken()
    telemetry.add_sink(broken)
    try:
        telemetry.report(telemetry.OPEN_ALERTS, 1)
    finally:
        telemetry.remove_sink(broken)
    assert sink.values == [("adwarm.open_alerts", 1, {})]


def test_the_list_is_consistent() -> None:
    """Names are unique and lower case; seconds are timers; no tag could name an account or a person."""
    names = [metric.name for metric in telemetry.METRICS]
    assert len(set(names)) == len(names)
    for metric in telemetry.METRICS:
        assert metric.name.startswith("adwarm.")
        assert metric.name == metric.name.lower()
        assert not {"account", "account_id", "key", "user", "token"} & set(metric.tags)
        assert metric.meaning.endswith(".")
        assert metric.unit == "seconds" or metric.kind is not MetricKind.TIMER
