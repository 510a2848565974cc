"""A hundred threads of two processes meet a dead token: the user's function renews it once."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from graph_simulator.config import SimulatorConfig
from graph_simulator.server import SimulatorServer

ROOT = Path(__file__).resolve().parents[3]
THREADS = 50
HOOK = """
import json, os, pathlib

HERE = pathlib.Path(__file__).parent

def settings():
    return {"source": {"access_token": (HERE / "token").read_text()}}

def renew(connection):
    with (HERE / "calls").open("a") as calls:
        calls.write(connection + "\\n")
    staged = HERE / f"staged-{os.getpid()}"
    staged.write_text("second")
    staged.replace(HERE / "token")
"""
WORKER = f"""
import json, sys, threading
from concurrent.futures import ThreadPoolExecutor
from adwarm.recovery import Call
from adwarm.runtime import Runtime
from adwarm.sources.pool import naming_credential

runtime = Runtime()
pool, barrier = runtime.source_pool, threading.Barrier({THREADS})

def work(number):
    account = f"act_{{number}}"
    pool.get("")
    barrier.wait(60)

    def call():
        source = pool.get("")
        with naming_credential(source):
            return source.get_account(account).id

    return runtime.pipeline.run(call, call=Call("meta", "default", account)).value

runtime.pipeline
print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor({THREADS}) as threads:
    print(json.dumps(sorted(threads.map(work, range(1, {THREADS} + 1)))))
"""


@pytest.mark.slow
def test_a_hundred_threads_of_two_real_clock_processes_call_the_hook_once(tmp_path: Path) -> None:
    """The entry point of an installed package is called once; every call succeeds with the token that it stored."""
    package = tmp_path / "hooks"
    info = package / "user_hooks-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: user-hooks\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[adwarm.token_refresh]\nrenew = user_hooks:renew\n")
    (package / "user_hooks.py").write_text(textwrap.dedent(HOOK))
    (package / "token").write_text("first")
    with SimulatorServer(SimulatorConfig(ads=1, token="second")) as server:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ADWARM_")} | {
            "PYTHONPATH": os.pathsep.join([str(ROOT / "include"), str(package)]),
            "ADWARM_HOME": str(tmp_path / "home"),
            "ADWARM_SECRETS_HOOK": "user_hooks:settings",
            "ADWARM_SOURCE__GRAPH_URL": server.url,
            "ADWARM_RECOVERY__ISOLATE": "false",
        }
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", WORKER],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        try:
            for worker in workers:
                assert worker.stdout is not None
                assert worker.stdout.readline().strip() == "ready"
            for worker in workers:
                assert worker.stdin is not None
                worker.stdin.write("go\n")
                worker.stdin.flush()
            answers = [worker.communicate(timeout=120)[0] for worker in workers]
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
        refused = sum(call.code == 190 for call in server.state.calls.entries()[0])
    expected = sorted(f"act_{number}" for number in range(1, THREADS + 1))
    assert [json.loads(answer) for answer in answers] == [expected] * 2
    assert (package / "calls").read_text() == "default\n"
    assert 1 <= refused <= 2 * THREADS
