"""A batch of warms takes few statements and write transactions, whatever the shape of its accounts."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy import Connection, event

from adwarm.model import PlannedWarm, ReportKey, WarmReason
from adwarm.prefetch.warm_batch import warm_batch
from adwarm.store import jobs, warms
from tests.unit.conftest import PrefetchHarness

RANGES = ("last_7d", "yesterday", "last_3d", "last_14d", "last_30d")
DAY_SECONDS = 86_400


@dataclass
class DatabaseWork:
    """What a database was given to do.

    Attributes:
        statements: those that read or write, of which a script counts once; what begins and ends transactions is left
            out.
        writes: committed write transactions.
    """

    statements: int = 0
    writes: int = 0


@contextmanager
def counting(harness: PrefetchHarness) -> Iterator[DatabaseWork]:
    """Count while the block runs."""
    work = DatabaseWork()

    def on_statement(connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
        work.statements += not statement.startswith("BEGIN")

    def on_commit(connection: Connection) -> None:
        work.writes += connection.get_execution_options().get("sqlite_begin") == "IMMEDIATE"

    listeners = {"before_cursor_execute": on_statement, "commit": on_commit}
    for name, listener in listeners.items():
        event.listen(harness.engine, name, listener)
    yield work
    for name, listener in listeners.items():
        event.remove(harness.engine, name, listener)


def _plan(harness: PrefetchHarness, run_id: str, accounts: int, keys: int) -> None:
    now = harness.clock.now()
    planned = [
        PlannedWarm(key=ReportKey(f"act_{number}", name), reason=WarmReason.STRATEGY, decided_at=now, warm_at=now)
        for number in range(1, accounts + 1)
        for name in RANGES[:keys]
    ]
    warms.replace_plan(harness.engine, run_id, planned)
    jobs.start(harness.engine, run_id, "dag", len(planned), now)


@pytest.mark.parametrize(
    ("accounts", "keys", "statements", "writes"), [(1, 1, 27, 11), (1, 5, 28, 11), (5, 1, 119, 51)], ids=str
)
def test_a_batch_takes_few_statements(
    harness: PrefetchHarness, accounts: int, keys: int, statements: int, writes: int
) -> None:
    """The second day of one key of an account, of five keys of one, and of one key of each of five.

    About four statements and one write are those of the batch; every further account takes 23 and 10: it is
    confirmed once a day, so it makes two calls, each with a permit of its own.
    """
    one_by_one = replace(harness.prefetch.context, settings=harness.settings.model_copy(update={"workers": 1}))
    for day in range(2):
        prefetch = replace(harness.prefetch, context=one_by_one)
        prefetch.kill_switch.monotonic = lambda: 0.0
        _plan(harness, f"dag/{day}", accounts, keys)
        with counting(harness) as work:
            result = warm_batch(prefetch, f"dag/{day}", 0)
        assert [str(outcome.status) for outcome in result.outcomes] == ["fetched"] * accounts * keys
        harness.clock.sleep(DAY_SECONDS)
    assert work.statements <= statements
    assert work.writes <= writes
