"""Cool-downs of healing actions."""

import threading

from sqlalchemy import Connection, Engine

from adwarm.store.healing_runs import HealingStore


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


def test_only_a_successful_run_counts(engine: Engine) -> None:
    """A running or failed action has not succeeded; a successful one has, for the cool-down."""
    time = DatabaseClock()
    store = HealingStore(engine, database_time=time)
    assert not store.succeeded_within("token_refresh", 60)
    store.acquire("token_refresh", 60)
    assert not store.succeeded_within("token_refresh", 60)
    store.finish("token_refresh", succeeded=True, detail="renewed")
    assert store.succeeded_within("token_refresh", 60)
    time.now += 61
    assert not store.succeeded_within("token_refresh", 60)
    store.acquire("token_refresh", 60)
    store.finish("token_refresh", succeeded=False, detail="refused")
    assert not store.succeeded_within("token_refresh", 60)


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
