"""Tests of the cool-downs of healing, on both databases."""

import threading

from sqlalchemy import Connection, Engine

from adwarm.store.healing_runs import HealingStore


class DatabaseClock:
    """The database's time, moved by hand."""

    now = 1_764_072_000.0

    def __call__(self, connection: Connection) -> float:
        return self.now


def test_one_claim_per_cooldown_and_another_after_it(engine: Engine) -> None:
    """The cool-down is kept over processes, each action by itself."""
    time = DatabaseClock()
    one, two = HealingStore(engine, database_time=time), HealingStore(engine, database_time=time)

    assert one.acquire("token_refresh", 60)
    assert not two.acquire("token_refresh", 60)
    assert two.acquire("cache_clear", 60)
    time.now += 60
    assert two.acquire("token_refresh", 60)


def test_a_run_counts_once_it_went_well(engine: Engine) -> None:
    """A run under way or failed is no cure; a good one is, for as long as the cool-down."""
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
    """Eight callers at the same moment, by the database's real clock: exactly one gets the claim (ER-11)."""
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
