"""A canary token in a connection appears in no XCom, task log, row, file or error of a run."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from graph_simulator.calls import Call
from graph_simulator.config import SimulatorConfig
from graph_simulator.error_responses import GraphError
from graph_simulator.server import SimulatorServer
from tests.integration.test_canary_token import CANARY, SECRET, _hits
from tests.support.secret_encodings import ENCODINGS

from .conftest import HOME, NOW

FORM = {"date_ranges": ["last_7d"], "delay_seconds": 0, "connection": "canary"}


@pytest.fixture
def guarded() -> Iterator[SimulatorServer]:
    """A platform that accepts only the canary token."""
    with SimulatorServer(SimulatorConfig(ads=2, now=NOW, token=CANARY, app_secret=SECRET)) as server:
        yield server


@pytest.fixture
def run(
    dags: dict[str, Any], guarded: SimulatorServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[[str, str], tuple[str, str]]:
    """Runs the strategy DAG for an account with a secret, and returns its state and its output."""

    def go(account: str, secret: str) -> tuple[str, str]:
        extra = {"access_token": CANARY, "app_secret": secret, "app_id": "1", "graph_url": guarded.url}
        monkeypatch.setenv("AIRFLOW_CONN_CANARY", json.dumps({"conn_type": "facebook_social", "extra": extra}))
        quick = [{"action": "token_refresh", "errors": ["TokenDead"], "cooldown_seconds": 0}]  # a retry waits for it
        monkeypatch.setenv("ADWARM_RECOVERY__HEALERS", json.dumps(quick))
        conf = {**FORM, "accounts": [account], "decision_time": NOW.isoformat()}
        dag = dags["adwarm_strategy_warming"]
        for task in dag.tasks:
            task.retry_delay = timedelta(milliseconds=10)
        state = dag.test(logical_date=None, run_conf=conf).state
        return str(state), "".join(capfd.readouterr())

    return go


def _left() -> list[str]:
    """Return the files of Airflow and adwarm that contain a secret: databases, objects and task logs."""
    files = {path: path.read_bytes() for path in Path(HOME).rglob("*") if path.is_file()}
    assert any(path.name == "airflow.db" for path in files)
    return [f"{path}: {hit!r}" for path, data in files.items() for hit in _hits(data)]


@pytest.mark.slow
def test_a_successful_run_stores_no_token(run: Callable[[str, str], tuple[str, str]]) -> None:
    """A successful run fetches through the connection and stores the token nowhere."""
    state, output = run("act_81", SECRET)

    assert state == "success"
    assert _hits(output.encode()) == []
    assert _left() == []


@pytest.mark.slow
def test_echoed_secrets_are_stored_in_no_encoding(
    run: Callable[[str, str], tuple[str, str]], guarded: SimulatorServer
) -> None:
    """When the platform's error repeats both secrets in every encoding, no XCom, log, row or output does."""
    echoed = " ".join(f"<{encode(secret)}>" for encode in ENCODINGS.values() for secret in (SECRET, CANARY))

    def refuse(call: Call) -> None:
        raise GraphError(echoed, code=100)

    guarded.state.answer = refuse  # type: ignore[assignment,method-assign]
    state, output = run("act_83", SECRET)

    assert state == "failed"
    assert "[hidden]" in output
    assert _hits(output.encode()) == []
    assert _left() == []


@pytest.mark.slow
def test_a_failed_run_stores_no_token(run: Callable[[str, str], tuple[str, str]]) -> None:
    """When the platform rejects the token, the task fails with reason and tracebacks that do not contain it."""
    state, output = run("act_82", f"{SECRET}x")

    assert state == "failed"
    assert _hits(output.encode()) == []
    assert _left() == []
