"""Runs one batch in a process of its own, like a worker, and prints a line of JSON for each key as it ends.

The last line is about the process itself.
"""

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from adwarm.model import Priority, ReportKey
from adwarm.prefetch import KeyOutcome, KeyRequest, async_reports
from adwarm.runtime import Runtime
from tests.benchmarks.measure import peak_mb


def hurry() -> None:
    """Let reports be polled often, and abandoned soon."""
    async_reports.POLL_SECONDS, async_reports.LONGEST_POLL_SECONDS = 0.3, 1.0
    async_reports.STUCK_SECONDS, async_reports.LONGEST_REPORT_SECONDS = 5.0, 20.0


def main(keys: Sequence[Sequence[str]]) -> None:
    """Make every key fresh, and print each outcome."""
    hurry()
    reported: set[str] = set()

    def progress(outcomes: Sequence[KeyOutcome]) -> None:
        for outcome in outcomes:
            reported.add(outcome.request.key.account_id)
            _say(**_about(outcome), reported_at=time.monotonic())

    requests = [KeyRequest(ReportKey.parse(account, date_range)) for account, date_range in keys]
    report = Runtime().prefetch_engine().run(requests, Priority.NORMAL, progress=progress)
    for outcome in report.outcomes:
        if outcome.request.key.account_id not in reported:
            _say(**_about(outcome), reported_at=None)
    _say(peak_mb=peak_mb())


def _about(outcome: KeyOutcome) -> dict[str, Any]:
    return {
        "account": outcome.request.key.account_id,
        "status": str(outcome.status),
        "reason": outcome.reason,
        "retry_after": outcome.retry_after,
    }


def _say(**values: Any) -> None:
    sys.stdout.write(json.dumps(values) + "\n")  # one write, because several threads tell
    sys.stdout.flush()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
