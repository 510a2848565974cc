"""A page with demo data: a day of real work on the opens of the example log, some trouble, and what people did.

Everything ends now, so that the page that `adwarm serve` shows is a working installation. The platform is a simulator.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from adwarm.forecast.training.train import train_and_promote
from adwarm.foundation.clock import Clock, SystemClock, VirtualClock
from adwarm.foundation.errors import AdwarmError
from adwarm.maintenance.steps import run_if_due
from adwarm.patterns.access_profiles import update_patterns
from adwarm.patterns.ingest.run import ingest
from adwarm.runtime import Runtime
from adwarm.settings import load_settings
from dev.environment import EXAMPLE_LOG, ROOT, TOKEN
from dev.page_rows import add_rows
from dev.prepare import move_to_now
from dev.simulated_day import SCORED_ACCOUNTS, SETTINGS, SimulatedDay
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer

ZONE = "America/New_York"
_SCOPES = {"admin": ("read", "enqueue", "admin"), "viewer": ("read",)}


class PageDemo:
    """`adwarm serve` over demo data in a home of its own; a context manager that stops it at the end.

    Args:
        home: an empty folder.
        hours: hours of work before now; more where few opens fall into them. A full
            day takes some minutes, two hours take half a minute.
        model: the kind of forecast, as in the settings; `auto` takes minutes to train, `hour_of_week` a second.
    """

    def __init__(self, home: Path, hours: int = 24, model: str = "auto") -> None:
        self.home = home
        self.url = ""
        self._hours = hours
        self._model = model
        self._platform = SimulatorServer(SimulatorConfig(zone=ZONE, token=TOKEN, ads=18, decoys=0.2))
        self._stack = ExitStack()
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
            self.url = self._stack.enter_context(serve(self.environment, self.home / "serve.log"))
        except BaseException:
            self._platform.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._platform.__exit__(None, None, None)

    def run(self, *words: str) -> dict[str, str]:
        """Run an `adwarm` command, and return its JSON document."""
        return run_adwarm(self.environment, *words)

    def make_token(self, name: str, *more: str) -> str:
        """Return a new token: `admin` may do everything, any other name may look."""
        scopes = [word for scope in _SCOPES.get(name, ("read",)) for word in ("--scope", scope)]
        return self.run("token", "create", name, *scopes, *more)["token"]

    def open_runtime(self, clock: Clock | None = None) -> Runtime:
        """Return the objects of this installation."""
        settings = load_settings(
            home=self.home,
            access_log={"url": self._own["ADWARM_ACCESS_LOG__URL"]},
            source={"graph_url": self._platform.url, "access_token": TOKEN},
            forecast={"model": self._model},
            **SETTINGS,
        )
        return Runtime(settings, clock or SystemClock())

    def _fill(self) -> None:
        now = SystemClock().now()
        runtime = self.open_runtime(VirtualClock(now))
        log = self.home / "access_log.parquet"
        move_to_now(str(EXAMPLE_LOG), runtime.settings, now, log)
        day = SimulatedDay(self.open_runtime, self._platform, ZONE, self._hours)
        opens, start = day.read_log(str(log), now)
        ingest(runtime.context, start)
        train_and_promote(runtime.context, start, start)
        update_patterns(runtime.context, start, start)
        accounts = list(dict.fromkeys(item.key.account_id for item in opens))
        day.score(accounts[:SCORED_ACCOUNTS])
        day.work(opens, start, now)
        add_rows(runtime.context, now, accounts)
        run_if_due(runtime.maintenance_parts(), "read_creatives", run_now=True)
        runtime.engine.dispose()


def run_adwarm(environment: Mapping[str, str], *words: str) -> dict[str, str]:
    """Run an `adwarm` command, and return its JSON document.

    Raises:
        AdwarmError: it failed.
    """
    command = [sys.executable, "-m", "adwarm", *words, "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise AdwarmError(f"adwarm {words[0]} failed: {done.stderr[-2000:]}")
    document: dict[str, str] = json.loads(done.stdout)
    return document


@contextmanager
def serve(environment: Mapping[str, str], log: Path) -> Iterator[str]:
    """Run `adwarm serve` on a free port, and return its address.

    Raises:
        AdwarmError: it does not start.
    """
    with log.open("wb") as file:
        command = [sys.executable, "-m", "adwarm", "serve", "--port", "0", "--json"]
        server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=file)  # noqa: S603
    try:
        document = b""
        while server.stdout is not None and not document.endswith(b"}\n"):
            line = server.stdout.readline()
            if not line:
                raise AdwarmError(log.read_text(encoding="utf-8")[-2000:])
            document += line
        yield json.loads(document)["url"]
    finally:
        server.terminate()
        server.wait(timeout=30)
