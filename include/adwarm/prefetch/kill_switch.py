"""Stops planned warms between two keys when a human switches warming off. What readers request never passes here."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import Engine

from adwarm.foundation.errors import Transient
from adwarm.store.switches import find_stop

CHECK_SECONDS = 2.0
"""How old the position of the switch may be that a running batch acts on."""


class WarmingStopped(Transient):
    """Warming was switched off; the message says by whom and why."""

    own_refusal = True


@dataclass
class KillSwitch:
    """The switch `warming` as a running batch sees it: read every two seconds at most. Safe to share between threads.

    Attributes:
        engine: the database.
        monotonic: measures the age of what was read, in seconds.
    """

    engine: Engine
    monotonic: Callable[[], float] = time.monotonic
    _read_at: float | None = field(default=None, init=False)
    _stop: str | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def check(self) -> None:
        """Check that planned warms may go on.

        Raises:
            WarmingStopped: warming is switched off.
        """
        with self._lock:
            now = self.monotonic()
            if self._read_at is None or not 0 <= now - self._read_at < CHECK_SECONDS:
                self._stop = find_stop(self.engine)
                self._read_at = now
            if self._stop is not None:
                raise WarmingStopped(self._stop)

    def watch(self, heartbeat: Callable[[int], None]) -> Callable[[int], None]:
        """Return a heartbeat of a batch that checks the switch before it calls `heartbeat`."""

        def beat(waiting: int) -> None:
            self.check()
            heartbeat(waiting)

        return beat
