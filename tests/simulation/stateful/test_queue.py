"""The queue in SQL against the same rules in memory, after every operation."""

from dataclasses import astuple, replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import Connection, Engine, delete

from adwarm.backpressure import ClaimedRequest, RequestQueue
from adwarm.foundation.errors import Refused
from adwarm.model import Priority, ReportKey
from adwarm.settings import BackpressureSettings
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.requests import QueuedRequest, RequestStatus, find, table

from ..memory_queue import MemoryQueue  # noqa: TID252 -- pytest does not put the root on the path
from . import SEARCH

SETTINGS = BackpressureSettings(queue_size=4, queue_timeout_seconds=200, lease_seconds=20)
KEYS = st.builds(ReportKey, st.sampled_from(["act_1", "act_2", "act_3", "act_4", "act_5", "act_6"]), st.just("today"))


class QueueMachine(RuleBasedStateMachine):
    """Requests come, are taken, end, come back, are lost and run out of time, in any order."""

    engine: Engine

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_764_072_000.0
        with write_transaction(self.engine) as connection:
            connection.execute(delete(table))
        self.queue = RequestQueue(self.engine, SETTINGS, owner="one", database_time=self._time)
        self.queue.rules = replace(self.queue.rules, max_attempts=2)
        self.model = MemoryQueue(self.queue.rules)
        self.claims: list[tuple[ClaimedRequest, QueuedRequest]] = []
        self.ids: dict[int, int] = {}
        """Ids in the database, by those of the model: what is refused takes a number of PostgreSQL's."""

    def _time(self, connection: Connection) -> float:
        return self.now

    @rule(key=KEYS, priority=st.sampled_from(Priority), wait=st.sampled_from([None, 5.0, 30.0]))
    def somebody_asks(self, key: ReportKey, priority: Priority, wait: float | None) -> None:
        """Both accept, join or refuse alike, with the same hint."""
        try:
            ticket = self.queue.enqueue(key, priority, wait_seconds=wait).id
        except Refused as refusal:
            ticket = -round(refusal.retry_after * 1_000)
        try:
            expected = self.model.enqueue(key, priority, self.now, wait)
        except Refused as refusal:
            expected = -round(refusal.retry_after * 1_000)
        assert ticket == (self.ids.setdefault(expected, ticket) if expected > 0 else expected)

    @rule(limit=st.integers(1, 3))
    def a_worker_takes(self, limit: int) -> None:
        """Both hand out the same requests in the same order."""
        claims, expected = self.queue.dequeue(limit), self.model.dequeue("one", self.now, limit)
        assert [claim.request.id for claim in claims] == [self.ids[item.id] for item in expected]
        self.claims.extend(zip(claims, expected, strict=True))

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), how=st.sampled_from(["complete", "fail", "back", "parked", "renew"]))
    def a_worker_ends(self, data: st.DataObject, how: str) -> None:
        """Both believe or disbelieve a worker alike, however late it is."""
        claim, item = self.claims.pop(data.draw(st.integers(0, len(self.claims) - 1)))
        queue, model, now = self.queue, self.model, self.now
        answers: dict[str, Any] = {
            "complete": lambda: (queue.ack(claim, {}), model.ack(item, now)),
            "fail": lambda: (queue.fail(claim, "bad"), model.fail(item, "bad", now)),
            "back": lambda: (queue.requeue(claim, "bad"), model.requeue(item, "bad", now)),
            "parked": lambda: (
                queue.requeue(claim, "parked", retry_after=7.0),
                model.requeue(item, "parked", now, retry_after=7.0),
            ),
            "renew": lambda: (bool(queue.renew([claim])), model.renew(item, now)),
        }
        found, expected = answers[how]()
        assert found == expected
        if how == "renew" and found:
            self.claims.append((claim, item))

    @rule(seconds=st.sampled_from([0.5, 3.0, 12.0, 21.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        """Deadlines and leases run out."""
        self.now += seconds

    @invariant()
    def both_hold_the_same(self) -> None:
        """Every request is in the same state, and no more wait than there is room for."""
        with read_transaction(self.engine) as connection:
            stored = {number: find(connection, self.ids[number]) for number in self.model.requests}
        for number, item in self.model.requests.items():
            found = stored[number]
            assert found is not None
            assert _facts(found) == _facts(item)
        waiting = [item for item in self.model.requests.values() if item.status is RequestStatus.PENDING]
        assert len(waiting) <= SETTINGS.queue_size


def _facts(item: QueuedRequest) -> tuple[Any, ...]:
    """Return all of a request but its id, and its reason and result, which are words for people."""
    return astuple(replace(item, id=0, error=None, result=None))


def test_any_history_is_that_of_the_rules_in_memory(engine: Engine) -> None:
    """On either database, random histories of callers, workers, deaths and time give what the rules in memory give."""
    run_state_machine_as_test(type("QueueOnEngine", (QueueMachine,), {"engine": engine}), settings=SEARCH)
