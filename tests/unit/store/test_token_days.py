"""New keys of tokens by day."""

from datetime import date, timedelta
from threading import Thread

from sqlalchemy import Engine

from adwarm.store import token_days
from adwarm.store.database import read_transaction, write_transaction

DAY = date(2026, 11, 25)


def test_new_keys_are_counted_up_to_the_limit(engine: Engine) -> None:
    """Each token and day has its own count; concurrent callers never exceed the limit; old days are deleted."""
    counted: list[bool] = []

    def add() -> None:
        for _ in range(5):
            with write_transaction(engine) as connection:
                counted.append(token_days.add(connection, ("t1", DAY, "new_keys"), 1, 7))

    threads = [Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with write_transaction(engine) as connection:
        assert token_days.add(connection, ("t1", DAY + timedelta(days=1), "new_keys"), 1, 1)
        assert not token_days.add(connection, ("t2", DAY, "new_keys"), 1, 0)
        assert token_days.add(connection, ("t1", DAY, "refetches"), 3, 3)
        assert not token_days.add(connection, ("t2", DAY, "refetches"), 4, 3)
    with read_transaction(engine) as connection:
        counts = [token_days.get_count(connection, name, DAY, "new_keys") for name in ("t1", "t2", "t3")]
    assert (sum(counted), counts) == (7, [7, 0, 0])
