"""`adwarm doctor`: each check, and what it says to fix."""

import importlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from adwarm.cli import doctor_checks
from adwarm.forecast.snapshot import get_live_snapshot
from adwarm.foundation.storage import DiskSpace
from adwarm.model import Actor, ReportKey
from adwarm.prefetch.healers import TOKEN_REFRESH_GROUP, list_token_hooks
from adwarm.runtime import Runtime
from adwarm.serving.open_log import Open, OpenLog
from adwarm.settings import Settings
from adwarm.store import aggregates
from adwarm.store.aggregates import access_aggregate
from adwarm.store.database import write_transaction
from adwarm.store.schema import QuickCheck
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer
from tests.support.wall_clock import WallClock

from .conftest import Adwarm


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """What the checks import: no test of them is slow because it was the first."""
    importlib.import_module("xgboost")


def test_without_a_log_two_checks_fail(adwarm: Adwarm) -> None:
    """Both say what to do."""
    result = adwarm("doctor", "--json")
    assert result.exit_code == 1
    wrong = {check["name"]: check["detail"] for check in result.json if not check["ok"]}
    assert set(wrong) == {"access log", "forecast"}
    assert "ADWARM_ACCESS_LOG__URL" in wrong["access log"]
    assert "0 accounts" in [check["detail"] for check in result.json if check["name"] == "time zones"]


def test_every_check_passes(adwarm: Adwarm, wall_clock: WallClock, learn_forecast: Callable[[], None]) -> None:
    """With a log and a forecast all pass; a log that was read long ago is named."""
    learn_forecast()
    failed = {check["name"] for check in adwarm("doctor", "--json").json if not check["ok"]}
    assert failed == {"DAG adwarm_access_patterns"}, "the log was read a month ago"
    with write_transaction(Runtime().engine) as connection:
        aggregates.set_watermark(connection, datetime(2026, 10, 29, tzinfo=UTC), wall_clock.now())
        newest = aggregates.find_newest_hour(connection)
        values = {"hour": wall_clock.now().replace(minute=0, second=0, microsecond=0)}
        connection.execute(access_aggregate.update().where(access_aggregate.c.hour == newest).values(**values))
    healthy = adwarm("doctor")
    assert healthy.exit_code == 0
    assert "FIX" not in healthy.stdout


def test_both_logs_are_shown(adwarm: Adwarm, home: Path, learned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The open log alone is a log; beside the user's, each has a line."""

    def logs() -> dict[str, str]:
        checks = [check for check in adwarm("doctor", "--json").json if check["name"] in {"access log", "open log"}]
        assert all(check["ok"] for check in checks)
        return {check["name"]: check["detail"] for check in checks}

    at = datetime(2026, 10, 3, 9, tzinfo=UTC)
    log = OpenLog(Settings(home=home))
    log.record(Open(at, ReportKey("act_1", "today"), Actor.HUMAN, "hit", 1.0, 10))
    log.close()
    assert list(logs()) == ["open log"]
    assert "from 2026-10-03 to 2026-10-03, 1 file on the last day; opens count from both" in logs()["open log"]
    assert adwarm("log", "check", "--json").json["accepted"] == 1
    monkeypatch.setenv("ADWARM_ACCESS_LOG__URL", str(learned / "log"))
    assert list(logs()) == ["access log", "open log"]


def test_the_doctor_compares_clocks(adwarm: Adwarm, wall_clock: WallClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock more than an hour off the platform's is reported with its direction."""
    with SimulatorServer(SimulatorConfig(ads=1, now=wall_clock.now() - timedelta(days=60))) as behind:
        monkeypatch.setenv("ADWARM_SOURCE__GRAPH_URL", behind.url)
        (check,) = adwarm("doctor", "--only", "clock", "--json").json
    assert not check["ok"]
    assert "1440.0 h ahead of the platform's" in check["detail"]


def test_the_doctor_names_the_home(adwarm: Adwarm, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The home comes with the rule that chose it; a note says when it is new, relative, or another one lies around."""

    def check() -> tuple[bool, str]:
        (found,) = adwarm("doctor", "--only", "home", "--json").json
        assert found["ok"]
        return found["warning"], found["detail"]

    monkeypatch.chdir(tmp_path)
    warned, detail = check()
    assert (warned, f"{home}, set by ADWARM_HOME; it is new and empty" in detail) == (True, True)
    assert check() == (False, f"{home}, set by ADWARM_HOME")
    (tmp_path / ".adwarm").mkdir(mode=0o700)
    (tmp_path / ".adwarm" / "adwarm.db").touch()
    monkeypatch.setenv("ADWARM_HOME", "home")
    warned, detail = check()
    assert warned
    assert "it depends on the working folder" in detail
    assert f"{tmp_path / '.adwarm'} holds a database that is not used" in detail
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path / ".adwarm"))
    assert check() == (False, f"{tmp_path / '.adwarm'}, set by ADWARM_HOME")


def test_the_doctor_of_bad_settings(adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an invalid setting, the settings check fails and no other check runs."""
    monkeypatch.setenv("ADWARM_WORKERS", "none")
    (check,) = adwarm("doctor", "--json").json
    assert (check["ok"], "ADWARM_WORKERS" in check["detail"]) == (False, True)


def test_the_doctor_names_skipped_files_and_unmatched_paths(
    adwarm: Adwarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of the folder that are not read are named; a path pattern that matches nothing is the thing to fix."""

    def check() -> dict[str, object]:
        (found,) = adwarm("doctor", "--only", "access log", "--json").json
        return dict(found)

    monkeypatch.setenv("ADWARM_ACCESS_LOG__URL", str(tmp_path / "log"))
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "notes.md").write_text("x")
    line = 'h - - [02/Mar/2026:10:00:00 +0000] "GET %s HTTP/1.1" 200 5 "-" "Mozilla/5.0"\n'
    (tmp_path / "log" / "access.log").write_text(line % "/board/1?key=s")
    broken = check()
    assert not broken["ok"]
    assert "LOG__PATTERN" in str(broken["detail"])
    assert "/board/1?key=" in str(broken["detail"])
    (tmp_path / "log" / "access.log").write_text(line % "/accounts/1/insights/today")
    found = check()
    assert found["ok"]
    assert "notes.md" in str(found["detail"])


def test_the_doctor_says_who_fetches_misses(adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a credential the serving process fetches; without one a note names the schedule, and one line is to fix."""

    def check() -> dict[str, Any]:
        names = ("misses", "connection default", "clock")
        options = [word for name in names for word in ("--only", name)]
        return {check["name"]: check for check in adwarm("doctor", *options, "--json").json}

    found = check()["misses"]
    assert (found["ok"], found["warning"]) == (True, False)
    monkeypatch.delenv("ADWARM_SOURCE__ACCESS_TOKEN")
    checks = check()
    assert (checks["misses"]["ok"], checks["misses"]["warning"]) == (True, True)
    assert "every 5 minutes" in checks["misses"]["detail"]
    assert [checks[name]["ok"] for name in ("connection default", "clock")] == [False, False]
    assert [checks[name]["checked"] for name in ("connection default", "clock")] == [True, False]


def test_the_doctor_looks_at_disks(adwarm: Adwarm, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both disks have a line: little space is a note, too little and a read-only disk are something to fix."""

    only = ("--only", "disk of the objects", "--only", "disk of the database")

    def check(space: DiskSpace | None) -> set[tuple[bool, bool]]:
        monkeypatch.setattr(doctor_checks, "measure_space", lambda _path: space)
        found = adwarm("doctor", *only, "--json").json
        assert all(str(home) in check["detail"] for check in found)
        return {(check["ok"], check["warning"]) for check in found}

    gigabyte = 1_000_000_000
    assert check(DiskSpace(50 * gigabyte, 100 * gigabyte, has_names=True, is_read_only=False)) == {(True, False)}
    assert check(DiskSpace(gigabyte // 2, 100 * gigabyte, has_names=True, is_read_only=False)) == {(True, True)}
    assert check(DiskSpace(50_000_000, 100 * gigabyte, has_names=True, is_read_only=False)) == {(False, False)}
    assert check(DiskSpace(50 * gigabyte, 100 * gigabyte, has_names=False, is_read_only=False)) == {(False, False)}
    assert check(DiskSpace(50 * gigabyte, 100 * gigabyte, has_names=True, is_read_only=True)) == {(False, False)}
    assert check(None) == {(False, False)}


def test_the_doctor_sees_a_damaged_database(adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that does not add up is something to fix."""
    (check,) = adwarm("doctor", "--only", "database", "--json").json
    assert "sqlite, schema up to date (" in check["detail"]
    monkeypatch.setattr("adwarm.store.schema.quick_check", lambda *_: QuickCheck("row 7 missing", True))
    (check,) = adwarm("doctor", "--only", "database", "--json").json
    assert not check["ok"]
    assert "ADWARM_DATABASE_URL" in check["detail"]
    assert "row 7 missing" in check["detail"]


def test_a_damaged_live_forecast_is_seen(adwarm: Adwarm, learn_forecast: Callable[[], None]) -> None:
    """Doctor, status and verify say that it cannot be used."""
    learn_forecast()
    runtime = Runtime()
    live = get_live_snapshot(runtime.engine)
    (path,) = Path(runtime.settings.data).rglob(f"{live.object_hash}*")
    path.write_bytes(b"damaged")
    (forecast,) = adwarm("doctor", "--only", "forecast", "--json").json
    assert not forecast["ok"]
    assert "cannot be used" in forecast["detail"]
    assert "does not match its checksum" in adwarm("status", "--json").json["forecast"]["problem"]
    assert any(item["kind"] == "snapshot" for item in adwarm("maintain", "--verify", "--json").json["corrupt"])


def _recovery(adwarm: Adwarm) -> tuple[bool, str]:
    (check,) = adwarm("doctor", "--only", "recovery", "--json").json
    return check["ok"], check["detail"]


def test_healers_and_the_chain_are_checked(adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that cannot be imported, a broken hook and an unknown connection are all named before they matter."""
    assert _recovery(adwarm)[0]
    healers = [{"action": "custom", "call": "no_such_package.heal:restart"}, {"action": "token_refresh"}]
    monkeypatch.setenv("ADWARM_RECOVERY__HEALERS", json.dumps(healers))
    monkeypatch.setenv("ADWARM_RECOVERY__FALLBACKS", '[{"kind": "source", "connection": "warehouse"}]')
    list_token_hooks.cache_clear()
    broken = EntryPoint("renew", "no_such_package:renew", TOKEN_REFRESH_GROUP)
    monkeypatch.setattr("adwarm.prefetch.healers.entry_points", lambda group: [broken])
    is_ok, detail = _recovery(adwarm)
    assert not is_ok
    for text in ("no_such_package.heal:restart cannot be imported", "the entry point renew", "warehouse"):
        assert text in detail
    monkeypatch.setenv("ADWARM_RECOVERY__HEAL", "false")
    assert "entry point" not in _recovery(adwarm)[1]
