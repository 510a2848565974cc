"""The simulated platform's clock."""

import time
from datetime import UTC, datetime, timedelta

from graph_simulator.date_ranges import as_utc


def machine_time() -> datetime:
    """Return what the machine's clock shows, in UTC."""
    return datetime.now(UTC)


class PlatformClock:
    """A clock that runs at a multiple of real time, or stands still.

    Args:
        start: the moment it shows first; the machine's time when None.
        scale: seconds that pass on this clock in one real second.
        frozen: whether it stands still at `start`.
    """

    def __init__(self, start: datetime | None = None, *, scale: float = 1.0, frozen: bool = False) -> None:
        # Without a start and at normal speed it follows the machine's clock, corrections of that clock included.
        self._follows_machine = start is None and scale == 1 and not frozen
        self._start = machine_time() if start is None else as_utc(start)
        self._scale, self.frozen = scale, frozen
        self._started = time.monotonic()

    def now(self) -> datetime:
        """Return the present moment in UTC."""
        if self._follows_machine:
            return machine_time()
        if self.frozen:
            return self._start
        return self._start + timedelta(seconds=(time.monotonic() - self._started) * self._scale)
