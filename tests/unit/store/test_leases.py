"""One owner at a time by the database's clock, and tokens that only grow."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import Engine, select

from adwarm.foundation.errors import Transient
from adwarm.settings import SqlSettings
from adwarm.store import leases
from adwarm.store.database import open_engine, read_transaction, write_transaction
from adwarm.store.leases import FetchHints, Lease, PagesRead, SavedReport, table
from adwarm.store.schema import upgrade


class DatabaseClock:
    """A database clock that tests set."""

    now = 1_000_000.0

    def get_value(self, dialect: str, seconds: float = 0.0) -> datetime:
        """Return the time that was set, `seconds` later, as statements compare and write it."""
        return datetime.fromtimestamp(self.now + seconds, UTC)


@pytest.fixture
def at() -> Iterator[DatabaseClock]:
    """The test's database clock."""
    standing = DatabaseClock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leases, "database_clock", standing.get_value)
        for name in ("_build_acquire", "_build_release"):
            patch.setattr(leases, name, getattr(leases, name).__wrapped__)
        yield standing


def _claimed(engine: Engine, owner: str, seconds: float = 30) -> Lease:
    held = leases.acquire(engine, "fetch:act_1", owner, seconds)
    assert held is not None
    return held


def _is_current(engine: Engine, held: Lease) -> bool:
    with write_transaction(engine) as connection:
        return leases.is_current(connection, held)


def test_a_name_has_one_owner(engine: Engine) -> None:
    """While one owner holds a name another gets None; other names are free. Uses the database's own clock."""
    held = _claimed(engine, "a")
    assert leases.acquire(engine, "fetch:act_1", "b", 30) is None
    assert leases.acquire(engine, "fetch:act_2", "b", 30) is not None
    assert _is_current(engine, held)


def test_a_lease_expires_by_the_databases_clock(engine: Engine, at: DatabaseClock) -> None:
    """It is free at its expiry; the late owner can neither renew it nor publish with it."""
    late = _claimed(engine, "a")
    at.now += 29
    assert leases.acquire(engine, "fetch:act_1", "b", 30) is None
    at.now += 1
    successor = _claimed(engine, "b")
    assert successor.token > late.token
    assert not leases.renew(engine, late, 30)
    assert (_is_current(engine, late), _is_current(engine, successor)) == (False, True)


def test_renewal_extends_a_lease(engine: Engine, at: DatabaseClock) -> None:
    """Renewal counts from now and keeps the token."""
    held = _claimed(engine, "a")
    at.now += 20
    assert leases.renew(engine, held, 30)
    at.now += 20
    assert leases.acquire(engine, "fetch:act_1", "b", 30) is None
    assert _is_current(engine, held)


def test_a_lost_lease_cannot_release_its_successors(engine: Engine, at: DatabaseClock) -> None:
    """Releasing a lost lease changes nothing; releasing a held one frees it at once."""
    late = _claimed(engine, "a")
    at.now += 31
    successor = _claimed(engine, "b")
    leases.release(engine, late)
    assert leases.acquire(engine, "fetch:act_1", "c", 30) is None
    leases.release(engine, successor)
    assert _claimed(engine, "c").token > successor.token


def test_a_lease_without_a_row_is_not_current(engine: Engine) -> None:
    """A lease that the database does not have is not held."""
    held = _claimed(engine, "a")
    with read_transaction(engine) as connection:
        assert not leases.is_current(connection, Lease("fetch:act_9", "a", held.token, held.expires_at))


NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def _find_report(engine: Engine, held: Lease) -> SavedReport | None:
    """Return the report that is stored with a lease now."""
    with read_transaction(engine) as connection:
        return leases.read_report(connection.execute(select(table).where(table.c.name == held.name)).one())


def _find_hints(engine: Engine, held: Lease, since: datetime) -> FetchHints:
    """Return the hints that are stored with a lease now."""
    with read_transaction(engine) as connection:
        learned = connection.execute(select(table.c.learned).where(table.c.name == held.name)).scalar_one()
    return leases.read_hints(learned, since)


def test_the_next_owner_gets_the_async_report(engine: Engine, at: DatabaseClock) -> None:
    """Announcement, id and progress survive other owners until the report is cleared."""
    held = _claimed(engine, "a")
    assert _find_report(engine, held) is None
    announced, later = SavedReport("abcd", NOON, None, 0.0, NOON), NOON + timedelta(minutes=1)
    assert leases.save_report(engine, held, announced)
    assert _find_report(engine, held) == announced
    running = replace(announced, run_id="6023", percent=40.0, progressed_at=later)
    assert leases.save_report(engine, held, running)
    at.now += 31
    successor = _claimed(engine, "b")
    assert held.report is None
    assert successor.report == _find_report(engine, successor) == running
    assert not leases.save_report(engine, held, announced), "a late holder writes nothing"
    assert not leases.save_report(engine, held, None)
    assert _find_report(engine, successor) == running
    assert leases.save_report(engine, successor, None)
    assert _find_report(engine, successor) is None


def test_hints_are_kept_for_a_while(engine: Engine) -> None:
    """The next owner gets them unless they are too old or were cleared."""
    held = _claimed(engine, "a")
    lesson = FetchHints({"abcd": "too much"}, {"abcd:ad": ["1", "2"]})
    assert _find_hints(engine, held, NOON) == FetchHints()
    assert leases.save_hints(engine, held, lesson, NOON)
    leases.release(engine, held)
    successor = _claimed(engine, "b")
    assert leases.read_hints(successor.learned, NOON) == _find_hints(engine, successor, NOON) == lesson
    assert _find_hints(engine, successor, NOON + timedelta(seconds=1)) == FetchHints()
    assert leases.save_hints(engine, successor, FetchHints(), NOON)
    assert _find_hints(engine, successor, NOON) == FetchHints()


def test_the_next_owner_gets_the_pages_read(engine: Engine) -> None:
    """They are cleared together with the report."""
    held = _claimed(engine, "a")
    read = SavedReport("abcd", NOON, "6023", 0.0, NOON, PagesRead("MTA", "f" * 64, 1_000, 2))
    other = SavedReport("efgh", NOON, None, 0.0, NOON)
    for report in (read, other):
        assert leases.save_report(engine, held, report)
        assert _find_report(engine, held) == report


OWNERS = st.sampled_from(["a", "b", "c"])


class Claims(RuleBasedStateMachine):
    """Compares the table with a model of one name."""

    engine: Engine
    clock: DatabaseClock
    runs = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).runs += 1
        self.name = f"name {self.runs}"
        self.holder: tuple[str, int, float] | None = None
        self.token = 0
        self.seen: list[Lease] = []
        self.held = False

    def _alive(self) -> bool:
        return self.holder is not None and self.holder[2] > self.clock.now

    @rule(owner=OWNERS, seconds=st.integers(1, 40))
    def claim(self, owner: str, seconds: int) -> None:
        """Succeeds unless another owner holds it."""
        got = leases.acquire(self.engine, self.name, owner, seconds)
        blocked = self._alive() and self.holder is not None and self.holder[0] != owner
        assert (got is None) == blocked
        if got:
            assert got.token > self.token
            self.token, self.holder = got.token, (owner, got.token, self.clock.now + seconds)
            self.seen.append(got)

    @rule(seconds=st.integers(1, 60))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.clock.now += seconds

    @rule(data=st.data(), seconds=st.integers(1, 40))
    def renew(self, data: st.DataObject, seconds: int) -> None:
        """Only the newest token can be renewed."""
        if self.seen:
            held = data.draw(st.sampled_from(self.seen))
            newest = self.holder is not None and held.token == self.holder[1]
            assert leases.renew(self.engine, held, seconds) == newest
            if newest:
                self.holder = (held.owner, held.token, self.clock.now + seconds)

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """Only the newest token can release it."""
        if self.seen:
            held = data.draw(st.sampled_from(self.seen))
            leases.release(self.engine, held)
            if self.holder and held.token == self.holder[1]:
                self.holder = None

    @invariant()
    def late_writers_are_fenced(self) -> None:
        """Only the newest token is current."""
        with read_transaction(self.engine) as connection:
            current = [held.token for held in self.seen if leases.is_current(connection, held)]
        assert set(current) <= {self.token}


def test_any_order_of_claims_keeps_the_rules(sqlite_engine: Engine, at: DatabaseClock) -> None:
    """In any order of acquire, renew, release and time: one owner, growing tokens, no late writer."""
    Claims.engine, Claims.clock = sqlite_engine, at
    run_state_machine_as_test(
        Claims,
        settings=settings(
            max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
    assert Claims.runs >= 15


@pytest.mark.postgres
def test_a_holder_that_freezes_inside_a_transaction_is_succeeded(postgres_url: str) -> None:
    """PostgreSQL ends its transaction, whose row locks would block every successor, and it gets a clear error."""
    frozen = open_engine(postgres_url, SqlSettings(statement_timeout_seconds=0.5))
    successor = open_engine(postgres_url, SqlSettings(lock_timeout_seconds=20))
    upgrade(frozen)
    lease = leases.acquire(frozen, "frozen", "first", 0)
    assert lease is not None

    def write_after_it_froze() -> None:
        with write_transaction(frozen) as connection:
            assert leases.is_current(connection, lease)
            taken = leases.acquire(successor, "frozen", "second", 30)  # waits for the row lock of the first
            assert taken is not None
            assert taken.token == lease.token + 1
            leases.is_current(connection, lease)

    with pytest.raises(Transient, match=r"did nothing for|was lost"):
        write_after_it_froze()
    assert not leases.renew(frozen, lease, 30)
