"""Reports adwarm's metrics through the statistics of Airflow: StatsD, Datadog or OpenTelemetry, as Airflow is set up.

Without one of these in Airflow's `[metrics]`, the calls do nothing. Plain StatsD has no tags: Airflow drops them unless
`statsd_influxdb_enabled` or `statsd_datadog_enabled` is set.
"""

from collections.abc import Mapping
from datetime import timedelta

from airflow.sdk.observability import stats

from adwarm.foundation import telemetry
from adwarm.foundation.telemetry import Metric, MetricKind


class AirflowStats:
    """A sink for `adwarm.foundation.telemetry`. Airflow's client sends datagrams or batches, so it never waits."""

    def record(self, metric: Metric, value: float, tags: Mapping[str, str]) -> None:
        """Pass a value on."""
        if metric.kind is MetricKind.COUNTER:
            stats.incr(metric.name, int(value), tags=dict(tags))
        elif metric.kind is MetricKind.GAUGE:
            stats.gauge(metric.name, value, tags=dict(tags))
        else:
            stats.timing(metric.name, timedelta(seconds=value), tags=dict(tags))


_SINK = AirflowStats()


def report_to_airflow() -> None:
    """Let this process report to Airflow's statistics from now on."""
    telemetry.add_sink(_SINK)
