"""The DAG files: their declarations, light parsing, and stable serialization."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adwarm_airflow.declarations import Tag

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "dags").glob("*.py"))
IDS = {
    "adwarm_access_patterns",
    "adwarm_intelligent_warming",
    "adwarm_strategy_warming",
    "adwarm_daily_insights",
    "adwarm_request_queue",
    "adwarm_policy_review",
    "adwarm_maintenance",
}


def test_the_dags_are_there(dags: dict[str, Any]) -> None:
    """The bag holds exactly the documented DAGs."""
    assert set(dags) == IDS


@pytest.mark.parametrize("dag_id", sorted(IDS))
def test_every_dag_follows_the_rules(dags: dict[str, Any], dag_id: str) -> None:
    """Each DAG has a doc, an owner, known tags, limits and titled params, and never catches up."""
    dag = dags[dag_id]

    assert dag.doc_md
    assert dag.owner == "adwarm"
    assert dag.tags <= {str(tag) for tag in Tag}
    assert not dag.catchup
    assert dag.max_active_runs <= 4
    assert dag.dagrun_timeout is not None
    assert type(getattr(dag.timetable, "timetable", dag.timetable)).__name__ == "CronDataIntervalTimetable"
    assert all(task.retries and task.has_retry_policy for task in dag.tasks)
    params = [dag.params.get_param(name) for name in dag.params]
    assert all(param.description and param.schema.get("title") for param in params)


@pytest.mark.parametrize("dag_id", sorted(IDS))
def test_serialization_is_stable(dags: dict[str, Any], dag_id: str) -> None:
    """Serializing twice gives equal results, so parsing creates no new version of the DAG."""
    from airflow.serialization.serialized_objects import DagSerialization

    first = DagSerialization.serialize_dag(dags[dag_id])

    assert first == DagSerialization.serialize_dag(dags[dag_id])
    assert dag_id == DagSerialization.deserialize_dag(first).dag_id


def test_the_queue_is_watched_and_polled(dags: dict[str, Any]) -> None:
    """The DAG of the queue runs every five minutes, and when the trigger of its asset fires."""
    timetable = dags["adwarm_request_queue"].timetable
    [asset] = timetable.asset_condition.objects

    assert type(timetable).__name__ == "AssetOrTimeSchedule"
    assert timetable.timetable.expression == "*/5 * * * *"
    assert [watcher.name for watcher in asset.watchers] == ["adwarm_pending_requests"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_parses_without_frame_libraries(environment: dict[str, str], path: Path) -> None:
    """Parsing the file in a new interpreter imports no pandas, pyarrow or sklearn."""
    code = (
        "import runpy, sys; import airflow.sdk; before = set(sys.modules);"
        f"runpy.run_path({str(path)!r}, run_name='parsed');"
        "print(sorted({'pandas', 'pyarrow', 'sklearn', 'numpy'} & (set(sys.modules) - before)))"
    )

    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)

    assert (done.returncode, done.stdout.strip().splitlines()[-1]) == (0, "[]"), done.stderr[-2000:]


def test_the_plugin_loads(airflow_home: Path) -> None:
    """Airflow loads the plugin, and none of its modules as top-level modules."""
    from airflow import plugins_manager

    plugins, errors = plugins_manager._get_plugins()

    assert errors == {}
    assert [plugin.name for plugin in plugins if "adwarm" in str(plugin.name)] == ["adwarm"]
    assert "warm_batch" not in sys.modules


def test_the_forecast_adds_no_noise_to_a_tasks_log() -> None:
    """skops inspects every loaded module; the deprecation warnings of Airflow that this causes are suppressed."""
    code = "import airflow.utils.timezone, airflow.serialization.serde\nimport adwarm.forecast.serialization"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "deprecated" not in found.stderr
