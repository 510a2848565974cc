"""The command line as a whole: help, `python -m adwarm`, and errors that every command reports in one line."""

import os
import re
import runpy
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

import adwarm as adwarm_package
from adwarm.cli.app import COMMANDS, app
from adwarm.foundation.errors import Transient
from adwarm.recovery import Call, Fallback
from adwarm.runtime import Runtime
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
    "account to warm": (("warm", "/x", "--range", "today"), "account id"),
    "account to score": (("fatigue", "act/x"), "account id"),
    "range": (("get", "act_1", "sometime"), "date range"),
    "range to warm": (("warm", "act_1", "--range", "2026-02-30..2026-03-01"), "2026-02-30"),
    "moment": (("plan", "--at", "soon"), "is not a timestamp"),
    "moment to warm": (("warm", "act_1", "--range", "today", "--at", "soon"), "is not a timestamp"),
    "priority": (("warm", "act_1", "--range", "today", "--priority", "asap"), "critical"),
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
        ("maintain", "--verify"),
        ("db", "upgrade"),
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


NEVER_LOADED = {
    *("airflow", "alembic", "fastapi", "holidays", "httpx", "jinja2"),
    *("numpy", "pandas", "pyarrow", "requests", "scipy", "tenacity", "tornado", "upath", "xgboost"),
}
"""What neither help nor a stored report nor the status needs."""
RUN = """
import sys
from adwarm.cli import main
try:
    main()
except SystemExit as stop:
    print(stop.code or 0, *sys.modules, file=sys.stderr)
"""


def _modules_of(*words: str) -> set[str]:
    """Return what a new process has imported when the command has succeeded."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'include'}:{ROOT / 'clients/python'}"}
    command = [sys.executable, "-c", RUN, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    code, *modules = done.stderr.splitlines()[-1].split()
    assert (code, bool(done.stdout)) == ("0", True)
    return set(modules)


def test_help_names_values_and_no_types(adwarm: Adwarm) -> None:
    """An option says what to write after it, a flag nothing, and neither a type of Python."""
    text = adwarm("warm", "--help").stdout
    assert re.search(r"--range +TEXT +Date", text)
    assert re.search(r"--json +Print", text)
    assert not re.search(r"<[a-z]|range \[", text)


def test_a_shell_completes_commands_and_options(subtests: pytest.Subtests) -> None:
    """What is typed is completed by commands, their commands and their options."""
    for line, words in [
        ("adwarm stra", ["strategy"]),
        ("adwarm strategy ", ["list", "set", "remove"]),
        ("adwarm status --dig", ["--digest"]),
    ]:
        with subtests.test(line=line):
            *typed, _ = line.split(" ")
            environment = {"COMP_WORDS": line, "COMP_CWORD": str(len(typed)), "_ADWARM_COMPLETE": "complete_bash"}
            result = CliRunner().invoke(app, env=environment, prog_name="adwarm")
            assert result.stdout.split() == words


def test_help_imports_no_command_and_nothing_heavy() -> None:
    """`adwarm --help` lists every command and imports the module of none."""
    modules = _modules_of("--help")

    assert modules & {"adwarm.cli.get", "adwarm.runtime", "adwarm.settings", "pydantic", "sqlalchemy"} == set()
    assert modules & NEVER_LOADED == set()


@pytest.mark.slow
def test_frequent_commands_import_what_they_use_real_clock(adwarm: Adwarm) -> None:
    """`adwarm get` of a stored report and `adwarm status` import nothing heavy that they do not use."""
    assert adwarm("warm", "act_1", "--range", "2026-11-01..2026-11-02").exit_code == 0

    assert _modules_of("get", "act_1", "2026-11-01..2026-11-02", "--json") & NEVER_LOADED == set()
    assert _modules_of("status", "--json") & NEVER_LOADED == set()


def test_python_m_adwarm_is_the_same(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The module runs like the command, and an error is one line there too."""
    monkeypatch.setattr(sys, "argv", ["adwarm", "get", "no/body", "today"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("adwarm", run_name="__main__", alter_sys=True)
    shown = capfd.readouterr().err
    assert (stop.value.code, shown.count("\n"), "Traceback" in shown) == (1, 1, False)
    assert load_settings().home == home


SECRET = "s3cr3tValue0123456789abcdef"


def _fall_back() -> None:
    """Use a fallback, while another one fails until it is isolated."""

    def down() -> str:
        raise Transient("down")

    pipeline = Runtime().pipeline
    for _ in range(6):
        places = [Fallback("warehouse", down, 5.0), Fallback("store", lambda: "rows", 5.0)]
        assert pipeline.run(down, call=Call("meta", subject="act_1"), fallbacks=places).is_degraded


def test_commands_work_after_a_fallback(
    adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    """Commands work with isolated sources and recorded errors in the database."""
    monkeypatch.setenv("ADWARM_RECOVERY__MAX_ATTEMPTS", "1")
    _fall_back()
    for words in [
        ("status",),
        ("status", "--json"),
        ("warm", "act_1", "--range", "yesterday"),
        ("get", "act_1", "yesterday", "--fetch"),
        ("warm", "--queue", "act_1", "--range", "yesterday"),
        ("maintain", "--verify"),
        ("maintain", "--step", "compact"),
        ("db", "upgrade"),
    ]:
        with subtests.test(words=words):
            result = adwarm(*words)

            assert (result.exit_code, "unexpected" in result.stderr) == (0, False)


def test_doctor_works_after_a_fallback(adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the checks of the log and the forecast fail."""
    monkeypatch.setenv("ADWARM_RECOVERY__MAX_ATTEMPTS", "1")
    _fall_back()
    missing = {check["name"] for check in adwarm("doctor", "--json").json if not check["ok"]}

    assert missing == {"access log", "forecast"}


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A status command that fails with a library error, with a secret in its message and its cause."""

    def status(self: object) -> None:
        try:
            raise ValueError(f"postgresql://adwarm:{SECRET}@db/adwarm")
        except ValueError as cause:
            raise KeyError(f"access_token={SECRET}\nand more words") from cause

    monkeypatch.setattr("adwarm.backpressure.SqlAdmission.status", status)


@pytest.mark.usefixtures("broken")
def test_an_unexpected_error_is_one_line_and_a_file(adwarm: Adwarm, home: Path) -> None:
    """The line names error and file; the file has the whole chain and is private; neither contains a secret."""
    result = adwarm("status", "--all")
    [path] = (home / "errors").iterdir()
    text = path.read_text(encoding="utf-8")

    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith("adwarm: unexpected error KeyError")
    assert str(path) in result.stderr
    assert "Traceback (most recent call last)" in text
    assert all(word in text for word in ("ValueError", "KeyError", "test_app.py", "adwarm status --all"))
    assert SECRET not in result.stderr + text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.usefixtures("broken")
def test_an_unexpected_error_as_json(adwarm: Adwarm, home: Path) -> None:
    """Standard output is one JSON document with the path of the file."""
    result = adwarm("status", "--json")

    assert result.exit_code == 1
    assert result.json["kind"] == "KeyError"
    assert Path(result.json["traceback"]).parent == home / "errors"


@pytest.mark.usefixtures("broken")
def test_a_read_only_home_is_no_second_error(
    adwarm: Adwarm, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file goes to the folder of temporary files; when that fails too, the line says so."""
    adwarm("db", "upgrade")
    (home / "errors").write_text("a file where the folder should be")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    first = adwarm("status", "--all")
    [path] = tmp_path.glob("adwarm-error-*.txt")
    with monkeypatch.context() as closed:
        closed.setattr(tempfile, "tempdir", str(home / "errors"))
        second = adwarm("status", "--all")

    assert str(path) in first.stderr
    assert "could not be written" in second.stderr
    assert [first.exit_code, second.exit_code] == [1, 1]
