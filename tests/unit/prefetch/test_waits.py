"""A database that another process holds: everything with a time of its own waits for it no longer than that."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from random import Random

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from adwarm.backpressure import CallRequest, SqlAdmission, acquire_grant
from adwarm.foundation import clock as clocks
from adwarm.foundation.clock import SystemClock, TimeLimit, bound_waits_together, limited
from adwarm.foundation.errors import DatabaseBusy
from adwarm.model import Priority, Scope, ScopeKind
from adwarm.prefetch.fetch_lease import LeaseTiming, acquire_lease
from adwarm.recovery import fallback
from adwarm.recovery.fallback import call_with_timeout
from adwarm.settings import BackpressureSettings
from adwarm.store.database import get_limits, read_transaction, write_transaction
from adwarm.store.schema import metadata
from adwarm.store.writer_queue import WriterQueue
from tests.unit.conftest import SQLITE_ONLY

SECONDS = 0.2
LONGEST = 15.0
"""Below the 20 s of the settings, after which the lock would be given up without any bound."""


@contextmanager
def held(engine: Engine) -> Iterator[None]:
    """Hold every table of the database from another connection."""
    is_sqlite = engine.dialect.name == "sqlite"
    other = create_engine(engine.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with other.connect() as connection:
        connection.execute(text("BEGIN EXCLUSIVE" if is_sqlite else "BEGIN"))
        if not is_sqlite:
            connection.execute(text(f"LOCK TABLE {', '.join(metadata.tables)} IN EXCLUSIVE MODE"))
        yield
        connection.execute(text("ROLLBACK"))


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the wait at the end of a time be short as well; afterwards this process is no command again."""
    for module in (clocks, fallback):
        monkeypatch.setattr(module, "SHORT_SECONDS", SECONDS)
    yield
    bound_waits_together(is_command=False)


def write(engine: Engine) -> None:
    """Change a row."""
    with write_transaction(engine) as connection:
        connection.execute(metadata.tables["lease"].delete())


def admit(engine: Engine) -> None:
    """Call under admission, with a wait of its own."""
    admission = SqlAdmission(engine, BackpressureSettings(), owner="one", rng=Random(0))
    call = CallRequest((Scope(ScopeKind.ACCOUNT, "act_1"),), Priority.NORMAL, "meta")
    with acquire_grant(admission, SystemClock(), call, timeout_seconds=SECONDS):
        pass


def lease(engine: Engine) -> None:
    """Acquire a lease, with a wait of its own."""
    acquire_lease(engine, SystemClock(), "account:act_1", "one", LeaseTiming(30, SECONDS, 60))


def in_a_limit(work: Callable[[Engine], None]) -> Callable[[Engine], None]:
    """Do work in a time that its caller sets."""

    def run(engine: Engine) -> None:
        with limited(TimeLimit(SECONDS, "the work")):
            work(engine)

    return run


def step(engine: Engine) -> None:
    """Write in a fallback, whose call is left to itself after its time, and whose wait ends soon after."""
    errors: list[Exception] = []

    def call() -> None:
        try:
            write(engine)
        except DatabaseBusy as error:
            errors.append(error)

    with pytest.raises(TimeoutError):
        call_with_timeout(call, SECONDS / 3)
    end = time.monotonic() + LONGEST
    while not errors and time.monotonic() < end:
        pass
    raise errors[0]


def repeated(engine: Engine) -> None:
    """Write again in a command whose first wait has timed out; only that one took long."""
    bound_waits_together()
    with pytest.raises(DatabaseBusy):
        in_a_limit(write)(engine)
    for _ in range(3):
        with pytest.raises(DatabaseBusy):
            write(engine)
    write(engine)


@pytest.mark.parametrize("work", [in_a_limit(write), admit, lease, step, repeated], ids=lambda work: work.__name__)
def test_a_time_bounds_the_wait_for_the_database(engine: Engine, work: Callable[[Engine], None]) -> None:
    """While the tables are held, each path ends with `DatabaseBusy` in its own time; once they are free, it works."""
    started = time.monotonic()
    with held(engine), pytest.raises(DatabaseBusy):
        work(engine)
    assert time.monotonic() - started < LONGEST
    write(engine)


def test_a_time_bounds_the_wait_for_a_connection(engine: Engine) -> None:
    """A thread that finds every connection in use gives up when its time is over."""
    count = get_limits(engine).pool_size
    busy, enough = threading.Barrier(count + 1), threading.Event()

    def hold() -> None:
        with engine.connect():
            busy.wait(60)
            enough.wait(60)

    with ThreadPoolExecutor(count) as pool:
        for _ in range(count):
            pool.submit(hold)
        busy.wait(60)
        started = time.monotonic()
        with limited(TimeLimit(SECONDS, "the work")), pytest.raises(DatabaseBusy), read_transaction(engine):
            pass
        enough.set()
    assert time.monotonic() - started < LONGEST


@SQLITE_ONLY
def test_the_turn_and_the_file_are_waited_for_together(engine: Engine) -> None:
    """A writer that has waited for its turn has what is left of its time for the file."""
    started = time.monotonic()
    limit = limited(TimeLimit(SECONDS, "the work"))
    with held(engine), limit, pytest.raises(DatabaseBusy), WriterQueue(engine).acquire():
        write(engine)
    assert time.monotonic() - started < LONGEST
