"""One worker of the quota benchmark: more requests than the budget allows, in equal parts by class, until it is killed.

It writes one line per call to a file: class and seconds waited. The platform logs the calls itself.
"""

import http.client
import json
import random
import sys
import threading
import time
from collections import deque
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from adwarm.backpressure import Admission, CallRequest, GrantedCall, ProcessAdmission, SqlAdmission, acquire_grant
from adwarm.foundation.clock import SystemClock
from adwarm.foundation.errors import AdwarmError, NoCapacity, Refused, Throttled
from adwarm.model import Priority, Scope, ScopeKind, UsageSample
from adwarm.settings import BackpressureSettings
from adwarm.sources.meta.graph_errors import CallContext, parse_error
from adwarm.sources.meta.response_headers import parse_usage_headers
from adwarm.store.database import open_engine

APP, TOKEN = Scope(ScopeKind.APP, "100000"), Scope(ScopeKind.TOKEN, "simulated")
QUERY = {"level": "account", "fields": "impressions", "date_preset": "yesterday", "access_token": "simulated-token"}
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class WorkerConfig:
    """The configuration of a worker.

    Attributes:
        scale: platform seconds per real second; waits that the platform asks for are divided by it.
        per_class: requests per second of each class.
        accounts: accounts of each class.
    """

    name: str
    database: str
    port: int
    waits: str
    settings: dict[str, Any]
    scale: float
    per_class: float
    accounts: int
    threads: int
    hears_usage: bool


@dataclass
class Line:
    """Requests of one class: when each arrived, oldest first."""

    priority: Priority
    arrived: deque[float]
    came: threading.Semaphore


class Worker:
    """Generates requests and serves them with some threads per class."""

    def __init__(self, task: WorkerConfig) -> None:
        self.task = task
        self.rng = random.Random(task.name)
        settings = BackpressureSettings.model_validate(task.settings)
        engine = open_engine(task.database)
        shared = SqlAdmission(engine, settings, owner=task.name, rng=random.Random(task.name))
        self.admission: Admission = ProcessAdmission(shared)
        self.lines = [Line(priority, deque(), threading.Semaphore(0)) for priority in Priority]
        self.waits = Path(task.waits).open("a", buffering=1, encoding="utf-8")  # noqa: SIM115 -- until it is killed

    def run(self) -> None:
        """Run until the process ends."""
        for line in self.lines:
            for _ in range(self.task.threads):
                threading.Thread(target=self._serve, args=(line,), daemon=True).start()
        due = time.monotonic()
        while True:
            due += self.rng.expovariate(self.task.per_class * len(self.lines))
            time.sleep(max(0.0, due - time.monotonic()))
            line = self.rng.choice(self.lines)
            line.arrived.append(time.monotonic())
            line.came.release()

    def _serve(self, line: Line) -> None:
        while True:
            line.came.acquire()
            arrived = line.arrived.popleft()
            account = f"act_{int(line.priority) + 1}{self.rng.randrange(self.task.accounts):03d}"
            while not self._call(account, line.priority, arrived):
                continue

    def _call(self, account: str, priority: Priority, arrived: float) -> bool:
        """Make the call once it is admitted; return False when it was not admitted yet."""
        scope, was_made = Scope(ScopeKind.ACCOUNT, account), False
        try:
            request = CallRequest((scope, APP), priority, "meta")
            with acquire_grant(self.admission, SystemClock(), request, timeout_seconds=PATIENCE_SECONDS) as granted:
                self.waits.write(f"{int(priority)} {time.monotonic() - arrived:.4f}\n")
                was_made = True
                self._ask(account, granted)
        except NoCapacity as error:
            if not was_made:
                time.sleep(max(0.01, (error.until - datetime.now(UTC)).total_seconds()))
            return was_made
        except Refused as error:
            time.sleep(error.retry_after)
            return False
        except (AdwarmError, OSError, http.client.HTTPException) as error:
            print(f"{self.task.name}: {type(error).__name__}: {error}", file=sys.stderr)
        return True

    def _ask(self, account: str, granted: GrantedCall) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", self.task.port, timeout=20)) as connection:
            connection.request("GET", f"/v26.0/{account}/insights?{urlencode(QUERY)}")
            response = connection.getresponse()
            body, now = response.read(), datetime.now(UTC)
        scope = Scope(ScopeKind.ACCOUNT, account)
        usage = tuple(map(self._scaled, parse_usage_headers(dict(response.getheaders()), scope, APP)))
        if self.task.hears_usage:
            granted.record_usage(usage)
        if response.status != 200:
            caller = CallContext(account, scope, APP, TOKEN, full_access=True)
            raise self._sooner(parse_error(json.loads(body)["error"], response.status, caller, (), now), now)

    def _scaled(self, sample: UsageSample) -> UsageSample:
        regain = None if sample.regain_seconds is None else sample.regain_seconds / self.task.scale
        return UsageSample(sample.scope, sample.percent, regain)

    def _sooner(self, error: AdwarmError, now: datetime) -> AdwarmError:
        """Return the error with its wait scaled to real time."""
        if isinstance(error, Throttled):
            seconds = (error.until - now).total_seconds() / self.task.scale
            return Throttled(str(error), scope=error.scope, until=now + timedelta(seconds=seconds), code=error.code)
        return error


def main(text: str) -> None:
    """Print `ready`, wait for a line on standard input, and run."""
    worker = Worker(WorkerConfig(**json.loads(text)))
    print("ready", flush=True)
    sys.stdin.readline()
    worker.run()


if __name__ == "__main__":
    main(sys.argv[1])
