"""The settings that are proposed read the log, and the command that tries them can be pasted into a shell."""

import shlex
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from adwarm.access_log import read_events
from adwarm.log_check.check import LogCheck, check_log
from adwarm.log_check.next_step import find_next_step
from adwarm.log_check.suggestions import suggest
from adwarm.settings import AccessLogSettings, Settings, load_settings
from tests.support.other_tool_logs import OTHER_SHAPES
from tests.support.tool_logs import OPENS, SHAPES, events, write_log

NOW = datetime(2026, 4, 1, tzinfo=UTC)
LINE = 'h - - [02/Mar/2026:10:00:00 +0000] "GET {} HTTP/1.1" 200 5 "-" "Mozilla/5.0"\n'


def follow(path: Path, monkeypatch: pytest.MonkeyPatch, steps: int = 3) -> LogCheck:
    """Return the last check after following the commands of each, as a shell reads them, until none is given."""
    for _ in range(steps):
        check = check_log(str(path), load_settings())
        step = find_next_step(check, load_settings())
        if step is None or not step.command:
            break
        *settings, adwarm, log, command, name = shlex.split(step.command)
        assert (adwarm, log, command, name) == ("adwarm", "log", "check", str(path))
        for word in settings:
            variable, _, value = word.partition("=")
            monkeypatch.setenv(variable, value)
    return check


@pytest.mark.slow
def test_the_advice_reads_the_logs_of_tools(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """Following the commands of the check and nothing else reads each open of each tool's log, and nothing more."""
    shapes = SHAPES | OTHER_SHAPES
    for shape in shapes:
        with subtests.test(shape=shape), pytest.MonkeyPatch.context() as patch:
            check = follow(write_log(tmp_path, shape, shapes), patch)
            assert (check.events, check.quarantine.count) == (OPENS, 0)
            assert check.learnable is not None
            assert check.learnable.accounts == 4
            times = {e.at.replace(second=0, microsecond=0) for e in events() if e.kind == "open"}
            batches = read_events(str(tmp_path / shapes[shape][0]), load_settings())
            read = {at.replace(second=0, microsecond=0) for batch in batches for at in batch["ts"].to_pylist()}
            assert read == times


def test_settings_that_read_a_time_are_kept(tmp_path: Path) -> None:
    """Where the settings read the time already, nothing is said about it: of a format, and of two columns."""
    (tmp_path / "a.csv").write_text("Tag;Zeit;Wer;Wann\n" + "20|10|2026;08/30;act_1;Letzte 7 Tage\n" * 3)
    log = AccessLogSettings(columns={"ts": "Tag Zeit"}, timestamp_format="%d|%m|%Y %H/%M")
    settings = Settings(access_log=log)
    check = check_log(str(tmp_path), settings)
    step = find_next_step(check, settings)
    assert step is not None
    assert step.values["columns"] == {"ts": "Tag Zeit", "account_id": "Wer", "date_range": "Wann"}
    assert "timestamp_format" not in step.values
    advice = " ".join(suggest(check, settings, NOW, step))
    assert ("for account_id" in advice, "for ts" in advice) == (True, False)


def test_a_log_that_cannot_be_read_says_what_is_missing(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """There is one sentence and no command where no column holds a time or an account."""
    for rows, words in [
        (
            [{"account_id": "act_1", "date_range": "today", "user": "ana"}],
            "no time was recognized in account_id, date_range, user",
        ),
        ([{"at": "2026-03-02T10:00:00Z", "user": "ana"}], "whose report was opened"),
    ]:
        with subtests.test(words=words):
            (tmp_path / "a.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
            check = check_log(str(tmp_path / "a.jsonl"), Settings())
            step = find_next_step(check, Settings())
            assert step is not None
            assert (step.command, words in step.missing) == ("", True)
            assert step.missing in suggest(check, Settings(), NOW, step)


@pytest.mark.parametrize("name", ["it's access.log", "caddy log.jsonl"])
def test_the_command_reads_what_the_check_did_not(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its settings, as a shell reads them, accept the opens; the path is quoted, and secrets are in neither."""
    paths = ["/dashboards/17/last_7d?token=hidden1", "/dashboards/18/yesterday", "/login"]
    if name.endswith(".log"):
        (tmp_path / name).write_text("".join(map(LINE.format, paths)))
    else:
        rows = [{"ts": 1_772_445_600, "request": {"method": "GET", "uri": path}} for path in paths]
        (tmp_path / name).write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    check = check_log(str(tmp_path / name), Settings())
    step = find_next_step(check, Settings())
    assert step is not None
    assert check.events == 0
    assert any("reads 2 of 3 paths" in line for line in suggest(check, Settings(), NOW, step))
    assert step.after[0] == "2026-03-02 10:00:00 UTC, act_17, last_7d"
    words = shlex.split(step.command)
    assert words[-4:] == ["adwarm", "log", "check", str(tmp_path / name)]
    assert "hidden1" not in step.command
    for word in words[:-4]:
        setting, _, value = word.partition("=")
        monkeypatch.setenv(setting, value)
    found = check_log(words[-1], load_settings())
    assert found.events == 2
    assert find_next_step(found, load_settings()) is None


def test_the_configured_log_is_not_named_again(tmp_path: Path) -> None:
    """The command without a file checks the log in the settings."""
    (tmp_path / "a.csv").write_text("when,account,range\n2026-03-02T10:00:00Z,1,7d\n")
    settings = Settings(access_log=AccessLogSettings(url=str(tmp_path / "a.csv")))
    step = find_next_step(check_log(str(tmp_path / "a.csv"), settings), settings)
    assert step is not None
    assert step.command.endswith("' adwarm log check")


def test_a_log_that_is_read_may_lack_a_condition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command adds readers' zones, leaves out events that are no views, and gives each unknown range a preset."""
    rows = [
        {
            "ts": f"2026-03-02T10:{n:02d}:00Z",
            "account_id": "1",
            "date_range": text,
            "event": event,
            "where": "Asia/Tokyo",
        }
        for n, (text, event) in enumerate([("7d", "report_viewed"), ("Gestern", "report_viewed"), ("7d", "export")] * 3)
    ]
    (tmp_path / "a.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    assert check_log(str(tmp_path / "a.jsonl"), Settings()).events == 6
    check = follow(tmp_path / "a.jsonl", monkeypatch)
    assert (check.events, check.quarantine.count, check.zones) == (6, 0, {"Asia/Tokyo": 6})
    assert load_settings().access_log.date_ranges == {"Gestern": "yesterday"}


def test_two_days_are_a_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A range may stand in two columns; an id that the table of accounts lacks is named."""
    rows = [
        {"at": f"2026-03-02T10:0{n}:00Z", "dashboard_id": n % 2, "from": "2026-01-01", "to": "2026-01-31"}
        for n in range(6)
    ]
    (tmp_path / "a.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    check = follow(tmp_path / "a.jsonl", monkeypatch)
    (batch,) = read_events(str(tmp_path / "a.jsonl"), load_settings())
    assert (check.events, batch["date_range"][0].as_py()) == (6, "2026-01-01..2026-01-31")
    monkeypatch.setenv("ADWARM_ACCESS_LOG__ACCOUNTS", '{"1": "act_7"}')
    check = check_log(str(tmp_path / "a.jsonl"), load_settings())
    assert check.events == 3
    assert any("ACCOUNTS lacks them or no pattern matches: 0" in text for text in suggest(check, load_settings(), NOW))


def test_times_are_read_by_a_format_that_fits_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day above 12 tells which number is the day; the time of the event is preferred to that of its storage."""
    text = "Inserted At,Opened,Account,Range\n" + "".join(
        f"2026-03-{day:02d}T23:00:00Z,{day:02d}/03/2026 09:15,act_{day},today\n" for day in range(8, 16)
    )
    (tmp_path / "a.csv").write_text(text)
    check = follow(tmp_path / "a.csv", monkeypatch)
    assert check.events == 8
    assert check.last == datetime(2026, 3, 15, 9, 15, tzinfo=UTC)
    assert load_settings().access_log.timestamp_format == "%d/%m/%Y %H:%M"
