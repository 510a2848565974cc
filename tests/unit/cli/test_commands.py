"""Every command, for people and for programs: what it says, and the one line it says when it cannot."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adwarm.fatigue.account_scores import score_accounts
from adwarm.forecast.training.train import train_and_promote
from adwarm.foundation.clock import SystemClock
from adwarm.model import Priority, ReportKey
from adwarm.patterns.ingest.run import ingest
from adwarm.prefetch import KeyRequest
from adwarm.runtime import Runtime
from adwarm.serving.open_log import AccessLogWriter
from adwarm.settings import load_settings
from adwarm.store import scores
from adwarm.store.database import write_transaction
from adwarm.store.tables import payload
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer

from .conftest import CommandResult

Adwarm = Callable[..., CommandResult]
ACCOUNTS = ("act_1", "act_2", "act_3")
ROOT = Path(__file__).resolve().parents[3]


def _damage() -> None:
    with write_transaction(Runtime().engine) as connection:
        connection.execute(payload.update().values(body=b"damaged"))


def _learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log of four weeks in which one report is opened at nine every day."""
    writer = AccessLogWriter(tmp_path / "log" / "a.jsonl")
    for day in range(1, 29):
        writer.append(datetime(2026, 10, day, 9, 5, tzinfo=UTC), ReportKey("act_1", "today"))
    monkeypatch.setenv("ADWARM_ACCESS_LOG_URL", str(tmp_path / "log"))
    runtime, until = Runtime(), datetime(2026, 10, 29, tzinfo=UTC)
    ingest(runtime.context, until)
    train_and_promote(runtime.engine, runtime.objects, runtime.settings, until, until)


def test_warm_makes_reports_fresh(adwarm: Adwarm) -> None:
    """The first call fetches, the second finds them fresh and costs nothing."""
    first = adwarm("warm", "act_1", "act_2", "--range", "yesterday", "--range", "last_7d", "--json").json
    again = adwarm("warm", "act_1", "act_2", "--range", "yesterday", "--range", "last_7d")
    assert (first["fetched"], first["keys"]) == (4, 4)
    assert all(item["stored_bytes"] for item in first["outcomes"])
    assert again.exit_code == 0
    assert "4 keys, 0 upstream requests" in again.stdout


def test_allow_lifts_a_denial(adwarm: Adwarm) -> None:
    """A denied account is asked about again once it was allowed; one that was not denied is not named."""
    adwarm("warm", "act_1", "act_9", "--range", "yesterday")
    assert adwarm("allow", "act_9", "act_1", "--json").json == {"lifted": ["act_9"]}
    assert "none of them was denied" in adwarm("allow", "9").stdout
    assert adwarm("allow", "nonsense").exit_code == 1


def test_warm_says_what_failed_and_ends_with_1(adwarm: Adwarm) -> None:
    """An account the token may not read fails alone, with its reason."""
    said = adwarm("warm", "act_1", "act_9", "--range", "yesterday", "--json")
    assert said.exit_code == 1
    assert [item["account_id"] for item in said.json["outcomes"] if item["status"] != "fetched"] == ["act_9"]
    assert said.json["outcomes"][1]["reason"]


def test_get_on_a_miss_says_what_to_do(adwarm: Adwarm, platform: SimulatorServer) -> None:
    """One line and exit 1; with --fetch the answer comes, the second time without a call."""
    missed = adwarm("get", "act_1", "yesterday")
    assert (missed.exit_code, missed.stdout, missed.stderr.count("\n")) == (1, "", 1)
    assert "adwarm get --fetch" in missed.stderr
    assert adwarm("get", "act_1", "yesterday", "--json").json["kind"] == "NotFound"
    fetched = adwarm("get", "act_1", "yesterday", "--fetch")
    assert fetched.json["account_id"] == "act_1"
    assert fetched.stderr.startswith("fetched, ")
    calls = platform.calls()["total"]
    assert adwarm("get", "act_1", "yesterday", "--fetch", "--json").json == fetched.json
    assert adwarm("get", "act_1", "yesterday", "--meta").json["status"] == "hit"
    assert platform.calls()["total"] == calls


def test_get_of_an_unreadable_account_says_why(adwarm: Adwarm) -> None:
    """What the platform refuses is one line with its reason."""
    said = adwarm("get", "act_9", "today", "--fetch")
    assert (said.exit_code, said.stderr.count("\n")) == (1, 1)
    assert said.stderr.startswith("adwarm: act_9 today: ")


def test_status_shows_what_is_stored(adwarm: Adwarm) -> None:
    """Empty at first; afterwards entries, traffic and limits, as tables and as JSON."""
    assert adwarm("status", "--json").json["entries"]["entries"] == 0
    adwarm("warm", "act_1", "--range", "yesterday")
    adwarm("get", "act_1", "yesterday", "--actor", "human")
    document = adwarm("status", "--json").json
    assert (document["entries"]["entries"], document["traffic_24h"]["hits"]) == (1, 1)
    assert document["forecast"]["live"] is None
    shown = adwarm("status")
    assert shown.exit_code == 0
    assert all(title in shown.stdout for title in ("Stored", "Warms", "Forecast", "Last 24 hours", "Jobs", "Limits"))


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (("plan",), "adwarm_access_patterns"),
        (("patterns",), "adwarm_access_patterns"),
        (("fatigue", "act_1"), "adwarm_daily_insights"),
    ],
)
def test_what_was_not_learned_yet_is_said_with_advice(adwarm: Adwarm, words: tuple[str, ...], advice: str) -> None:
    """Each says which DAG brings what is missing, in one line or as JSON."""
    said = adwarm(*words)
    assert (said.exit_code, said.stderr.count("\n")) == (1, 1)
    assert advice in said.stderr
    assert advice in adwarm(*words, "--json").json["error"]


def test_plan_and_patterns_of_a_learned_log(
    adwarm: Adwarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: SimulatorServer
) -> None:
    """The plan of a moment names key, odds and why, and calls nothing; patterns name the busy hour."""
    _learn(tmp_path, monkeypatch)
    calls = platform.calls()["total"]
    made = adwarm("plan", "--at", "2026-10-29T09:00:00+00:00", "--json").json
    assert (made["planned"], made["items"][0]["account_id"]) == (1, "act_1")
    shown = adwarm("plan", "--at", "2026-10-29T09:00:00+00:00")
    assert "1 of 1 keys" in shown.stdout.replace("\n", " ")
    assert adwarm("patterns", "--json").json
    assert "Opens in the 56 days before" in adwarm("patterns").stdout
    assert platform.calls()["total"] == calls


def test_fatigue_shows_the_newest_scores(adwarm: Adwarm) -> None:
    """Scores of an account, as a table and as JSON; not those after the day asked for."""
    runtime, now = Runtime(), SystemClock().now()
    day = now.date() - timedelta(days=2)
    keys = [ReportKey(name, f"{day - timedelta(days=6)}..{day}") for name in ACCOUNTS]
    runtime.prefetch_engine().run([KeyRequest(key, close_day=day) for key in keys], Priority.LOW)
    score_accounts(runtime.engine, runtime.objects, runtime.settings, [(name, day) for name in ACCOUNTS], now)
    scored = next(name for name in ACCOUNTS if scores.list_latest(runtime.engine, name))
    rows = adwarm("fatigue", scored.removeprefix("act_"), "--json").json
    assert {row["account_id"] for row in rows} == {scored}
    assert f"{scored} on {day}" in adwarm("fatigue", scored).stdout
    assert adwarm("fatigue", scored, "--as-of", str(day - timedelta(days=1))).exit_code == 1


def test_verify_finds_and_repairs(adwarm: Adwarm) -> None:
    """A damaged payload ends with 1 and is named; after the repair and a warm all is whole."""
    adwarm("warm", "act_1", "--range", "last_7d")
    assert adwarm("verify").exit_code == 0
    _damage()
    found = adwarm("verify", "--json")
    assert (found.exit_code, len(found.json["corrupt"])) == (1, 1)
    assert "1 corrupt" in adwarm("verify", "--repair").stdout
    adwarm("warm", "act_1", "--range", "last_7d")
    assert adwarm("verify", "--json").json["corrupt"] == []


def test_the_schema_can_be_made_and_shown(adwarm: Adwarm) -> None:
    """None before, the newest afterwards; a second upgrade changes nothing."""
    before = adwarm("db", "current", "--json").json
    assert before["database"] is None
    made = adwarm("db", "upgrade", "--json").json
    assert (made["before"], made["now"]) == (None, before["needed"])
    assert "sqlite" in adwarm("db", "upgrade").stdout
    assert adwarm("db", "current", "--json").json["database"] == before["needed"]


def test_the_database_is_exported_and_reset(adwarm: Adwarm, tmp_path: Path) -> None:
    """Export writes a file per table; reset deletes the rows, and only after `--yes`."""
    adwarm("warm", "act_1", "--range", "yesterday")
    exported = adwarm("db", "export", str(tmp_path / "out"), "--json").json
    refused = adwarm("db", "reset")
    reset = adwarm("db", "reset", "--yes", "--json").json

    assert exported["rows"]["entry"] == len((tmp_path / "out" / "entry.jsonl").read_text().splitlines()) == 1
    assert (refused.exit_code, "--yes" in refused.stderr) == (1, True)
    assert reset["before"] == reset["now"]
    assert set(adwarm("db", "export", str(tmp_path / "out"), "--json").json["rows"].values()) == {0}


def test_the_doctor_sees_every_room(adwarm: Adwarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a log two rooms need fixing and say how; with one all is well."""
    said = adwarm("doctor", "--json")
    assert said.exit_code == 1
    wrong = {check["name"]: check["detail"] for check in said.json if not check["ok"]}
    assert set(wrong) == {"access log", "forecast"}
    assert "ADWARM_ACCESS_LOG_URL" in wrong["access log"]
    _learn(tmp_path, monkeypatch)
    healthy = adwarm("doctor")
    assert healthy.exit_code == 0
    assert "FIX" not in healthy.stdout


def test_the_doctor_compares_clocks(adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that differs from the platform's by more than an hour is named, and which way it is wrong."""
    with SimulatorServer(SimulatorConfig(ads=1, now=datetime.now(UTC) - timedelta(days=60))) as behind:
        monkeypatch.setenv("ADWARM_SOURCE__GRAPH_URL", behind.url)
        (check,) = [check for check in adwarm("doctor", "--json").json if check["name"] == "clock"]
    assert not check["ok"]
    assert "1440.0 h ahead of the platform's" in check["detail"]


def test_the_doctor_of_bad_settings(adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that is wrong is the first thing a doctor says."""
    monkeypatch.setenv("ADWARM_WORKERS", "none")
    (check,) = adwarm("doctor", "--json").json
    assert (check["ok"], "ADWARM_WORKERS" in check["detail"]) == (False, True)


BAD = {
    "account": (("get", "../etc/passwd", "today"), "account id"),
    "account to warm": (("warm", "x", "--range", "today"), "account id"),
    "account to score": (("fatigue", "act_x"), "account id"),
    "range": (("get", "act_1", "sometime"), "date range"),
    "range to warm": (("warm", "act_1", "--range", "2026-02-30..2026-03-01"), "2026-02-30"),
    "moment": (("plan", "--at", "soon"), "is not a moment"),
    "moment to warm": (("warm", "act_1", "--range", "today", "--at", "soon"), "is not a moment"),
    "priority": (("warm", "act_1", "--range", "today", "--priority", "asap"), "critical"),
    "actor": (("get", "act_1", "today", "--actor", "cat"), "embedded"),
    "report": (("get", "act_1", "today", "--report", "nonsense"), "is not configured"),
    "day": (("fatigue", "act_1", "--as-of", "then"), "is not a day"),
}


@pytest.mark.parametrize("words", BAD)
def test_a_bad_word_is_one_line(adwarm: Adwarm, words: str) -> None:
    """The line says what is wrong or what to write; no traceback, exit 1, the same as JSON."""
    line, expected = BAD[words]
    said = adwarm(*line)
    assert (said.exit_code, said.stderr.count("\n"), said.stdout) == (1, 1, "")
    assert expected in said.stderr
    assert expected in adwarm(*line, "--json").json["error"]


@pytest.mark.parametrize(
    "command",
    [
        ("warm", "act_1", "--range", "today"),
        ("get", "act_1", "today"),
        ("status",),
        ("plan",),
        ("patterns",),
        ("fatigue", "act_1"),
        ("verify",),
        ("db", "upgrade"),
        ("db", "current"),
    ],
)
def test_a_bad_setting_is_one_line_without_its_secret(
    adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """Every command names the variable; a database that is not there is told without its password."""
    monkeypatch.setenv("ADWARM_DATABASE_URL", "postgresql://adwarm:hunter2@127.0.0.1:1/adwarm")
    gone = adwarm(*command)
    monkeypatch.setenv("ADWARM_BATCH_SIZE", "hunter2")
    bad = adwarm(*command)
    assert (gone.exit_code, gone.stderr.count("\n"), bad.exit_code, bad.stderr.count("\n")) == (1, 1, 1, 1)
    assert "ADWARM_DATABASE_URL" in gone.stderr
    assert "ADWARM_BATCH_SIZE" in bad.stderr
    assert "hunter2" not in gone.stderr + bad.stderr + gone.stdout + bad.stdout


def test_help_answers_at_once() -> None:
    """Asking for help imports none of the heavy rooms."""
    script = (
        "import sys; sys.argv = ['adwarm', '--help']\n"
        "from adwarm.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n"
        "    heavy = {'pandas', 'numpy', 'pyarrow', 'sqlalchemy', 'facebook_business', 'sklearn', 'airflow'}\n"
        "    print(sorted(heavy & set(sys.modules)))\n"
    )
    environment = {"PYTHONPATH": str(ROOT / "include"), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"
    assert "warm" in done.stdout


def test_python_m_adwarm_is_the_same(home: Path) -> None:
    """The module runs as the command does, and an error is one line there too."""
    environment = {"PYTHONPATH": str(ROOT / "include"), "ADWARM_HOME": str(home), "PATH": ""}
    words = [sys.executable, "-m", "adwarm", "get", "nobody", "today"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n"), "Traceback" in done.stderr) == (1, 1, False)
    assert load_settings().home == home
