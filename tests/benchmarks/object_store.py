"""Reading and writing a bucket with one request at a time and with many, at 20 and 50 ms a request, beside a folder.

The bucket is moto's in a process of its own, and each request waits for the latency; what a real storage does under
load is not measured. "One at a time" is the same code with one request at a time and nothing in memory. The
hashes of what is stored must be equal everywhere.

`python -m tests.benchmarks.object_store`
"""

import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
from pydantic import SecretStr
from sqlalchemy import select

from adwarm.fatigue.account_scores import score_accounts
from adwarm.foundation.storage import StorageOptions, options_for, use_settings
from adwarm.maintenance.integrity import verify_store
from adwarm.model import Priority, ReportKey, Window
from adwarm.patterns.ingest.run import ingest
from adwarm.prefetch import KeyRequest
from adwarm.runtime import Runtime
from adwarm.settings import Settings, SourceSettings
from adwarm.store import Context, ObjectStore, partitions
from adwarm.store.aggregates import access_aggregate
from adwarm.store.database import open_engine, read_transaction
from adwarm.store.partition_rows import daily_rows
from adwarm.store.partitions import table as partition
from adwarm.store.schema import upgrade
from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer
from tests.benchmarks.fatigue_cost import LAST_DAY, empty, make_rows, store_rows
from tests.benchmarks.measure import save_results, sized
from tests.support.object_server import KEY_ID, REGION, SECRET, ObjectServer

ACCOUNTS, DAYS, LOG_FILES, WARM_ACCOUNTS = sized((4, 60, 48, 6), (1, 31, 3, 1))
LATENCIES = sized((0.02, 0.05), (0.001,))
NOW = datetime(2026, 7, 1, tzinfo=UTC)
WIDTHS = {"one at a time": (1, 0), "parallel": (16, 32_000_000)}
Place = tuple[str, str, StorageOptions]
"""Name of the column, data URL, and how it is reached."""


@contextmanager
def serve(latency: float) -> Iterator[str]:
    """Run an object storage in a process of its own; yields its address."""
    command = [sys.executable, "-m", "tests.benchmarks.object_store", "--serve", str(latency)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None or process.stdin is None:
            raise RuntimeError("the object storage has no pipes")
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait(30)


def run_server(latency: float) -> None:
    """Serve until standard input ends."""
    server = ObjectServer().start()
    server.create_bucket("adwarm-bench")
    server.latency = latency
    print(server.endpoint, flush=True)
    sys.stdin.read()
    os._exit(0)  # its connections, which clients keep open, would be waited for


class Trial:
    """One database and one data URL with everything that the cases read."""

    def __init__(self, folder: Path, place: Place) -> None:
        self.name, self.url, self.options = place
        settings = Settings(home=folder, data_url=self.url, access_log={"url": f"{self.url}/log/*.jsonl.gz"}, workers=8)
        use_settings(self.options)
        engine = open_engine(f"sqlite:///{folder}/adwarm.db")
        upgrade(engine)
        self.context = Context(engine, ObjectStore(self.url), settings)
        self.ids = [f"act_{1_000 + number}" for number in range(ACCOUNTS)]

    def fill(self) -> None:
        """Store the days of all accounts, each in an object of its own, and a log of hourly files."""
        draw = np.random.default_rng(16)
        for account_id in self.ids:
            for number in range(DAYS):
                rows = make_rows(account_id, [LAST_DAY - timedelta(days=DAYS - 1 - number)], draw)
                store_rows(self.context, account_id, rows)
        files, path = fsspec.core.url_to_fs(f"{self.url}/log", **options_for(self.url))
        files.makedirs(path, exist_ok=True)
        for number in range(LOG_FILES):
            files.pipe_file(f"{path}/{number:03}.jsonl.gz", gzip.compress(_log_lines(number)))

    def reopen(self) -> Context:
        """Return the context with nothing in memory."""
        use_settings(self.options)
        return Context(self.context.engine, ObjectStore(self.url), self.context.settings)

    def read_month(self) -> object:
        """Read the rows of an account's month, as a report of 30 days does."""
        context, window = self.reopen(), Window(LAST_DAY - timedelta(days=29), LAST_DAY)
        spec = context.settings.spec("default").hash
        return daily_rows(context.objects, partitions.list_states(context.engine, self.ids[0], spec, window), window)

    def score(self) -> object:
        """Score a month of all accounts."""
        context = self.reopen()
        empty(context.engine)
        pairs = [(name, LAST_DAY - timedelta(days=number)) for name in self.ids for number in range(30)]
        result = score_accounts(context, pairs, NOW)
        if result.errors:
            raise SystemExit(f"scoring failed: {result.errors[0]}")
        return len(pairs)

    def verify(self) -> object:
        """Read and check everything that is stored."""
        result = verify_store(self.reopen())
        if result.problems:
            raise SystemExit(f"the store is damaged: {result.problems[0]}")
        return result.objects

    def ingest(self) -> object:
        """Read the log into hours."""
        context = self.reopen()
        ingest(context, NOW, window=(NOW - timedelta(days=6), NOW))
        with read_transaction(context.engine) as connection:
            rows = connection.execute(select(access_aggregate.c.hour, access_aggregate.c.object_hash)).all()
        return sorted((str(hour), digest) for hour, digest in rows)

    def warm(self) -> object:
        """Warm three ranges of some accounts of the simulator."""
        with SimulatorServer(SimulatorConfig(ads=10, now=NOW, token="simulated-token")) as server:
            source = SourceSettings(graph_url=server.url, access_token=SecretStr("simulated-token"))
            folder = tempfile.mkdtemp(dir=self.context.settings.home)
            changes = {"source": source, "database_url": f"sqlite:///{folder}/adwarm.db"}
            use_settings(self.options)
            runtime = Runtime(self.context.settings.model_copy(update=changes), _clock())
            upgrade(open_engine(runtime.settings.database))
            keys = [
                KeyRequest(ReportKey(f"act_{number}", name))
                for number in range(1, WARM_ACCOUNTS + 1)
                for name in ("last_7d", "last_14d", "last_30d")
            ]
            result = runtime.prefetch_engine().run(keys, Priority.LOW, wait_seconds=600)
            if not all(outcome.status.is_served for outcome in result.outcomes):
                raise SystemExit(f"warming failed: {result}")
            with read_transaction(runtime.engine) as connection:
                days = connection.execute(select(partition.c.account_id, partition.c.day, partition.c.content_hash))
                return sorted(map(str, days))


def _clock() -> Any:
    from adwarm.foundation.clock import VirtualClock

    return VirtualClock(NOW)


def _log_lines(number: int) -> bytes:
    at = NOW - timedelta(days=5) + timedelta(hours=number)
    lines = (
        json.dumps({
            "ts": (at + timedelta(seconds=12 * line)).isoformat(),
            "account_id": f"act_{line % 50}",
            "date_range": "last_7d",
        })
        for line in range(300)
    )
    return "\n".join(lines).encode() + b"\n"


def measure(folder: Path, place: Place) -> dict[str, tuple[float, object]]:
    """Return seconds and result of each case."""
    folder.mkdir()
    trial = Trial(folder, place)
    trial.fill()
    seconds: dict[str, tuple[float, object]] = {}
    cases: dict[str, Callable[[], object]] = {
        "30 days of an account": trial.read_month,
        f"score {ACCOUNTS} accounts, 30 days": trial.score,
        f"verify {ACCOUNTS * DAYS} objects": trial.verify,
        f"ingest {LOG_FILES} log files": trial.ingest,
        f"warm {WARM_ACCOUNTS * 3} reports": trial.warm,
    }
    for what, run in cases.items():
        started = time.perf_counter()
        result = run()
        seconds[what] = time.perf_counter() - started, result
    trial.context.engine.dispose()
    return seconds


def main() -> int:
    """Run, report, and fail when a result differs from that of the folder."""
    os.environ.update({"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET})
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        local = measure(home / "local", ("folder", str(home / "data"), StorageOptions()))
        for latency in LATENCIES:
            found: dict[str, dict[str, tuple[float, object]]] = {}
            with serve(latency) as endpoint:
                for width, (parallel, memory) in WIDTHS.items():
                    where = {"endpoint_url": endpoint, "client_kwargs": {"region_name": REGION}}
                    options = StorageOptions(where, parallel=parallel, cache_bytes=memory)
                    label = f"{latency * 1e3:.0f}-{parallel}"
                    found[width] = measure(home / label, (width, f"s3://adwarm-bench/{label}", options))
            for what, (seconds, result) in local.items():
                if any(found[width][what][1] != result for width in WIDTHS):
                    raise SystemExit(f"{what}: the result differs from that of the folder")
                one, many = (found[width][what][0] for width in WIDTHS)
                rows.append({
                    "what": what,
                    "latency ms": f"{latency * 1e3:.0f}",
                    "folder s": seconds,
                    "one at a time s": one,
                    "parallel s": many,
                    "ratio": f"{one / many:.1f}x",
                })
    save_results("object_store", "a bucket, one request at a time and in parallel", rows, load=os.getloadavg()[0])
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        run_server(float(sys.argv[2]))
    else:
        sys.exit(main())
