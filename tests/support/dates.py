"""Runs the tests that bear on dates as if they ran on other days: `python -m tests.support.dates [NAME | turn]`.

libfaketime moves the clock of the whole run, PostgreSQL and child processes included; the monotonic clock and the times
that the kernel gives to files stay real. What stands in for the machine's clock in a test moves along, see
`tests.support.wall_clock`.
"""

import argparse
import math
import os
import re
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from tests.support.wall_clock import START_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = "*/faketime/libfaketimeMT.so.1"
"""Where Debian and Fedora keep libfaketime, by architecture, below the folders of libraries."""

PARTS = (
    "tests/unit/maintenance",
    "tests/unit/test_fetch_plan.py",
    "tests/unit/model",
    "tests/unit/planning",
    "tests/unit/prefetch",
    "tests/unit/serving",
    "tests/unit/fatigue",
    "tests/unit/patterns",
    "tests/unit/queries",
    "tests/unit/replay",
    "tests/unit/cli",
    "tests/airflow",
    "tests/integration",
)
"""What works with days, weeks, months or zones."""

TURN_PARTS = (
    "tests/unit/maintenance/test_reconciliation.py",
    "tests/unit/test_fetch_plan.py",
    "tests/unit/model",
    "tests/unit/planning",
    "tests/unit/cli/test_warm_queue.py",
    "tests/unit/cli/test_maintain.py",
    "tests/unit/cli/test_doctor.py",
    "tests/unit/cli/test_backfill.py",
    "tests/airflow/test_retry_policy.py",
)
"""What one turn in CI runs, within 100 CPU seconds."""


@dataclass(frozen=True)
class RunDate:
    """A moment at which a run starts.

    Attributes:
        local: date and time on the clock of `zone`.
        zone: the time zone of the processes.
        why: what is special about it.
    """

    local: datetime
    zone: str
    why: str

    @property
    def moment(self) -> datetime:
        """The moment in UTC."""
        return self.local.replace(tzinfo=ZoneInfo(self.zone)).astimezone(UTC)


DATES = {
    "month-start": RunDate(datetime(2027, 3, 1, 0, 5), "UTC", "the first day of a month, after a short one"),
    "month-end": RunDate(datetime(2027, 4, 30, 21, 0), "UTC", "the last day of a month"),
    "leap-day": RunDate(datetime(2028, 2, 29, 12, 0), "UTC", "29 February"),
    "year-end": RunDate(datetime(2026, 12, 31, 21, 0), "UTC", "31 December"),
    "new-york-forward": RunDate(datetime(2027, 3, 14, 1, 58), "America/New_York", "an hour is left out at 2:00"),
    "new-york-back": RunDate(datetime(2027, 11, 7, 1, 58), "America/New_York", "an hour comes twice at 2:00"),
    "berlin-forward": RunDate(datetime(2027, 3, 28, 1, 58), "Europe/Berlin", "an hour is left out at 2:00"),
    "berlin-back": RunDate(datetime(2027, 10, 31, 2, 58), "Europe/Berlin", "an hour comes twice at 3:00"),
    "sunday": RunDate(datetime(2027, 1, 10, 12, 0), "UTC", "a Sunday"),
    "monday": RunDate(datetime(2027, 1, 11, 0, 5), "UTC", "a Monday"),
    "ahead": RunDate(datetime(2027, 6, 15, 23, 59), "Pacific/Kiritimati", "just before midnight, 14 hours ahead"),
    "behind": RunDate(datetime(2027, 6, 15, 23, 59), "Pacific/Pago_Pago", "just before midnight, 11 hours behind"),
}


def choose(name: str, today: datetime) -> list[str]:
    """Return the names of the dates to run: all for an empty `name`, another one every day for "turn"."""
    if name == "turn":
        return [list(DATES)[today.timetuple().tm_yday % len(DATES)]]
    return [name] if name else list(DATES)


def find_library(folders: Sequence[str] = ("/usr/lib", "/usr")) -> str:
    """Return the path of libfaketime.

    Raises:
        SystemExit: it is not installed.
    """
    found = sorted(str(path) for folder in folders for path in Path(folder).glob(LIBRARY))
    if not found:
        raise SystemExit("libfaketime is not installed, so no other date can be tried: apt-get install faketime")
    return found[0]


def environment(date: RunDate, library: str, now: datetime) -> dict[str, str]:
    """Return the variables under which a process and its children start at `date`."""
    return {
        "LD_PRELOAD": library,
        "FAKETIME": f"{math.ceil((date.moment - now).total_seconds()):+d}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # or a thread's wait with a timeout spins instead of sleeping
        "FAKETIME_DISABLE_SHM": "1",  # processes of several users share the offset by its variable alone
        "NO_FAKE_STAT": "1",
        "TZ": date.zone,
        START_VARIABLE: date.moment.isoformat(),
    }


def run(name: str, parts: Sequence[str]) -> tuple[int, str]:
    """Run the tests on a date, and return pytest's exit code and a line for the table."""
    date, library = DATES[name], find_library()
    print(f"{name}: {date.local:%A %Y-%m-%d %H:%M} {date.zone}, {date.why}", flush=True)
    command = [sys.executable, "-m", "pytest", "-q", "--numprocesses", "2", *parts]
    before = _child_seconds()
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | environment(date, library, datetime.now(UTC)),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [_echo(line) for line in process.stdout]
    counts = {word: number for line in lines[-1:] for number, word in re.findall(r"(\d+) (passed|failed|error)", line)}
    numbers = "".join(f"{counts.get(word, 0):>8}" for word in ("passed", "failed", "error"))
    return process.returncode, f"{name:<18}{date.local:%Y-%m-%d %H:%M}{numbers}{_child_seconds() - before:>8.0f}"


def _echo(line: str) -> str:
    print(line, end="", flush=True)
    return line


def _child_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Run the dates that the command line names, and exit with 1 when a test failed on one of them."""
    parser = argparse.ArgumentParser(prog="make test-dates", description=__doc__)
    parser.add_argument("name", nargs="?", default="", choices=["", "turn", *DATES], help="all dates by default")
    name = parser.parse_args().name
    find_library()
    parts = TURN_PARTS if name == "turn" else PARTS
    results = [run(chosen, parts) for chosen in choose(name, datetime.now(UTC))]
    print(f"\n{'date':<18}{'local time':<16}{'passed':>8}{'failed':>8}{'errors':>8}{'CPU s':>8}")
    print(*(line for _, line in results), sep="\n")
    sys.exit(any(code for code, _ in results))


if __name__ == "__main__":
    main()
