"""The review through the real DAG: a proposal waits for approval, and is not promoted without it."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from adwarm.forecast.snapshot import get_live_snapshot, promote_snapshot
from adwarm.forecast.training.train import train_candidates
from adwarm.patterns.ingest.run import ingest
from adwarm.replay import review
from adwarm.runtime import Runtime
from adwarm.settings import load_settings
from adwarm.store import read_transaction
from adwarm.store.alerts import list_alerts
from adwarm.store.snapshots import find_newest_review, find_policy
from tests.support.remembered_replays import ReviewedLog, remember_replays

pytestmark = pytest.mark.slow

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
NOW = MONDAY + timedelta(weeks=5)
DAG = "adwarm_policy_review"


@pytest.fixture(scope="module")
def replays() -> Callable[..., ReviewedLog]:
    """Replays that the tests of this module share."""
    return remember_replays()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, replays: Callable[..., ReviewedLog]) -> None:
    """Replay equal logs once: the runs differ in what follows."""
    monkeypatch.setattr(review, "review_log", replays)


@pytest.fixture
def runtime(dags: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """A home whose keys have hours of their own, while the live population profile knows none of them."""
    days = [MONDAY + timedelta(days=n) for n in range(35) if n % 7 < 5]
    rows = [
        {
            "ts": day + timedelta(hours=key % 24, minutes=10 + (day.day * 7) % 40),
            "account_id": f"act_{key}",
            "date_range": "last_7d",
        }
        for day in days
        for key in range(30)
    ]
    (tmp_path / "log.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ADWARM_ACCESS_LOG__URL", str(tmp_path / "log.jsonl"))
    monkeypatch.setenv("ADWARM_FORECAST__MODEL", "population")
    monkeypatch.setenv("ADWARM_PLANNING__STEP_MINUTES", "240")
    home = Runtime(load_settings())
    ingest(home.context, NOW)
    plain = train_candidates(home.context, NOW - timedelta(days=8), NOW).snapshots["population"]
    promote_snapshot(home.engine, plain.id, NOW)
    return home


Act = Callable[[Any], None]


@pytest.fixture
def when_asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[Act], list[str]]:
    """Runs an action when a run waits for its approval; returns the approval requests."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from airflow.utils.state import TaskInstanceState

    def prepare(act: Act) -> list[str]:
        asked: list[str] = []

        def sleep(seconds: float) -> None:
            """Run the action when `dag.test` sleeps because it has nothing to run; other callers just sleep."""
            with create_session() as session:
                waiting = select(TaskInstance).filter_by(dag_id=DAG, state=TaskInstanceState.AWAITING_INPUT)
                task = session.scalars(waiting.options(joinedload(TaskInstance.hitl_detail))).one_or_none()
                if task is None or threading.current_thread() is not threading.main_thread():
                    slept(seconds)
                else:
                    asked.append(task.hitl_detail.body)
                    act(SimpleNamespace(session=session, task=task))

        slept = time.sleep
        monkeypatch.setattr(time, "sleep", sleep)
        return asked

    return prepare


def answer(option: str) -> Act:
    """Respond as the web page does, through the function behind its route."""

    def act(waiting: Any) -> None:
        from airflow.api_fastapi.core_api.datamodels.hitl import UpdateHITLDetailPayload
        from airflow.api_fastapi.core_api.routes.public.hitl import update_hitl_detail

        user = SimpleNamespace(get_id=lambda: "7", get_name=lambda: "ada")
        update_hitl_detail(
            DAG,
            waiting.task.run_id,
            "approve",
            UpdateHITLDetailPayload(chosen_options=[option], params_input={}),
            user,
            waiting.session,
        )

    return act


def let_time_pass(waiting: Any) -> None:
    """End the time to respond, and let the scheduler notice."""
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner

    left = waiting.task.trigger_timeout - datetime.now(UTC)
    assert timedelta(hours=71) < left < timedelta(hours=73)
    waiting.task.trigger_timeout = datetime.now(UTC) - timedelta(seconds=1)
    waiting.session.commit()
    SchedulerJobRunner(job=Job()).check_awaiting_input_timeouts(session=waiting.session)


def run(dags: dict[str, Any], **conf: Any) -> Any:
    """Runs the review as of NOW."""
    wanted = {"decision_time": NOW.isoformat(), "policies": ["forecast-hour-of-week"], "scored_weeks": 1, **conf}
    return dags[DAG].test(logical_date=None, run_conf=wanted)


def states(finished: Any) -> dict[str, str]:
    """Return the states of the run's tasks."""
    return {ti.task_id: str(ti.state) for ti in finished.get_task_instances()}


def test_an_approved_proposal_goes_live(
    dags: dict[str, Any], runtime: Runtime, when_asked: Callable[[Act], list[str]]
) -> None:
    """The request shows the figures, and the decision records the responder."""
    asked = when_asked(answer("Approve"))
    finished = run(dags)

    assert states(finished) == {
        **dict.fromkeys(("review", "is_proposed", "approve", "promote", "conclude"), "success"),
        "send_digest": "skipped",
    }
    assert get_live_snapshot(runtime.engine).kind == "hour_of_week"
    with read_transaction(runtime.engine) as connection:
        policy, review = find_policy(connection), find_newest_review(connection)
    assert policy is not None
    assert review is not None
    assert (policy.chosen_by, policy.chosen_kind) == ("ada", "hour_of_week")
    assert (review.result, review.decided_by) == ("promoted", "ada")
    assert Path(str(review.page)).is_file()
    for words in ("first-open hit ratio", "95 % interval", "calls", "ECE", str(review.page)):
        assert words in asked[0]


@pytest.mark.parametrize(
    ("act", "by"), [(answer("Reject"), "ada"), (let_time_pass, "nobody in time")], ids=["rejected", "no answer"]
)
def test_without_approval_nothing_goes_live(
    dags: dict[str, Any], runtime: Runtime, when_asked: Callable[[Act], list[str]], act: Act, by: str
) -> None:
    """A rejection, and no response in time, keep the live forecast, and are recorded."""
    before = get_live_snapshot(runtime.engine)
    when_asked(act)
    finished = run(dags)

    assert finished.state == "success"
    assert states(finished)["promote"] == "skipped"
    assert get_live_snapshot(runtime.engine) == before
    with read_transaction(runtime.engine) as connection:
        review = find_newest_review(connection)
    assert review is not None
    assert (review.result, review.decided_by) == ("rejected", by)


def test_no_approval_is_requested_without_a_proposal(dags: dict[str, Any], runtime: Runtime) -> None:
    """With too little log the run reports that and requests no approval; an invalid form fails without a retry."""
    finished = run(dags, decision_time=(MONDAY + timedelta(days=15)).isoformat())

    found = states(finished)
    assert (found["review"], found["is_proposed"]) == ("success", "success")
    assert {found["approve"], found["promote"], found["conclude"]} == {"skipped"}
    with read_transaction(runtime.engine) as connection:
        review = find_newest_review(connection)
    assert review is not None
    assert review.result == "too_little_log"
    assert states(run(dags, policies=["no-such"]))["review"] == "failed"


def test_each_week_has_one_digest(dags: dict[str, Any], runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Switched on, a run sends the digest also when its review fails, and another run of that week sends none."""
    monkeypatch.setenv("ADWARM_ALERTS__WEEKLY_DIGEST", "true")
    runs = [states(run(dags, policies=["no-such"])) for _ in range(2)]
    assert [(found["review"], found["send_digest"]) for found in runs] == [("failed", "success")] * 2
    [sent] = list_alerts(runtime.engine)
    assert (sent.kind, sent.scope) == ("WeeklyDigest", f"week of {NOW:%Y-%m-%d}")
