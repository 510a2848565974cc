"""Airflow's REST API, after a login."""

from collections.abc import Mapping
from typing import Any

import httpx

_SECONDS = 60.0
ENDED = frozenset({"success", "failed"})


class AirflowRest:
    """A client of Airflow's public API.

    Args:
        url: address of the API server.
        name: name of a user of its auth manager; empty where everybody is an administrator.
        password: that user's password.
    """

    def __init__(self, url: str, name: str = "", password: str = "") -> None:
        login = {"json": {"username": name, "password": password}} if name else {}
        answer = httpx.request("POST" if name else "GET", f"{url}/auth/token", timeout=_SECONDS, **login)
        answer.raise_for_status()
        headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        self._http = httpx.Client(base_url=f"{url}/api/v2", headers=headers, timeout=_SECONDS)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def list_dags(self) -> set[str]:
        """Return the ids of the DAGs that the DAG processor has found."""
        return {dag["dag_id"] for dag in self._call("GET", "/dags", params={"limit": 100})["dags"]}

    def list_import_errors(self) -> list[str]:
        """Return what the DAG processor could not load."""
        return [error["stack_trace"] for error in self._call("GET", "/importErrors")["import_errors"]]

    def create_connection(self, name: str, kind: str, extra: str) -> None:
        """Store a connection, which Airflow encrypts."""
        self._call("POST", "/connections", json={"connection_id": name, "conn_type": kind, "extra": extra})

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler start runs of a DAG."""
        self._call("PATCH", f"/dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, run_id: str, conf: Mapping[str, Any]) -> None:
        """Start a run."""
        body = {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf)}
        self._call("POST", f"/dags/{dag_id}/dagRuns", json=body)

    def backfill(self, dag_id: str, first: str, last: str, conf: Mapping[str, Any]) -> None:
        """Start a backfill of the days from `first` to `last`, both included."""
        body = {
            "dag_id": dag_id,
            "from_date": f"{first}T00:00:00Z",
            "to_date": f"{last}T00:00:00Z",
            "dag_run_conf": dict(conf),
            "max_active_runs": 2,
        }
        self._call("POST", "/backfills", json=body)

    def find_asset(self, name: str) -> int:
        """Return the id of an asset."""
        assets = self._call("GET", "/assets", params={"name_pattern": name})["assets"]
        return next(int(asset["id"]) for asset in assets if asset["name"] == name)

    def send_event(self, asset_id: int) -> None:
        """Send an event of an asset."""
        self._call("POST", "/assets/events", json={"asset_id": asset_id})

    def has_queued_events(self, dag_id: str) -> bool:
        """Return whether a DAG has events for which it has no run yet."""
        return bool(self._call("GET", f"/dags/{dag_id}/assets/queuedEvents")["total_entries"])

    def list_events(self, dag_id: str, run_id: str) -> list[int]:
        """Return the ids of the events that started a run."""
        events = self._call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/upstreamAssetEvents")["asset_events"]
        return [event["id"] for event in events]

    def list_runs(self, dag_id: str) -> dict[str, str]:
        """Return the state of each run of a DAG."""
        runs = self._call("GET", f"/dags/{dag_id}/dagRuns", params={"limit": 100})["dag_runs"]
        return {run["dag_run_id"]: run["state"] for run in runs}

    def list_tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        found: list[dict[str, Any]] = self._call("GET", path, params={"limit": 100})["task_instances"]
        return found

    def get_request(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """Return what a task that waits for a person shows."""
        found: dict[str, Any] = self._call("GET", _request_path(dag_id, run_id, task_id))
        return found

    def respond(self, dag_id: str, run_id: str, task_id: str, option: str) -> None:
        """Choose an option of a task that waits for a person."""
        body = {"chosen_options": [option], "params_input": {}}
        self._call("PATCH", _request_path(dag_id, run_id, task_id), json=body)

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        answer = self._http.request(method, path, **arguments)
        if answer.is_error:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json() if answer.content else None


def _request_path(dag_id: str, run_id: str, task_id: str) -> str:
    return f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"
