"""Degraded answers are requested again: a few at a time, and only those that a request can help."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import Engine

from adwarm.backpressure import RequestQueue
from adwarm.foundation.clock import VirtualClock
from adwarm.maintenance.repair import make_repair_degraded
from adwarm.maintenance.runner import StepBudget, StepResult
from adwarm.model import Account, Priority, ReportKey, resolve_key
from adwarm.settings import BackpressureSettings, Settings
from adwarm.store import Context, ObjectStore, accounts, entries, write_transaction
from adwarm.store.entries import Entry
from tests.unit.conftest import SQLITE_ONLY

from .isolations import NothingIsolated

DAY = timedelta(days=1)


class OneIsolated(NothingIsolated):
    """Isolates act_3."""

    def remaining_seconds(self, scope: str) -> float:
        """Return a minute for act_3."""
        return 60.0 if scope == "account:act_3" else 0.0


class Stage:
    """A store with degraded entries, its queue, and the step."""

    def __init__(self, engine: Engine, objects: ObjectStore, size: int = 100) -> None:
        self.clock = VirtualClock(datetime(2026, 11, 25, 12, tzinfo=UTC))
        self.context = Context(engine, objects, Settings())
        self.queue = RequestQueue(engine, BackpressureSettings(queue_size=size), owner="test")
        self.cursor: Any = None

    def save(self, account_id: str, *, degraded: bool = True, **changes: Any) -> None:
        """Store an entry of the last seven days."""
        key, now = ReportKey(account_id, "last_7d"), self.clock.now()
        resolved = resolve_key(key, Account(account_id, "UTC", "UTC"), self.context.settings.spec("default"), now)
        entry = Entry(resolved, "last_7d", "default", "zstd", 10, 5, now, now + DAY, "meta", degraded=degraded)
        with write_transaction(self.context.engine) as connection:
            entries.publish(connection, [(replace(entry, **changes), b"x")], 1, now)

    def run(self, seconds: float = 60) -> StepResult:
        """Run the step from where the last run stopped."""
        step = make_repair_degraded(self.context, self.queue, self.clock, OneIsolated())
        result = step(self.cursor, StepBudget.of(self.clock, seconds))
        self.cursor = result.cursor
        return result

    def queued(self) -> list[tuple[str, Priority]]:
        """Return account and class of the pending requests, in their order."""
        return sorted((item.key.account_id, item.priority) for item in self.queue.list_newest(100))


def test_what_a_request_can_help_is_requested(engine: Engine, objects: ObjectStore) -> None:
    """Degraded entries and gaps that are due; not whole ones, past ranges, closed, isolated or queued ones."""
    stage = Stage(engine, objects)
    now = stage.clock.now()
    accounts.save(engine, [Account("act_2", "UTC", "UTC", status="closed"), Account("act_1", "UTC", "UTC")], now)
    for account_id in ("act_1", "act_2", "act_3", "act_4"):
        stage.save(account_id)
    stage.save("act_5", degraded=False)
    stage.save("act_6", degraded=False, degraded_reason="ad 1: too large", expires_at=now - DAY)
    stage.save("act_7", degraded=False, degraded_reason="ad 1: too large", expires_at=now + DAY)
    stage.save("act_8", date_range="2020-01-01..2020-01-02")
    stage.queue.enqueue(ReportKey("act_4", "last_7d"), Priority.HIGH)

    result = stage.run()

    assert result.is_complete
    assert result.counts == {
        "requested": 2,
        "account_not_active": 1,
        "account_isolated": 1,
        "queued_already": 1,
        "past": 1,
    }
    assert stage.queued() == [("act_1", Priority.LOW), ("act_4", Priority.HIGH), ("act_6", Priority.LOW)]


def test_a_run_requests_a_few_and_the_next_goes_on(
    engine: Engine, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two requests a run; a pass over five entries takes three runs, and requests each once."""
    monkeypatch.setattr("adwarm.maintenance.repair.MAX_REQUESTS", 2)
    stage = Stage(engine, objects)
    for number in range(4, 9):
        stage.save(f"act_{number}")
    assert [(stage.run().counts["requested"], stage.cursor["after"][0]) for _ in range(2)] == [
        (2, "act_5"),
        (2, "act_7"),
    ]
    last = stage.run()
    assert (last.counts, last.is_complete) == ({"requested": 1}, True)
    assert len(stage.queued()) == 5


@SQLITE_ONLY
def test_a_key_that_stays_degraded_pauses_ever_longer(engine: Engine, objects: ObjectStore) -> None:
    """Each request that did not help doubles the pause, from half an hour to a day; passes still end."""
    stage = Stage(engine, objects)
    stage.save("act_1")
    requested: list[float] = []
    started = stage.clock.now()
    for _ in range(2 * 48):
        result = stage.run()
        assert result.is_complete
        if result.counts.get("requested"):
            requested.append((stage.clock.now() - started) / timedelta(hours=1))
            [claim] = stage.queue.dequeue(1)
            stage.queue.fail(claim, "the platform says no")
        stage.clock.sleep(1_800)
        stage.save("act_1")  # the range means other days after midnight
    pauses = [round(later - earlier, 2) for earlier, later in pairwise(requested)]
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0]


def test_a_full_queue_ends_the_run(engine: Engine, objects: ObjectStore) -> None:
    """What the queue does not take is tried by the next run, from the same entry."""
    stage = Stage(engine, objects, size=1)
    for number in (4, 5):
        stage.save(f"act_{number}")
    first = stage.run()
    assert (first.counts, first.is_complete) == ({"requested": 1}, False)
    assert "the queue takes no more requests" in first.problems[0]
    stage.queue.fail(stage.queue.dequeue(1)[0], "no")
    assert stage.run().counts == {"requested": 1}
