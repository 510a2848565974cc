"""The read API, `adwarm get` and the prefetch operator answer alike when a report cannot be fetched."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from adwarm.cli.app import app
from adwarm.foundation.errors import AdwarmError
from adwarm.model import AccessToken, Priority, ReportKey, TokenScope
from adwarm.prefetch import KeyRequest
from adwarm.read_api import build_read_api
from adwarm.runtime import Runtime
from adwarm.serving.tokens import make_token
from adwarm.settings.recovery_sections import DEFAULT_FALLBACKS
from adwarm.store import access_tokens, write_transaction
from adwarm.store.entries import payload
from adwarm_client.report_answer import read_strings
from graph_simulator.fault_kinds import FaultKind
from graph_simulator.fault_profile import FaultProfile, FaultRule
from graph_simulator.server import SimulatorServer

TASK = SimpleNamespace(retries=2)
CONTEXT: Any = {"ti": SimpleNamespace(task_id="t", try_number=1, max_tries=2, task=TASK), "params": {}}
KEY = ReportKey("act_501", "last_7d")
PATH = "/v1/insights/act_501/last_7d"


@pytest.fixture(autouse=True)
def runtime(airflow_home: Path, simulator: SimulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """An empty home, a platform whose clock is the machine's, and a chain with time enough for a busy machine."""
    steps = [{**step.model_dump(exclude_none=True), "timeout_seconds": 60.0} for step in DEFAULT_FALLBACKS]
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ADWARM_RECOVERY__INITIAL_DELAY_SECONDS", "0")
    monkeypatch.setenv("ADWARM_RECOVERY__FALLBACKS", json.dumps(steps))
    monkeypatch.setenv("ADWARM_SOURCE__GRAPH_URL", simulator.url)
    monkeypatch.setenv("ADWARM_SOURCE__ACCESS_TOKEN", "simulated-token")
    simulator.set_now(datetime.now(UTC))
    return Runtime()


@pytest.fixture
def broken(runtime: Runtime, simulator: SimulatorServer) -> Iterator[Runtime]:
    """The entry is damaged and the platform is down; the stored days are whole."""
    outcome = runtime.prefetch_engine().run([KeyRequest(KEY)], Priority.LOW).outcomes[0]
    assert outcome.reason is None, outcome
    with write_transaction(runtime.engine) as connection:
        for row in connection.execute(payload.select()).all():
            spoiled = bytes(row.body[:-1]) + bytes([row.body[-1] ^ 1])
            connection.execute(payload.update().where(payload.c.hash == row.hash).values(body=spoiled))
    simulator.state.set_fault_profile(FaultProfile(fault=(FaultRule(kind=FaultKind.HTML_500),)))
    yield runtime
    simulator.state.set_fault_profile(FaultProfile())


def _make_operator(**values: Any) -> Any:
    from adwarm_airflow.operators import PrefetchInsightsOperator

    return PrefetchInsightsOperator(task_id="t", **values)


def _get(*words: str) -> Any:
    result = CliRunner().invoke(app, ["get", *words])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def _read_api(runtime: Runtime, **headers: str) -> Any:
    new = make_token()
    token = AccessToken(
        id=new.id,
        name="a test",
        scopes=frozenset({TokenScope.ENQUEUE}),
        accounts=None,
        created_at=runtime.clock.now(),
    )
    access_tokens.insert_token(runtime.engine, token, new.secret_hash)
    with TestClient(build_read_api(runtime)) as client:
        return client.get(PATH, headers={"Authorization": f"Bearer {new.text}", **headers})


def test_all_three_answer_alike(broken: Runtime) -> None:
    """With a damaged entry and a dead platform each of them has the same days, source and reason."""
    shown, fetched = _get("act_501", "last_7d", "--meta"), _get("act_501", "last_7d", "--fetch", "--meta")
    answer = _read_api(broken)
    operator = _make_operator(accounts=["act_501"], date_ranges=["last_7d"], deferrable=False)
    outcomes: list[Any] = []
    plain = operator.with_fallbacks

    def remember(result: Any) -> Any:
        full = plain(result)
        outcomes.extend(full.outcomes)
        return full

    operator.with_fallbacks = remember
    summary = operator.execute(CONTEXT)
    (outcome,) = outcomes
    assert {shown["served_from"], fetched["served_from"], outcome.source, answer.headers["adwarm-source"]} == {
        "partitions"
    }
    assert (shown["degraded"], fetched["degraded"], answer.headers["adwarm-degraded"]) == (True, True, "?1")
    assert (summary["stale"], summary["failed"], summary["keys"]) == (1, 0, 1)
    (reason,) = read_strings(answer.headers["adwarm-reason"])
    for text in (shown["reason"], fetched["reason"], reason, outcome.reason):
        assert "assembled from stored days" in text
    assert "HTTP 500" in fetched["reason"]
    assert "HTTP 500" in outcome.reason
    assert answer.json()["daily"] == _get("act_501", "last_7d")["daily"]
    assert answer.json()["missing"] == _get("act_501", "last_7d", "--fetch")["missing"]


def test_a_key_without_any_data_fails_the_task(runtime: Runtime, simulator: SimulatorServer) -> None:
    """Where no step has data the task fails with the platform's error."""
    simulator.state.set_fault_profile(FaultProfile(fault=(FaultRule(kind=FaultKind.HTML_500),)))
    operator = _make_operator(accounts=["act_501"], date_ranges=["last_7d"], deferrable=False)
    with pytest.raises(AdwarmError, match="HTTP 500"):
        operator.execute(CONTEXT)
    simulator.state.set_fault_profile(FaultProfile())


def test_a_chain_that_ends_at_once_fails_the_task(broken: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a chain of `upstream` and `none` the stored days are no answer."""
    broken.reader.read(KEY)  # finds the damage
    monkeypatch.setenv("ADWARM_RECOVERY__FALLBACKS", '[{"kind": "upstream", "timeout_seconds": 60}, {"kind": "none"}]')
    operator = _make_operator(accounts=["act_501"], date_ranges=["last_7d"], deferrable=False)
    with pytest.raises(AdwarmError, match="HTTP 500"):
        operator.execute(CONTEXT)
