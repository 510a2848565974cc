"""Metrics reach Airflow's own statistics client, as it sends them over the network."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
from airflow.sdk.observability import stats
from airflow.sdk._shared.observability.metrics.otel_logger import flush_otel_metrics
from airflow.sdk.observability.metrics.otel_logger import get_otel_logger
stats.initialize(factory=get_otel_logger, export_legacy_names=False)
from adwarm.foundation import telemetry
from adwarm_airflow.stats_sink import report_to_airflow
report_to_airflow()
telemetry.report(telemetry.WARMS, 3, status="fetched")
telemetry.report(telemetry.QUEUE_PENDING, 7, priority="low")
telemetry.report(telemetry.BATCH_SECONDS, 1.5)
flush_otel_metrics()
"""


class _Collector(BaseHTTPRequestHandler):
    """A collector that keeps what it is sent."""

    received: list[Any]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        request = ExportMetricsServiceRequest.FromString(body)
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                self.received.extend(scope.metrics)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        return


@pytest.fixture
def collector() -> Iterator[tuple[int, list[Any]]]:
    """A collector for OTLP over HTTP: its port, and the metrics that it got."""
    received: list[Any] = []
    handler = type("Handler", (_Collector,), {"received": received})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port, received
        server.shutdown()
        thread.join()


def _points(metric: Any) -> Any:
    return getattr(metric, metric.WhichOneof("data")).data_points


@pytest.mark.slow
def test_airflow_sends_what_is_reported(environment: dict[str, str], collector: tuple[int, list[Any]]) -> None:
    """A counter, a gauge and a timer arrive with their tags; Airflow adds its prefix and counts milliseconds."""
    port, received = collector
    env = {
        **environment,
        "AIRFLOW__METRICS__OTEL_ON": "True",
        "AIRFLOW__METRICS__OTEL_HOST": "127.0.0.1",
        "AIRFLOW__METRICS__OTEL_PORT": str(port),
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=env, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    found = {metric.name: metric for metric in received}
    warms = _points(found["airflow.adwarm.warms"])[0]
    pending = _points(found["airflow.adwarm.queue.pending"])[-1]
    duration = _points(found["airflow.adwarm.batch.duration"])[0]
    assert (warms.as_double or warms.as_int, warms.attributes[0].value.string_value) == (3, "fetched")
    assert (pending.as_double or pending.as_int) == 7
    assert (duration.sum, found["airflow.adwarm.batch.duration"].unit) == (1500.0, "ms")
