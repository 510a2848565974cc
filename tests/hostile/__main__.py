"""Runs each behavior alone, next to one healthy account, and prints the outcome.

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
    """Return the report line of one behavior."""
    with tempfile.TemporaryDirectory(prefix="adwarm-hostile-") as home:
        result = run_trial(Path(home), {BAD: behavior, GOOD: None}, SECONDS)
    bad, good = result.outcomes.get(BAD), result.outcomes.get(GOOD)
    served = good is not None and good.status == "fetched"
    as_expected = bad is not None and bad.status in {"failed", "parked", "stale"} and bool(bad.reason)
    if behavior in ODD:
        as_expected = bad is not None and bad.status == "fetched"
    row = {
        "what": behavior.name,
        "holds": "yes" if as_expected and served and not result.false_records and not result.token_leaked else "NO",
        "status": bad.status if bad else "-",
        "s": f"{bad.seconds:.1f}" if bad and bad.seconds is not None else "-",
        "MB": round(result.peak_mb),
        "healthy": good.status if good else "-",
        "untrue": len(result.false_records),
        "reason": (bad.reason if bad else result.error)[:150],
    }
    print(*row.values(), sep="  ", flush=True)
    return row


def main(names: Sequence[str]) -> int:
    """Run the named behaviors, or all; return exit code 0 if all of them hold."""
    chosen = [behavior for behavior in (*HOSTILE, *ODD) if not names or behavior.name in names]
    with ThreadPoolExecutor(2) as pool:
        rows = list(pool.map(alone, chosen))
    save_results("hostile", "Each behavior alone, next to a healthy account", rows)
    return 0 if all(row["holds"] == "yes" for row in rows) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    sys.exit(main(parser.parse_args().names))
