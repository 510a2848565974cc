"""The two DAGs of the guide: one waits for a complete day, one mails when its reports are warm."""

import json
import socket
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from adwarm.foundation.errors import BadRequest
from adwarm.model import Account, FatigueScore, Priority, ReportKey
from adwarm.prefetch import KeyRequest
from adwarm.runtime import Runtime
from adwarm.settings import load_settings
from adwarm.store import accounts
from graph_simulator.server import SimulatorServer
from tests.support import fatigue_scores

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples" / "dags"


class Sink:
    """Keeps the mails that a server receives."""

    def __init__(self) -> None:
        self.mails: list[str] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name
        """Keep one mail."""
        del server, session
        self.mails.append((envelope.content or b"").decode())  # type: ignore[union-attr]
        return "250 OK"


@pytest.fixture
def sink() -> Iterator[tuple[Sink, int]]:
    """A mail server of this machine, and its port."""
    handler = Sink()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    controller = Controller(handler, hostname="127.0.0.1", port=port)
    controller.start()
    yield handler, port
    controller.stop()


@pytest.fixture
def runtime(airflow_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """A home of adwarm of its own."""
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path / "adwarm"))
    return Runtime(load_settings())


@pytest.fixture
def examples(airflow_home: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The DAGs of `examples/dags`, loaded as Airflow does it, from a bundle that is configured."""
    from airflow.dag_processing.dagbag import BundleDagBag

    local = "airflow.dag_processing.bundles.local.LocalDagBundle"
    bundles = [{"name": "examples", "classpath": local, "kwargs": {"path": str(FOLDER)}}]
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps(bundles))
    bag = BundleDagBag(FOLDER, bundle_path=FOLDER, bundle_name="examples")
    assert bag.import_errors == {}
    return bag.dags


def _score(account: str, day: date, status: Any) -> FatigueScore:
    return fatigue_scores.make_score(
        account_id=account,
        ad_id="1",
        as_of=day,
        ad_name=f"ad of {account}",
        status=status,
        total=80.0,
        creative=80.0,
        audience=80.0,
        algorithm=80.0,
    )


def test_a_complete_day_starts_a_run_for_that_day(examples: dict[str, Any], runtime: Runtime) -> None:
    """The DAG is scheduled on the partitions of the asset, and its task lists the critical ads of its own day."""
    from adwarm_airflow.assets import DAY_COMPLETE

    dag, day = examples["fatigued_ads"], date(2026, 11, 24)
    now = runtime.clock.now()
    accounts.save(runtime.engine, [Account(f"act_{n}", "UTC", "UTC", "EUR") for n in (1, 2, 3)], now)
    old = day - timedelta(days=1)
    for score in (_score("act_1", day, "critical"), _score("act_2", day, "healthy"), _score("act_3", old, "critical")):
        fatigue_scores.publish(runtime.engine, [score], 1, settled=False, at=now)

    listed = dag.get_task("list_critical").python_callable(partition_key=day.isoformat())

    assert type(dag.timetable).__name__ == "PartitionedAssetTimetable"
    assert dag.timetable.asset_condition == DAY_COMPLETE
    assert listed == ["act_1 ad of act_1"]


def test_the_report_is_mailed_once_its_keys_are_warm(
    examples: dict[str, Any],
    runtime: Runtime,
    simulator: SimulatorServer,
    sink: tuple[Sink, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While a report is cold no mail is sent; when all are warm, the run mails the link once."""
    handler, port = sink
    extra = {"disable_ssl": True, "disable_tls": True, "retry_limit": 1, "timeout": 5}
    connection = {"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(connection))
    dag = examples["morning_report"]
    waiting = dag.get_task("wait_until_warm")
    keys = [ReportKey(account, name) for account in waiting.accounts for name in waiting.date_ranges]

    cold = waiting.poke({})
    assert (cold.is_done, cold.xcom_value["warm"], len(cold.xcom_value["cold"])) == (False, 0, len(keys))

    simulator.set_now(runtime.clock.now(), frozen=True)
    _warm(keys[:-1])
    waiting.min_share = 0.5
    assert waiting.poke({}).is_done
    waiting.min_share = 1.0
    assert waiting.poke({}).xcom_value["cold"] == [str(keys[-1])]
    assert handler.mails == []
    _warm(keys)

    finished = dag.test()

    assert finished.state == "success"
    [mail] = handler.mails
    assert "To: team@example.com" in mail
    assert "The morning report of" in mail


def _warm(keys: list[ReportKey]) -> None:
    from adwarm_airflow.task_context import open_runtime

    runtime = open_runtime(conn_id="facebook_default")
    runtime.prefetch_engine().run([KeyRequest(key) for key in keys], Priority.LOW)


def test_the_sensor_refuses_what_it_cannot_wait_for(runtime: Runtime) -> None:
    """No account, a share of 0 and a malformed range fail with the reason."""
    from adwarm_airflow.operators import KeysWarmSensor

    for values in ({"accounts": []}, {"min_share": 0}, {"date_ranges": ["someday"]}, {"report": "absent"}):
        arguments: dict[str, Any] = {"accounts": ["act_1"], "date_ranges": ["today"], **values}
        with pytest.raises(BadRequest):
            KeysWarmSensor(task_id="t", **arguments).poke({})
    sensor = KeysWarmSensor(task_id="t", accounts=["act_1"], date_ranges=["today"])
    assert (sensor.mode, sensor.timeout, sensor.poke_interval) == ("reschedule", 3_600, 60)
