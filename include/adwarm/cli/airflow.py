"""`adwarm airflow`: the settings with which an installed Airflow runs the package's DAGs."""

import os
import shlex
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adwarm.cli.options import JsonOption
from adwarm.cli.output import print_json, print_note
from adwarm.foundation.errors import BadRequest

if TYPE_CHECKING:
    from adwarm.cli.airflow_settings import AirflowConfig

app = typer.Typer(help="Set up an installed Airflow.", no_args_is_help=True)
_FORMATS = ("shell", "env", "cfg")
_PORTS_TRIED = 50
_HEAD = "# adwarm: every process of Airflow, and the shell in which you run `adwarm`, needs these."
_YOURS = """\
# Yours to decide, each with a default:
#   ADWARM_DATABASE_URL=postgresql://adwarm:...@db.internal/adwarm    for more than one machine
#   ADWARM_DATA_URL=s3://bucket/adwarm
#   ADWARM_ACCESS_LOG__URL=/var/log/dashboard/*.parquet
# The connection: in the UI one of the type "Meta Insights (adwarm)", or
#   airflow connections add facebook_default --conn-type adwarm_meta --conn-extra '{"access_token": "..."}'
"""


@app.callback()
def airflow() -> None:
    """Set up an installed Airflow. Nothing is imported from it."""


@app.command("setup")
def setup(
    *,
    output: Annotated[
        str, typer.Option("--format", help="shell: for eval; env: NAME=value lines; cfg: options of airflow.cfg.")
    ] = "shell",
    write: Annotated[
        Path | None, typer.Option(help="Write to this file; what it holds besides these settings stays.")
    ] = None,
    simulator: Annotated[
        bool, typer.Option("--simulator", help="A trial apart from your Airflow, against the simulated platform.")
    ] = False,
    home: Annotated[Path, typer.Option(help="With --simulator: folder of everything that the trial stores.")] = Path(
        "adwarm-trial"
    ),
    port: Annotated[
        int, typer.Option(help="With --simulator: its port, or the next free one.", min=1, max=65535)
    ] = 8900,
    as_json: JsonOption = False,
) -> None:
    """Print the settings of Airflow that add adwarm's DAGs to yours; with --write, store them.

    The bundles that you have configured are kept. With --simulator, for `eval "$(adwarm airflow setup --simulator)"`,
    it starts a trial in this shell: its environment, the simulator, and an empty Airflow database.
    """
    from adwarm.cli.airflow_settings import find_variables, trial_variables

    if output not in _FORMATS:
        raise BadRequest(f"--format {output!r} is none of {', '.join(_FORMATS)}")
    if simulator and output == "cfg":
        raise BadRequest("a trial is more than airflow.cfg can hold; use --format shell or env with --simulator")
    old = "" if write is None else _read(write)
    config = _find_config(output, write, old)
    if simulator:
        port = _find_free_port(port)
        variables = trial_variables(home.absolute(), f"http://127.0.0.1:{port}")
    else:
        variables = find_variables(config)
    if as_json and write is None:
        print_json({"variables": [{"name": name, "value": value} for name, value in variables.items()]})
    elif write is not None:
        _write(write, _update(old, output, variables, config))
        print_json({"file": str(write)}) if as_json else print_note(f"written to {write}")
    else:
        more = _start_trial(variables, port) if simulator and output == "shell" else "" if simulator else _YOURS
        typer.echo(f"{_HEAD}\n{_update('', output, variables, config)}{more}", nl=False)
        if simulator:
            _explain_trial(home)


def _find_config(output: str, write: Path | None, text: str) -> "AirflowConfig":
    """Return where the settings to keep are: in the file that is written, and what it lacks in this environment."""
    from adwarm.cli.airflow_settings import AirflowConfig
    from adwarm.cli.airflow_text import parse_variables

    if write is not None and output == "cfg":
        return AirflowConfig({}, write)
    return AirflowConfig.find({**os.environ, **parse_variables(text)})


def _update(text: str, output: str, variables: Mapping[str, str], config: "AirflowConfig") -> str:
    """Return the text of a file with the settings in it."""
    from adwarm.cli import airflow_text
    from adwarm.cli.airflow_settings import find_options

    if output == "cfg":
        return airflow_text.set_options(text, find_options(config))
    line = airflow_text.shell_line if output == "shell" else airflow_text.variable_line
    return airflow_text.set_variables(text, variables, line)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"--write {path} cannot be read as text ({error}); name another file") from None


def _write(path: Path, text: str) -> None:
    """Write a file; a new one only its owner can read, because a connection may be added to it."""
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadRequest(
            f"--write {path} cannot be written ({error.strerror}); name a file in a writable folder"
        ) from None


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


def _explain_trial(home: Path) -> None:
    typer.echo(
        f"A trial of adwarm in {home}; it ends with `kill %adwarm` and this shell. Next:\n"
        '  airflow dags test adwarm_strategy_warming --conf \'{"accounts": ["act_1"]}\'    warm three reports\n'
        "  adwarm get act_1 last_7d                                                      read one\n"
        "  airflow standalone                                                            then open "
        "http://127.0.0.1:8080 and adwarm in the navigation",
        err=True,
    )
