"""The home: which rule chooses it, never the working folder unless somebody says so."""

import errno
import os
from pathlib import Path
from typing import Self

import pytest
from platformdirs import user_data_dir

from adwarm.foundation.home import (
    absolute_path,
    choose_home,
    is_temporary,
    make_private_folder,
    write_private_file,
)


def test_the_rules_in_their_order(tmp_path: Path) -> None:
    """ADWARM_HOME, then the settings file, then AIRFLOW_HOME, then the user's data folder; empty counts as unset."""
    everything = {"ADWARM_HOME": "/own", "AIRFLOW_HOME": "/airflow"}
    found = [
        choose_home(everything, "/file"),
        choose_home({"adwarm_home": "/own"}),
        choose_home({**everything, "ADWARM_HOME": ""}, "/file"),
        choose_home({**everything, "ADWARM_HOME": ""}),
        choose_home({"AIRFLOW_HOME": ""}),
    ]
    assert [(str(choice.path), choice.rule) for choice in found] == [
        ("/own", "set by ADWARM_HOME"),
        ("/own", "set by ADWARM_HOME"),
        ("/file", "set by the file in ADWARM_CONFIG"),
        ("/airflow/adwarm", "in AIRFLOW_HOME"),
        (user_data_dir("adwarm"), "in the user's data folder"),
    ]
    assert not any(choice.is_relative for choice in found)


def test_a_relative_home_is_made_absolute_and_said_to_be_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder does not move when the process changes its working folder later."""
    monkeypatch.chdir(tmp_path)
    own, airflow = choose_home({"ADWARM_HOME": "data"}), choose_home({"AIRFLOW_HOME": "airflow"})
    assert (own.path, own.is_relative) == (tmp_path / "data", True)
    assert (airflow.path, airflow.is_relative) == (tmp_path / "airflow" / "adwarm", True)


def test_the_users_folder_and_variables_are_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` is expanded in both, variables in AIRFLOW_HOME, as Airflow does."""
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("PLACE", "flow")
    assert absolute_path("~/warm") == Path("/home/ann/warm")
    choice = choose_home({"AIRFLOW_HOME": "~/$PLACE"})
    assert (choice.path, choice.is_relative) == (Path("/home/ann/flow/adwarm"), False)


def test_a_new_folder_is_private(tmp_path: Path) -> None:
    """Only the user may read what is created; a folder that exists keeps its rights."""
    (tmp_path / "shared").mkdir(mode=0o755)
    make_private_folder(tmp_path / "shared" / "new" / "home")
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("shared", "shared/new", "shared/new/home")]
    assert modes == [0o755, 0o700, 0o700]
    make_private_folder(tmp_path / "shared" / "new" / "home")


@pytest.mark.parametrize("verify", [True, False])
def test_a_file_is_private_from_the_begin_and_whole_or_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verify: bool
) -> None:
    """It has its rights before it has bytes; a write that fails leaves the file of before and nothing else."""
    path, modes = tmp_path / "file.json", list[int]()
    real = os.fdopen

    def watch(handle: int, *arguments: object) -> object:
        modes.append(os.fstat(handle).st_mode & 0o777)
        return real(handle, *arguments)  # type: ignore[call-overload]

    old = os.umask(0)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdopen", watch)
            status = write_private_file(path, b"first", verify=verify)
    finally:
        os.umask(old)
    assert (modes, path.stat().st_mode & 0o777, status.st_size) == ([0o600], 0o600, 5)

    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="space"):
        write_private_file(path, b"second", verify=verify)
    assert path.read_bytes() == b"first"
    assert [found.name for found in tmp_path.iterdir()] == ["file.json"]


def test_a_file_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    """Whatever lies where the file belongs is replaced."""
    (tmp_path / "file" / "inner").mkdir(parents=True)
    write_private_file(tmp_path / "file", b"bytes")
    assert (tmp_path / "file").read_bytes() == b"bytes"


def test_what_reads_back_differently_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that returns other bytes than were written is an error before the file has its name."""
    real = os.fdopen

    class Bad:
        def __init__(self, handle: int, mode: str) -> None:
            self._file = real(handle, mode)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_arguments: object) -> None:
            self._file.close()

        def __getattr__(self, name: str) -> object:
            return getattr(self._file, name)

        def read(self) -> bytes:
            return b"x"

    monkeypatch.setattr(os, "fdopen", Bad)
    with pytest.raises(OSError, match="differently"):
        write_private_file(tmp_path / "file", b"bytes", verify=True)
    assert list(tmp_path.iterdir()) == []


def test_unfinished_files_are_told_by_their_names(subtests: pytest.Subtests) -> None:
    """No other file is taken for one."""
    for name, expected in [
        (f".{'a' * 64}.parquet.123.0123abcd", True),
        (".review-1.html.7.0123abcd", True),
        (f"{'a' * 64}.parquet", False),
        (".hidden", False),
        (".file.0123abcd", False),
    ]:
        with subtests.test(name=name, expected=expected):
            assert is_temporary(name) is expected
