"""Runs one batch in a process of its own, as a worker does, and prints what became of each key as a line of JSON."""

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from tests.benchmarks.measure import peak_mb

from adwarm.model import Priority, ReportKey
from adwarm.prefetch import KeyOutcome, Wanted
from adwarm.runtime import Runtime


def main(keys: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Make every key fresh, and return the outcomes and the process's own peak."""
    told: dict[str, float] = {}

    def progress(outcomes: Sequence[KeyOutcome]) -> None:
        told.update({outcome.wanted.key.account_id: time.monotonic() for outcome in outcomes})

    wanted = [Wanted(ReportKey.parse(account, date_range)) for account, date_range in keys]
    report = Runtime().prefetch().run(wanted, Priority.NORMAL, progress=progress)
    return {
        "peak_mb": peak_mb(),
        "outcomes": [
            {
                "account": outcome.wanted.key.account_id,
                "status": str(outcome.status),
                "reason": outcome.reason,
                "retry_after": outcome.retry_after,
                "told_at": told.get(outcome.wanted.key.account_id),
            }
            for outcome in report.outcomes
        ],
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
