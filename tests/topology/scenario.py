"""What happens to the topology: start, work, two kills, the end; and what must hold."""

import json
import os
import secrets
import subprocess
import time
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from adwarm.backpressure import RequestQueue
from adwarm.model import Priority, ReportKey
from adwarm.settings import BackpressureSettings
from adwarm.store import entries, jobs, open_engine, warms
from tests.support.airflow_rest import ENDED, AirflowRest
from tests.topology import postgres_folder
from tests.topology.compose_services import ROOT, load_services
from tests.topology.loopback import EXTRA, EXTRA_ARGUMENTS, SECOND_SCHEDULER, find_places, list_used_ports
from tests.topology.report_reader import ReportReader
from tests.topology.service_runner import ServiceRunner, list_processes

WARMING, DAILY, RUN = "adwarm_strategy_warming", "adwarm_daily_insights", "topology"
ACCOUNTS = [f"act_{number}" for number in range(1, 25)]
RANGES = ("yesterday", "last_7d")
KEYS = [ReportKey(account, date_range) for account in ACCOUNTS for date_range in RANGES]
BACKFILLED = ACCOUNTS[:6]
DAYS = 2
QUEUE, ASSET, EVENTS = "adwarm_request_queue", "adwarm_requests", 200
QUEUED = [ReportKey(f"act_{number}", "yesterday") for number in range(101, 121)]
WORKER, OTHER_WORKER, SERVES = "airflow-worker-warming", "airflow-worker", ("read-api", "read-api-2")


class Scenario:
    """One start of the topology.

    Args:
        home: an empty folder.

    Attributes:
        phases: what took how many seconds.
        findings: what else was measured.
    """

    def __init__(self, home: Path) -> None:
        self.phases: list[dict[str, Any]] = []
        self.findings: dict[str, Any] = {"differences": {"environment": EXTRA, "arguments": EXTRA_ARGUMENTS}}
        home.chmod(0o755)
        self._home = home
        self._password = secrets.token_hex(16)
        self._places = find_places(home, postgres_folder.find_programs())
        self._env_text = _write_env(self._password)
        services = load_services(self._env_text, ["simulator"])
        services[SECOND_SCHEDULER] = replace(services["airflow-scheduler"], name=SECOND_SCHEDULER)
        services = {name: self._places.place(service) for name, service in services.items()}
        (home / "logs").mkdir()
        self._runner = ServiceRunner(services, home / "image", home / "logs")

    def run(self) -> None:
        """Run all phases, and stop everything at the end.

        Raises:
            AssertionError: something that must hold does not.
        """
        try:
            with self._phase("prepare"):
                self._prepare()
            with self._phase("start until healthy"):
                self._runner.wait_until(lambda: not self._runner.list_unhealthy(), "all services are healthy", 600)
            self._work()
        finally:
            with self._phase("stop"):
                self._runner.stop()
        self._check_end()

    def logs(self) -> str:
        """Return the end of each service's log, and which are not healthy."""
        tails = [f"--- {path.name}\n{path.read_text(errors='replace')[-2_500:]}" for path in self._log_files()]
        return "\n".join([*tails, f"not healthy: {self._runner.list_unhealthy()}"])

    def _log_files(self) -> list[Path]:
        return sorted((self._home / "logs").glob("*.log"))

    @contextmanager
    def _phase(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.phases.append({"what": what, "seconds": time.monotonic() - began})
        print(f"{what}: {self.phases[-1]['seconds']:.1f} s", flush=True)

    def _prepare(self) -> None:
        """Make image and volumes."""
        self._places.build_image()
        for item in self._runner.running.values():
            for source in item.service.volumes:
                if item.service.is_ours:
                    self._places.volume(source).mkdir(parents=True, exist_ok=True)
        self._places.volume("redis-data").mkdir()
        postgres = self._runner.running["postgres"]
        postgres.user, postgres.stop_signal = postgres_folder.find_owner(), postgres_folder.STOP_SIGNAL
        data = self._places.volume("postgres-data")
        postgres_folder.prepare(postgres.service, data, ROOT / "config/postgres", postgres.user)

    def _work(self) -> None:
        rest = AirflowRest(self._url("airflow-apiserver"), "admin", self._password)
        engine = open_engine(self._adwarm_url())
        try:
            with self._phase("DAGs are found"):
                self._runner.wait_until(lambda: {WARMING, DAILY, QUEUE} <= rest.list_dags(), "the DAGs are found", 300)
                assert rest.list_import_errors() == []
            extra = {"app_id": "1", "access_token": "simulated-token", "graph_url": self._url("simulator")}
            rest.create_connection("facebook_default", "facebook_social", json.dumps(extra))
            urls = [self._url(name) for name in SERVES]
            with ReportReader(urls, self._make_token(), KEYS) as reader:
                self._run_and_kill(rest, engine, reader)
                reader.stop()
                self._check_ledger(rest, engine)
                self._check_events(rest, engine)
                self._check_reads(reader)
        finally:
            rest.close()
            engine.dispose()

    def _run_and_kill(self, rest: AirflowRest, engine: Any, reader: ReportReader) -> None:
        """Start the runs, kill a worker and a read API in the middle of them, and wait for the end of the runs."""
        conf = {
            "accounts": ACCOUNTS,
            "date_ranges": list(RANGES),
            "batch_size": 2,
            "delay_seconds": 1,
            "max_calls": 1_000,
        }
        with self._phase("first reports"):
            for dag_id in (WARMING, DAILY):
                rest.unpause(dag_id)
            rest.trigger(WARMING, RUN, conf)
            rest.backfill(DAILY, _day(DAYS + 1), _day(2), {"accounts": BACKFILLED})
            self._runner.wait_until(lambda: len(entries.list_entries(engine)) >= 6, "some reports are stored", 400)
            self._runner.wait_until(lambda: self._running_pids(rest), "the worker fetches batches", 120)
        with self._phase(f"kill -9 of the worker and a read API, {EVENTS} events, until healthy"):
            pids, before = self._running_pids(rest), len(entries.list_entries(engine))
            members = {process.pid for process in self._runner.running[WORKER].processes()}
            assert pids <= members, "a task of the queue runs elsewhere"
            killed = {name: self._runner.running[name].kill() for name in (WORKER, SERVES[0])}
            assert before < len(KEYS), "the run was over before the kill"
            self._send_events(rest, engine)
            self._runner.wait_until(
                lambda: self._runner.running[WORKER].starts == 2 and not self._runner.list_unhealthy(), "restart", 400
            )
        self.findings |= {"killed_processes": killed, "tasks_running_at_kill": len(pids), "entries_at_kill": before}
        with self._phase("until all runs are green"):
            self._runner.wait_until(lambda: self._are_done(rest), "the runs end", 900)

    def _send_events(self, rest: AirflowRest, engine: Any) -> None:
        """Request reports, and start the DAG that drains them more often than there is something to drain."""
        queue = RequestQueue(engine, BackpressureSettings(), owner="topology")
        asset = rest.find_asset(ASSET)
        rest.unpause(QUEUE)
        for number in range(EVENTS - 1):
            if number % (EVENTS // len(QUEUED)) == 0:
                queue.enqueue(QUEUED[number * len(QUEUED) // EVENTS], Priority.HIGH)
            rest.send_event(asset)
            self._runner.tick()

        def is_drained() -> bool:
            return not any(item.pending or item.processing for item in queue.status().classes.values())

        self._runner.wait_until(is_drained, "the requests are drained", 300)
        rest.send_event(asset)  # its run has nothing to drain

    def _running_pids(self, rest: AirflowRest) -> set[int]:
        """Return the processes of the running batches; none while one is still on its way to a worker."""
        tasks = [task for task in rest.list_tasks(WARMING, RUN) if task["task_id"] == "warm"]
        if any(task["state"] in {None, "scheduled", "queued"} for task in tasks):
            return set()
        return {task["pid"] for task in tasks if task["state"] == "running" and task["pid"]}

    def _are_done(self, rest: AirflowRest) -> bool:
        runs = {dag_id: rest.list_runs(dag_id) for dag_id in (WARMING, DAILY, QUEUE)}
        backfilled = [run_id for run_id in runs[DAILY] if run_id.startswith("backfill__")]
        has_ended = all(state in ENDED for states in runs.values() for state in states.values())
        return has_ended and len(backfilled) == DAYS and not rest.has_queued_events(QUEUE)

    def _check_ledger(self, rest: AirflowRest, engine: Any) -> None:
        """Every run is green, each of its keys has one warm, and every report is stored."""
        runs = {
            (dag_id, run_id): state for dag_id in (WARMING, DAILY) for run_id, state in rest.list_runs(dag_id).items()
        }
        assert set(runs.values()) == {"success"}, runs
        tasks = [task for dag_id, run_id in runs for task in rest.list_tasks(dag_id, run_id)]
        queues = {task["queue"] for task in tasks if task["task_id"] == "warm" and task["state"] == "success"}
        others = {task["queue"] for task in tasks if task["task_id"] != "warm"}
        assert (queues, others) == ({"warming"}, {"default"})
        again = max(task["try_number"] for task in tasks if task["task_id"] == "warm")
        assert again >= 2, "no killed task was tried again"
        counts = {}
        for dag_id, run_id in runs:
            rows = warms.list_by_run(engine, f"{dag_id}/{run_id}")
            keys = sorted(str(row.key) for row in rows)
            assert len(keys) == len(set(keys)), "a key is twice in the ledger"
            assert {str(row.status) for row in rows} <= {"fetched", "fresh"}, rows
            counts[f"{dag_id}/{run_id}"] = len(keys)
        strategy = warms.list_by_run(engine, f"{WARMING}/{RUN}")
        assert sorted(str(row.key) for row in strategy) == sorted(map(str, KEYS)), "a key was lost"
        job = next(job for job in jobs.list_latest(engine, 100) if job.run_id == f"{WARMING}/{RUN}")
        assert (job.status, job.total, job.done, job.failed) == ("completed", len(KEYS), len(KEYS), 0)
        self.findings |= {
            "warms_by_run": counts,
            "most_tries": again,
            "platform_calls": sum(self._list_calls().values()),
        }

    def _check_events(self, rest: AirflowRest, engine: Any) -> None:
        """Every requested report was fetched once, and a run without anything to drain ended as skipped."""
        runs = rest.list_runs(QUEUE)
        states = Counter(task["state"] for run_id in runs for task in rest.list_tasks(QUEUE, run_id))
        assert set(runs.values()) == {"success"}, runs
        assert states.keys() <= {"success", "skipped"}, states
        assert states["skipped"] > 0, states
        requested = {key.account_id for key in QUEUED}
        stored = {entry.key.account_id for entry in entries.list_entries(engine)}
        assert stored >= requested, "a request was lost"
        calls = {name: count for name, count in self._list_calls().items() if name in requested}
        assert set(calls.values()) == {2}, calls  # the account, and its report
        events = Counter(event for run_id in runs for event in rest.list_events(QUEUE, run_id))
        self.findings["events"] = {
            "sent": EVENTS,
            "runs": len(runs),
            "states": dict(states),
            "in_two_runs": sum(count > 1 for count in events.values()),
        }

    def _check_reads(self, reader: ReportReader) -> None:
        """Every warmed key is read from each of the servers, and the reader noticed no failure."""
        assert reader.failed == [], reader.failed[:3]
        assert reader.moved > 0, "no read met the killed server"
        during = dict(reader.served)
        for key in KEYS:
            for number in range(len(SERVES)):
                answer = reader.read(key, number)
                assert answer is not None, f"{key} is not stored"
                assert answer.status == "hit", f"{key} is {answer.status}"
        self.findings |= {"reads_during_the_runs": during, "reads_moved_to_the_other_server": reader.moved}

    def _check_end(self) -> None:
        """All services ended within their grace, no process is left, all ports are free, no limit was exceeded."""
        running = self._runner.running
        self.findings["services"] = {
            name: {
                "starts": item.starts,
                "stop_seconds": round(item.stop_seconds or 0.0, 1),
                "grace_seconds": item.service.grace_seconds,
                "peak_memory_mb": item.peak_bytes >> 20,
                "limit_mb": item.service.memory_bytes >> 20,
            }
            for name, item in running.items()
        }
        print(json.dumps(self.findings["services"], indent=1))
        assert [name for name, item in running.items() if item.was_killed] == [], "a service outlived its grace"
        assert [name for name, item in running.items() if item.peak_bytes > item.service.memory_bytes] == []
        assert list_processes() == []
        assert list_used_ports(self._places) == []
        self.findings["load"] = os.getloadavg()

    def _make_token(self) -> str:
        """Make a token of the read API as the documentation says, in the container of one."""
        service = self._runner.running[SERVES[0]].service
        command = ["adwarm", "token", "create", "topology", "--rate", "1000", "--json"]
        done = subprocess.run(
            command, env=dict(service.environment), capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout)["token"])

    def _list_calls(self) -> dict[str, int]:
        """Return the platform's calls by account."""
        counts: dict[str, int] = httpx.get(f"{self._url('simulator')}/control/calls", timeout=30).json()["accounts"]
        return counts

    def _url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._places.ports[name]}"

    def _adwarm_url(self) -> str:
        return self._runner.running[WORKER].service.environment["ADWARM_DATABASE_URL"]


def _write_env(password: str) -> str:
    """Return a file `.env` as `.env.example` says: new secrets, and the simulator as the source."""
    hexadecimal = ("POSTGRES_PASSWORD", "ADWARM_POSTGRES_PASSWORD", "REDIS_PASSWORD", "AIRFLOW__API__SECRET_KEY")
    values = {name: secrets.token_hex(24) for name in hexadecimal} | {
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "FERNET_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "ADMIN_PASSWORD": password,
        "ADWARM_SOURCE__GRAPH_URL": "http://simulator:8900",
        "ADWARM_SOURCE__ACCESS_TOKEN": "simulated-token",
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


def _day(days_ago: int) -> str:
    today: date = datetime.now(UTC).date()
    return (today - timedelta(days=days_ago)).isoformat()
