"""`make down`: stops the local Airflow and everything that came with it."""

import sys

from dev.stack import processes, stop


def main() -> int:
    """Stop, and say what is left; nothing should be."""
    stopped = stop()
    left = processes()
    print(f"stopped {stopped} processes" if stopped else "nothing was running")
    for process in left:
        print(f"still running: {process.pid}", file=sys.stderr)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
