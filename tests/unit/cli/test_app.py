"""The command line as a whole: help, `python -m adwarm`, and errors that every command reports in one line."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import adwarm as adwarm_package
from adwarm.cli.app import COMMANDS
from adwarm.settings import load_settings

from .conftest import Adwarm

ROOT = Path(__file__).resolve().parents[3]


def test_missing_data_names_the_dag_that_creates_it(adwarm: Adwarm, subtests: pytest.Subtests) -> None:
    """The error names the DAG that creates the missing data, in one line or as JSON."""
    for words, advice in [
        (("plan",), "adwarm_access_patterns"),
        (("patterns",), "adwarm_access_patterns"),
    ]:
        with subtests.test(words=words, advice=advice):
            result = adwarm(*words)
            assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
            assert advice in result.stderr
            assert advice in adwarm(*words, "--json").json["error"]


BAD = {
    "account": (("get", "../etc/passwd", "today"), "account id"),
    "account to warm": (("warm", "x", "--range", "today"), "account id"),
    "account to score": (("fatigue", "act_x"), "account id"),
    "range": (("get", "act_1", "sometime"), "date range"),
    "range to warm": (("warm", "act_1", "--range", "2026-02-30..2026-03-01"), "2026-02-30"),
    "moment": (("plan", "--at", "soon"), "is not a timestamp"),
    "moment to warm": (("warm", "act_1", "--range", "today", "--at", "soon"), "is not a timestamp"),
    "priority": (("warm", "act_1", "--range", "today", "--priority", "asap"), "critical"),
    "actor": (("get", "act_1", "today", "--actor", "cat"), "embedded"),
    "report": (("get", "act_1", "today", "--report", "nonsense"), "is not configured"),
    "day": (("fatigue", "act_1", "--as-of", "then"), "is not a day"),
}


def test_an_invalid_argument_is_one_line(adwarm: Adwarm, subtests: pytest.Subtests) -> None:
    """The error is one line without a traceback that says what to write; the exit code is 1, also with --json."""
    for case, (line, expected) in BAD.items():
        with subtests.test(case):
            result = adwarm(*line)
            assert (result.exit_code, result.stderr.count("\n"), result.stdout) == (1, 1, "")
            assert expected in result.stderr
            assert expected in adwarm(*line, "--json").json["error"]


@pytest.mark.parametrize(
    "command",
    [
        ("warm", "act_1", "--range", "today"),
        ("status",),
        ("plan",),
        ("fatigue", "act_1"),
        ("verify",),
        ("db", "upgrade"),
        ("db", "upgrade", "--plan"),
    ],
)
def test_an_invalid_setting_is_one_line_without_its_secret(
    adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """Every command names the variable; the message on a missing database contains no password."""
    monkeypatch.setenv("ADWARM_DATABASE_URL", "postgresql://adwarm:hunter2@127.0.0.1:1/adwarm")
    gone = adwarm(*command)
    monkeypatch.setenv("ADWARM_MAX_BATCHES", "hunter2")
    bad = adwarm(*command)
    assert (gone.exit_code, gone.stderr.count("\n"), bad.exit_code, bad.stderr.count("\n")) == (1, 1, 1, 1)
    assert "ADWARM_DATABASE_URL" in gone.stderr
    assert "ADWARM_MAX_BATCHES" in bad.stderr
    assert "hunter2" not in gone.stderr + bad.stderr + gone.stdout + bad.stdout


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version_is_the_running_codes(adwarm: Adwarm, option: str) -> None:
    """Both spellings print the version of the package that runs, which is the one that the wheel carries."""
    result = adwarm(option)
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"adwarm {adwarm_package.__version__}\n", "")


def test_help_lists_the_commands_in_panels(adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 80 columns each command has one whole line, in the order of the list, below the title of its panel."""
    monkeypatch.setenv("COLUMNS", "80")
    lines = [line.strip("\u2502\u256d\u256e\u2500 ") for line in adwarm("--help").stdout.splitlines()]
    expected = [
        text
        for panel, commands in COMMANDS.items()
        for text in (panel, *(f"{name:11}  {line}" for name, (_, line) in commands.items()))
    ]
    start = lines.index("Read")
    assert [line for line in lines[start:] if line and "\u2570" not in line] == expected
    assert len(COMMANDS) == 6


def test_help_imports_nothing_heavy() -> None:
    """`adwarm --help` imports no heavy package."""
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


def test_python_m_adwarm_is_the_same(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The module runs like the command, and an error is one line there too."""
    monkeypatch.setattr(sys, "argv", ["adwarm", "get", "nobody", "today"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("adwarm", run_name="__main__", alter_sys=True)
    shown = capfd.readouterr().err
    assert (stop.value.code, shown.count("\n"), "Traceback" in shown) == (1, 1, False)
    assert load_settings().home == home
