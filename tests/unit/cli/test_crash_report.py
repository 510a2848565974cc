"""Unexpected errors on the command line, and commands after a fallback was used."""

import stat
import tempfile
from pathlib import Path

import pytest

from adwarm.foundation.errors import Transient
from adwarm.recovery import Call, Fallback
from adwarm.runtime import Runtime

from .conftest import Adwarm

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
        ("verify",),
        ("maintain", "--step", "compact"),
        ("db", "upgrade"),
        ("db", "upgrade", "--plan", "--json"),
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
    result = adwarm("status")
    [path] = (home / "errors").iterdir()
    text = path.read_text(encoding="utf-8")

    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith("adwarm: unexpected error KeyError")
    assert str(path) in result.stderr
    assert "Traceback (most recent call last)" in text
    assert all(word in text for word in ("ValueError", "KeyError", "test_crash_report.py", "adwarm status"))
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
    first = adwarm("status")
    [path] = tmp_path.glob("adwarm-error-*.txt")
    with monkeypatch.context() as closed:
        closed.setattr(tempfile, "tempdir", str(home / "errors"))
        second = adwarm("status")

    assert str(path) in first.stderr
    assert "could not be written" in second.stderr
    assert [first.exit_code, second.exit_code] == [1, 1]
