"""Runs of the real DAGs in this process, one after the other, through Airflow's own test runner."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from adwarm.foundation.errors import AdwarmError

if TYPE_CHECKING:
    from airflow.models.taskinstance import TaskInstance


def list_bundles(folder: Path) -> str:
    """Return Airflow's setting with a bundle for each DAG file: each run parses and stores all DAGs of a bundle."""
    kind = "airflow.dag_processing.bundles.local.LocalDagBundle"
    files = sorted(folder.glob("*.py"))
    return json.dumps([{"name": file.stem, "classpath": kind, "kwargs": {"path": str(file)}} for file in files])


class DagRuns:
    """Runs the DAGs of a folder in this process, through Airflow's own test runner.

    The environment must be set before an instance is created: Airflow reads it on import.

    Raises:
        AdwarmError: a DAG could not be imported.
    """

    def __init__(self, folder: Path) -> None:
        with _captured_output():
            from airflow.dag_processing.dagbag import BundleDagBag
            from airflow.utils.db import initdb

            initdb()
            self._bag = BundleDagBag(folder, bundle_path=folder, bundle_name="dags-folder")
        self._done: set[str] = set()
        if self._bag.import_errors:
            raise AdwarmError(f"DAGs could not be imported: {self._bag.import_errors}")

    def run(self, dag_id: str, conf: dict[str, Any]) -> dict[str, Any]:
        """Run a DAG with `conf`, and return by task id the XCom `figures` of its tasks, else what they returned.

        Raises:
            AdwarmError: the run did not succeed; the message ends with the last part of its output.
        """
        with _captured_output() as output, repeat_less(self._done):
            run = self._bag.dags[dag_id].test(logical_date=None, run_conf=conf)
            state = str(getattr(run.state, "value", run.state))
            results = {ti.task_id: _result(ti) for ti in run.get_task_instances() if ti.map_index < 0}
        if state != "success":
            raise AdwarmError(f"{dag_id} ended as {state}:\n{output.getvalue()[-4000:]}")
        return results


@contextlib.contextmanager
def repeat_less(done: set[str]) -> Iterator[None]:
    """Let `dag.test` do once what it repeats in each run, a third of its time, and not wait for nothing.

    It stores the DAGs of a bundle again, although no file has changed, and checks the schema of a param at each use.
    It sleeps for a second where tasks were skipped and none began, although all tasks run in this process.

    Args:
        done: what was done before; added to.
    """
    from airflow.dag_processing import dagbag
    from jsonschema import validators

    validator: Any = validators.validator_for({})
    sync, check_schema, sleep = dagbag.sync_bag_to_db, validator.check_schema, time.sleep

    def sync_once(bag: Any, *arguments: Any, **options: Any) -> None:
        files = sorted((dag_id, dag.fileloc, Path(dag.fileloc).stat().st_mtime_ns) for dag_id, dag in bag.dags.items())
        if (name := repr((files, arguments))) not in done:
            sync(bag, *arguments, **options)
            done.add(name)

    def check_once(schema: Any, *arguments: Any, **options: Any) -> None:
        if (name := repr(schema)) not in done:
            check_schema(schema, *arguments, **options)
            done.add(name)

    def sleep_elsewhere(seconds: float) -> None:
        if sys._getframe(1).f_globals.get("__name__") != "airflow.sdk.definitions.dag":
            sleep(seconds)

    with (
        patch.object(dagbag, "sync_bag_to_db", sync_once),
        patch.object(validator, "check_schema", check_once),
        patch.object(time, "sleep", sleep_elsewhere),
    ):
        yield


def _result(instance: TaskInstance) -> Any:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        for key in ("figures", "return_value"):
            query = XComModel.get_many(
                run_id=instance.run_id, key=key, task_ids=instance.task_id, dag_ids=instance.dag_id
            )
            if rows := session.scalars(query).all():
                return XComModel.deserialize_value(rows[0])
        return None


@contextlib.contextmanager
def _captured_output() -> Iterator[io.StringIO]:
    """Capture what Airflow prints; its errors are raised, so nothing is lost."""
    output = io.StringIO()
    before = logging.root.manager.disable
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            yield output
        finally:
            logging.disable(before)
