"""The lock of the shared budget."""

from concurrent.futures import ThreadPoolExecutor
from random import Random

from sqlalchemy import Engine, text

from adwarm.backpressure import SharedBudget, budget_rows
from adwarm.settings import BackpressureSettings
from adwarm.store.database import database_time, write_transaction
from tests.support.kill import wait_until

WAITING = text("SELECT count(*) FROM pg_locks WHERE NOT granted")


def _lock(engine: Engine) -> float:
    """Lock the budget and return the time that the holder gets."""
    with write_transaction(engine) as connection:
        return budget_rows.lock(connection, SharedBudget(BackpressureSettings(), Random(1)), database_time)


def test_the_time_is_read_after_the_lock_was_taken(engine: Engine) -> None:
    """Who waited for a holder that changed nothing gets the time of afterwards; else time would run backwards."""
    first = _lock(engine)
    if engine.dialect.name == "sqlite":  # a write transaction waits before its first statement
        assert _lock(engine) >= first
        return
    with ThreadPoolExecutor(1) as pool:
        with write_transaction(engine) as connection:
            budget_rows.lock(connection, SharedBudget(BackpressureSettings(), Random(1)), database_time)
            waiter = pool.submit(_lock, engine)
            wait_until(lambda: connection.execute(WAITING).scalar_one(), "the second caller waits", 30)
            released = database_time(connection)
        assert waiter.result(30) >= released > first
