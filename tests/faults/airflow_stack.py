"""A real Airflow for a test: API server, scheduler with LocalExecutor, DAG processor and triggerer over PostgreSQL."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from sqlalchemy import Engine, create_engine, make_url, text

from dev.environment import ROOT, TOKEN, local_environment
from dev.up import find_free_port
from tests.support.airflow_rest import AirflowRest

PARTS = ("api-server", "dag-processor", "triggerer", "scheduler")
START_SECONDS = 180.0
COMMAND_SECONDS = 300.0
_QUICK = {
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    # No test changes a DAG: each file is parsed once, not twice a minute.
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
    # A killed task and a killed scheduler are noticed within seconds instead of minutes.
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "AIRFLOW__API__WORKERS": "1",
}


class TaskState(NamedTuple):
    """One try of a task instance, as Airflow's database has it."""

    task_id: str
    map_index: int
    state: str | None
    try_number: int
    pid: int | None


@dataclass
class AirflowStack:
    """A running Airflow.

    Attributes:
        url: address of its web server.
        home: folder of its logs and of adwarm's data.
        env: environment of every process, and of commands that see the same Airflow.
        metadata: Airflow's own database.
        sessions: the sessions of all processes that were started.
    """

    url: str
    home: Path
    env: dict[str, str]
    metadata: Engine
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    sessions: set[int] = field(default_factory=set)

    def start(self, part: str) -> None:
        """Start one of `PARTS` in a session of its own."""
        with (self.home / f"{part}.log").open("ab") as log:
            self.processes[part] = subprocess.Popen(
                [sys.executable, "-m", "airflow", part],
                env=self.env,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.sessions.add(self.processes[part].pid)

    def kill(self, part: str) -> None:
        """Kill a part with every process of its session by SIGKILL."""
        started = self.processes[part]
        kill_session(started.pid)
        started.wait(timeout=20)

    def run(self, *arguments: str) -> str:
        """Run an Airflow command and return its output."""
        command = [sys.executable, "-m", "airflow", *arguments]
        done = subprocess.run(
            command, env=self.env, cwd=ROOT, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
        if done.returncode:
            raise RuntimeError(f"airflow {' '.join(arguments)} failed: {done.stderr[-2000:]}")
        return done.stdout

    def adwarm(self, *arguments: str) -> Any:
        """Run an `adwarm` command on the same data and return its JSON document."""
        command = [sys.executable, "-m", "adwarm", *arguments, "--json"]
        done = subprocess.run(
            command, env=self.env, cwd=ROOT, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
        if done.returncode:
            raise RuntimeError(f"adwarm {' '.join(arguments)} failed: {done.stderr[-2000:]}")
        return json.loads(done.stdout)

    def trigger(self, dag_id: str, run_id: str, conf: Mapping[str, Any]) -> None:
        """Unpause a DAG and start a run of it; everybody is an administrator."""
        with closing(AirflowRest(self.url)) as airflow:
            self.unpause(airflow, dag_id)
            airflow.trigger(dag_id, run_id, conf)

    def unpause(self, airflow: AirflowRest, *dag_ids: str) -> None:
        """Let the scheduler start runs of DAGs, once the DAG processor has found them."""
        self.wait_until(lambda: airflow.list_dags().issuperset(dag_ids), f"{dag_ids} are found", START_SECONDS)
        for dag_id in dag_ids:
            airflow.unpause(dag_id)

    def run_state(self, dag_id: str, run_id: str) -> str | None:
        """Return the state of a run."""
        query = text("SELECT state FROM dag_run WHERE dag_id = :dag AND run_id = :run")
        with self.metadata.connect() as connection:
            return connection.execute(query, {"dag": dag_id, "run": run_id}).scalar_one_or_none()

    def tasks(self, dag_id: str, run_id: str) -> list[TaskState]:
        """Return the task instances of a run, each with the process that runs it."""
        query = text(
            "SELECT task_id, map_index, state, try_number, pid FROM task_instance "
            "WHERE dag_id = :dag AND run_id = :run ORDER BY task_id, map_index"
        )
        with self.metadata.connect() as connection:
            return [TaskState(*row) for row in connection.execute(query, {"dag": dag_id, "run": run_id})]

    def wait_until(self, is_true: Callable[[], object], what: str, seconds: float) -> None:
        """Wait until something holds.

        Raises:
            TimeoutError: it did not in time; the message ends with the scheduler's log.
        """
        deadline = time.monotonic() + seconds
        while not is_true():
            if time.monotonic() > deadline:
                tail = (self.home / "scheduler.log").read_text(errors="replace")[-3000:]
                raise TimeoutError(f"it never happened: {what}\n{tail}")
            threading.Event().wait(0.1)


@contextmanager
def airflow_stack(home: Path, server_url: str, graph_url: str, settings: Mapping[str, str]) -> Iterator[AirflowStack]:
    """Start an Airflow, and stop all of its processes at the end.

    Args:
        home: an empty folder.
        server_url: a PostgreSQL server; the databases `airflow` and `adwarm` are created there.
        graph_url: the upstream of the connection `facebook_default`.
        settings: further environment variables.
    """
    urls = {name: _create_database(server_url, name) for name in ("airflow", "adwarm")}
    port = find_free_port(0)
    url = f"http://127.0.0.1:{port}"
    env = local_environment(home, graph_url, "")
    del env["ADWARM_ACCESS_LOG__URL"]
    connection = {"conn_type": "facebook_social", "extra": {"access_token": TOKEN, "graph_url": graph_url}}
    env.update({
        **_QUICK,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": _sqlalchemy_url(urls["airflow"]),
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__BASE_URL": url,
        # The servers of logs have fixed ports by default, which another Airflow on this machine may use.
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(find_free_port(0)),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(find_free_port(0)),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__API_AUTH__JWT_SECRET": "a secret of the tests, long enough for a signature with SHA-512 of 64 bytes",
        "AIRFLOW_CONN_FACEBOOK_DEFAULT": json.dumps(connection),
        "ADWARM_DATABASE_URL": urls["adwarm"],
        **settings,
    })
    (home / "airflow").mkdir(parents=True)
    stack = AirflowStack(url, home, env, create_engine(_sqlalchemy_url(urls["airflow"])))
    try:
        stack.run("db", "migrate")
        for part in PARTS:
            stack.start(part)
        stack.wait_until(lambda: _is_healthy(url), "Airflow is healthy", START_SECONDS)
        yield stack
    finally:
        _stop(stack)


def _sqlalchemy_url(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg2://", 1)


def _create_database(server_url: str, name: str) -> str:
    engine = create_engine(_sqlalchemy_url(server_url), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    engine.dispose()
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/api/v2/monitor/health", timeout=5) as response:
            parts = json.load(response)
    except (OSError, ValueError):
        return False
    return all(part.get("status") == "healthy" for part in parts.values() if part and part.get("status"))


def _stop(stack: AirflowStack) -> None:
    for session in stack.sessions:
        kill_session(session)
    for started in stack.processes.values():
        started.wait(timeout=20)
    stack.metadata.dispose()


def kill_session(session: int) -> None:
    """Kill every process of a session; parts of Airflow outlive a parent that is killed alone."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == session:
                process.send_signal(signal.SIGKILL)
