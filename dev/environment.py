"""The environment of a local run: where everything lives, and the settings that keep it apart from anything else."""

import json
import os
import sys
from pathlib import Path

from adwarm.patterns.arrow_memory import ALLOCATOR

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE_LOG = ROOT / "examples" / "access_log.parquet"
TOKEN = "simulated-token"
"""What the built-in simulator accepts; a secret of nobody."""


def local_environment(home: Path, graph_url: str, log_url: str) -> dict[str, str]:
    """Return the variables of a local Airflow and adwarm under `home`, apart from the user's own.

    Args:
        home: folder of databases, data and logs.
        graph_url: where the simulator listens.
        log_url: the access log.
    """
    airflow_home = home / "airflow"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "ADWARM_"))}
    connection = {
        "conn_type": "facebook_social",
        "extra": {"app_id": "100000", "access_token": TOKEN, "graph_url": graph_url},
    }
    return {
        **inherited,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), inherited.get("PATH", "")]),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "include"), str(ROOT / "plugins")]),
        **ALLOCATOR,
        "NO_PROXY": "127.0.0.1,localhost",
        "AIRFLOW_HOME": str(airflow_home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{airflow_home}/airflow.db",
        "AIRFLOW__SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE": "100",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW_CONN_FACEBOOK_DEFAULT": json.dumps(connection),
        "ADWARM_HOME": str(home),
        "ADWARM_SOURCE__GRAPH_URL": graph_url,
        "ADWARM_SOURCE__ACCESS_TOKEN": TOKEN,
        "ADWARM_ACCESS_LOG_URL": log_url,
        **_asked_for(),
    }


def log_url() -> str:
    """Return the log the user asked for, or the shipped example."""
    asked = os.environ.get("ADWARM_ACCESS_LOG_URL")
    return asked if asked and "://" in asked else str(Path(asked or EXAMPLE_LOG).absolute())


def _asked_for() -> dict[str, str]:
    """Return the user's own settings, but for the places and the source that a local run chooses itself."""
    chosen = ("ADWARM_HOME", "ADWARM_DATABASE_URL", "ADWARM_DATA_URL", "ADWARM_ACCESS_LOG_URL", "ADWARM_SOURCE__")
    return {
        name: value for name, value in os.environ.items() if name.startswith("ADWARM_") and not name.startswith(chosen)
    }
