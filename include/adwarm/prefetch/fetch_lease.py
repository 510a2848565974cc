"""The lease of an account's data: one worker fetches, the others find its answer.

A lease is renewed for as long as its holder makes progress: each finished call, and each look at a running report,
counts as progress. A holder that hangs in a call stops being renewed once the call is over its time, so that another
worker takes over.
"""

import time
from dataclasses import dataclass, field

from sqlalchemy import Engine

from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import Transient
from adwarm.store import leases

LEASE_SECONDS = 30.0
RENEW_SECONDS = 10.0
_COME_BACK_SECONDS = 5.0


class HeldElsewhere(Transient):
    """Another worker fetches the same; its answer will be there, so come back for it."""

    own_refusal = True


class LeaseLost(Transient):
    """The lease was lost while fetching; its new holder publishes."""

    own_refusal = True


@dataclass
class HeldLease:
    """A lease that is renewed while its holder makes progress.

    Attributes:
        patience: seconds without progress after which it is not renewed any more.
    """

    engine: Engine
    lease: leases.Lease
    patience: float
    _renewed: float = field(default_factory=time.monotonic)
    _moved: float = field(default_factory=time.monotonic)
    _lost: bool = False

    def progress(self) -> None:
        """Note that the holder got on with its work.

        Raises:
            LeaseLost: the lease was lost meanwhile.
        """
        self._moved = time.monotonic()
        if self._lost:
            raise LeaseLost(f"{self.lease.name}: the lease was lost while fetching; its new holder publishes")

    def beat(self) -> None:
        """Renew the lease when a third of its life has passed and its holder has made progress lately."""
        now = time.monotonic()
        if self._lost or now - self._renewed < RENEW_SECONDS or now - self._moved > self.patience:
            return
        self._lost = not leases.renew(self.engine, self.lease, LEASE_SECONDS)
        self._renewed = now

    def release(self) -> None:
        """Give the lease back; a report that is noted in it waits there for the next holder."""
        leases.release(self.engine, self.lease)


def hold(engine: Engine, clock: Clock, name: str, owner: str, wait_seconds: float, patience: float) -> HeldLease:
    """Wait for the lease `name` for up to `wait_seconds`, and take it.

    Raises:
        HeldElsewhere: another worker held it all that time.
    """
    waited, pause = 0.0, 0.05
    while True:
        lease = leases.acquire(engine, name, owner, LEASE_SECONDS)
        if lease:
            return HeldLease(engine, lease, patience)
        if waited > wait_seconds:
            words = f"{name} has been held by another worker for over {wait_seconds:.0f} s"
            raise HeldElsewhere(words, retry_after=_COME_BACK_SECONDS)
        clock.sleep(pause)
        waited += pause
        pause = min(1.0, pause * 2)
