"""Each operator on its own: what it returns, when it defers, and which arguments it rejects."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adwarm.backpressure import CallRequest, Grant
from adwarm.compression.statistics import get_compression_totals
from adwarm.foundation.errors import AdwarmError, BadRequest, Denied, NotAdmitted, Permanent, Throttled, Transient
from adwarm.model import Account, Priority
from adwarm.runtime import Runtime
from adwarm.store import accounts, denials, entries
from adwarm.store.capacity import MachineLoad, renew_load
from graph_simulator.server import SimulatorServer

TASK = SimpleNamespace(retries=2)
CONTEXT: Any = {"ti": SimpleNamespace(task_id="t", try_number=1, max_tries=2, task=TASK), "params": {}}
CLEARED: Any = {"ti": SimpleNamespace(task_id="t", try_number=2, max_tries=3, task=TASK), "params": {}}


@pytest.fixture(autouse=True)
def runtime(airflow_home: Path, simulator: SimulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """An empty home; the platform's clock is the machine's."""
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ADWARM_RECOVERY__INITIAL_DELAY_SECONDS", "0")
    simulator.set_now(datetime.now(UTC))
    return Runtime()


def _prefetch(**values: Any) -> Any:
    from adwarm_airflow.operators import PrefetchInsightsOperator

    return PrefetchInsightsOperator(task_id="t", **values)


def _park(scope: str) -> None:
    """Park a scope for ten minutes, as after a throttled call."""

    def throttled() -> None:
        raise Throttled("slow", scope=scope, until=datetime.now(UTC) + timedelta(minutes=10))

    with pytest.raises(Throttled):
        _admitted(python_callable=throttled, scopes=[scope]).execute(CONTEXT)


def test_prefetch_fetches_once(runtime: Runtime, simulator: SimulatorServer) -> None:
    """A second execution finds everything fresh and makes no call."""
    operator = _prefetch(accounts=["act_501", "502"], date_ranges=["yesterday", "last_7d"])
    first = operator.execute(CONTEXT)
    calls = simulator.calls()["total"]
    assert (first["fetched"], operator.execute(CONTEXT)["fresh"]) == (4, 4)
    assert simulator.calls()["total"] == calls


def test_prefetch_defers_while_an_account_is_isolated(runtime: Runtime, simulator: SimulatorServer) -> None:
    """It resumes when the isolation ends, not when there is capacity; no try of the task is used, and no call made."""
    from airflow.sdk.exceptions import TaskDeferred

    for _ in range(5):
        runtime.isolation.record("account:act_509", failed=True, reason="Corrupt: foreign rows", kind="Corrupt")
    calls = simulator.calls()["total"]
    with pytest.raises(TaskDeferred) as deferred:
        _prefetch(accounts=["act_509"], date_ranges=["today"]).execute(CONTEXT)

    trigger: Any = deferred.value.trigger
    assert trigger.chains == []
    assert 290 < trigger.latest_seconds <= 300
    assert simulator.calls()["total"] == calls


@pytest.mark.parametrize(
    "values",
    [
        {"accounts": ["../x"], "date_ranges": ["today"]},
        {"accounts": ["act_1"], "date_ranges": ["sometime"]},
        {"accounts": ["act_1"], "date_ranges": ["today"], "priority": "asap"},
        {"accounts": ["act_1"], "date_ranges": ["today"], "conn_id": "absent"},
        {"accounts": ["act_1"], "date_ranges": ["today"], "report": "nonsense"},
    ],
)
def test_prefetch_rejects_invalid_arguments(values: dict[str, Any]) -> None:
    """Invalid accounts, ranges, priorities, reports and connections fail the task with the reason."""
    with pytest.raises(AdwarmError):
        _prefetch(**values).execute(CONTEXT)


def test_prefetch_defers_while_parked(runtime: Runtime) -> None:
    """A long park defers the task; when it is not deferrable, or was deferred too often, it fails with the reason."""
    from airflow.sdk.exceptions import TaskDeferred

    _park("account:act_503")
    values = {"accounts": ["act_503"], "date_ranges": ["today"]}
    with pytest.raises(TaskDeferred) as deferred:
        _prefetch(**values).execute(CONTEXT)
    assert (deferred.value.method_name, deferred.value.kwargs) == ("attempt", {"deferrals": 1})
    for attempt in (
        lambda: _prefetch(**values, deferrable=False).execute(CONTEXT),
        lambda: _prefetch(**values).attempt(CONTEXT, None, 10),
    ):
        with pytest.raises(NotAdmitted, match="every key failed") as parked:
            attempt()
        assert 500 < (parked.value.until - datetime.now(UTC)).total_seconds() < 700


def test_a_clear_lifts_a_denial_and_a_retry_does_not(runtime: Runtime, simulator: SimulatorServer) -> None:
    """A denied account is not called for a day, and the error is Denied; after a clear it is called again."""
    accounts.save(runtime.engine, [Account("act_508")], datetime.now(UTC))
    from adwarm_airflow.task_context import open_runtime

    source = open_runtime(conn_id="facebook_default").prefetch_engine().sources.make_default()
    denials.record(runtime.engine, "act_508", source.connection, source.credential, "no", datetime.now(UTC))
    denials.close_account(runtime.engine, "act_508", "no", datetime.now(UTC))
    operator, calls = _prefetch(accounts=["508"], date_ranges=["yesterday"]), simulator.calls()["total"]
    for _ in range(2):
        with pytest.raises(Denied, match="every key failed; the first reasons: act_508 yesterday"):
            operator.execute(CONTEXT)
    assert simulator.calls()["total"] == calls
    assert operator.execute(CLEARED)["fetched"] == 1


def _admitted(**values: Any) -> Any:
    from adwarm_airflow.operators import AdmittedOperator

    return AdmittedOperator(task_id="t", **values)


def test_an_admitted_call_returns_its_result() -> None:
    """The callable gets its arguments; an invalid scope or priority is rejected."""
    assert (
        _admitted(python_callable=lambda n: n + 1, op_kwargs={"n": 1}, scopes=["account:act_1"]).execute(CONTEXT) == 2
    )
    with pytest.raises(BadRequest, match="scope"):
        _admitted(python_callable=lambda: 1, scopes=["nonsense:1"]).execute(CONTEXT)
    with pytest.raises(BadRequest, match="priority"):
        _admitted(python_callable=lambda: 1, priority="asap").execute(CONTEXT)


def test_an_admitted_call_is_deferred_while_parked(runtime: Runtime) -> None:
    """A parked scope is not called; a Throttled error from the callable fails the attempt and parks the scope."""
    from airflow.sdk.exceptions import TaskDeferred

    called: list[int] = []

    def throttled() -> None:
        called.append(1)
        raise Throttled("slow", scope="account:act_505", until=datetime.now(UTC) + timedelta(minutes=9))

    operator = _admitted(python_callable=throttled, scopes=["account:act_505"])
    with pytest.raises(Throttled):
        operator.execute(CONTEXT)
    with pytest.raises(TaskDeferred):
        operator.execute(CONTEXT)
    assert called == [1]


def test_an_admitted_call_obeys_the_limit_of_its_machine(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the machine is loaded and another process of it calls, the task is deferred; a critical call starts."""
    from airflow.sdk.exceptions import TaskDeferred

    monkeypatch.setattr("adwarm_airflow.operators.admitted.SHORT_WAIT_SECONDS", 0.0)
    machine, _, _ = runtime.owner.partition(":")
    now = runtime.clock.now().timestamp()
    loaded = MachineLoad(
        machine=machine, read_at=now, memory_percent=90.0, cpu_percent=90.0, cpu_busy=1.0, cpu_total=2.0,
        is_high=True, since=now, calls=2, limit=1, full=2, limited_at=now,
    )  # fmt: skip
    renew_load(runtime.engine, machine, lambda _: loaded)
    assert _admitted(python_callable=int).execute(CONTEXT) == 0
    assert isinstance(runtime.admission.admit(CallRequest((), Priority.LOW, "other")), Grant)
    with pytest.raises(TaskDeferred):
        _admitted(python_callable=int).execute(CONTEXT)
    assert _admitted(python_callable=int, priority="critical").execute(CONTEXT) == 0


def _recovering(**values: Any) -> Any:
    from adwarm_airflow.operators import RecoveringOperator

    return RecoveringOperator(task_id="t", **values)


def test_a_fallback_replaces_the_result_and_marks_it() -> None:
    """A temporary failure is retried; a lasting one returns the result of the fallback, marked as degraded."""
    failures = [Transient("busy")]

    def flaky(n: int) -> int:
        if failures:
            raise failures.pop()
        return n

    def broken(n: int) -> int:
        raise Transient("down")

    def stand_in(n: int) -> int:
        return -n

    good = _recovering(python_callable=flaky, op_kwargs={"n": 3}).execute(CONTEXT)
    poor = _recovering(python_callable=broken, op_kwargs={"n": 3}, fallbacks=[stand_in], source="b").execute(CONTEXT)
    assert (good["value"], good["degraded"], good["attempts"]) == (3, False, 2)
    assert (poor["value"], poor["degraded"], poor["source"]) == (-3, True, "stand_in")
    assert "down" in poor["reason"]
    with pytest.raises(Transient, match="down"):
        _recovering(python_callable=broken, op_kwargs={"n": 3}, source="c").execute(CONTEXT)


def test_the_policy_of_a_call_replaces_the_settings() -> None:
    """Attempts come from the policy; a wrong one is rejected by name, without its value."""
    tried: list[int] = []

    def broken() -> None:
        tried.append(1)
        raise Transient("down")

    policy = {"max_attempts": 4, "initial_delay_seconds": 0}
    with pytest.raises(Transient):
        _recovering(python_callable=broken, policy=policy, source="p", healers=[]).execute(CONTEXT)
    assert len(tried) == 4
    for wrong, text in [
        ({"max_attempts": "s3cret"}, "the policy of RecoveringOperator is not valid: max_attempts"),
        ({"max_attemps": 2}, "max_attemps"),
        ({"healers": []}, "healers: an argument of RecoveringOperator"),
    ]:
        with pytest.raises(BadRequest, match=text) as caught:
            _recovering(python_callable=broken, policy=wrong).execute(CONTEXT)
        assert "s3cret" not in str(caught.value)


def test_each_fallback_has_its_name_time_and_condition() -> None:
    """A fallback is a function, a dict or a dataclass; the result names the one that answered, and its age."""
    from adwarm_airflow.operators.recovering import OperatorFallback

    now = datetime.now(UTC)

    def broken() -> None:
        raise ConnectionError("down")

    def slow() -> str:
        threading.Event().wait(30)
        return "slow"

    chain = [
        {"callable": slow, "timeout_seconds": 0.05, "name": "replica"},
        OperatorFallback(lambda: "file", name="file", as_of=lambda value: now - timedelta(hours=2)),
        lambda: "last",
    ]
    policy = {"max_attempts": 1}
    result = _recovering(python_callable=broken, fallbacks=chain, policy=policy, source="f", healers=[]).execute(
        CONTEXT
    )
    assert (result["value"], result["source"], result["degraded"], result["attempts"]) == ("file", "file", True, 1)
    assert 7_200 <= result["age_seconds"] < 7_300
    for wrong, text in [
        ({"callable": 7}, "names no function"),
        ({"call": slow}, "is not valid"),
        ({"callable": slow, "errors": ["Timeout"]}, "not a class of errors"),
    ]:
        with pytest.raises(BadRequest, match=text):
            _recovering(python_callable=broken, fallbacks=[wrong], policy=policy).execute(CONTEXT)


def test_functions_and_settings_heal_a_call() -> None:
    """A function among the healers gets the failure, and the call is made once more; a dict is validated."""
    told: list[dict[str, Any]] = []

    def reconnect(**failure: Any) -> None:
        told.append(failure)

    def flaky() -> str:
        if not told:
            raise ConnectionError("the tunnel is closed")
        return "through"

    policy = {"max_attempts": 1}
    result = _recovering(
        python_callable=flaky,
        healers=[{"action": "cache_clear", "errors": ["Corrupt"]}, reconnect],
        policy=policy,
        source="h",
    ).execute(CONTEXT)
    assert (result["value"], result["degraded"], result["attempts"]) == ("through", False, 2)
    assert result["reason"] == "healed by custom"
    assert [(item["kind"], item["source"]) for item in told] == [("ConnectionError", "h")]
    with pytest.raises(BadRequest, match="a healer of RecoveringOperator is not valid"):
        _recovering(python_callable=flaky, healers=[{"action": "reboot"}]).execute(CONTEXT)


def test_compressing_entries_and_files(runtime: Runtime, tmp_path: Path) -> None:
    """Named entries and files are compressed where that makes them smaller; an unknown codec is rejected."""
    from adwarm_airflow.operators import CompressEntriesOperator

    _prefetch(accounts=["act_506"], date_ranges=["last_30d"]).execute(CONTEXT)
    packed = CompressEntriesOperator(task_id="t", entries=["act_506/*"], codec="brotli").execute(CONTEXT)
    assert (packed["entries"], packed["corrupt"]) == (1, 0)
    assert packed["bytes_after"] <= packed["bytes_before"] == runtime_bytes(packed, runtime)
    (tmp_path / "a.json").write_text('{"a": 1}' * 2_000)
    before = get_compression_totals(runtime.engine, datetime.now(UTC) - timedelta(days=1)).total
    files = CompressEntriesOperator(task_id="t", path=str(tmp_path), include=["a.json"]).execute(CONTEXT)
    counted = get_compression_totals(runtime.engine, datetime.now(UTC) - timedelta(days=1)).total
    assert counted.raw_bytes - before.raw_bytes == files["raw_bytes"]
    assert before.packed >= 2  # the report, twice
    assert files["stored_bytes"] < files["raw_bytes"]
    assert {path.name for path in tmp_path.glob("a.*")} == {"a.json", "a.json.zst"}
    assert CompressEntriesOperator(task_id="t", path=str(tmp_path), include=["a.json"]).execute(CONTEXT)["skipped"] == 1
    (tmp_path / "a.json.zst").write_bytes(b"another file")
    with pytest.raises(Permanent, match=r"none of 1 files could be compressed.*holds something else"):
        CompressEntriesOperator(task_id="t", path=str(tmp_path), include=["a.json"]).execute(CONTEXT)
    (tmp_path / "a.json.zst").unlink()
    CompressEntriesOperator(task_id="t", path=str(tmp_path), include=["a.json"], keep_original=False).execute(CONTEXT)
    assert {path.name for path in tmp_path.glob("a.*")} == {"a.json.zst"}
    with pytest.raises(BadRequest, match="codec 'rar'"):
        CompressEntriesOperator(task_id="t", entries=["*"], codec="rar").execute(CONTEXT)
    with pytest.raises(BadRequest, match="either a path or patterns of entries"):
        CompressEntriesOperator(task_id="t").execute(CONTEXT)


def runtime_bytes(packed: dict[str, Any], runtime: Runtime) -> int:
    """Overwrite the stored bodies, to tell old from new ones."""
    return entries.get_totals(runtime.engine)["stored_bytes"] + packed["bytes_before"] - packed["bytes_after"]


def test_scoring_what_is_stored(runtime: Runtime, simulator: SimulatorServer) -> None:
    """Scores the named accounts, or all, without a call; invalid arguments are rejected."""
    from adwarm_airflow.operators import ScoreFatigueOperator

    _prefetch(accounts=["act_507"], date_ranges=["last_30d"]).execute(CONTEXT)
    calls = simulator.calls()["total"]
    day = str(datetime.now(UTC).date() - timedelta(days=2))
    scored = ScoreFatigueOperator(task_id="t", accounts=["act_507"], as_of=day).execute(CONTEXT)
    again = ScoreFatigueOperator(task_id="t", as_of=day).execute(CONTEXT)
    assert (scored["accounts"], again["unchanged"], simulator.calls()["total"]) == (1, 1, calls), scored
    with pytest.raises(BadRequest, match="account id"):
        ScoreFatigueOperator(task_id="t", accounts=["/x"], as_of=day).execute(CONTEXT)
    with pytest.raises(BadRequest):
        ScoreFatigueOperator(task_id="t", as_of="then").execute(CONTEXT)


def test_scores_that_cannot_be_made_fail_the_task(runtime: Runtime) -> None:
    """When no account's data can be read, the task fails and names account and reason; its days are requested."""
    from adwarm_airflow.operators import ScoreFatigueOperator
    from adwarm_airflow.task_context import open_runtime

    _prefetch(accounts=["act_512"], date_ranges=["last_30d"]).execute(CONTEXT)
    for path in (Path(runtime.settings.data)).rglob("*"):
        if path.is_file():
            path.write_bytes(b"damaged")
    day = str(datetime.now(UTC).date() - timedelta(days=2))
    with pytest.raises(Permanent, match="no account could be scored: act_512"):
        ScoreFatigueOperator(task_id="t", accounts=["act_512"], as_of=day).execute(CONTEXT)
    assert [item.key.account_id for item in runtime.queue.list_newest(9)] == ["act_512"]
    with pytest.raises(Permanent, match="not fetched again yet"):  # clearing the task turns nothing green
        ScoreFatigueOperator(task_id="t", accounts=["act_512"], as_of=day).execute(CONTEXT)
    assert open_runtime(conn_id="facebook_default").queue_worker().drain(30).completed == 1
    again = ScoreFatigueOperator(task_id="t", accounts=["act_512"], as_of=day).execute(CONTEXT)
    assert (again["accounts"], again["without_data"]) == (1, 0)
