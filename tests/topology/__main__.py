"""Runs the topology of docker-compose.yaml on this machine: `python -m tests.topology`.

Every service is a process with the command, the environment and the health check of the file; `loopback.py` is all that
differs, beside a second scheduler. A strategy run is triggered and two days are backfilled over Airflow's REST API.
Meanwhile the worker that fetches batches and one read API are killed by SIGKILL, and an asset that starts a DAG has 200
events. The runs must end green, each key must be fetched once, and no process may be left.
"""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.measure import save_results
from tests.topology.scenario import Scenario

MAX_SECONDS = 480.0
"""What it takes at the most on two idle cores."""


def main() -> int:
    """Run it, print what each phase took, and return 0 if everything held."""
    if sys.platform != "linux":
        print("skipped: it needs Linux, whose processes can adopt orphans")
        return 0
    if shutil.which("redis-server") is None:
        print("skipped: redis-server is not installed (apt-get install redis-server)")
        return 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="adwarm-topology-") as folder:
        scenario = Scenario(Path(folder))
        try:
            scenario.run()
        except BaseException:
            print(scenario.logs())
            raise
    seconds = time.monotonic() - began
    rows = [*scenario.phases, {"what": "all", "seconds": seconds}]
    scenario.findings["is_within_limit"] = seconds < MAX_SECONDS
    save_results("topology", "The topology of docker-compose.yaml", rows, **scenario.findings)
    if seconds >= MAX_SECONDS:
        print(f"slower than {MAX_SECONDS:.0f} s, at a load of {os.getloadavg()[1]:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
