"""A page with demo data: a day of real work on the opens of the example log, some trouble, and what people did.

Everything ends now, so that the page that `adwarm serve` shows is a working installation. The platform is a simulator.
"""

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from adwarm.fatigue.account_scores import score_accounts
from adwarm.forecast.training.train import train_and_promote
from adwarm.foundation.clock import FrozenClock, SystemClock, VirtualClock, floor_to
from adwarm.foundation.errors import AdwarmError
from adwarm.foundation.local_time import local_day
from adwarm.maintenance.steps import run_if_due
from adwarm.model import Mode, Priority, ReportKey
from adwarm.patterns.access_profiles import update_patterns
from adwarm.patterns.ingest.run import ingest
from adwarm.planning.decide import LIVE_DAG, decide
from adwarm.planning.warm_outcomes import mark_warm_outcomes
from adwarm.prefetch.batch_result import KeyRequest
from adwarm.prefetch.warm_batch import warm_batch
from adwarm.runtime import Runtime
from adwarm.settings import load_settings
from adwarm.store import jobs, warms
from dev.demo_day import Readers, read_opens
from dev.environment import EXAMPLE_LOG, ROOT, TOKEN
from dev.page_rows import add_rows
from dev.prepare import move_to_now
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer

ZONE = "America/New_York"
STEP = timedelta(hours=1)
_DAY = timedelta(days=1)
MIN_OPENS = 10
"""Opens that a demo replays at least: the log has hardly any from 5:00 to 9:30 UTC."""
SCORED_DAYS = 30
SCORED_ACCOUNTS = 4
_SCOPES = {"admin": ("read", "enqueue", "admin"), "viewer": ("read",)}


class PageDemo:
    """`adwarm serve` over demo data in a home of its own; a context manager that stops it at the end.

    Args:
        home: an empty folder.
        hours: hours of work before now; 2 at least, and more where fewer than `MIN_OPENS` opens fall into them. A full
            day takes some minutes, two hours take half a minute.
        model: the kind of forecast, as in the settings; `auto` takes minutes to train, `hour_of_week` a second.
    """

    def __init__(self, home: Path, hours: int = 24, model: str = "auto") -> None:
        self.home = home
        self.url = ""
        self._hours = hours
        self._model = model
        self._platform = SimulatorServer(SimulatorConfig(zone=ZONE, token=TOKEN, ads=18, decoys=0.2))
        self._server: subprocess.Popen[bytes] | None = None
        self._own = {
            "ADWARM_HOME": str(home),
            "ADWARM_SOURCE__GRAPH_URL": self._platform.url,
            "ADWARM_SOURCE__ACCESS_TOKEN": TOKEN,
            "ADWARM_ACCESS_LOG__URL": str(home / "access_log.parquet"),
        }

    @property
    def environment(self) -> dict[str, str]:
        """The environment of `adwarm` commands on this home; the user's own settings are left out."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ADWARM_", "AIRFLOW"))}
        path = os.pathsep.join([str(ROOT / "include"), str(ROOT / "plugins")])
        return {**inherited, "PYTHONPATH": path, **self._own}

    def __enter__(self) -> Self:
        self._platform.__enter__()
        try:
            self._fill()
            self._server = self._serve()
        except BaseException:
            self._platform.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.terminate()
            self._server.wait(timeout=30)
        self._platform.__exit__(None, None, None)

    def run(self, *words: str) -> dict[str, str]:
        """Run an `adwarm` command, and return its JSON document.

        Raises:
            AdwarmError: it failed.
        """
        command = [sys.executable, "-m", "adwarm", *words, "--json"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise AdwarmError(f"adwarm {words[0]} failed: {done.stderr[-2000:]}")
        document: dict[str, str] = json.loads(done.stdout)
        return document

    def make_token(self, name: str, *more: str) -> str:
        """Return a new token: `admin` may do everything, any other name may look."""
        scopes = [word for scope in _SCOPES.get(name, ("read",)) for word in ("--scope", scope)]
        return self.run("token", "create", name, *scopes, *more)["token"]

    def open_runtime(self, clock: SystemClock | VirtualClock | FrozenClock | None = None) -> Runtime:
        """Return the objects of this installation."""
        settings = load_settings(
            home=self.home,
            access_log={"url": self._own["ADWARM_ACCESS_LOG__URL"]},
            source={"graph_url": self._platform.url, "access_token": TOKEN},
            forecast={"model": self._model},
        )
        return Runtime(settings, clock or SystemClock())

    def _fill(self) -> None:
        now = SystemClock().now()
        clock = VirtualClock(now)
        runtime = self.open_runtime(clock)
        log = self.home / "access_log.parquet"
        move_to_now(str(EXAMPLE_LOG), runtime.settings, now, log)
        opens = read_opens(str(log), runtime.settings, now - _DAY, now)
        start = floor_to(min(now - self._hours * STEP, opens[-MIN_OPENS].at), STEP)
        clock.set(start)
        ingest(runtime.context, start)
        train_and_promote(runtime.context, start, start)
        update_patterns(runtime.context, start, start)
        readers = Readers(runtime, clock)
        accounts = list(dict.fromkeys(item.key.account_id for item in opens))
        opens = [item for item in opens if item.at >= start]
        self._score(accounts[:SCORED_ACCOUNTS])
        for moment in [start + n * STEP for n in range((now - start) // STEP + 1)]:
            due = [item for item in opens if moment - STEP <= item.at < moment]
            readers.read_all(due)
            clock.set(moment)
            self._platform.set_now(moment, frozen=True)
            ingest(runtime.context, moment, window=(moment - STEP, moment))
            _run_once(runtime, moment)
        readers.read_all([item for item in opens if item.at >= moment])
        self._platform.set_now(now)
        mark_warm_outcomes(runtime.context, now)
        add_rows(runtime.context, now, accounts)
        run_if_due(runtime.maintenance_parts(), "read_creatives", run_now=True)
        runtime.engine.dispose()

    def _score(self, accounts: list[str]) -> None:
        """Score the ads of accounts on each of the last days, from days that are fetched for it."""
        self._fetch_earlier_weeks(accounts)
        runtime = self.open_runtime()  # async reports take time, which a virtual clock does not have
        now = runtime.clock.now()
        self._platform.set_now(now)
        keys = [ReportKey(account, name, "default") for account in accounts for name in ("last_90d", "last_7d")]
        runtime.prefetch_engine().run([KeyRequest(key) for key in keys], Priority.LOW)
        last = local_day(now, ZONE) - _DAY
        days = [last - back * _DAY for back in reversed(range(SCORED_DAYS))]
        score_accounts(runtime.context, [(account, day) for day in days for account in accounts], now)
        runtime.engine.dispose()

    def _fetch_earlier_weeks(self, accounts: list[str]) -> None:
        """Fetch the last week as of each of the days before: frequency comes from a week's summary alone."""
        now = SystemClock().now()
        clock = VirtualClock(now - SCORED_DAYS * _DAY)
        runtime = self.open_runtime(clock)
        keys = [KeyRequest(ReportKey(account, "last_7d", "default")) for account in accounts]
        for back in range(SCORED_DAYS - 1, 0, -1):
            clock.set(now - back * _DAY)
            self._platform.set_now(clock.now(), frozen=True)
            runtime.prefetch_engine().run(keys, Priority.LOW)
        runtime.engine.dispose()

    def _serve(self) -> subprocess.Popen[bytes]:
        with (self.home / "serve.log").open("wb") as log:
            command = [sys.executable, "-m", "adwarm", "serve", "--port", "0", "--json"]
            server = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, stderr=log)  # noqa: S603
        document = b""
        while server.stdout is not None and not document.endswith(b"}\n"):
            line = server.stdout.readline()
            if not line:
                raise AdwarmError((self.home / "serve.log").read_text(encoding="utf-8")[-2000:])
            document += line
        self.url = json.loads(document)["url"]
        return server


def _run_once(runtime: Runtime, moment: datetime) -> None:
    """Plan and warm as one run of the DAG does."""
    run_id = f"{LIVE_DAG}/scheduled__{moment:%Y-%m-%dT%H:%M:%S}+00:00"
    plan = decide(runtime.context, moment, run_id, Mode.LIVE)
    jobs.start(runtime.engine, run_id, LIVE_DAG, plan.warms if plan.batches else 0, moment)
    for number in range(plan.batches):
        warm_batch(runtime.prefetch_engine(), run_id, number)
    planned = warms.list_by_run(runtime.engine, run_id)
    jobs.finish(runtime.engine, run_id, moment + timedelta(seconds=20 + 2 * len(planned)))
    mark_warm_outcomes(runtime.context, moment)
