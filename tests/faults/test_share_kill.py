"""A worker that is killed while it reads its split leaves no trace; the split is read again, once."""

import os
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from adwarm.patterns.ingest.run import commit_saved_plan, ingest, plan_ingest, read_saved_split, save_plan
from adwarm.runtime import Runtime
from adwarm.settings import load_settings
from adwarm.store import Context, aggregates, open_engine, read_transaction, upgrade

ROOT = Path(__file__).resolve().parents[2]
START = datetime(2026, 3, 2, tzinfo=UTC)
NOW = START + timedelta(days=6)
pytestmark = pytest.mark.slow

WORKER = """
import os, signal, sys
from adwarm.patterns.ingest.run import read_saved_split
from adwarm.runtime import Runtime

runtime = Runtime()
put, left = runtime.objects.put, [int(sys.argv[3])]

def fatal(data, suffix=".parquet"):
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    return put(data, suffix)

runtime.objects.put = fatal
read_saved_split(runtime.context, sys.argv[1], int(sys.argv[2]))
"""


@pytest.mark.parametrize("puts", [0, 5], ids=["at its first day", "before it hands over"])
def test_a_killed_split_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, puts: int) -> None:
    """Whatever it had stored when it was killed, a second try gives the same result, to the byte."""
    rng = random.Random(3)
    moments = [START + timedelta(minutes=rng.randrange(5 * 1440)) for _ in range(900)]
    lines = [orjson.dumps({"ts": at, "account_id": f"act_{at.minute % 7}", "date_range": "today"}) for at in moments]
    (tmp_path / "log.jsonl").write_bytes(b"\n".join([*lines, b""]))
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ADWARM_ACCESS_LOG__URL", str(tmp_path / "log.jsonl"))
    monkeypatch.setattr("adwarm.patterns.ingest.plan.SPLIT_EVENTS", 200)
    runtime = Runtime(load_settings())
    planned = plan_ingest(runtime.context, NOW)
    plan = save_plan(runtime.objects, planned)

    done = subprocess.run(
        [sys.executable, "-c", WORKER, plan, "1", str(puts)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "include")},
        capture_output=True,
        check=False,
    )
    assert done.returncode == -9, done.stderr
    with read_transaction(runtime.engine) as connection:
        assert aggregates.list_hours(connection) == []
    found = [read_saved_split(runtime.context, plan, number) for number in range(len(planned.splits))]
    commit_saved_plan(runtime.context, plan, found)

    one = open_engine(f"sqlite:///{tmp_path}/one.db")
    upgrade(one)
    ingest(Context(one, runtime.objects, runtime.settings), NOW)
    with read_transaction(runtime.engine) as connection, read_transaction(one) as other:
        assert aggregates.list_hours(connection) == aggregates.list_hours(other)
        assert aggregates.get_watermark(connection) == NOW
