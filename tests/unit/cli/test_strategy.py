"""`adwarm strategy`: list, show, set, remove; and the table in `adwarm status`."""

import io
import os
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Adwarm, CommandResult

FILE = """
[strategies.mornings]
date_ranges = ["yesterday", "last_7d"]
cron = "0 6 * * *"
time_zone = "America/New_York"

[strategies.default_dashboards]
max_calls_per_hour = 20
"""


BOARD = '[strategies.board]\ndate_ranges = ["last_30d"]\naccounts = ["77"]\n'


def _set(adwarm: Adwarm, text: str, *words: str) -> CommandResult:
    file = Path(os.environ["ADWARM_HOME"]).parent / "strategies.toml"
    file.write_text(text, encoding="utf-8")
    return adwarm("strategy", "set", "--file", str(file), *words)


def _fields(result: CommandResult) -> Any:
    [strategy] = result.json["strategies"]
    return strategy["fields"]


def test_a_new_installation_lists_its_default(adwarm: Adwarm) -> None:
    """The default strategy is there, and `status` shows the same line."""
    [listed] = adwarm("strategy", "list", "--json").json
    assert (listed["name"], listed["status"], listed["keys"], listed["definition"]["cron"]) == (
        "default_dashboards",
        "enabled",
        0,
        "0 */6 * * *",
    )
    [shown] = adwarm("status", "--json").json["strategies"]
    assert shown["name"] == "default_dashboards"
    assert "default_dashboards" in adwarm("status", "--all").stdout


def test_set_creates_and_changes_only_what_is_given(adwarm: Adwarm) -> None:
    """Creating names what was given; a change keeps the rest; the same again changes nothing; "all" lifts a list."""
    first = _set(adwarm, BOARD + "retire_unused = true", "--json").json["strategies"][0]
    assert (first["change"], first["fields"]["accounts"]["after"]) == ("added", ["act_77"])
    second = _set(adwarm, '[strategies.board]\ncron = "0 7 * * mon-fri"', "--json")
    assert _fields(second) == {"cron": {"before": "0 */6 * * *", "after": "0 7 * * mon-fri"}}
    again = _set(adwarm, '[strategies.board]\naccounts = ["act_77"]', "--json")
    assert again.json["strategies"][0]["change"] == "unchanged"
    shown = adwarm("strategy", "list", "board", "--json").json
    assert (shown["definition"]["retire_unused"], shown["definition"]["accounts"]) == (True, ["act_77"])
    assert len(shown["due"]) == 5
    lifted = _set(adwarm, '[strategies.board]\naccounts = "all"', "--json")
    assert _fields(lifted) == {"accounts": {"before": ["act_77"], "after": None}}


def test_show_prints_the_due_times_in_the_zone(adwarm: Adwarm) -> None:
    """The table of due times names the strategy's own zone."""
    _set(adwarm, BOARD + 'cron = "0 7 * * *"\ntime_zone = "Asia/Tokyo"')
    text = adwarm("strategy", "list", "board").stdout
    assert "07:00 JST" in text
    assert "Latest runs: none yet" in text


def test_invalid_values_are_refused(adwarm: Adwarm, subtests: pytest.Subtests) -> None:
    """One line says what to write, and nothing is stored."""
    today = 'date_ranges = ["today"]\n'
    for text, message in [
        ("", "names no date range"),
        ('date_ranges = ["next_week"]', "next_week"),
        (today + 'cron = "often"', "five fields"),
        (today + 'time_zone = "Europe/Belin"', "IANA"),
        (today + 'report = "sales"', "is not configured"),
        (today + 'accounts = "some"', "accounts"),
        (today + "max_calls_per_hour = 0", "at least 1"),
    ]:
        with subtests.test(text=text, message=message):
            result = _set(adwarm, f"[strategies.x]\n{text}")
            assert (result.exit_code, message in result.stderr) == (1, True), result.stderr
            assert [item["name"] for item in adwarm("strategy", "list", "--json").json] == ["default_dashboards"]


def test_disable_enable_and_remove(adwarm: Adwarm) -> None:
    """A disabled strategy is never due; a removed default stays removed; an unknown name changes nothing."""
    _set(adwarm, BOARD)
    assert "never; it is disabled" in _set(adwarm, "[strategies.board]\nenabled = false").stdout
    assert adwarm("strategy", "list", "--json").json[0]["next_run"] is None
    enabled = _set(adwarm, "[strategies.board]\nenabled = true", "--json")
    assert _fields(enabled) == {"enabled": {"before": False, "after": True}}
    failed = adwarm("strategy", "remove", "default_dashboards", "typo")
    assert "there is no strategy 'typo'; the strategies are board, default_dashboards" in failed.stderr
    assert len(adwarm("strategy", "list", "--json").json) == 2
    assert adwarm("strategy", "remove", "default_dashboards", "board").stdout.endswith("strategy board is removed\n")
    assert "`adwarm strategy set --file` makes some" in adwarm("strategy", "list").stdout


def test_set_says_what_it_does(adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dry run writes nothing; a file adds and changes; a second time changes nothing; others stay; `-` is read."""
    _set(adwarm, BOARD)
    dry = _set(adwarm, FILE, "--dry-run", "--json").json
    changes = {item["name"]: item["change"] for item in dry["strategies"]}
    assert (changes, dry["not_in_file"]) == ({"mornings": "added", "default_dashboards": "changed"}, ["board"])
    assert len(adwarm("strategy", "list", "--json").json) == 2
    text = _set(adwarm, FILE).stdout
    assert "max_calls_per_hour 100 -> 20" in text
    assert "left as it is" in text
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(FILE.encode())))
    same = adwarm("strategy", "set", "--file", "-", "--json").json["strategies"]
    assert {item["change"] for item in same} == {"unchanged"}


def test_a_bad_file_writes_nothing(adwarm: Adwarm, subtests: pytest.Subtests) -> None:
    """The error names every problem, and no strategy of the file is stored."""
    for text, message in [
        ("x = [", "is not valid TOML"),
        ("", "holds no strategies"),
        ("other = 1\n" + FILE, "'other'"),
        ("[strategies]\na = 1", "is not a table"),
        (FILE + 'speed = "fast"', "no field 'speed'; the fields are date_ranges"),
        (FILE + 'batch_size = "many"\n[strategies.c]\ncron = "0 6 * * *"', "batch_size` | strategy 'c' is new"),
    ]:
        with subtests.test(text=text, message=message):
            result = _set(adwarm, text)
            assert (result.exit_code, message in result.stderr) == (1, True), result.stderr
            assert [item["name"] for item in adwarm("strategy", "list", "--json").json] == ["default_dashboards"]
    assert "cannot be read" in adwarm("strategy", "set", "--file", "/nowhere/x.toml").stderr
