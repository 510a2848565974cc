"""The request queue in Airflow: the operator drains it, the trigger fires when a run is needed."""

import asyncio
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from adwarm.backpressure.request_queue import QueueStatus
from adwarm.foundation.errors import BadRequest, Refused, TokenDead, Transient, VersionEnded
from adwarm.model import Priority, ReportKey
from adwarm.runtime import Runtime
from adwarm.store.requests import RequestStatus
from graph_simulator.server import SimulatorServer


@pytest.fixture(autouse=True)
def runtime(airflow_home: Path, simulator: SimulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """An empty home; the platform's clock is the machine's."""
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path / "home"))
    simulator.set_now(datetime.now(UTC))
    return Runtime()


def _drain(**values: Any) -> Any:
    from adwarm_airflow.operators import DrainRequestsOperator

    return DrainRequestsOperator(task_id="t", **values).execute({})


def test_the_operator_drains_what_is_queued(runtime: Runtime) -> None:
    """Requests complete, and draining an empty queue is skipped."""
    tickets = [runtime.queue.enqueue(ReportKey(f"act_70{n}", "yesterday"), Priority(n)) for n in range(3)]

    assert _drain()["completed"] == 3
    with pytest.raises(AirflowSkipException, match="no request was ready"):
        _drain(batch_size="2", max_seconds="9")
    requests = [runtime.queue.find(ticket.id) for ticket in tickets]
    assert [item.status for item in requests if item] == [RequestStatus.COMPLETED] * 3


@pytest.mark.parametrize("values", [{"batch_size": 0}, {"max_seconds": 0}, {"conn_id": "absent"}])
def test_the_operator_rejects_invalid_arguments(values: dict[str, Any]) -> None:
    """A batch size of 0, no time, and a missing connection fail the task with the reason."""
    with pytest.raises(BadRequest):
        _drain(**values)


def _status(*ready: int, in_work: bool = False) -> QueueStatus:
    return QueueStatus(100, {}, ready, in_work)


def test_a_burst_is_one_run() -> None:
    """A burst of requests starts one run; requests left after a minute start another; none while a worker is active."""
    from adwarm.backpressure.wake_up import WakeUpPolicy

    wake = WakeUpPolicy()
    fired = [
        wake.should_fire(queue, now)
        for queue, now in [
            (_status(), 0.0),
            (_status(1), 1.0),
            (_status(1, 2), 3.0),
            (_status(1, 2, 3, in_work=True), 20.0),
            (_status(1, 2, 3), 22.0),
            (_status(1, 2, 3), 81.0),
            (_status(1, 2, 3), 82.0),
            (_status(4), 84.0),
            (_status(5), 86.0),
            (_status(4, 5), 88.0),
        ]
    ]
    assert fired == [False, True, False, False, True, False, True, True, True, False]


def test_the_trigger_fires_when_a_request_is_ready(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deserialized trigger survives a failed poll, and its event counts the pending requests."""
    from adwarm_airflow.triggers import PendingRequestsTrigger

    path, values = PendingRequestsTrigger(0.01).serialize()
    assert path == f"{PendingRequestsTrigger.__module__}.{PendingRequestsTrigger.__qualname__}"
    trigger = PendingRequestsTrigger(**values)
    looks: list[int] = []
    real = trigger._status

    def status() -> QueueStatus:
        looks.append(1)
        if len(looks) == 1:
            raise OSError("the database is away")
        if len(looks) == 3:
            runtime.queue.enqueue(ReportKey("act_711", "today"), Priority.HIGH)
        return real()

    monkeypatch.setattr(trigger, "_status", status)
    event = asyncio.run(_first(trigger))
    assert (event.payload, len(looks)) == ({"pending": 1}, 3)


async def _first(trigger: Any) -> Any:
    events = trigger.run()
    try:
        return await asyncio.wait_for(anext(events), 30)
    finally:
        await events.aclose()


def test_a_dead_token_fails_the_drain_and_ends_the_requests(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator fails with TokenDead, and so does the request; draining an empty queue is skipped."""
    extra = json.loads(os.environ["AIRFLOW_CONN_FACEBOOK_DEFAULT"])["extra"] | {"access_token": "dead"}
    monkeypatch.setenv("AIRFLOW_CONN_DEAD", json.dumps({"conn_type": "facebook_social", "extra": extra}))
    ticket = runtime.queue.enqueue(ReportKey("act_712", "yesterday"), Priority.HIGH)

    with pytest.raises(TokenDead, match="no request was completed; the first reasons: act_712 yesterday"):
        _drain(conn_id="dead")
    request = runtime.queue.find(ticket.id)
    assert request is not None
    assert request.status is RequestStatus.FAILED
    assert "access token" in str(request.error)
    with pytest.raises(AirflowSkipException):
        _drain(conn_id="dead")


def test_an_ended_version_fails_the_drain(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not a success when every request fails because the platform takes no call by the version of the API."""
    extra = json.loads(os.environ["AIRFLOW_CONN_FACEBOOK_DEFAULT"])["extra"] | {"api_version": "v10.0"}
    monkeypatch.setenv("AIRFLOW_CONN_OLD", json.dumps({"conn_type": "facebook_social", "extra": extra}))
    runtime.queue.enqueue(ReportKey("act_713", "yesterday"), Priority.HIGH)
    with pytest.raises(VersionEnded, match="no request was completed; the first reasons: act_713 yesterday"):
        _drain(conn_id="old")


def test_a_drain_that_a_dead_token_failed_is_not_retried(dags: Any) -> None:
    """A retry would find no request, and end as skipped what has failed; other errors are retried as in every task."""
    from adwarm_airflow.declarations import dag_kwargs

    policy = dags["adwarm_request_queue"].get_task("drain").retry_policy
    common = dag_kwargs("")["default_args"]["retry_policy"]
    assert policy.evaluate(TokenDead("dead"), 1, 3).action.value == "fail"
    for error in (Transient("down"), Refused("full", retry_after=9)):
        assert policy.evaluate(error, 1, 3) == common.evaluate(error, 1, 3)
