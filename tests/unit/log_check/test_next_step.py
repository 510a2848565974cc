"""The settings that are proposed read the log, and the command that tries them can be pasted into a shell."""

import re
import shlex
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from adwarm.log_check.check import check_log
from adwarm.log_check.next_step import find_next_step, propose_path_pattern
from adwarm.log_check.suggestions import suggest
from adwarm.settings import AccessLogSettings, Settings, load_settings

NOW = datetime(2026, 4, 1, tzinfo=UTC)
LINE = 'h - - [02/Mar/2026:10:00:00 +0000] "GET {} HTTP/1.1" 200 5 "-" "Mozilla/5.0"\n'
BOARDS = ["/dashboards/17/last_7d?token=", "/dashboards/18/yesterday", "/login"]


def _propose(paths: list[str], **log: dict[str, str]) -> str | None:
    return propose_path_pattern(paths, AccessLogSettings.model_validate(log))


def test_a_pattern_reads_the_paths_it_was_made_of(subtests: pytest.Subtests) -> None:
    """Account and range are found in the first path, wherever they stand; parts that vary may vary."""
    for paths, account, date_range in [
        (BOARDS, "17", "last_7d"),
        (["/act_5/report/Last%207%20Days"], "act_5", "Last%207%20Days"),
        (["/t/acme/7d/accounts/9/", "/t/other.co/mtd/accounts/8/"], "9", "7d"),
        (["/7d/9", "/mtd/9"], "9", "7d"),
    ]:
        with subtests.test(paths=paths):
            pattern = _propose(paths)
            assert pattern is not None
            match = re.search(pattern, paths[0])
            assert match is not None
            assert (match["account_id"], match["date_range"]) == (account, date_range)
            assert not re.search(pattern, "/login")


def test_no_pattern_is_proposed_where_none_is_clear(subtests: pytest.Subtests) -> None:
    """Without a known range, with two numbers, with mostly other words or an impossible account there is none."""
    for paths in [
        [],
        ["/login", "/board?account=...&range=..."],
        ["/dashboards/17/overview"],
        ["/org/4/dashboards/17/last_7d"],
        ["/last_7d/17/yesterday"],
        ["/boards/17/last_7d", "/boards/17/a", "/boards/17/b"],
        ["/boards/123456789012345678901234567890/last_7d"],
    ]:
        with subtests.test(paths=paths):
            assert _propose(paths) is None


def test_own_words_and_constants_count() -> None:
    """A word in the settings is a range; with a constant range the account is enough."""
    assert _propose(["/b/17/woche"], date_ranges={"woche": "last_week"}) is not None
    pattern = _propose(["/b/17", "/b/18"], constants={"date_range": "last_7d"})
    assert pattern is not None
    assert re.search(pattern, "/b/19?x=1")
    assert not re.search(pattern, "/b/19x")


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
    assert (check.events, step.matched, step.paths) == (0, 2, 3)
    assert any("reads 2 of 3 paths" in line for line in suggest(check, Settings(), NOW, step))
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
