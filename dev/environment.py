"""Paths and environment variables of a local run, separate from any other installation of the user."""

import json
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from adwarm.cli.airflow import ALLOCATOR

ROOT = Path(__file__).resolve().parents[1]
DEMO_HOME = ROOT / ".adwarm" / "demo"
UP_HOME = ROOT / ".adwarm" / "up"
EXAMPLE_LOG = ROOT / "examples" / "access_log.parquet"
TOKEN = "simulated-token"
"""The access token of the simulator; it opens nothing else."""

_FIXED = ("ADWARM_HOME", "ADWARM_DATABASE_URL", "ADWARM_DATA_URL", "ADWARM_ACCESS_LOG__URL", "ADWARM_SOURCE__")
"""Settings that a local run sets itself: its folders, its log and its source."""
_SHELL_VARIABLES = ("AIRFLOW", "ADWARM_", "PYTHONPATH", *ALLOCATOR)
"""Beginnings of the variables that a shell takes over from a local run."""


def local_environment(home: Path, graph_url: str, log_url: str) -> dict[str, str]:
    """Return the environment variables of a local Airflow and adwarm under `home`.

    The user's own `ADWARM_*` settings are kept, except those for folders, log and source.

    Args:
        log_url: file, folder, glob or URL of the access log.
    """
    airflow_home = home / "airflow"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "ADWARM_"))}
    connection = {
        "conn_type": "adwarm_meta",
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
        "ADWARM_ACCESS_LOG__URL": log_url,
        **{
            name: value
            for name, value in os.environ.items()
            if name.startswith("ADWARM_") and not name.startswith(_FIXED)
        },
    }


def log_url() -> str:
    """Return the log in `ADWARM_ACCESS_LOG__URL` as an absolute path or URL; the example log when it is not set."""
    configured = os.environ.get("ADWARM_ACCESS_LOG__URL")
    return configured if configured and "://" in configured else str(Path(configured or EXAMPLE_LOG).absolute())


def write_shell_environment(path: Path, environment: Mapping[str, str], **more: str) -> None:
    """Write the file that a shell sources for the `airflow` and `adwarm` commands to work on a local run.

    Only its owner can read it. It holds the variables of Airflow, adwarm and the allocator, and the folder of this
    interpreter for PATH.

    Args:
        more: further variables, written as they are.
    """
    variables = {name: value for name, value in environment.items() if name.startswith(_SHELL_VARIABLES)} | more
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in sorted(variables.items())]
    path.touch(mode=0o600)
    path.write_text(
        "".join([*lines, f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH\n"]), encoding="utf-8"
    )
