"""Cool-downs of healing actions."""

import threading
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine

from adwarm.store.healing_runs import HealingRun, HealingStore


class DatabaseClock:
    """A database clock that tests set."""

    now = 1_764_072_000.0

    def __call__(self, connection: Connection) -> float:
        return self.now


def test_one_run_per_cooldown(engine: Engine) -> None:
    """The cool-down applies to all processes, for each action separately."""
    time = DatabaseClock()
    one, two = HealingStore(engine, database_time=time), HealingStore(engine, database_time=time)

    assert one.acquire("token_refresh", 60)
    assert not two.acquire("token_refresh", 60)
    assert two.acquire("cache_clear", 60)
    time.now += 60
    assert two.acquire("token_refresh", 60)


def test_a_run_is_running_until_it_is_finished_or_its_worker_is_given_up(engine: Engine) -> None:
    """Others wait for a running action, but not for one whose worker died."""
    time = DatabaseClock()
    store = HealingStore(engine, database_time=time)
    assert not store.is_running("token_refresh", 10)
    store.acquire("token_refresh", 60)
    assert store.is_running("token_refresh", 10)
    time.now += 11
    assert not store.is_running("token_refresh", 10)
    time.now += 60
    store.acquire("token_refresh", 60)
    store.finish("token_refresh", succeeded=False, detail="refused")
    assert not store.is_running("token_refresh", 10)


def test_each_run_is_kept_in_the_history(engine: Engine) -> None:
    """The newest run comes first, with what it did; the end of a cool-down that is no healing leaves no row."""
    store = HealingStore(engine)
    at = datetime(2026, 11, 25, 12, tzinfo=UTC)
    first = HealingRun(at, "token_refresh", "main", "meta", "TokenDead", True, "read again", 0.5, "worker:1")
    second = HealingRun(at, "cache_clear", "x" * 300, "meta", "Corrupt", False, "gone", 0.1, "worker:2")
    for run in (first, second):
        store.acquire(run.action, 60)
        store.finish(run.action, succeeded=run.succeeded, detail=run.detail, run=run)
    store.acquire("alert:meta", 60)
    store.finish("alert:meta", succeeded=True, detail="10 errors")

    assert store.list_recent(10) == [replace(second, scope="x" * 250), first]
    assert store.list_recent(1) == [replace(second, scope="x" * 250)]


def test_concurrent_failures_heal_once(engine: Engine) -> None:
    """Of eight concurrent callers, by the database's real clock, exactly one acquires the action."""
    store = HealingStore(engine)
    barrier = threading.Barrier(8)
    claims: list[bool] = []

    def fail() -> None:
        barrier.wait()
        claims.append(store.acquire("token_refresh", 60))

    threads = [threading.Thread(target=fail) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(claims) == [False] * 7 + [True]
