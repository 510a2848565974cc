"""`make up`: the token of the demo, and the dashboard that is built only when it has to be."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dev import read_api


class _Commands:
    """Stands for `subprocess.run`, and notes the commands."""

    def __init__(self, returncode: int = 0) -> None:
        self.commands: list[list[str]] = []
        self.returncode = returncode

    def __call__(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        return subprocess.CompletedProcess(command, self.returncode, json.dumps({"token": "adwarm_new"}), "")


def test_the_token_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first start makes a token that may read and enqueue; later ones use it, and only its owner can read it."""
    run = _Commands()
    monkeypatch.setattr(subprocess, "run", run)
    tokens = [read_api.get_or_create_token(tmp_path, {}) for _ in range(2)]

    assert tokens == ["adwarm_new", "adwarm_new"]
    [command] = run.commands
    assert command[1:5] == ["-m", "adwarm", "token", "create"]
    assert [command[at + 1] for at, word in enumerate(command) if word == "--scope"] == ["read", "enqueue"]
    assert read_api.token_file(tmp_path).stat().st_mode & 0o077 == 0


def test_a_token_that_cannot_be_made_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the command there is no token and no file of one."""
    monkeypatch.setattr(subprocess, "run", _Commands(returncode=2))

    assert read_api.get_or_create_token(tmp_path, {}) is None
    assert not read_api.token_file(tmp_path).exists()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dashboard with one source, which is not built."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "app.tsx").write_text("export {}")
    monkeypatch.setattr(read_api, "DASHBOARD", tmp_path)
    monkeypatch.setattr(read_api, "_SOURCES", (tmp_path / "src",))
    monkeypatch.setattr(read_api, "_SOURCE_FILES", ())
    return tmp_path


def _build(folder: Path, age: int) -> None:
    (folder / "dist").mkdir(exist_ok=True)
    page = folder / "dist" / "index.html"
    page.write_text("built")
    changed = (folder / "src" / "app.tsx").stat().st_mtime
    os.utime(page, (changed - age, changed - age))


@pytest.mark.parametrize(("age", "builds"), [(-10, 0), (10, 1), (None, 1)])
def test_it_is_built_when_a_source_is_newer(
    folder: Path, monkeypatch: pytest.MonkeyPatch, age: int | None, builds: int
) -> None:
    """A build that is newer than every source is used as it is."""
    run = _Commands()
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(read_api.shutil, "which", lambda name: f"/bin/{name}")
    if age is not None:
        _build(folder, age)
    found = read_api.build_dashboard()

    assert run.commands == [["make", "dashboard"]] * builds
    assert found == (None if age is None else folder / "dist")


def test_without_npm_an_earlier_build_is_served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is started; an old build is better than none."""
    run = _Commands()
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(read_api.shutil, "which", lambda name: None)
    assert read_api.build_dashboard() is None
    _build(folder, 10)

    assert read_api.build_dashboard() == folder / "dist"
    assert run.commands == []
