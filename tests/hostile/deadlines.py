"""How long an upstream without an end holds one account, and how many calls it gets: one fetch for each behavior.

`python -m tests.hostile.deadlines` prints the table and writes `.adwarm/bench/deadlines.json`. For the figures of
another version, run it with that version's folders in PYTHONPATH.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from adwarm.model import Priority, ReportKey
from adwarm.prefetch import KeyRequest
from adwarm.runtime import Runtime
from adwarm.settings import Settings
from tests.benchmarks.measure import save_results
from tests.hostile.behaviors import HOSTILE, QUARTER, Behavior
from tests.hostile.server import HostileServer

ACCOUNT = "act_1001"
SPARE_SECONDS = 3.0
"""How much longer than its limit an account may take: storing its outcome, on a busy machine."""


def _creep(run_id: str, number: int) -> dict[str, Any]:
    return {"id": run_id, "async_status": "Job Running", "async_percent_completion": min(99, number)}


_BY_NAME = {behavior.name: behavior for behavior in HOSTILE}
_STANDS_STILL = _BY_NAME["report_stands_still"]
BEHAVIORS = (
    *(_BY_NAME[name] for name in ("slow_body", "slow_head", "stall", "endless_chunks", "endless_cursors")),
    Behavior("report_creeps", "a report that always progresses and is never ready", _STANDS_STILL.act,
             _STANDS_STILL.routes, QUARTER, _creep),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Held:
    """What one account cost: seconds and calls as the upstream counted them, and how it ended."""

    what: str
    seconds: float
    calls: int
    status: str
    reason: str


def hold(behavior: Behavior, call_timeout: float, account_seconds: float) -> Held:
    """Fetch one account whose upstream behaves as said, with the default settings but for the two times."""
    with tempfile.TemporaryDirectory(prefix="adwarm-deadline-") as home, HostileServer({ACCOUNT: behavior}) as upstream:
        source = {"graph_url": upstream.url, "access_token": SecretStr("token"), "call_timeout": call_timeout}
        settings = Settings(home=Path(home), source=source, account_seconds=account_seconds)  # type: ignore[arg-type]
        engine = Runtime(settings).prefetch_engine()
        request = KeyRequest(ReportKey.parse(ACCOUNT, behavior.date_range))
        started = time.monotonic()
        (outcome,) = engine.run([request], Priority.NORMAL, wait_seconds=3_600).outcomes
        seconds = time.monotonic() - started
        return Held(behavior.name, seconds, upstream.calls.total(), str(outcome.status), outcome.reason or "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print and save the table; return exit code 0 when no account was held longer than it may be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="the behaviors; all by default")
    parser.add_argument("--call-timeout", type=float, default=1.5)
    parser.add_argument("--account-seconds", type=float, default=12.0)
    chosen = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    for behavior in BEHAVIORS:
        if chosen.names and behavior.name not in chosen.names:
            continue
        held = hold(behavior, chosen.call_timeout, chosen.account_seconds)
        rows.append({
            "what": held.what,
            "call_timeout": chosen.call_timeout,
            "account_seconds": chosen.account_seconds,
            "s": round(held.seconds, 1),
            "calls": held.calls,
            "status": held.status,
            "reason": held.reason[:150],
        })
        print(*rows[-1].values(), sep="  ", flush=True)
    save_results("deadlines", "One account whose upstream has no end: seconds and calls", rows)
    return (
        0
        if all(row["s"] <= chosen.account_seconds + SPARE_SECONDS and row["status"] != "fetched" for row in rows)
        else 1
    )


if __name__ == "__main__":
    sys.exit(main())
