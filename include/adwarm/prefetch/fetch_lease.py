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
_RETRY_AFTER_SECONDS = 5.0


class LeaseHeldElsewhere(Transient):
    """Another worker fetches the same; its answer will be there, so come back for it."""

    own_refusal = True


class LeaseLost(Transient):
    """The lease was lost while fetching; its new holder publishes."""

    own_refusal = True


@dataclass
class FetchLease:
    """A lease that is renewed while its holder makes progress.

    Attributes:
        patience: seconds without progress after which it is not renewed any more.
    """

    engine: Engine
    record: leases.Lease
    stall_timeout: float
    _renewed: float = field(default_factory=time.monotonic)
    _progressed: float = field(default_factory=time.monotonic)
    _lost: bool = False

    def record_progress(self) -> None:
        """Note that the holder got on with its work.

        Raises:
            LeaseLost: the lease was lost meanwhile.
        """
        self._progressed = time.monotonic()
        if self._lost:
            raise LeaseLost(f"{self.record.name}: the lease was lost while fetching; its new holder publishes")

    def renew_if_due(self) -> None:
        """Renew the lease when a third of its life has passed and its holder has made progress lately."""
        now = time.monotonic()
        if self._lost or now - self._renewed < RENEW_SECONDS or now - self._progressed > self.stall_timeout:
            return
        self._lost = not leases.renew(self.engine, self.record, LEASE_SECONDS)
        self._renewed = now

    def release(self) -> None:
        """Give the lease back; a report that is noted in it waits there for the next holder."""
        leases.release(self.engine, self.record)


def acquire_lease(
    engine: Engine, clock: Clock, name: str, owner: str, wait_seconds: float, stall_timeout: float
) -> FetchLease:
    """Wait for the lease `name` for up to `wait_seconds`, and take it.

    Raises:
        HeldElsewhere: another worker held it all that time.
    """
    waited, pause = 0.0, 0.05
    while True:
        lease = leases.acquire(engine, name, owner, LEASE_SECONDS)
        if lease:
            return FetchLease(engine, lease, stall_timeout)
        if waited > wait_seconds:
            words = f"{name} has been held by another worker for over {wait_seconds:.0f} s"
            raise LeaseHeldElsewhere(words, retry_after=_RETRY_AFTER_SECONDS)
        clock.sleep(pause)
        waited += pause
        pause = min(1.0, pause * 2)
