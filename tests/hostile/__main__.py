"""Runs each behavior alone, next to one healthy account, and prints how it ends.

`python -m tests.hostile [name ...]`
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import save_results
from tests.hostile.behaviors import HOSTILE, ODD, Behavior
from tests.hostile.trial import run_trial

SECONDS = 90.0
BAD, GOOD = "act_1001", "act_1002"


def alone(behavior: Behavior) -> dict[str, Any]:
    """Return a line about one behavior."""
    with tempfile.TemporaryDirectory(prefix="adwarm-hostile-") as home:
        found = run_trial(Path(home), {BAD: behavior, GOOD: None}, SECONDS)
    bad, good = found.outcomes.get(BAD), found.outcomes.get(GOOD)
    served = good is not None and good.status == "fetched"
    wanted = bad is not None and bad.status in {"failed", "parked", "stale"} and bool(bad.reason)
    if behavior in ODD:
        wanted = bad is not None and bad.status == "fetched"
    row = {
        "what": behavior.name,
        "holds": "yes" if wanted and served and not found.false_records and not found.token_leaked else "NO",
        "status": bad.status if bad else "-",
        "s": f"{bad.seconds:.1f}" if bad and bad.seconds is not None else "-",
        "MB": round(found.peak_mb),
        "healthy": good.status if good else "-",
        "untrue": len(found.false_records),
        "reason": (bad.reason if bad else found.error)[:150],
    }
    print(*row.values(), sep="  ", flush=True)
    return row


def main(names: Sequence[str]) -> int:
    """Run those named, or all; the exit code says whether all hold."""
    chosen = [behavior for behavior in (*HOSTILE, *ODD) if not names or behavior.name in names]
    with ThreadPoolExecutor(2) as pool:
        rows = list(pool.map(alone, chosen))
    save_results("hostile", "Each behavior alone, next to a healthy account", rows)
    return 0 if all(row["holds"] == "yes" for row in rows) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    sys.exit(main(parser.parse_args().names))
