"""Holds the lease of an account's span, so that one worker fetches and the others find its answer."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Engine

from adwarm.errors import Transient
from adwarm.prefetch.fetching import Fetcher
from adwarm.store import leases

LEASE_SECONDS = 30.0
RENEW_SECONDS = 10.0
_COME_BACK_SECONDS = 5.0


class HeldElsewhere(Transient):
    """Another worker fetches the same; its answer will be there, so come back for it."""


@dataclass
class HeldLease:
    """A lease that is renewed as the work goes on."""

    engine: Engine
    lease: leases.Lease
    _renewed: float = field(default_factory=time.monotonic)

    def beat(self) -> None:
        """Renew the lease when it has not been renewed for a third of its life.

        Raises:
            Transient: it was lost; its new holder publishes.
        """
        if time.monotonic() - self._renewed < RENEW_SECONDS:
            return
        if not leases.renew(self.engine, self.lease, LEASE_SECONDS):
            raise Transient(f"{self.lease.name}: the lease was lost while fetching; its new holder publishes")
        self._renewed = time.monotonic()

    def release(self) -> None:
        """Give the lease back; a report that is noted in it waits there for the next holder."""
        leases.release(self.engine, self.lease)


def hold(engine: Engine, name: str, owner: str, fetcher: Fetcher) -> HeldLease:
    """Wait for the lease `name` as long as the fetcher may wait for admission, and take it.

    Raises:
        HeldElsewhere: another worker held it all that time.
    """
    held = HeldLease(engine, _await(engine, name, owner, fetcher))
    fetcher.heartbeat = held.beat
    return held


@contextmanager
def holding(held: HeldLease) -> Iterator[HeldLease]:
    """Hold the lease while the block runs."""
    try:
        yield held
    finally:
        held.release()


def _await(engine: Engine, name: str, owner: str, fetcher: Fetcher) -> leases.Lease:
    waited, pause = 0.0, 0.05
    while True:
        lease = leases.claim(engine, name, owner, LEASE_SECONDS)
        if lease:
            return lease
        if waited > fetcher.wait_seconds:
            words = f"{name} has been held by another worker for over {fetcher.wait_seconds:.0f} s"
            raise HeldElsewhere(words, retry_after=_COME_BACK_SECONDS)
        fetcher.clock.sleep(pause)
        waited += pause
        pause = min(1.0, pause * 2)
