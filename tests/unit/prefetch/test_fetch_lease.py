"""Waiting for the lease of an account that another worker holds."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, update

from adwarm.foundation.clock import VirtualClock
from adwarm.model import QuerySpec, Window
from adwarm.prefetch.fetch_lease import LeasedReport, LeaseHeldElsewhere, LeaseTiming, OrphanReport, acquire_lease
from adwarm.sources.protocol import FetchUnit, Increment
from adwarm.store import leases
from adwarm.store.database import write_transaction
from adwarm.store.leases import table as lease

NAME = "fetch:act_1:abc"


class ObservedClock(VirtualClock):
    """A clock that notes each wait, and lets the lease expire when `expires` has come."""

    def __init__(self, moment: datetime, engine: Engine, expires: float) -> None:
        super().__init__(moment)
        self.waits: list[float] = []
        self._engine, self._expires = engine, expires

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.waits.append(seconds)
        if sum(self.waits) >= self._expires:
            with write_transaction(self._engine) as connection:
                past = update(lease).values(expires_at=self.moment - timedelta(days=36_500))
                connection.execute(past.where(lease.c.name == NAME))


def test_an_expired_lease_is_taken_over_within_a_second(engine: Engine, clock: VirtualClock) -> None:
    """However long a worker has waited, it asks again soon enough for the second after the lease's expiry."""
    leases.acquire(engine, NAME, "dead", 30)
    observed = ObservedClock(clock.moment, engine, expires=20.0)

    found = acquire_lease(engine, observed, NAME, "waiting", LeaseTiming(30, 60, 120))

    assert (found.record.owner, found.record.token) == ("waiting", 2)
    assert sum(observed.waits) - 20.0 <= 0.5
    assert max(observed.waits) <= 0.5


def test_a_lease_that_stays_taken_is_an_error(engine: Engine, clock: VirtualClock) -> None:
    """The error comes after the wait that was allowed, and says when to come back."""
    leases.acquire(engine, NAME, "busy", 30)
    observed = ObservedClock(clock.moment, engine, expires=1e9)

    with pytest.raises(LeaseHeldElsewhere, match="held by another worker for over 5 s") as caught:
        acquire_lease(engine, observed, NAME, "waiting", LeaseTiming(30, 5, 120))

    assert 5.0 < sum(observed.waits) <= 6.0
    assert caught.value.retry_after


def test_a_report_whose_worker_died_before_it_knew_the_id_is_an_orphan(engine: Engine, clock: VirtualClock) -> None:
    """The next holder reports it once, and the lease holds no report any more."""
    record = leases.acquire(engine, NAME, "dead", 30)
    assert record is not None
    unit = FetchUnit("act_1", (Window(clock.now().date(), clock.now().date()),), Increment.DAY, QuerySpec())
    leases.save_report(engine, record, leases.SavedReport(unit.hash, clock.now(), None, 0.0, clock.now()))
    leases.release(engine, record)
    orphans: list[OrphanReport] = []
    for _ in range(2):
        following = leases.acquire(engine, NAME, "next", 30)
        assert following is not None
        found = LeasedReport(engine, following, clock, orphans.append, 3_600)
        assert found.get_running(unit) is None
    assert ["before it knew the report's id" in str(orphan) for orphan in orphans] == [True]
