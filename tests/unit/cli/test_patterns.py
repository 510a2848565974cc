"""`adwarm patterns`: the stored opens, or one log."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from typer.testing import CliRunner

from adwarm.cli.app import app
from adwarm.cli.patterns import draw_heat_map
from adwarm.model import ReportKey
from adwarm.patterns.ingest.run import ingest
from adwarm.runtime import Runtime
from tests.support.user_log import UserLog
from tests.unit.cli.conftest import Adwarm

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Three weeks of Mondays at nine in Berlin, more of them for act_2, and one stray open."""
    rows = [
        {
            "ts": MONDAY + timedelta(weeks=week, hours=8, minutes=minute),
            "account_id": f"act_{account}",
            "date_range": "last_7d",
            "time_zone": "Europe/Berlin",
        }
        for week in range(3)
        for account in (1, 2)
        for minute in range(account)
    ]
    rows.append({**rows[0], "ts": MONDAY + timedelta(days=1, hours=22, minutes=30), "account_id": "act_3"})
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def test_the_most_opened_reports_are_shown(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The most opened report is first, hours are the reader's; the whole table is written, and no home is created."""
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path / "home"))
    out = tmp_path / "out" / "table.parquet"
    done = CliRunner().invoke(app, ["patterns", str(log), "--limit", "2", "--out", str(out), "--json"])
    found = orjson.loads(done.stdout)
    assert (done.exit_code, found["reports"]) == (0, 3)
    assert [(row["account_id"], row["opens"]) for row in found["most_opened"]] == [("act_2", 6), ("act_1", 3)]
    assert found["most_opened"][0]["busiest"] == [{"hour_of_week": 9, "opens": 6}]
    assert pq.read_table(out)["opens"].to_pylist() == [3, 6, 1]
    assert not (tmp_path / "home").exists()


def test_hours_are_shown_as_weekday_and_time(log: Path) -> None:
    """The table shows weekday and hour."""
    done = CliRunner().invoke(app, ["patterns", str(log)])
    assert "Mon 09:00 (6)" in done.stdout
    assert "Tue 23:00 (1)" in done.stdout


def test_a_log_gets_a_heat_map(log: Path) -> None:
    """The week is drawn with a row per weekday; three weeks of Mondays at nine are a peak, and the rest is quiet."""
    done = CliRunner().invoke(app, ["patterns", str(log), "--account", "act_2"])
    lines = done.stdout.splitlines()
    assert lines[0].startswith("act_2: 3 first opens in 2.")
    assert lines[1] == "Hours on the readers' clocks: Europe/Berlin"
    assert [line[:3] for line in lines[3:10]] == ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    assert "No busy or quiet hours: observed for 2." in done.stdout


def test_options_that_do_not_fit_are_refused(adwarm: Adwarm, log: Path, tmp_path: Path) -> None:
    """Each error says what to do: wrong id, unknown account, --out without a log, --days with one."""
    for words, message in {
        ("--out", "x.parquet"): "--out writes the counts of a log",
        (str(log), "--days", "3"): "--days looks back from the stored log",
        (str(log), "--account", "every one"): "up to 64 letters, digits",
        (str(log), "--account", "act_9"): "act_9 was not opened by a human in the 14 observed days; 3 accounts were",
        (): "no access log has been read yet",
    }.items():
        done = adwarm("patterns", *words)
        assert (done.exit_code, message in done.stderr.replace("\n", " ")) == (1, True), (words, done.stderr)


def test_the_stored_opens_of_an_account(adwarm: Adwarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text and JSON of the stored log agree on peaks and quiet hours; all accounts are the default."""
    writer = UserLog(tmp_path / "log" / "a.jsonl")
    for day in range(1, 29):
        writer.append(datetime(2026, 10, day, 9, 5, tzinfo=UTC), ReportKey("act_1", "today"))
    monkeypatch.setenv("ADWARM_ACCESS_LOG__URL", str(tmp_path / "log"))
    ingest(Runtime().context, datetime(2026, 10, 29, tzinfo=UTC))
    document = adwarm("patterns", "--account", "1", "--json").json
    monday = document["weekdays"][0]
    assert (monday["weekday"], monday["peak_hours"]) == ("Monday", ["09:00"])
    assert monday["quiet_hours"] == ["00:00-09:00", "10:00-24:00"]
    assert (document["account_id"], document["quiet"]) == ("act_1", "Mon-Sun 10:00-09:00")
    text = adwarm("patterns").stdout
    assert "1 account: 28 first opens in 3.9 weeks" in text
    assert "Quiet: Mon-Sun 10:00-09:00" in text
    assert "The most opened of 1 accounts" in text
    assert adwarm("patterns", "--days", "2", "--json").json["evidence"].startswith("observed for 0.")


RATE = [0.0] * 168
RATE[9], RATE[10], RATE[33] = 8.0, 4.0, 0.5


def _draw(encoding: str, *, color: bool) -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=stream, force_terminal=color, color_system="standard" if color else None, width=80)
    console.print(draw_heat_map(console, RATE, {9, 10}, {9}, set(range(48, 168))), soft_wrap=True)
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("encoding", "full", "half", "quiet"), [("utf-8", "*██", " ▄▄", "··"), ("ascii", " *9", "  5", " .")]
)
def test_marks_replace_color(encoding: str, full: str, half: str, quiet: str) -> None:
    """Each hour is three characters under its number: a bar or digit for the rate, an asterisk for a peak, or dots."""
    lines = _draw(encoding, color=False).splitlines()
    assert "\x1b" not in "".join(lines)
    assert [line[:3] for line in lines[1:8]] == ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    assert lines[0][4 + 9 * 3 : 4 + 10 * 3] == " 09"
    assert lines[1][4 + 9 * 3 : 4 + 11 * 3] == full + half
    assert lines[3][4:].split() == [quiet.strip()] * 24
    assert "up to 8; * peak hour" in lines[8]
    assert max(map(len, lines)) <= 80


def test_color_only_adds_to_the_text() -> None:
    """The text is the same when escape codes are taken out."""
    import re

    colored = _draw("utf-8", color=True)
    assert "\x1b[1;31m" in colored
    assert re.sub(r"\x1b\[[\d;]*m", "", colored) == _draw("utf-8", color=False)
