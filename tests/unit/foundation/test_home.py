"""The home: which rule chooses it, never the working folder unless somebody says so."""

from pathlib import Path

import pytest
from platformdirs import user_data_dir

from adwarm.foundation.home import absolute_path, choose_home, make_private_folder


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
