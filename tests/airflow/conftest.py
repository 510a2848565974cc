"""One Airflow for the session: SQLite, the package's DAGs and plugin, and the simulator as the upstream."""

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dev.dag_runs import repeat_less
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer

ROOT = Path(__file__).resolve().parents[2]
HOME = Path(tempfile.mkdtemp(prefix="adwarm-airflow-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
# Airflow reads these when it is first imported, which the test modules beside this file do.
os.environ.update({
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME}/airflow.db",
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
    "AIRFLOW__API_AUTH__JWT_SECRET": "a secret of the tests, long enough for a signature with SHA-512 of 64 bytes",
})

NOW = datetime(2013, 3, 22, 4, 0, tzinfo=UTC)
"""Midnight in New York on a Friday that the shipped example log covers."""


@pytest.fixture(scope="package")
def simulator() -> Iterator[SimulatorServer]:
    """The simulated platform as it stood at NOW."""
    with SimulatorServer(SimulatorConfig(zone="America/New_York", now=NOW, ads=4)) as server:
        yield server


@pytest.fixture(scope="package")
def airflow_home(simulator: SimulatorServer) -> Iterator[Path]:
    """An initialised Airflow whose default connection leads to the simulator."""
    extra = {"app_id": "100000", "access_token": "simulated-token", "graph_url": simulator.url}
    values = {
        "AIRFLOW_CONN_FACEBOOK_DEFAULT": json.dumps({"conn_type": "facebook_social", "extra": extra}),
        "ADWARM_HOME": str(HOME / "adwarm"),
        "ADWARM_ACCESS_LOG__URL": str(ROOT / "examples" / "access_log.parquet"),
        "ADWARM_PLANNING__STEP_MINUTES": "60",
    }
    with pytest.MonkeyPatch.context() as patch, repeat_less(set()):
        for name, value in values.items():
            patch.setenv(name, value)
        from airflow.sdk.execution_time.supervisor import in_process_api_server
        from airflow.utils.db import initdb

        initdb()
        assert in_process_api_server().app  # made once, and long to make: whichever test comes first would wait for it
        _run_once()
        yield HOME


def _run_once() -> None:
    """Make a run that does nothing: the first one of a process imports for seconds."""
    day = datetime(2004, 2, 3, tzinfo=UTC)
    run = read_dags()["adwarm_daily_insights"].test(logical_date=day, run_conf={"decision_time": day.isoformat()})
    assert {ti.state for ti in run.get_task_instances()} == {"skipped"}


def read_dags() -> dict[str, Any]:
    """Return the package's DAGs by id, as they are declared: a run in a test leaves its params in them."""
    from airflow.dag_processing.dagbag import BundleDagBag

    bag = BundleDagBag(ROOT / "dags", bundle_path=ROOT / "dags", bundle_name="dags-folder")
    assert bag.import_errors == {}
    return bag.dags


@pytest.fixture
def dags(airflow_home: Path) -> dict[str, Any]:
    """The package's DAGs by id."""
    return read_dags()


@pytest.fixture(scope="package")
def environment(airflow_home: Path) -> dict[str, str]:
    """The environment of a subprocess that sees the same Airflow."""
    paths = os.pathsep.join([str(ROOT / "include"), str(ROOT / "plugins")])
    return {**os.environ, "PYTHONPATH": paths}
