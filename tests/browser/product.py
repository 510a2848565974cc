"""adwarm with its read API and the dashboard, in the process of the tests, on a simulated ad platform."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from adwarm.access_log.open_tables import read_open_files
from adwarm.fatigue.account_scores import score_accounts
from adwarm.foundation.clock import FrozenClock, SystemClock
from adwarm.model import AccessToken, Priority, ReportKey, TokenScope
from adwarm.patterns.ingest.run import ingest
from adwarm.patterns.open_history import load_slots
from adwarm.prefetch import KeyRequest
from adwarm.read_api import build_read_api
from adwarm.runtime import Runtime
from adwarm.serving.api.server import serve_in_thread
from adwarm.serving.tokens import make_token
from adwarm.settings import load_settings
from adwarm.store import access_tokens, accounts
from adwarm.store.open_files import OpenFiles
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer

ROOT = Path(__file__).resolve().parents[2]
ACCOUNTS = ("act_1001", "act_1002", "act_1003")
OTHER_ACCOUNTS = tuple(f"act_{number}" for number in range(2001, 2013))
RANGES = ("last_7d", "last_28d")
ADS = 60


class Product:
    """One installation with its server, in a home of its own. Call `close` at the end.

    It is afternoon in the zone of the accounts, so that a report of some hours ago is one of today.

    Args:
        dashboard: folder of the built dashboard.
        home: an empty folder.
    """

    def __init__(self, dashboard: Path, home: Path) -> None:
        self._home = home
        self._token_ids: dict[str, str] = {}
        self._platform = SimulatorServer(SimulatorConfig(ads=ADS, zone=zone_where_it_is(16)))
        self._platform.__enter__()
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ADWARM_", "AIRFLOW"))},
            "PYTHONPATH": os.pathsep.join([str(ROOT / "include"), str(ROOT / "plugins")]),
            "ADWARM_HOME": str(home),
            "ADWARM_SOURCE__GRAPH_URL": self._platform.url,
            "ADWARM_SOURCE__ACCESS_TOKEN": "simulated-token",
            "ADWARM_BACKPRESSURE__BREAKER_COOLDOWN_SECONDS": "600",
        }
        self._dashboard = dashboard
        self.token = self.make_token("enqueue")
        self._server = ExitStack()
        self.url = self._server.enter_context(serve_in_thread(build_read_api(self.open_runtime())))

    def close(self) -> None:
        """Stop the server and the platform."""
        self._stop_server()
        self._platform.__exit__(None, None, None)

    def run(self, *words: str, fails: bool = False) -> Any:
        """Run an `adwarm` command and return its JSON document."""
        command = [sys.executable, "-m", "adwarm", *words, "--json"]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        assert (done.returncode != 0) == fails, done.stderr
        return json.loads(done.stdout)

    def open_runtime(self, at: datetime | None = None) -> Runtime:
        """Return the objects of the installation, as of a time."""
        settings = load_settings(
            home=self._home,
            source={"graph_url": self._platform.url, "access_token": "simulated-token"},
            serving={"dashboard": str(self._dashboard), "pointer_seconds": 0},
            backpressure={"breaker_cooldown_seconds": 600},
        )
        return Runtime(settings, FrozenClock(at) if at else SystemClock())

    def make_token(self, scope: str) -> str:
        """Return a new token for the accounts."""
        runtime, made, now = self.open_runtime(), make_token(), datetime.now(UTC)
        token = AccessToken(
            id=made.id,
            name=scope,
            scopes=frozenset({TokenScope(scope)}),
            accounts=frozenset(ACCOUNTS),
            highest_priority=Priority.HIGH,
            created_at=now,
        )
        access_tokens.insert_token(runtime.engine, token, made.secret_hash)
        accounts.add_named(runtime.context, ACCOUNTS, now)
        runtime.engine.dispose()
        self._token_ids[made.text] = made.id
        return made.text

    def warm(self, account: str, *, minutes_ago: float = 0, platform_minutes_ago: float | None = None) -> None:
        """Warm reports, and score the account's ads, as it would have been done some time ago.

        Args:
            account: account id.
            minutes_ago: the time at which it is done.
            platform_minutes_ago: the time up to which the platform has data; the same when it is not given.
        """
        now = datetime.now(UTC)
        at = now - timedelta(minutes=minutes_ago)
        self._platform.set_now(at if platform_minutes_ago is None else now - timedelta(minutes=platform_minutes_ago))
        runtime = self.open_runtime(at)
        result = runtime.prefetch_engine().run([KeyRequest(ReportKey(account, name)) for name in RANGES], Priority.LOW)
        assert all(outcome.status.is_served for outcome in result.outcomes), result.errors(2)
        self._platform.set_now(datetime.now(UTC))
        score_accounts(runtime.context, [(account, at.date() - timedelta(days=1))], at)
        runtime.engine.dispose()

    @contextmanager
    def fault(self, kind: str, **fields: Any) -> Iterator[None]:
        """Let every call of the platform have a fault that the simulator knows, until the end of the block."""
        url = f"{self._platform.url}/control/faults"
        httpx.post(url, json={"fault": [{"kind": kind, **fields}]}).raise_for_status()
        yield
        httpx.post(url, json={}).raise_for_status()

    def open_breaker(self) -> None:
        """Warm accounts while every call fails, until the breaker of the platform opens."""
        with self.fault("transient_2"):
            self.run("warm", *OTHER_ACCOUNTS, "--range", "last_7d", fails=True)

    def revoke_token(self) -> None:
        """Revoke the token, and ask until the server refuses it, which takes up to a second."""
        self.run("token", "revoke", self._token_ids[self.token])
        end, answer = datetime.now(UTC) + timedelta(seconds=5), 0
        while answer != 401 and datetime.now(UTC) < end:
            answer = httpx.get(f"{self.url}/v1/queue", headers={"Authorization": f"Bearer {self.token}"}).status_code
        assert answer == 401

    def read_opens(self) -> list[dict[str, Any]]:
        """Stop the server, which publishes its open log then, and return the log."""
        self._stop_server()
        files = OpenFiles(load_settings(home=self._home).data)
        listed = [file for found in files.list_files(files.list_days()).values() for file in found]
        tables = [table for table in read_open_files(files, listed) if not isinstance(table, str)]
        rows = [row for table in tables for row in table.to_pylist()]
        return sorted(rows, key=lambda row: str(row["ts"]))

    def count_opens(self, account: str) -> int:
        """Return the opens of an account that are learned from, once the server has stopped."""
        runtime, now = Runtime(load_settings(home=self._home)), datetime.now(UTC) + timedelta(minutes=1)
        ingest(runtime.context, now)
        slots = load_slots(runtime.context, now - timedelta(hours=2), now)
        runtime.engine.dispose()
        return int(slots.loc[slots["account_id"] == account, "opens"].sum())

    def _stop_server(self) -> None:
        self._server.close()


def zone_where_it_is(hour: int) -> str:
    """Return the name of a zone in which it is `hour` o'clock."""
    east = (hour - datetime.now(UTC).hour + 11) % 24 - 11
    return f"Etc/GMT{-east:+d}"  # in these names, plus is west of Greenwich
