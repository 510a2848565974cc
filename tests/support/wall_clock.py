"""The machine's clock as tests see it: the product and the simulator of this process show a fixed date.

A test reads the real clock only when `real_clock` is in its name, or in that of its class or file. The folders in
`PROCESS_FOLDERS` run other processes, whose clock is the machine's.
"""

import os
import time
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from adwarm.foundation.clock import SystemClock, utc
from adwarm.store.database import database_time, read_transaction
from graph_simulator import platform_clock

START_VARIABLE = "CLOCK_OF_TESTS"
START = datetime.fromisoformat(os.environ.get(START_VARIABLE, "2026-11-25T12:00:00+00:00"))
"""What the clock shows when a test starts: a Wednesday noon, or the date that `make test-dates` tries."""

REAL = "real_clock"

PROCESS_FOLDERS = {
    "airflow": "Airflow dates its runs itself",
    "browser": "a browser and servers",
    "docs": "commands of the documentation",
    "faults": "workers that are killed",
    "hostile": "a batch in a process of its own",
    "integration": "servers and command lines",
    "interop": "other people's programs",
    "packaging": "an installed wheel",
    "rehearsal": "commands of the runbook",
    "topology": "every service of the compose file",
}


def database_now(engine: Engine) -> datetime:
    """Return the database's clock, which decides when leases, grants and parked scopes end."""
    with read_transaction(engine) as connection:
        return datetime.fromtimestamp(database_time(connection), UTC)


class WallClock:
    """What readings of the machine's clock give: a fixed date that moves on as time passes, or the real time."""

    def __init__(self) -> None:
        self.is_real = False
        self.set(START)

    def now(self) -> datetime:
        """Return the current time in UTC."""
        if self.is_real:
            return datetime.now(UTC)
        return self._moment + timedelta(seconds=time.monotonic() - self._set_at)

    def set(self, moment: datetime) -> None:
        """Show `moment` now."""
        self._moment, self._set_at = utc(moment), time.monotonic()

    def start_test(self, name: str) -> None:
        """Show the fixed date again, or the real time to a test that may read it.

        Args:
            name: the test's path, from the root of the repository, and its name.
        """
        self.set(START)
        self.is_real = REAL in name or name.removeprefix("tests/").split("/")[0] in PROCESS_FOLDERS

    def install(self) -> None:
        """Take the place of the machine's clock in the product and in the simulator."""
        SystemClock.now = lambda _clock: self.now()  # type: ignore[method-assign]
        platform_clock.machine_time = self.now
