"""`adwarm airflow`: the settings with which an installed Airflow runs the package's DAGs."""

import configparser
import json
import os
import shlex
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from adwarm.cli.terminal import JsonOption, print_json
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.home import absolute_path

ALLOCATOR = {"MALLOC_ARENA_MAX": "2", "ARROW_DEFAULT_MEMORY_POOL": "system"}
"""Environment variables for a process with many threads; allocators read them once, when the process starts.

Without them the C library keeps an arena of free memory for each thread, and Arrow a pool of its own.
"""
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
app = typer.Typer(help="Set up an installed Airflow.", no_args_is_help=True)
_PORTS_TRIED = 50
_TRIAL = Path("adwarm-trial")
_HEAD = "# adwarm: every process of Airflow, and the shell in which you run `adwarm`, needs these."
_YOURS = """\
# In airflow.cfg, AIRFLOW__SECTION__OPTION is the option of that section. Yours to decide, each with a default:
#   ADWARM_DATABASE_URL=postgresql://adwarm:...@db.internal/adwarm    for more than one machine
#   ADWARM_DATA_URL=s3://bucket/adwarm
#   ADWARM_ACCESS_LOG__URL=/var/log/dashboard/*.parquet
# The connection: in the UI one of the type "Meta Insights (adwarm)", or
#   airflow connections add facebook_default --conn-type adwarm_meta --conn-extra '{"access_token": "..."}'
"""


@dataclass(frozen=True, slots=True)
class AirflowConfig:
    """Where a process finds the configuration of Airflow.

    Attributes:
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
        BadRequest: what is configured is not a list of bundles.
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
            f"[{BUNDLES_OPTION[0]}] {BUNDLES_OPTION[1]} (or {variable_name(BUNDLES_OPTION)}) is not a JSON list of "
            "bundles; correct it first"
        )
    return bundles


def find_variables(config: AirflowConfig) -> dict[str, str]:
    """Return the environment variables of a process of an existing Airflow with the package's DAGs.

    The allocators' variables return free memory to the system; a value that is set is kept.

    Raises:
        BadRequest: an option is configured with a value that Airflow cannot read either.
    """
    configured = config.read(RUNS_OPTION)
    try:
        runs = max(int(configured or 0), _MIN_RUNS)
    except ValueError:
        raise BadRequest(
            f"[{RUNS_OPTION[0]}] {RUNS_OPTION[1]} is {configured!r}, which is not a number; correct it first"
        ) from None
    options = {BUNDLES_OPTION: json.dumps(list_bundles(config)), RUNS_OPTION: str(runs)}
    return {variable_name(option): value for option, value in options.items()} | {
        name: config.environment.get(name) or value for name, value in ALLOCATOR.items()
    }


def trial_variables(home: Path, graph_url: str) -> dict[str, str]:
    """Return the environment of a trial: an Airflow and an adwarm of its own under `home`, against the simulator.

    It contains what a shell may hold for another Airflow, so that a trial touches neither its database nor its data.

    Args:
        home: a folder that the trial may fill.
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


def shell_line(name: str, value: str) -> str:
    """Return the command that exports a variable."""
    return f"export {name}={shlex.quote(value)}"


@app.callback()
def airflow() -> None:
    """Set up an installed Airflow. Nothing is imported from it."""


@app.command("setup")
def setup(
    *,
    simulator: Annotated[
        bool, typer.Option("--simulator", help="A trial apart from your Airflow, against the simulated platform.")
    ] = False,
    port: Annotated[
        int, typer.Option(help="With --simulator: its port, or the next free one.", min=1, max=65535)
    ] = 8900,
    as_json: JsonOption = False,
) -> None:
    """Print the settings of Airflow that add adwarm's DAGs to yours, as commands of a shell.

    The bundles that you have configured are kept. With --simulator, for `eval "$(adwarm airflow setup --simulator)"`,
    it starts a trial in this shell: its environment, the simulator, and an empty Airflow database.
    """
    if simulator:
        port = _find_free_port(port)
        variables = trial_variables(_TRIAL.absolute(), f"http://127.0.0.1:{port}")
    else:
        variables = find_variables(AirflowConfig.find(os.environ))
    if as_json:
        print_json({"variables": [{"name": name, "value": value} for name, value in variables.items()]})
        return
    lines = "".join(f"{shell_line(name, value)}\n" for name, value in variables.items())
    typer.echo(f"{_HEAD}\n{lines}{_start_trial(variables, port) if simulator else _YOURS}", nl=False)
    if simulator:
        _explain_trial()


def _find_free_port(first: int) -> int:
    for port in range(first, min(first + _PORTS_TRIED, 65_536)):
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
    raise BadRequest(f"no port from {first} on is free; name another with --port")


def _start_trial(variables: Mapping[str, str], port: int) -> str:
    """Return the commands that follow the environment of a trial."""
    home = shlex.quote(variables["AIRFLOW_HOME"])
    return (
        f"mkdir -p {home}\n"
        f"adwarm simulate --port {port} >{home}/simulator.log 2>&1 &\n"
        f"airflow db migrate >{home}/migrate.log 2>&1 || cat {home}/migrate.log >&2\n"
    )


def _explain_trial() -> None:
    typer.echo(
        f"A trial of adwarm in {_TRIAL}; it ends with `kill %adwarm` and this shell. Next:\n"
        '  airflow dags test adwarm_strategy_warming --conf \'{"accounts": ["act_1"]}\'    warm three reports\n'
        "  adwarm get act_1 last_7d                                                      read one\n"
        "  airflow standalone                                                            then open "
        "http://127.0.0.1:8080 and adwarm in the navigation",
        err=True,
    )
