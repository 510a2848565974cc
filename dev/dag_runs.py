"""Runs the package's real DAGs to their end inside this process, through Airflow's own test runner."""

import contextlib
import io
import logging
from pathlib import Path
from typing import Any

from adwarm.foundation.errors import AdwarmError


class DagRuns:
    """A prepared Airflow with the package's DAGs. Set the environment before making one."""

    def __init__(self, folder: Path) -> None:
        with quiet():
            from airflow.dag_processing.dagbag import BundleDagBag
            from airflow.utils.db import initdb

            initdb()
            self._bag = BundleDagBag(folder, bundle_path=folder, bundle_name="dags-folder")
        if self._bag.import_errors:
            raise AdwarmError(f"DAGs could not be imported: {self._bag.import_errors}")

    def run(self, dag_id: str, conf: dict[str, Any]) -> dict[str, Any]:
        """Run a DAG with `conf` and return the figures its tasks gave, else what they returned, by task id.

        Raises:
            AdwarmError: the run did not succeed; the message ends with the last lines of its log.
        """
        output = io.StringIO()
        with quiet(output):
            run = self._bag.dags[dag_id].test(logical_date=None, run_conf=conf)
            state = str(getattr(run.state, "value", run.state))
            results = {ti.task_id: _result(ti) for ti in run.get_task_instances() if ti.map_index < 0}
        if state != "success":
            raise AdwarmError(f"{dag_id} ended as {state}:\n{output.getvalue()[-4000:]}")
        return results


def _result(instance: Any) -> Any:
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
def quiet(output: io.StringIO | None = None) -> Any:
    """Keep Airflow's own words off the screen; what goes wrong is raised, not printed."""
    sink = output or io.StringIO()
    before = logging.root.manager.disable
    with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        try:
            yield sink
        finally:
            logging.disable(before)
