"""Runs every fault and prints the table of what each one cost: `python -m tests.faults`, or with `syscalls` only those.

Rows of earlier runs stay in the table until their fault is run again.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.benchmarks.measure import IS_TINY
from tests.faults.fault_results import load_rows, save_table

ROOT = Path(__file__).resolve().parents[2]
TINY: Final = (
    "test_kill.py::test_a_killed_worker_loses_nothing[sqlite-all]",
    "test_crash_points.py::test_a_death_at_any_operation_loses_nothing[sqlite-all]",
    "test_damage.py::test_every_damage[entry]",
    "test_network.py::test_a_bad_network_to_the_platform[resets]",
    "test_network.py::test_a_bad_network_to_the_database[resets]",
    "test_postgres_outage.py::test_a_run_survives_a_crash_of_its_database[all]",
    "test_maintain_kill.py::test_the_next_run_goes_on[sqlite]",
)
"""A fault of each kind that other runs leave out, for a tiny run; without those that start an Airflow."""


def main(names: Sequence[str]) -> int:
    """Run the tests, write the table, and return 0 if every test passed and nothing was lost or doubled."""
    if "syscalls" in names:
        chosen = ["-m", "syscalls", "tests/faults/test_syscalls.py"]
    elif IS_TINY:
        chosen = ["-m", "not syscalls", *(f"tests/faults/{test}" for test in TINY)]
    else:
        chosen = ["-m", "not syscalls", "--numprocesses", "2", "--dist", "load", "tests/faults"]
    code = subprocess.run([sys.executable, "-m", "pytest", "-q", *chosen], cwd=ROOT, check=False).returncode
    rows = load_rows()
    save_table(rows)
    return code or int(any(row.lost or row.duplicated for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
