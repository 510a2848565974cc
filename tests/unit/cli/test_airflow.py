"""`adwarm airflow setup` prints or writes the settings of an installed Airflow, and keeps what the user has."""

import json
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.cli.airflow import (
    BUNDLE,
    AirflowConfig,
    find_options,
    parse_variables,
    set_options,
    set_variables,
    shell_line,
    variable_line,
)

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


def _bundles(text: str) -> list[str]:
    return [entry["name"] for entry in json.loads(text)]


def test_the_default_bundle_stays_beside_ours(adwarm: Adwarm) -> None:
    """Without a configured list, the DAGs folder of Airflow's default is kept."""
    variables = parse_variables(adwarm("airflow", "setup").stdout)
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
    merged = parse_variables(adwarm("airflow", "setup").stdout)[OPTION]
    assert json.loads(merged) == [MINE, BUNDLE]
    renamed = [{**BUNDLE, "name": "warming", "kwargs": {"refresh_interval": 60}}, MINE]
    monkeypatch.setenv(OPTION, json.dumps(renamed))
    assert json.loads(parse_variables(adwarm("airflow", "setup").stdout)[OPTION]) == renamed


def test_a_configuration_file_is_changed_in_two_options_only(adwarm: Adwarm, airflow_folder: Path) -> None:
    """Comments and other options stay, a value over several lines is replaced whole, a higher limit is kept."""
    path = airflow_folder / "airflow.cfg"
    path.write_text(CFG, encoding="utf-8")
    assert adwarm("airflow", "setup", "--format", "cfg", "--write", str(path)).exit_code == 0

    options = find_options(AirflowConfig({}, path))
    text = path.read_text(encoding="utf-8")
    assert _bundles(options["dag_processor", "dag_bundle_config_list"]) == ["mine", "adwarm"]
    assert '"subdir": "100%%"' in text
    assert options["scheduler", "max_dagruns_per_loop_to_schedule"] == "500"
    assert [line for line in CFG.splitlines() if line.startswith(("#", "dags_folder", "refresh"))] == [
        line for line in text.splitlines() if line.startswith(("#", "dags_folder", "refresh"))
    ]


@pytest.mark.parametrize("kind", ["shell", "env", "cfg"])
def test_writing_twice_changes_nothing(adwarm: Adwarm, airflow_folder: Path, kind: str) -> None:
    """The second run finds its own settings; a new file can be read by its owner only."""
    path = airflow_folder / "conf" / "settings"
    texts = []
    for _ in range(2):
        assert adwarm("airflow", "setup", "--format", kind, "--write", str(path), "--json").json == {"file": str(path)}
        texts.append(path.read_text(encoding="utf-8"))
    assert texts[0] == texts[1] != ""
    assert path.stat().st_mode & 0o077 == 0


def test_a_file_of_variables_keeps_the_users_bundles(adwarm: Adwarm, airflow_folder: Path) -> None:
    """The list in the file counts, not that of the shell that writes it."""
    path = airflow_folder / ".env"
    path.write_text(f"# mine\nOTHER=1\n{OPTION}='{json.dumps([MINE])}'\n", encoding="utf-8")
    adwarm("airflow", "setup", "--format", "env", "--write", str(path))
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# mine\nOTHER=1\n")
    assert json.loads(parse_variables(text)[OPTION]) == [MINE, BUNDLE]


def test_a_trial_touches_nothing_of_the_users(adwarm: Adwarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its homes and databases are under its own folder, whatever the shell holds; only its bundle is parsed."""
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://production/airflow")
    monkeypatch.setenv("ADWARM_DATABASE_URL", "sqlite:////production.db")
    monkeypatch.setenv(OPTION, json.dumps([MINE]))
    result = adwarm("airflow", "setup", "--simulator", "--format", "env", "--home", str(tmp_path / "trial"))
    variables = parse_variables(result.stdout)
    assert "production" not in result.stdout
    assert variables["AIRFLOW_HOME"] == str(tmp_path / "trial")
    assert (variables["ADWARM_DATABASE_URL"], _bundles(variables[OPTION])) == ("", ["adwarm"])
    connection = json.loads(variables["AIRFLOW_CONN_FACEBOOK_DEFAULT"])
    assert connection["conn_type"] == "adwarm_meta"
    assert connection["extra"]["graph_url"] == variables["ADWARM_SOURCE__GRAPH_URL"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{not json", "no JSON list of bundles"),
        ('{"name": "x"}', "no JSON list of bundles"),
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


def test_wrong_formats_are_refused(adwarm: Adwarm, airflow_folder: Path) -> None:
    """An unknown format, a trial as airflow.cfg, a limit that is no number and an unreadable file are errors."""
    assert "none of shell, env, cfg" in adwarm("airflow", "setup", "--format", "yaml").stderr
    assert "--format shell or env" in adwarm("airflow", "setup", "--format", "cfg", "--simulator").stderr
    path = airflow_folder / "airflow.cfg"
    path.write_text("[scheduler]\nmax_dagruns_per_loop_to_schedule = many\n", encoding="utf-8")
    assert "is 'many', no number" in adwarm("airflow", "setup").stderr
    path.write_bytes(b"\xff\xfe\x00")
    assert "cannot be read as Airflow's configuration" in adwarm("airflow", "setup").stderr
    assert "cannot be read as text" in adwarm("airflow", "setup", "--write", str(path)).stderr


@given(
    st.dictionaries(st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True), st.text("ab '\"$#{}[]:,=%\\", max_size=20))
)
def test_variables_survive_both_formats(variables: dict[str, str]) -> None:
    """What is written is read back the same, also into a file that has them already."""
    for line in (shell_line, variable_line):
        text = set_variables("KEPT=1\n", variables, line)
        assert parse_variables(text) == {"KEPT": "1"} | variables
        assert set_variables(text, variables, line) == text
    assert all(shlex.split(shell_line(name, value)) for name, value in variables.items())


@given(
    st.sampled_from(["", "[a]\n", "[a]\nx = 1\n  2\n\n[b]\ny: 2\n", "# top\n[b]\n[a]\nx=0\n"]),
    st.text("ab%{}", max_size=9),
)
def test_options_survive(text: str, value: str) -> None:
    """An option is read back by a parser of such files; setting it again changes nothing."""
    import configparser

    once = set_options(text, {("a", "x"): f"v{value}"})
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(once)
    assert parser["a"]["x"].replace("%%", "%") == f"v{value}"
    assert set_options(once, {("a", "x"): f"v{value}"}) == once
