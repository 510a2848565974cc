"""`adwarm airflow setup` prints the settings of an installed Airflow, and keeps what the user has."""

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from adwarm.cli.airflow import BUNDLE

from .conftest import Adwarm

OPTION = "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"
RUNS = "AIRFLOW__SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE"
MINE = {"name": "mine", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle", "kwargs": {"path": "/x"}}
CFG = """\
[core]
# my comment
dags_folder = /x

[dag_processor]
dag_bundle_config_list = [
      {
        "name": "mine", "classpath": "a.B", "kwargs": {"subdir": "100%%"}
      }
    ]
refresh_interval = 30

[scheduler]
max_dagruns_per_loop_to_schedule = 500
"""


@pytest.fixture(autouse=True)
def airflow_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home of Airflow, and no setting of the machine."""
    for name in (OPTION, RUNS, "AIRFLOW_CONFIG", "MALLOC_ARENA_MAX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    return tmp_path


def _variables(text: str) -> dict[str, str]:
    """Return what the `export` lines of an output set."""
    words = [shlex.split(line, comments=True) for line in text.splitlines()]
    return dict(word[1].split("=", 1) for word in words if word[:1] == ["export"])


def _bundles(text: str) -> list[str]:
    return [entry["name"] for entry in json.loads(text)]


def test_the_default_bundle_stays_beside_ours(adwarm: Adwarm) -> None:
    """Without a configured list, the DAGs folder of Airflow's default is kept."""
    variables = _variables(adwarm("airflow", "setup").stdout)
    assert _bundles(variables[OPTION]) == ["dags-folder", "adwarm"]
    assert (variables[RUNS], variables["MALLOC_ARENA_MAX"]) == ("200", "2")


def test_a_shell_gets_the_values_whole(adwarm: Adwarm) -> None:
    """`eval` of the output gives a shell the very JSON."""
    script = f'eval "$(cat)" && printf %s "${OPTION}"'
    text = adwarm("airflow", "setup").stdout
    done = subprocess.run(["bash", "-c", script], input=text, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)[-1] == BUNDLE


def test_bundles_of_the_environment_are_kept(adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's list stays in its order, and a list that already has the bundle is unchanged."""
    monkeypatch.setenv(OPTION, json.dumps([MINE]))
    merged = _variables(adwarm("airflow", "setup").stdout)[OPTION]
    assert json.loads(merged) == [MINE, BUNDLE]
    renamed = [{**BUNDLE, "name": "warming", "kwargs": {"refresh_interval": 60}}, MINE]
    monkeypatch.setenv(OPTION, json.dumps(renamed))
    assert json.loads(_variables(adwarm("airflow", "setup").stdout)[OPTION]) == renamed


def test_a_configuration_file_is_read(adwarm: Adwarm, airflow_folder: Path) -> None:
    """Bundles of a value over several lines are kept, with their escapes, and so is a higher limit."""
    path = airflow_folder / "airflow.cfg"
    path.write_text(CFG, encoding="utf-8")
    variables = _variables(adwarm("airflow", "setup").stdout)
    assert _bundles(variables[OPTION]) == ["mine", "adwarm"]
    assert json.loads(variables[OPTION])[0]["kwargs"] == {"subdir": "100%"}
    assert (variables[RUNS], path.read_text(encoding="utf-8")) == ("500", CFG)


def test_a_trial_touches_nothing_of_the_users(adwarm: Adwarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its homes and databases are under its own folder, whatever the shell holds; only its bundle is parsed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://production/airflow")
    monkeypatch.setenv("ADWARM_DATABASE_URL", "sqlite:////production.db")
    monkeypatch.setenv(OPTION, json.dumps([MINE]))
    result = adwarm("airflow", "setup", "--simulator")
    variables = _variables(result.stdout)
    assert "production" not in result.stdout
    assert variables["AIRFLOW_HOME"] == str(tmp_path / "adwarm-trial")
    assert (variables["ADWARM_DATABASE_URL"], _bundles(variables[OPTION])) == ("", ["adwarm"])
    connection = json.loads(variables["AIRFLOW_CONN_FACEBOOK_DEFAULT"])
    assert connection["conn_type"] == "adwarm_meta"
    assert connection["extra"]["graph_url"] == variables["ADWARM_SOURCE__GRAPH_URL"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{not json", "not a JSON list of bundles"),
        ('{"name": "x"}', "not a JSON list of bundles"),
        (json.dumps([{**MINE, "name": "adwarm"}]), "bundle named 'adwarm' of another class"),
    ],
)
def test_a_list_that_cannot_be_merged_is_an_error(
    adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch, value: str, message: str
) -> None:
    """Nothing is printed that would replace the user's list; the message says what to correct."""
    monkeypatch.setenv(OPTION, value)
    result = adwarm("airflow", "setup")
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr


def test_a_configuration_that_cannot_be_read_is_an_error(adwarm: Adwarm, airflow_folder: Path) -> None:
    """A limit that is not a number and an unreadable file are errors that name what to correct."""
    path = airflow_folder / "airflow.cfg"
    path.write_text("[scheduler]\nmax_dagruns_per_loop_to_schedule = many\n", encoding="utf-8")
    assert "is 'many', which is not a number" in adwarm("airflow", "setup").stderr
    path.write_bytes(b"\xff\xfe\x00")
    assert "cannot be read as Airflow's configuration" in adwarm("airflow", "setup").stderr
