"""`pip install adwarm` into a bare Airflow: what the user then has, and the way to the first warmed report."""

import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adwarm import __version__

from .environments import ROOT, Environment, uv, wait_for, wait_until

DAGS = sorted(path.stem for path in (ROOT / "dags").glob("adwarm_*.py"))
SECONDS = 240.0
pytestmark = pytest.mark.timeout(900)


def free_port() -> int:
    """Return a free port of the loopback address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def trial_shell(shell: Environment, seconds: float) -> Iterator[Environment]:
    """Run the first command of the how-to, `eval "$(adwarm airflow setup --simulator)"`, in a shell that stays open.

    Yields an environment with the variables of that shell, which the next commands get, as they do when typed into it.
    """
    command = f'eval "$(adwarm airflow setup --simulator --port {free_port()})" && env -0 >environment'
    with shell.running("bash", "-c", f"{command} && touch ready && sleep 3600", log="setup.log") as log:
        wait_until((shell.home / "ready").exists, seconds, log)
        pairs = [line.partition("=") for line in (shell.home / "environment").read_text().split("\0") if line]
        yield replace(shell, variables={name: value for name, _, value in pairs})


@pytest.fixture(scope="module")
def trial(bare: Environment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """The trial of the how-to after its first command."""
    with trial_shell(replace(bare, home=tmp_path_factory.mktemp("trial")), SECONDS) as started:
        yield started


def test_the_wheel_is_used_and_nothing_conflicts(fresh: Environment) -> None:
    """Every module imports with the base alone, from the installed package, and no dependency conflicts."""
    found = fresh.smoke("imports", "location")
    assert found["imports"] == []
    assert Path(found["location"]).is_relative_to(fresh.folder)
    uv("pip", "check", "--python", fresh.python)


def test_airflow_knows_the_provider(fresh: Environment) -> None:
    """The info follows Airflow's schema; the form masks token and secret, and has a Test button."""
    found = fresh.smoke("provider")["provider"]
    assert (found["version"], found["testable"], found["hook"]) == (__version__, True, "Meta Insights (adwarm)")
    assert found["secret_fields"] == ["access_token", "app_secret"]
    assert {"app_id", "graph_url", "api_version", "access_tier"} <= set(found["fields"])
    assert len(found["links"]) == 4
    assert "adwarm" in fresh.run("airflow", "providers", "list", "--output", "plain").stdout


@pytest.mark.parametrize("lazy", ["True", "False"])
@pytest.mark.parametrize("folder", [None, ROOT / "plugins"], ids=["wheel alone", "with the folder"])
def test_the_plugin_is_loaded_once(fresh: Environment, folder: Path | None, lazy: str) -> None:
    """Beside the plugins folder of a checkout the entry point still wins, without an import error."""
    variables = {"AIRFLOW__CORE__LAZY_DISCOVER_PROVIDERS": lazy}
    if folder is not None:
        variables |= {"AIRFLOW__CORE__PLUGINS_FOLDER": str(folder)}
    found = replace(fresh, variables=variables).smoke("plugin")["plugin"]
    assert found["errors"] == {}
    assert len(found["sources"]) == 1
    assert found["sources"][0].startswith(f"adwarm=={__version__}")


def test_setup_adds_the_dags_to_the_users_own(fresh: Environment) -> None:
    """With the printed variables, Airflow parses the user's bundle and the package's DAGs, without an error."""
    (fresh.home / "dags").mkdir()
    shutil.copy(Path(__file__).with_name("user_dag.py"), fresh.home / "dags/own_report.py")
    printed = json.loads(fresh.run("adwarm", "airflow", "setup", "--json").stdout)["variables"]
    found = replace(fresh, variables={item["name"]: item["value"] for item in printed}).smoke("dags", "page")
    assert found["dags"] == {"ids": sorted([*DAGS, "own_report"]), "errors": {}}
    assert found["page"] > 10


def test_the_first_report_is_warm_after_two_commands(trial: Environment) -> None:
    """`airflow dags test` of the DAG warms three reports of an account, and `adwarm get` reads one."""
    conf = json.dumps({"accounts": ["act_1"]})
    trial.run("airflow", "dags", "test", "adwarm_strategy_warming", "--conf", conf)
    read = trial.run("adwarm", "get", "act_1", "last_7d", "--meta")
    assert json.loads(read.stdout)["status"] == "hit"


def test_the_main_job_runs(trial: Environment) -> None:
    """`airflow dags test` of the main job ends green."""
    done = trial.run("airflow", "dags", "test", "adwarm_intelligent_warming")
    assert "state=failed" not in done.stdout + done.stderr


def test_the_connection_passes_its_test(trial: Environment) -> None:
    """`airflow connections test` calls the platform; a dead token fails it, and its text is not in the message."""
    enabled = {**trial.variables, "AIRFLOW__CORE__TEST_CONNECTION": "Enabled"}
    done = replace(trial, variables=enabled).run("airflow", "connections", "test", "facebook_default")
    assert "Connection success" in done.stdout

    extra = {"access_token": "EAAplanted4711dead", "graph_url": trial.variables["ADWARM_SOURCE__GRAPH_URL"]}
    dead = {**enabled, "AIRFLOW_CONN_DEAD": json.dumps({"conn_type": "adwarm_meta", "extra": extra})}
    refused = replace(trial, variables=dead).run("airflow", "connections", "test", "dead", fails=True)
    text = refused.stdout + refused.stderr
    assert "Connection failed" in text
    assert "EAAplanted4711dead" not in text


def test_a_users_own_dag_runs(trial: Environment) -> None:
    """Operator and hook work in a DAG of the user's own bundle."""
    home = Path(trial.variables["AIRFLOW_HOME"])
    (home / "dags").mkdir()
    shutil.copy(Path(__file__).with_name("user_dag.py"), home / "dags/own_report.py")
    own = {"name": "own", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle", "kwargs": {}}
    option = "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"
    both = json.dumps([own, *json.loads(trial.variables[option])])
    replace(trial, variables={**trial.variables, option: both}).run("airflow", "dags", "test", "own_report")
    assert json.loads(trial.run("adwarm", "get", "act_2", "yesterday", "--meta").stdout)["status"] == "hit"


@pytest.mark.parametrize(
    ("variables", "command", "extra"),
    [
        ({"ADWARM_DATABASE_URL": "postgresql://127.0.0.1:1/x"}, ("db", "upgrade"), "adwarm[postgres]"),
    ],
    ids=["postgres"],
)
def test_a_missing_extra_is_named(
    trial: Environment, variables: dict[str, str], command: tuple[str, ...], extra: str
) -> None:
    """What needs an extra ends with one line that says what to install."""
    done = replace(trial, variables={**trial.variables, **variables}).run("adwarm", *command, fails=True)
    assert extra in done.stderr
    assert "Traceback" not in done.stderr


def test_the_page_is_visible_in_airflow(trial: Environment) -> None:
    """`airflow standalone` comes up healthy, and the page shows in Chromium; without Chromium, over HTTP alone."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    variables = {
        **trial.variables,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
    }
    running = replace(trial, variables=variables)
    with running.running("airflow", "standalone", log="standalone.log"):
        health = json.loads(wait_for(f"{url}/api/v2/monitor/health", SECONDS))
        assert health["metadatabase"]["status"] == "healthy"
        _open_page(url)


def _open_page(url: str) -> None:
    playwright: Any = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is missing")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.goto(url)
        page.get_by_role("link", name="adwarm").first.wait_for()
        page.goto(f"{url}/adwarm/")
        page.get_by_role("link", name="Fatigue").first.wait_for()
        page.goto(f"{url}/adwarm/fatigue?account=act_1")
        page.get_by_text("All parts are loaded.").wait_for(state="attached")
        browser.close()
