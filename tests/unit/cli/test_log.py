"""`adwarm log check`: figures, advice, progress and exit codes."""

from pathlib import Path

import pytest

from adwarm.cli.log import _line_printer
from adwarm.log_check.check import CheckProgress
from tests.support.tool_logs import OPENS, write_log

from .conftest import Adwarm

LINE = b'{"ts": "2026-03-02T10:00:00Z", "account_id": "act_1", "date_range": "today"}\n'


def test_a_log_is_checked(adwarm: Adwarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configured log is the default; the table shows columns, figures and advice; nothing is stored."""
    (tmp_path / "a.jsonl").write_bytes(LINE + b"[02/Mar/2026] junk\n")
    missing = adwarm("log", "check")
    assert missing.exit_code == 1
    assert "ADWARM_ACCESS_LOG__URL" in missing.stderr
    monkeypatch.setenv("ADWARM_ACCESS_LOG__URL", str(tmp_path / "a.jsonl"))
    result = adwarm("log", "check")
    assert result.exit_code == 0
    assert all(word in result.stdout for word in ("same name", "[02/Mar/2026] junk", "2026-03-02 10:00 UTC", "Advice:"))
    assert f"`adwarm learn {tmp_path / 'a.jsonl'}`" in result.stderr
    assert not (tmp_path / "home").exists()


def test_json_is_one_document(adwarm: Adwarm, tmp_path: Path) -> None:
    """A program reads the same figures."""
    (tmp_path / "a.jsonl").write_bytes(LINE)
    result = adwarm("log", "check", str(tmp_path), "--json")
    assert (result.exit_code, result.json["accepted"], result.json["usable"]) == (0, 1, True)


def test_a_log_without_a_human_open_fails(adwarm: Adwarm, tmp_path: Path) -> None:
    """The exit code is 1, and the reasons are printed."""
    (tmp_path / "a.csv").write_text("when,who\n1,2\n")
    result = adwarm("log", "check", str(tmp_path))
    assert result.exit_code == 1
    assert "it lacks the columns ts, account_id, date_range" in " ".join(result.stdout.split())
    wrong = adwarm("log", "check", str(tmp_path / "nothing"))
    assert (wrong.exit_code, "there is no access log" in wrong.stderr) == (1, True)


def test_the_next_command_is_a_line_of_its_own(adwarm: Adwarm, tmp_path: Path) -> None:
    """It can be copied as a whole; problems, lengths and advice are in words."""
    log = tmp_path / "a.csv"
    log.write_text("when,account,range\n2026-03-02T10:00:00Z,1,7d\n")
    first = adwarm("log", "check", str(log))
    assert "fix account_id or date_range in ADWARM_ACCESS_LOG__CONSTANTS; its columns are when" in first.stdout
    (command,) = [line for line in first.stdout.splitlines() if line.endswith(f"adwarm log check {log}")]
    assert command == adwarm("log", "check", str(log), "--json").json["next_command"]
    log.write_text("ts,account_id,date_range\n2026-03-02T10:00:00Z,1,7d\n")
    second = adwarm("log", "check", str(log))
    assert "not enough, 14 more needed: 0 days of log, 14 needed" in second.stdout
    assert "needs 17 more recent days with opens: it has 1, and needs 18" in second.stdout
    assert "Try next" not in second.stdout


def test_the_advised_settings_can_be_saved(adwarm: Adwarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One command tries what is advised, writes it, and says how to use it; with the file nothing is left to advise."""
    log, config = write_log(tmp_path, "Own web format"), tmp_path / "adwarm.toml"
    assert f"adwarm log check {log} --save adwarm.toml" in adwarm("log", "check", str(log)).stdout
    saved = adwarm("log", "check", str(log), "--save", str(config), "--json")
    assert (saved.exit_code, saved.json["accepted"], saved.json["next_command"]) == (0, OPENS, None)
    assert f"export ADWARM_CONFIG={config}" in " ".join(saved.stderr.split())
    monkeypatch.setenv("ADWARM_CONFIG", str(config))
    again = adwarm("log", "check", "--json")
    assert (again.json["url"], again.json["accepted"]) == (str(log), OPENS)


def test_a_pipe_gets_a_line_each_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress in a log is rare and readable."""
    times = iter([0.0, 1.0, 10.5, 12.0, 21.0])
    monkeypatch.setattr("adwarm.cli.log.time.monotonic", lambda: next(times))
    lines: list[str] = []
    update = _line_printer(lines.append)
    for done in range(1, 5):
        update(CheckProgress(done * 1_000_000, 10_000_000, done * 1000, done))
    assert lines == [
        "read 2 of 10 MB in 10 s: 2,000 events, 2 rejected",
        "read 4 of 10 MB in 21 s: 4,000 events, 4 rejected",
    ]
