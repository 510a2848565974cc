"""`adwarm strategy`: list, show, set, enable, disable, remove, import; and the table in `adwarm status`."""

from pathlib import Path

import pytest

from tests.unit.cli.conftest import Adwarm

FILE = """
[strategies.mornings]
date_ranges = ["yesterday", "last_7d"]
cron = "0 6 * * *"
time_zone = "America/New_York"

[strategies.default_dashboards]
max_calls_per_hour = 20
"""


def _make(adwarm: Adwarm, *words: str) -> None:
    assert adwarm("strategy", "set", "board", "--range", "last_30d", "--account", "77", *words).exit_code == 0


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
    assert "default_dashboards" in adwarm("status").stdout


def test_set_creates_and_changes_only_what_is_given(adwarm: Adwarm) -> None:
    """Creating names what was given; a change keeps the rest; the same again changes nothing."""
    first = adwarm(
        "strategy", "set", "board", "--range", "last_30d", "--account", "77", "--retire-unused", "--json"
    ).json
    assert (first["change"], first["fields"]["accounts"]["after"]) == ("added", ["act_77"])
    second = adwarm("strategy", "set", "board", "--cron", "0 7 * * mon-fri", "--json").json
    assert second["fields"] == {"cron": {"before": "0 */6 * * *", "after": "0 7 * * mon-fri"}}
    assert adwarm("strategy", "set", "board", "--account", "act_77", "--json").json["change"] == "unchanged"
    shown = adwarm("strategy", "list", "board", "--json").json
    assert (shown["definition"]["retire_unused"], shown["definition"]["accounts"]) == (True, ["act_77"])
    assert len(shown["due"]) == 5
    assert adwarm("strategy", "set", "board", "--all-accounts", "--json").json["fields"]["accounts"]["after"] is None


def test_show_prints_the_due_times_in_the_zone(adwarm: Adwarm) -> None:
    """The table of due times names the strategy's own zone."""
    _make(adwarm, "--cron", "0 7 * * *", "--time-zone", "Asia/Tokyo")
    text = adwarm("strategy", "list", "board").stdout
    assert "07:00 JST" in text
    assert "Latest runs: none yet" in text


def test_invalid_values_are_refused(adwarm: Adwarm, subtests: pytest.Subtests) -> None:
    """One line says what to write, and nothing is stored."""
    for words, message in [
        (("x",), "names no date range"),
        (("x", "--range", "next_week"), "next_week"),
        (("x", "--range", "today", "--cron", "often"), "five fields"),
        (("x", "--range", "today", "--time-zone", "Europe/Belin"), "IANA"),
        (("x", "--range", "today", "--report", "sales"), "is not configured"),
        (("x", "--range", "today", "--account", "77", "--all-accounts"), "not both"),
        (("x", "--range", "today", "--max-calls-per-hour", "0"), "at least 1"),
    ]:
        with subtests.test(words=words, message=message):
            result = adwarm("strategy", "set", *words)
            assert (result.exit_code, message in result.stderr) == (1, True)
            assert [item["name"] for item in adwarm("strategy", "list", "--json").json] == ["default_dashboards"]


def test_disable_enable_and_remove(adwarm: Adwarm) -> None:
    """Each says what it did; a removed default stays removed; an unknown name changes nothing."""
    _make(adwarm)
    assert adwarm("strategy", "set", "board", "--disabled", "--json").json["change"] == "disabled"
    assert adwarm("strategy", "list", "--json").json[0]["next_run"] is None
    assert adwarm("strategy", "set", "board", "--enabled", "--json").json["change"] == "enabled"
    failed = adwarm("strategy", "remove", "default_dashboards", "typo")
    assert "there is no strategy 'typo'; the strategies are board, default_dashboards" in failed.stderr
    assert len(adwarm("strategy", "list", "--json").json) == 2
    adwarm("strategy", "remove", "default_dashboards", "board")
    assert "create one with" in adwarm("strategy", "list").stdout


def test_changes_of_the_state_are_lines(adwarm: Adwarm) -> None:
    """A line, and no table; with other options, these are changed as well; an unknown name is an error."""
    _make(adwarm)
    assert adwarm("strategy", "set", "board", "--disabled").stdout == "strategy board is disabled\n"
    assert adwarm("strategy", "set", "board", "--enabled").stdout == "strategy board is enabled\n"
    both = adwarm("strategy", "set", "board", "--disabled", "--open-hours", "3", "--json").json
    assert (both["fields"]["open_hours"]["after"], both["next_run"]) == (3, None)
    assert adwarm("strategy", "set", "nobody", "--disabled").exit_code == 1
    assert adwarm("strategy", "remove", "board").stdout == "strategy board is removed\n"


def test_lists_may_be_separated_by_commas(adwarm: Adwarm) -> None:
    """A repeated option and one with commas mean the same; one without a value is refused."""
    words = ("--range", "yesterday, last_7d", "--account", "1,act_2", "--account", "3", "--exclude", "2,")
    fields = adwarm("strategy", "set", "x", *words, "--json").json["fields"]
    assert [fields[name]["after"] for name in ("date_ranges", "accounts", "excluded_accounts")] == [
        ["yesterday", "last_7d"],
        ["act_1", "act_2", "act_3"],
        ["act_2"],
    ]
    assert "--exclude ',' has no value" in adwarm("strategy", "set", "x", "--exclude", ",").stderr


def test_import_says_what_it_does(adwarm: Adwarm, tmp_path: Path) -> None:
    """A dry run writes nothing; the import adds and changes; a second one changes nothing; others stay."""
    _make(adwarm)
    file = tmp_path / "strategies.toml"
    file.write_text(FILE, encoding="utf-8")
    dry = adwarm("strategy", "import", str(file), "--dry-run", "--json").json
    assert (dry["added"], dry["changed"], dry["not_in_file"]) == (["mornings"], ["default_dashboards"], ["board"])
    assert len(adwarm("strategy", "list", "--json").json) == 2
    text = adwarm("strategy", "import", str(file)).stdout
    assert "max_calls_per_hour 100 -> 20" in text
    assert "left as it is" in text
    assert adwarm("strategy", "import", str(file), "--json").json["unchanged"] == ["mornings", "default_dashboards"]


def test_a_bad_file_writes_nothing(adwarm: Adwarm, tmp_path: Path, subtests: pytest.Subtests) -> None:
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
            file = tmp_path / "strategies.toml"
            file.write_text(text, encoding="utf-8")
            result = adwarm("strategy", "import", str(file))
            assert (result.exit_code, message in result.stderr) == (1, True), result.stderr
            assert [item["name"] for item in adwarm("strategy", "list", "--json").json] == ["default_dashboards"]
