"""Every metric of the list is emitted by the product's own flow, to a sink and at `/metrics`."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from adwarm.fatigue.account_scores import score_accounts
from adwarm.forecast.training.train import train_and_promote
from adwarm.foundation import telemetry
from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import Corrupt, TokenDead
from adwarm.foundation.telemetry import Metric
from adwarm.maintenance.runner import run_step
from adwarm.maintenance.state_metrics import StateReader, make_emit_metrics
from adwarm.model import Mode, Priority, ReportKey
from adwarm.patterns.ingest.run import ingest
from adwarm.planning.decide import decide
from adwarm.planning.warm_outcomes import mark_warm_outcomes
from adwarm.prefetch.warm_batch import warm_batch
from adwarm.recovery import Call
from adwarm.runtime import Runtime
from adwarm.serving.services import ServingMetrics
from adwarm.settings import load_settings
from adwarm.store import warms
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2013, 3, 22, 13, 0, tzinfo=UTC)
"""09:00 in New York on a Friday that the shipped example log covers."""
RUN = "adwarm_intelligent_warming/one"


class Collected:
    """A sink that keeps the tags of each metric that it gets."""

    def __init__(self) -> None:
        self.tags: dict[Metric, list[Mapping[str, str]]] = defaultdict(list)

    def record(self, metric: Metric, value: float, tags: Mapping[str, str]) -> None:
        self.tags[metric].append(tags)


@dataclass
class Emitted:
    """What a day of work has emitted."""

    sink: Collected
    metrics: ServingMetrics
    runtime: Runtime


@pytest.fixture(scope="module")
def emitted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emitted]:
    """Runs each part of the product once, with a sink and the metrics of a server beside it."""
    sink, metrics = Collected(), ServingMetrics()
    home = tmp_path_factory.mktemp("home")
    with SimulatorServer(SimulatorConfig(zone="America/New_York", now=NOW, ads=4)) as platform:
        source = {"graph_url": platform.url, "access_token": "simulated-token"}
        planning = {"step_minutes": 60}
        log = str(ROOT / "examples" / "access_log.parquet")
        runtime = Runtime(
            load_settings(
                home=home, source=source, planning=planning, forecast={"model": "hour_of_week"}, access_log={"url": log}
            ),
            VirtualClock(NOW),
        )
        for item in (sink, metrics):
            telemetry.add_sink(item)
        _work(runtime)
        yield Emitted(sink, metrics, runtime)
        for item in (sink, metrics):
            telemetry.remove_sink(item)
        runtime.engine.dispose()


def _work(runtime: Runtime) -> None:
    context = runtime.context
    ingest(context, NOW, window=(NOW - timedelta(days=30), NOW + timedelta(hours=6)))
    train_and_promote(context, NOW, NOW)
    decide(context, NOW, RUN, Mode.LIVE)
    warm_batch(runtime.prefetch_engine(), RUN, 0)
    mark_warm_outcomes(context, NOW + timedelta(days=1), NOW + timedelta(days=1))
    accounts = sorted({row.key.account_id for row in warms.list_by_run(runtime.engine, RUN)})
    runtime.queue.enqueue(ReportKey(accounts[0], "last_7d"), Priority.NORMAL)
    runtime.queue_worker().drain(60)
    score_accounts(context, [(accounts[0], date(2013, 3, 21))], NOW)
    runtime.pipeline.record(TokenDead("the token was revoked"), call=Call("meta", account_id=accounts[0]))
    context.on_damage(Corrupt("the checksum does not match"), accounts[0], None)
    state = StateReader(context, runtime.clock, runtime.queue)
    run_step(runtime.engine, "emit_metrics", make_emit_metrics(state), runtime.clock, 60, runtime.owner)


def test_every_metric_is_emitted(emitted: Emitted) -> None:
    """Each metric of events and of the state reaches a sink, with a value for each of its tags and no other."""
    expected = {metric.name for metric in (*telemetry.EVENTS, *telemetry.STATES)}
    assert expected - {metric.name for metric in emitted.sink.tags} == set()
    for metric, found in emitted.sink.tags.items():
        assert {tuple(sorted(tags)) for tags in found} == {tuple(sorted(metric.tags))}, metric.name


def test_every_metric_is_at_the_metrics_route(emitted: Emitted) -> None:
    """Prometheus gets each metric with its meaning, and the samples of what happened in the process."""
    runtime = emitted.runtime
    emitted.metrics.show_state(StateReader(runtime.context, runtime.clock, runtime.queue))
    text = emitted.metrics.expose().decode()
    described = {line.split()[2] for line in text.splitlines() if line.startswith("# HELP")}
    assert {item.prometheus_name for item in telemetry.METRICS} - described == set()
    assert 'adwarm_upstream_calls_total{outcome="ok",source="meta"}' in text
    assert 'adwarm_warms_total{status="fetched"}' in text


def test_no_value_names_an_account(emitted: Emitted) -> None:
    """No tag names an account, so that the number of series does not grow with them."""
    assert not [tags for found in emitted.sink.tags.values() for tags in found if "act_" in str(tags)]
