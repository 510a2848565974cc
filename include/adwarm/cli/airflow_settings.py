"""Which settings of Airflow make the package's DAGs run: read from what is configured, without importing Airflow."""

import configparser
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from adwarm.foundation.errors import BadRequest
from adwarm.foundation.home import absolute_path
from adwarm.patterns.arrow_memory import ALLOCATOR

BUNDLE: Final[dict[str, Any]] = {"name": "adwarm", "classpath": "adwarm_airflow.bundle.AdwarmDagBundle", "kwargs": {}}
"""The entry of the package's DAGs; the class finds their folder itself."""
BUNDLES_OPTION: Final = ("dag_processor", "dag_bundle_config_list")
RUNS_OPTION: Final = ("scheduler", "max_dagruns_per_loop_to_schedule")
CONNECTION: Final = "facebook_default"
SIMULATOR_TOKEN: Final = "simulated-token"
_MIN_RUNS: Final = 200
_AIRFLOW_DEFAULT: Final[dict[str, Any]] = {
    "name": "dags-folder",
    "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
    "kwargs": {},
}


@dataclass(frozen=True, slots=True)
class AirflowConfig:
    """Where a process finds the configuration of Airflow.

    Attributes:
        environment: variables of the process.
        file: Airflow's configuration file, which may not exist.
    """

    environment: Mapping[str, str]
    file: Path

    @classmethod
    def find(cls, environment: Mapping[str, str]) -> "AirflowConfig":
        """Return where Airflow looks: in AIRFLOW_CONFIG, else in `airflow.cfg` in AIRFLOW_HOME, else in `~/airflow`."""
        home = absolute_path(os.path.expandvars(environment.get("AIRFLOW_HOME") or "~/airflow"))
        named = environment.get("AIRFLOW_CONFIG")
        return cls(environment, absolute_path(os.path.expandvars(named)) if named else home / "airflow.cfg")

    def read(self, option: tuple[str, str]) -> str | None:
        """Return the configured text of an option; None when Airflow's default applies.

        Raises:
            BadRequest: the configuration file cannot be read.
        """
        if value := self.environment.get(variable_name(option)):
            return value
        parser = configparser.ConfigParser(interpolation=None, strict=False, comment_prefixes=("#", ";"))
        try:
            parser.read(self.file, encoding="utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError) as error:
            raise BadRequest(f"{self.file} cannot be read as Airflow's configuration: {error}") from None
        text = parser.get(*option, fallback=None)
        return text.replace("%%", "%") if text and text.strip() else None


def variable_name(option: tuple[str, str]) -> str:
    """Return the environment variable of an option of Airflow."""
    return f"AIRFLOW__{option[0].upper()}__{option[1].upper()}"


def list_bundles(config: AirflowConfig) -> list[dict[str, Any]]:
    """Return the configured bundles with the package's own; an entry of its class stays as it is.

    Raises:
        BadRequest: what is configured is no list of bundles.
    """
    text = config.read(BUNDLES_OPTION)
    bundles = [_AIRFLOW_DEFAULT] if text is None else _parse_bundles(text)
    ours = [entry for entry in bundles if entry.get("classpath") == BUNDLE["classpath"]]
    if ours:
        return bundles
    if any(entry.get("name") == BUNDLE["name"] for entry in bundles):
        raise BadRequest(
            f"[{BUNDLES_OPTION[0]}] {BUNDLES_OPTION[1]} has a bundle named 'adwarm' of another class; rename or remove "
            f"it, or set its classpath to {BUNDLE['classpath']}"
        )
    return [*bundles, BUNDLE]


def _parse_bundles(text: str) -> list[dict[str, Any]]:
    try:
        bundles = json.loads(text)
    except ValueError:
        bundles = None
    if not isinstance(bundles, list) or not all(isinstance(entry, dict) for entry in bundles):
        raise BadRequest(
            f"[{BUNDLES_OPTION[0]}] {BUNDLES_OPTION[1]} (or {variable_name(BUNDLES_OPTION)}) is no JSON list of "
            "bundles; correct it first"
        )
    return bundles


def find_options(config: AirflowConfig) -> dict[tuple[str, str], str]:
    """Return the options of Airflow's configuration that the DAGs need, merged with what is configured.

    Raises:
        BadRequest: an option is configured with a value that Airflow cannot read either.
    """
    configured = config.read(RUNS_OPTION)
    try:
        runs = max(int(configured or 0), _MIN_RUNS)
    except ValueError:
        raise BadRequest(
            f"[{RUNS_OPTION[0]}] {RUNS_OPTION[1]} is {configured!r}, no number; correct it first"
        ) from None
    return {BUNDLES_OPTION: json.dumps(list_bundles(config)), RUNS_OPTION: str(runs)}


def find_variables(config: AirflowConfig) -> dict[str, str]:
    """Return the environment variables of a process of an existing Airflow with the package's DAGs.

    The allocators' variables return free memory to the system; a value that is set is kept.

    Raises:
        BadRequest: as for `find_options`.
    """
    options = {variable_name(option): value for option, value in find_options(config).items()}
    return options | {name: config.environment.get(name) or value for name, value in ALLOCATOR.items()}


def trial_variables(home: Path, graph_url: str) -> dict[str, str]:
    """Return the environment of a trial: an Airflow and an adwarm of its own under `home`, against the simulator.

    It contains what a shell may hold for another Airflow, so that a trial touches neither its database nor its data.

    Args:
        home: a folder that the trial may fill.
        graph_url: address of the simulator.
    """
    extra = {"access_token": SIMULATOR_TOKEN, "app_id": "100000", "graph_url": graph_url}
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONFIG": str(home / "airflow.cfg"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__API__HOST": "127.0.0.1",
        variable_name(BUNDLES_OPTION): json.dumps([BUNDLE]),
        variable_name(RUNS_OPTION): str(_MIN_RUNS),
        f"AIRFLOW_CONN_{CONNECTION.upper()}": json.dumps({"conn_type": "adwarm_meta", "extra": extra}),
        "ADWARM_HOME": str(home / "adwarm"),
        "ADWARM_DATABASE_URL": "",
        "ADWARM_DATA_URL": "",
        "ADWARM_SOURCE__GRAPH_URL": graph_url,
        "ADWARM_SOURCE__ACCESS_TOKEN": SIMULATOR_TOKEN,
        "NO_PROXY": "127.0.0.1,localhost",
        **ALLOCATOR,
    }
