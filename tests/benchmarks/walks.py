"""What a reader of the code walks through: modules and functions of adwarm that one piece of work crosses.

Four walks: a hit that is answered again, one permit, a batch of four reports of one account, and the way from a log to
a plan. A function counts once however often it is called, and without lambdas, comprehensions and what is defined in
it. Two depths are taken at the deepest call: the frames of adwarm, and all frames, those of libraries included. The
limits are what the walks are to take; a walk without one is only counted.

Each walk is counted the second time, when what a process does once is done. Training is not a part of a plan.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import adwarm
from adwarm.backpressure import CallRequest, Grant, acquire_grant
from adwarm.forecast.models import classifiers
from adwarm.forecast.snapshot import promote_snapshot, save_snapshot
from adwarm.forecast.training.train import COMPETING_KINDS, TRAINERS, load_training_opens
from adwarm.foundation.clock import VirtualClock
from adwarm.model import AccessToken, Mode, PlannedWarm, Priority, ReportKey, Scope, TokenScope, WarmReason
from adwarm.patterns.ingest.run import ingest
from adwarm.planning.decide import decide
from adwarm.prefetch.warm_batch import warm_batch
from adwarm.read_api import build_read_api
from adwarm.runtime import Runtime
from adwarm.serving.api.connections import AT_ONCE, RepeatedAnswer
from adwarm.serving.tokens import make_token
from adwarm.settings import load_settings
from adwarm.store import access_tokens, jobs, warms
from graph_simulator.config import FIRST_ACCOUNT, SimulatorConfig
from graph_simulator.server import SimulatorServer
from tests.benchmarks import planning_run
from tests.benchmarks.meta import save_accounts, set_time, temporary_runtime
from tests.benchmarks.requests_per_key import DAY, RANGES
from tests.benchmarks.targets import TargetResults

ROOT: Final = f"{Path(adwarm.__file__).parent}{os.sep}"
ACCOUNT: Final = f"act_{FIRST_ACCOUNT}"
LIMITS: Final = {
    "one permit": {"modules": 13, "functions": 75},
    "four reports": {"modules": 65, "all frames": 36},
}
"""What a walk is to take at most."""
FACTS: Final = ("modules", "functions", "adwarm frames", "all frames")


class Walk:
    """Counts what all threads cross in `counting`."""

    def __init__(self) -> None:
        self._codes: set[CodeType] = set()
        self._depths = [0, 0]

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count while the block runs, also in threads that it starts."""
        threading.setprofile(self._on_event)
        sys.setprofile(self._on_event)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def _on_event(self, frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or not frame.f_code.co_filename.startswith(ROOT):
            return
        self._codes.add(frame.f_code)
        stack = [item.f_code.co_filename.startswith(ROOT) for item in _frames(frame)]
        self._depths = [max(self._depths[0], sum(stack)), max(self._depths[1], len(stack))]

    @property
    def functions(self) -> set[tuple[str, str]]:
        """The functions that were called, each with its module."""
        codes = (code for code in self._codes if "<" not in code.co_qualname)
        return {(code.co_filename.removeprefix(ROOT), code.co_qualname) for code in codes}

    def result(self) -> dict[str, int]:
        """Return the counts by name."""
        modules = {code.co_filename for code in self._codes}
        return dict(zip(FACTS, (len(modules), len(self.functions), *self._depths), strict=True))


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def walk_hit(runtime: Runtime, path: str) -> Walk:
    """Answer a stored report three times, and count the third: `adwarm serve` calls what answered an equal request."""
    made = make_token()
    scopes = frozenset({TokenScope.ENQUEUE})
    token = AccessToken(id=made.id, name="walk", scopes=scopes, accounts=None, created_at=runtime.clock.now())
    access_tokens.insert_token(runtime.engine, token, made.secret_hash)
    scope = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {made.text}".encode())],
    }
    return asyncio.run(_answer_again(build_read_api(runtime), scope))


async def _answer_again(application: Any, scope: dict[str, Any]) -> Walk:
    messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    started, state = asyncio.Event(), dict[str, Any]()

    async def send(message: dict[str, Any]) -> None:
        started.set()

    await messages.put({"type": "lifespan.startup"})
    life = asyncio.create_task(application({"type": "lifespan", "state": state}, messages.get, send))
    await started.wait()
    try:
        await application(scope, messages.get, send)
        again: RepeatedAnswer | None = state[AT_ONCE](scope, _drop)
        walk = Walk()
        with walk.counting():
            is_answered = again is not None and again(_drop)
        if not is_answered:
            raise SystemExit(f"{scope['path']} was not answered from memory")
    finally:
        await messages.put({"type": "lifespan.shutdown"})
        await life
    return walk


def _drop(status: int, lines: bytes, body: bytes) -> None:
    """Take an answer and send it nowhere."""


def walk_permit(runtime: Runtime) -> Walk:
    """Take a permit of the shared budget for a second call of an account, and count that."""
    call = CallRequest((Scope.parse(f"account:{ACCOUNT}"),), Priority.LOW, "meta")
    with acquire_grant(runtime.admission, runtime.clock, call, timeout_seconds=5.0):
        pass
    walk = Walk()
    with walk.counting():
        decision = runtime.admission.admit(call)
    if not isinstance(decision, Grant):
        raise SystemExit(f"the permit was refused: {decision}")
    return walk


def walk_batch(runtime: Runtime, run_id: str) -> Walk:
    """Warm four reports of one account as a planned batch, and count that."""
    now = runtime.clock.now()
    planned = [
        PlannedWarm(key=ReportKey(ACCOUNT, name), reason=WarmReason.STRATEGY, decided_at=now, warm_at=now)
        for name in RANGES
    ]
    warms.replace_plan(runtime.engine, run_id, planned)
    jobs.start(runtime.engine, run_id, "walk", len(planned), now)
    engine, walk = runtime.prefetch_engine(), Walk()
    with walk.counting():
        result = warm_batch(engine, run_id, 0)
    if result.errors(1):
        raise SystemExit(f"the batch did not warm every key: {result.errors(3)}")
    return walk


def walk_plan(folder: Path) -> Walk:
    """Read a log but for its last day, and train on it; then count the reading of that day and the plan after it."""
    log, end = folder / "log.parquet", planning_run.END
    planning_run.write_log(log, 4)
    runtime = Runtime(load_settings(home=folder, access_log={"url": str(log)}), VirtualClock(end))
    before = end - timedelta(days=1)
    ingest(runtime.context, before)
    classifiers._ITERATIONS = 60  # trees take most of the time of training, and change no walk
    opens = load_training_opens(runtime.context, before.replace(hour=0))
    forecast = TRAINERS[COMPETING_KINDS[-1]](opens, runtime.settings, before.replace(hour=0))
    promote_snapshot(runtime.engine, save_snapshot(runtime.context, forecast, metrics={}, at=before).id, before)
    walk = Walk()
    with walk.counting():
        ingest(runtime.context, end)
        summary = decide(runtime.context, end, "walk", Mode.LIVE)
    if not summary.planned:
        raise SystemExit(f"the plan is empty: {summary}")
    return walk


def measure(folder: Path) -> dict[str, Walk]:
    """Return each walk by its name."""
    clock, end = VirtualClock(DAY), DAY + timedelta(hours=5)
    config = SimulatorConfig(accounts=1, ads=5, seed=7, zone={ACCOUNT: "UTC"}, now=DAY)
    with SimulatorServer(config) as server, temporary_runtime(server.url, clock) as runtime:
        save_accounts(runtime, server)
        set_time(server, clock, DAY)
        walk_batch(runtime, "first")
        set_time(server, clock, end)
        batch = walk_batch(runtime, "second")
        hit = walk_hit(runtime, f"/v1/insights/{ACCOUNT}/last_7d")
        permit = walk_permit(runtime)
    return {"a repeated hit": hit, "one permit": permit, "four reports": batch, "log to plan": walk_plan(folder)}


def main(arguments: Sequence[str]) -> int:
    """Count, print and compare with the limits; `--functions` lists what each walk crosses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--functions", action="store_true", help="list the functions of each walk")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="adwarm-walks-") as folder:
        walks = measure(Path(folder))
    results = TargetResults("walks", "Modules and functions of adwarm that a piece of work crosses")
    rows = [{"what": name, **walk.result()} for name, walk in walks.items()]
    for name, limits in LIMITS.items():
        for fact, limit in limits.items():
            results.check_at_most(f"{name}: {fact}", walks[name].result()[fact], limit)
    if chosen.functions:
        for name, walk in walks.items():
            print(f"{name}:", *(f"  {module} {function}" for module, function in sorted(walk.functions)), sep="\n")
    return results.finish(rows, functions={name: sorted(walk.functions) for name, walk in walks.items()})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
