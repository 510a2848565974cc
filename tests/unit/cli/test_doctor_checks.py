"""The checks of `adwarm doctor` about databases, quotas, clocks, schedules, alerts and what must respond."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from adwarm.backpressure import CallOutcome, CallOutcomeKind, CallRequest, Grant, SqlAdmission
from adwarm.cli.check_run import Check, CheckResult, Finding, run_check, run_checks
from adwarm.cli.connection_checks import check_database_clock, check_quota
from adwarm.cli.doctor_checks import check_rights
from adwarm.cli.schedule_checks import (
    check_log_age,
    check_open_alerts,
    check_read_api,
    check_switches,
    list_schedule_checks,
)
from adwarm.foundation.clock import FrozenClock
from adwarm.foundation.errors import BadRequest, Transient
from adwarm.model import Priority, Scope, ScopeKind, UsageSample
from adwarm.runtime import Runtime
from adwarm.settings import Settings
from adwarm.store import aggregates, jobs, maintenance_steps
from adwarm.store.aggregates import HourAggregate, LogFileProgress
from adwarm.store.alerts import Channels, NewAlert, claim_notices, finish_notice, open_or_extend
from adwarm.store.database import identify_database, open_engine, write_transaction
from adwarm.store.switches import Switch, SwitchState, set_switch
from tests.unit.conftest import SQLITE_ONLY
from tests.unit.store.migrated_schema import make_database

from .conftest import Adwarm

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SECRET = "pw-a8f3c1d9e5"


@pytest.fixture
def runtime(engine: Engine, tmp_path: Path) -> Runtime:
    """A runtime on the test's database at a fixed time."""
    made = Runtime(Settings(home=tmp_path), FrozenClock(NOW))
    made.__dict__["engine"] = engine
    return made


def _run(check: Callable[[Runtime], str | Finding], runtime: Runtime) -> CheckResult:
    return run_check(Check("check", lambda: check(runtime)))


def test_a_dead_database_leaves_the_other_checks(adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a database each line is there, those that need it say so, and no password is shown."""
    monkeypatch.setenv("ADWARM_DATABASE_URL", f"postgresql://adwarm:{SECRET}@127.0.0.1:1/adwarm")
    result = adwarm("doctor", "--json")
    checks = {check["name"]: check for check in result.json}

    assert result.exit_code == 1
    assert SECRET not in result.stdout + result.stderr
    assert "cannot be reached" in checks["database"]["detail"]
    assert checks["object store"]["ok"]
    assert checks["clock"]["ok"]
    left_out = {name for name, check in checks.items() if not check["checked"]}
    assert {"rights", "forecast", "quota", "tokens", "alerts", "connection default"} <= left_out
    assert not any(checks[name]["ok"] for name in left_out)


def test_a_check_that_could_not_be_made_does_not_pass(
    adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    """Each check alone exits with 0 only when it was made, and what it waits for is shown beside it."""
    monkeypatch.setenv("ADWARM_DATABASE_URL", "postgresql://adwarm@127.0.0.1:1/adwarm")
    monkeypatch.setenv("ADWARM_SOURCE__GRAPH_URL", "http://127.0.0.1:1")
    names = [check["name"] for check in adwarm("doctor", "--json").json]
    assert {"schema", "clock"} <= set(names)
    for name in names:
        with subtests.test(name=name):
            result = adwarm("doctor", "--only", name, "--json")
            checks = {check["name"]: check for check in result.json}
            assert name in checks
            assert (result.exit_code == 0) is all(check["ok"] for check in checks.values())
            assert all(check["checked"] or not check["ok"] for check in checks.values())
            if not checks[name]["checked"] and name != "clock":
                assert "cannot be reached" in checks["database"]["detail"]


@pytest.mark.postgres
def test_a_server_without_the_schema_names_the_command(
    adwarm: Adwarm, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is something to fix, and the command is there for programs."""
    with make_database(open_engine(postgres_url)) as fresh:
        monkeypatch.setenv("ADWARM_DATABASE_URL", fresh.url.render_as_string(hide_password=False))
        (database,) = adwarm("doctor", "--only", "database", "--json").json

    assert not database["ok"]
    assert database["fix"] == "adwarm db upgrade"


def test_a_check_that_hangs_is_given_up() -> None:
    """The next checks still run; a slow one that only reads much is a note. Its late end changes nothing."""
    release = threading.Event()

    def hang() -> str:
        release.wait(30)
        return "late"

    checks = [Check("dead", hang), Check("large", hang, is_slow=True), Check("well", lambda: "fine")]
    dead, large, well = run_checks(checks, has_database=True, seconds=0.05)
    release.set()

    assert (dead.ok, "no result within" in dead.detail) == (False, True)
    assert (large.mark, well.mark) == ("note", "ok")


def test_an_unexpected_error_shows_no_text() -> None:
    """The message of an error that is not adwarm's own may hold anything and is left out."""

    def fail() -> str:
        raise RuntimeError(f"password={SECRET}")

    result = run_check(Check("check", fail))
    assert (result.ok, result.detail) == (False, "RuntimeError; check the setting behind it")


def test_parked_scopes_and_usage_are_shown(runtime: Runtime) -> None:
    """The highest usage is named; a scope that the platform has parked is a note with its end and a command."""
    assert _run(check_quota, runtime).detail == "the platform has reported no figures yet"
    admission, account = runtime.admission, Scope(ScopeKind.ACCOUNT, "act_1")
    grant = admission.admit(CallRequest((account,), Priority.HIGH, "meta"))
    assert isinstance(grant, Grant)
    usage = (UsageSample(account, 40.0),)
    admission.release(grant, CallOutcome(CallOutcomeKind.OK, usage=usage))
    used = _run(check_quota, runtime)
    assert (used.mark, "at most 40 % of a quota used (account:act_1)" in used.detail) == ("ok", True)
    grant = admission.admit(CallRequest((account,), Priority.HIGH, "meta"))
    assert isinstance(grant, Grant)
    admission.release(grant, CallOutcome(CallOutcomeKind.THROTTLED, park_seconds=3600.0, parked_scope=account))
    parked = _run(check_quota, runtime)
    assert (parked.mark, parked.fix) == ("note", "adwarm gate list")
    assert "1 scope not called now: account:act_1 until " in parked.detail


def test_a_setting_above_the_quota_is_a_note(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the platform's figures allow fewer calls of an account than planning may make, the setting is named."""
    scope = type("Scope", (), {"scope": "account:act_1", "usage": 10.0, "quota": 30.0})()
    shown = type("Status", (), {"scopes": (scope,)})()
    monkeypatch.setattr(SqlAdmission, "status", lambda _self: shown)
    result = _run(check_quota, runtime)

    assert result.mark == "note"
    assert (
        "ADWARM_PLANNING__MAX_ACCOUNT_CALLS_PER_HOUR is 60, and the platform's figures allow about 30" in result.detail
    )


def test_the_real_clock_of_the_database_is_compared(runtime: Runtime) -> None:
    """On a server the machine's clock must be close; a file has the machine's own."""
    result = _run(check_database_clock, runtime)
    if runtime.engine.dialect.name == "sqlite":
        assert result.ok
    else:
        assert (result.ok, "the database's; correct it" in result.detail) == (False, True), "frozen long ago"
        runtime.clock = FrozenClock(datetime.now(UTC))
        assert _run(check_database_clock, runtime).ok


def test_rights_are_checked(runtime: Runtime) -> None:
    """The owner may write; a role that may only read some tables gets their names, and the statement that mends it."""
    assert _run(check_rights, runtime).ok
    if runtime.engine.dialect.name == "sqlite":
        return
    with write_transaction(runtime.engine) as connection:
        connection.execute(text("CREATE ROLE reader LOGIN"))
        connection.execute(text("GRANT SELECT ON warm TO reader"))
    runtime.__dict__["engine"] = open_engine(
        runtime.engine.url.set(username="reader").render_as_string(hide_password=False)
    )
    result = _run(check_rights, runtime)
    assert not result.ok
    assert "the role reader may not read and write access_aggregate" in result.detail
    assert "GRANT SELECT, INSERT, UPDATE, DELETE" in result.detail


def _dags(runtime: Runtime) -> dict[str, CheckResult]:
    return {check.name.removeprefix("DAG adwarm_"): run_check(check) for check in list_schedule_checks(runtime)}


def test_a_dag_that_no_longer_runs_is_found(runtime: Runtime) -> None:
    """Never run is a note; a recent run is fine; one that missed several runs is to fix, with the command."""
    assert {result.mark for result in _dags(runtime).values()} == {"note"}

    def run_all(at: datetime) -> None:
        with write_transaction(runtime.engine) as connection:
            aggregates.set_watermark(connection, at, at)
        jobs.start(runtime.engine, f"adwarm_intelligent_warming/{at}", "adwarm_intelligent_warming", 0, at)
        maintenance_steps.acquire(runtime.engine, "release_leases", "me", at, 0.0)

    run_all(NOW - timedelta(hours=20))
    late = _dags(runtime)
    assert [result.mark for result in late.values()] == ["FIX"] * 3
    assert late["maintenance"].fix == "airflow dags unpause adwarm_maintenance"
    assert "20.0 h ago" in late["intelligent_warming"].detail
    run_all(NOW - timedelta(minutes=10))
    assert [result.mark for result in _dags(runtime).values()] == ["ok"] * 3


def _read_log(runtime: Runtime, newest: datetime, *, rejected: int = 0) -> None:
    with write_transaction(runtime.engine) as connection:
        aggregates.set_watermark(connection, NOW, NOW)
        hour = newest.replace(minute=0)
        aggregates.replace_hours(connection, NOW - timedelta(days=30), NOW, [HourAggregate(hour, "a" * 64, 5, 1)], NOW)
        file = LogFileProgress("a.jsonl", 1, 1.0, 1, [], 100 - rejected, rejected, NOW)
        aggregates.save_log_files(connection, [file])


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("hours", "rejected", "mark", "words"),
    [
        (1, 0, "ok", "newest open 2026-11-25 11:00 UTC"),
        (30, 0, "note", "newest open"),
        (80, 0, "FIX", "no open since"),
        (1, 10, "note", "10% of the lines of the newest 1 file are rejected"),
        (1, 80, "FIX", "its format has changed"),
    ],
)
def test_the_age_of_the_log(runtime: Runtime, hours: int, rejected: int, mark: str, words: str) -> None:
    """A log without a recent open, and one whose lines are rejected, are a note at first and then to fix."""
    assert _run(check_log_age, runtime).mark == "note"
    _read_log(runtime, NOW - timedelta(hours=hours), rejected=rejected)
    result = _run(check_log_age, runtime)

    assert (result.mark, words in result.detail) == (mark, True), result.detail
    assert result.fix == ("adwarm log check" if mark == "FIX" or rejected else None)


def test_open_alerts_and_failed_deliveries(runtime: Runtime) -> None:
    """An open alert is a note; a channel that does not deliver is to fix, with its last error."""
    assert _run(check_open_alerts, runtime).mark == "ok"
    new = NewAlert(at=NOW, kind="Throttled", scope="meta", reason="limit", next_step="wait")
    open_or_extend(runtime.engine, new, Channels(("log",), ("chat",)), NOW - timedelta(hours=1))
    opened = _run(check_open_alerts, runtime)
    assert (opened.mark, "1 alert open: Throttled of meta" in opened.detail) == ("note", True)
    [notice] = claim_notices(runtime.engine, ["chat"], 60)
    finish_notice(runtime.engine, notice, "ConnectError")
    failed = _run(check_open_alerts, runtime)
    assert (failed.mark, failed.fix) == ("FIX", "adwarm doctor --send-alert")


def test_a_turned_switch_is_a_note(runtime: Runtime) -> None:
    """Warming that is off is shown with who, why and the command that turns it on."""
    assert _run(check_switches, runtime).mark == "ok"
    set_switch(runtime.engine, SwitchState(Switch.WARMING, False, NOW, "ann", "incident"))
    result = _run(check_switches, runtime)
    assert (result.mark, result.fix) == ("note", "adwarm gate switch warming on")
    assert "by ann: incident" in result.detail


@pytest.fixture
def answers() -> Iterator[tuple[dict[str, Any], str]]:
    """A server whose answers a test decides: status and body."""
    answer: dict[str, Any] = {"status": 200, "body": b"{}"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answer["status"])
            self.end_headers()
            self.wfile.write(answer["body"])

        def log_message(self, *_arguments: object) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield answer, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _runtime_with(tmp_path: Path, **serving: Any) -> Runtime:
    return Runtime(Settings(home=tmp_path, serving=serving))  # type: ignore[arg-type]  # pydantic makes the section


def test_the_read_api_is_asked(answers: tuple[dict[str, Any], str], tmp_path: Path) -> None:
    """None here is a note; one that is not ready, of another installation, or no adwarm at all, is to fix."""
    answer, url = answers
    runtime = _runtime_with(tmp_path, port=int(url.rpartition(":")[2]))
    for body, said in [
        (b"<html>", "is no read API of adwarm"),
        (b"[]", "is no read API of adwarm"),
        (b'{"database_id": "0123456789abcdef"}', "serves another database, or this one by another address"),
    ]:
        answer["body"] = body
        with pytest.raises(BadRequest, match=said):
            check_read_api(runtime)
    answer["body"] = json.dumps({"database_id": identify_database(runtime.engine)}).encode()
    assert check_read_api(runtime).detail == f"ready at {url}"
    answer["status"] = 503
    with pytest.raises(Transient, match="answers 503"):
        check_read_api(runtime)
    assert check_read_api(_runtime_with(tmp_path, port=1)).warning


def test_a_failed_check_without_a_command_names_none() -> None:
    """`fix` is the first command in the text of a failed check, and None where there is none."""

    def fail() -> str:
        raise BadRequest("the disk is full; free some space")

    assert run_check(Check("disk", fail)).fix is None
    assert CheckResult("tokens", True, "none; `adwarm token create` makes one").fix is None
