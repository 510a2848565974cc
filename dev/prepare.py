"""Prepares the demo data of `make up`: the log moved to now, read into aggregates, and a forecast learned from it."""

import os
import sys

from adwarm.forecast.training.train import train_and_promote
from adwarm.patterns.ingest.run import ingest
from adwarm.runtime import Runtime
from dev.moved_log import move_to_now
from dev.stack import HOME


def main() -> int:
    """Prepare once; a second start keeps what is there."""
    runtime = Runtime()
    now = runtime.clock.now()
    target = HOME / "access_log.parquet"
    if not target.exists():
        move_to_now(os.environ["ADWARM_UP_SOURCE_LOG"], runtime.settings, now, target)
    ingest(runtime.context, now)
    figures = train_and_promote(runtime.engine, runtime.objects, runtime.settings, now, now)
    print(f"learned from {figures['opens']:,} opens of {figures['keys']:,} keys")
    return 0


if __name__ == "__main__":
    sys.exit(main())
