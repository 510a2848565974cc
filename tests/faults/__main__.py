"""Runs every fault and prints the table of what each one cost: `python -m tests.faults`, or with `syscalls` only those.

Rows of earlier runs stay in the table until their fault is run again.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.faults.fault_results import format_table, load_rows, save_table

ROOT = Path(__file__).resolve().parents[2]


def main(names: Sequence[str]) -> int:
    """Run the tests, write the table, and return 0 if every test passed and nothing was lost or doubled."""
    if "syscalls" in names:
        chosen = ["-m", "syscalls", "tests/faults/test_syscalls.py"]
    else:
        chosen = ["-m", "not syscalls", "--numprocesses", "2", "--dist", "load", "tests/faults"]
    code = subprocess.run([sys.executable, "-m", "pytest", "-q", *chosen], cwd=ROOT, check=False).returncode
    rows = load_rows()
    save_table(rows)
    print(format_table(rows))
    return code or int(any(row.lost or row.duplicated for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
