"""The DAG files: their declarations, light parsing, and stable serialization."""

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import BaseOperator

from adwarm.foundation.errors import BadRequest
from adwarm_airflow.declarations import Tag, warm_arguments
from tests.docs.blocks import find_blocks

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


def test_every_dag_follows_the_rules(dags: dict[str, Any]) -> None:
    """Each DAG has a doc, an owner, known tags, limits, titled params and one XCom a result, and never catches up."""
    for name, dag in dags.items():
        assert dag.doc_md, name
        assert dag.owner == "adwarm", name
        assert dag.tags <= {str(tag) for tag in Tag}, name
        assert not dag.catchup, name
        assert dag.max_active_runs <= 4, name
        assert dag.dagrun_timeout is not None, name
        timetable = getattr(dag.timetable, "timetable", dag.timetable)
        assert type(timetable).__name__ == "CronDataIntervalTimetable", name
        assert all(task.retries and task.has_retry_policy for task in dag.tasks), name
        assert not any(getattr(task, "multiple_outputs", False) for task in dag.tasks), name
        params = [dag.params.get_param(param) for param in dag.params]
        assert all(param.description and param.schema.get("title") for param in params), name


def test_batches_go_to_a_queue_of_their_own(monkeypatch: pytest.MonkeyPatch, dags: dict[str, Any]) -> None:
    """Without the setting every task is in Airflow's queue; with it only the batches are not; a bad name is refused."""
    monkeypatch.delenv("ADWARM_WARMING_QUEUE", raising=False)
    monkeypatch.delenv("ADWARM_CONFIG", raising=False)
    default = BaseOperator(task_id="any").queue
    assert {task.queue for dag in dags.values() for task in dag.tasks} == {default}

    monkeypatch.setenv("ADWARM_WARMING_QUEUE", "warming")
    for name in ("adwarm_intelligent_warming", "adwarm_strategy_warming", "adwarm_daily_insights"):
        declared = runpy.run_path(str(ROOT / f"dags/{name}.py"), run_name="parsed")[name.removeprefix("adwarm_")]
        queues = {task.task_id: task.queue for task in declared.tasks}
        assert queues.pop("warm") == "warming"
        assert set(queues.values()) == {default}

    monkeypatch.setenv("ADWARM_WARMING_QUEUE", "two queues")
    with pytest.raises(BadRequest, match="ADWARM_WARMING_QUEUE"):
        warm_arguments()


def test_serialization_is_stable(dags: dict[str, Any]) -> None:
    """Serializing twice gives equal results, so parsing creates no new version of a DAG."""
    from airflow.serialization.serialized_objects import DagSerialization

    for dag_id, dag in dags.items():
        first = DagSerialization.serialize_dag(dag)
        assert first == DagSerialization.serialize_dag(dag), dag_id
        assert dag_id == DagSerialization.deserialize_dag(first).dag_id


def test_the_dags_of_the_docs_load(airflow_home: Path, tmp_path: Path) -> None:
    """Each example of an operator is a DAG file that Airflow loads as it stands, with the operator as its one task."""
    from airflow.dag_processing.dagbag import BundleDagBag

    page = ROOT / "docs/how-to/operators-in-your-dag.md"
    blocks = [block for block in find_blocks(page) if block.language == "python"]
    for number, block in enumerate(blocks):
        (tmp_path / f"example_{number}.py").write_text(block.text, encoding="utf-8")
    bag = BundleDagBag(tmp_path, bundle_path=tmp_path, bundle_name="examples")

    assert bag.import_errors == {}
    assert len(bag.dags) == len(blocks)
    assert all(f"{type(dag.tasks[0]).__name__}(" in page.read_text(encoding="utf-8") for dag in bag.dags.values())
    assert [dag_id for dag_id, dag in bag.dags.items() if len(dag.tasks) != 1] == []


def test_the_queue_is_watched_and_polled(dags: dict[str, Any]) -> None:
    """The DAG of the queue runs every five minutes, and when the trigger of its asset fires."""
    timetable = dags["adwarm_request_queue"].timetable
    [asset] = timetable.asset_condition.objects

    assert type(timetable).__name__ == "AssetOrTimeSchedule"
    assert timetable.timetable.expression == "*/5 * * * *"
    assert [watcher.name for watcher in asset.watchers] == ["adwarm_pending_requests"]


@pytest.mark.slow
def test_parses_without_frame_libraries(environment: dict[str, str]) -> None:
    """Parsing the files in a new interpreter, and importing what a warming task runs, loads nothing heavy."""
    heavy = {"alembic", "facebook_business", "fastapi", "numpy", "pandas", "pyarrow", "requests", "scipy", "xgboost"}
    code = (
        "import runpy, sys; import airflow.sdk; before = set(sys.modules)\n"
        f"for path in {[str(path) for path in FILES]!r}: runpy.run_path(path, run_name='parsed')\n"
        "import adwarm.prefetch.warm_batch, adwarm.runtime, adwarm_airflow.tasks.warming\n"
        f"print(sorted({heavy!r} & (set(sys.modules) - before)))"
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
