"""`adwarm_maintenance` on a fresh home: without a connection, with a wrong token, with a right one, a day later."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from adwarm.access_log.open_files import OPEN_FILE_SCHEMA, OpenFiles
from adwarm.foundation.errors import BadRequest, TokenDead
from adwarm.runtime import Runtime
from adwarm.settings import load_settings
from adwarm.store import accounts
from adwarm_airflow.tasks.maintenance import discover_accounts, prune_opens
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer

START = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def platform() -> Any:
    """A platform with two tokens: one for act_1 and act_2, one for act_3."""
    config = SimulatorConfig(
        accounts=("act_1", "act_2", "act_3"), tokens={"eu-token": ("act_3",)}, zone="Europe/Rome", ads=1
    )
    with SimulatorServer(config) as server:
        yield server


@pytest.fixture(autouse=True)
def home(airflow_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh home without any connection and without a log."""
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path))
    monkeypatch.delenv("ADWARM_ACCESS_LOG_URL")
    monkeypatch.delenv("AIRFLOW_CONN_FACEBOOK_DEFAULT")


def connect(patch: pytest.MonkeyPatch, platform: SimulatorServer, name: str, token: str) -> None:
    """Define a connection."""
    extra = {"app_id": "100000", "access_token": token, "graph_url": platform.url}
    connection = {"conn_type": "facebook_social", "extra": extra}
    patch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))


def run(after: timedelta = timedelta(0), try_number: int = 1, **params: Any) -> dict[str, Any]:
    """Run the task, so long after the start."""
    at = START + after
    dag_run = SimpleNamespace(dag_id="adwarm_maintenance", run_id="r", run_type="scheduled", run_after=at)
    return discover_accounts({
        "dag_run": dag_run,
        "ti": SimpleNamespace(try_number=try_number),
        "params": {"connection": "facebook_default", "decision_time": at.isoformat(), **params},
    })


def stored() -> dict[str, str]:
    """Return the connections of the stored accounts."""
    records = accounts.list_records(Runtime(load_settings()).engine, START)
    return {name: record.account.connection for name, record in records.items()}


def test_without_a_connection() -> None:
    """The task is skipped, and the reason names the connection to create."""
    with pytest.raises(AirflowSkipException, match="'facebook_default' does not exist"):
        run()


def test_a_fresh_install(platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong token fails once a day; a new token is tried at once; then the connection is due a day later."""
    connect(monkeypatch, platform, "facebook_default", "wrong")
    with pytest.raises(TokenDead, match=r"connection facebook_default: .*renew the token"):
        run()
    with pytest.raises(AirflowSkipException, match="renew the token"):
        run(timedelta(minutes=15))
    with pytest.raises(TokenDead):
        run(timedelta(minutes=15), try_number=2)
    connect(monkeypatch, platform, "facebook_default", "simulated-token")
    assert run(timedelta(minutes=30))["facebook_default"]["new"] == 2
    assert stored() == {"act_1": "facebook_default", "act_2": "facebook_default"}
    with pytest.raises(AirflowSkipException, match="2 accounts listed"):
        run(timedelta(hours=24))
    assert run(timedelta(hours=1), discover_now=True)["facebook_default"]["unchanged"] == 2
    assert run(timedelta(hours=25))["facebook_default"]["unchanged"] == 2


def test_several_connections(platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each account gets the connection that lists it; one that is not valid fails the task after the others."""
    connect(monkeypatch, platform, "facebook_default", "simulated-token")
    connect(monkeypatch, platform, "facebook_eu", "eu-token")
    with pytest.raises(BadRequest, match="'facebook_us' does not exist"):
        run(connection="facebook_default, facebook_eu, facebook_us")
    assert stored() == {"act_1": "facebook_default", "act_2": "facebook_default", "act_3": "facebook_eu"}


def test_the_other_dags_know_the_accounts(
    dags: dict[str, Any], platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any log, the scheduled strategy warms the accounts that the maintenance run has found."""
    connect(monkeypatch, platform, "facebook_default", "simulated-token")
    assert dags["adwarm_maintenance"].test().state == "success"
    result = dags["adwarm_strategy_warming"].test()
    assert result.state == "success"
    runtime = Runtime(load_settings())
    from adwarm.store import warms

    (run_id,) = {f"adwarm_strategy_warming/{result.run_id}"}
    warmed = {row.key.account_id for row in warms.list_by_run(runtime.engine, run_id) if row.status.is_served}
    assert warmed == {"act_1", "act_2"}


def test_old_opens_are_deleted(tmp_path: Path) -> None:
    """The task applies the retention of the open log, as of the run."""
    files = OpenFiles(load_settings().data)
    for age in (10, 500):
        files.put((START - timedelta(days=age)).date(), "a", OPEN_FILE_SCHEMA.empty_table())
    dag_run = SimpleNamespace(dag_id="adwarm_maintenance", run_id="r", run_type="scheduled", run_after=START)
    context = {"dag_run": dag_run, "params": {"decision_time": START.isoformat()}}
    assert prune_opens(context) == {"deleted_files": 1}
    assert files.list_days() == [(START - timedelta(days=10)).date()]
