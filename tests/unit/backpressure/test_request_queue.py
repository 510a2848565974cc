"""Tests of the request queue: size, joins, shedding, deadlines, leases, poison; random histories against a model."""

from collections.abc import Callable
from dataclasses import replace
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Engine

from adwarm.backpressure import RequestQueue
from adwarm.foundation.errors import BadRequest, Refused
from adwarm.model import Priority, ReportKey
from adwarm.settings import BackpressureSettings
from adwarm.store.requests import QueuedRequest, RequestStatus

from .conftest import DatabaseClock

CRITICAL, HIGH, NORMAL, LOW = Priority
MakeQueue = Callable[..., RequestQueue]


@pytest.fixture
def queue_of(engine: Engine, time: DatabaseClock) -> MakeQueue:
    """Makes queues, each like another process on the same database."""

    def _make(owner: str = "one", **changes: Any) -> RequestQueue:
        return RequestQueue(engine, BackpressureSettings(**changes), owner=owner, database_time=time)

    return _make


def key(number: int) -> ReportKey:
    """A report of its own."""
    return ReportKey(f"act_{number}", "last_7d")


def find(queue: RequestQueue, request_id: int) -> QueuedRequest:
    """The request as it is now."""
    found = queue.find(request_id)
    assert found is not None
    return found


def test_a_request_is_completed(queue_of: MakeQueue) -> None:
    """Enqueued, served by urgency, completed with its result; then the queue is empty."""
    queue = queue_of()
    low, high = queue.enqueue(key(1), LOW), queue.enqueue(key(2), HIGH)

    claims = [queue.dequeue(5), queue.dequeue(5)]
    assert [[claim.request.id for claim in batch] for batch in claims] == [[high.id], [low.id]]
    assert find(queue, low.id).status is RequestStatus.PROCESSING
    assert queue.ack(claims[0][0], {"status": "fetched"})
    done = find(queue, high.id)
    assert (done.status, done.result, done.error) == (RequestStatus.COMPLETED, {"status": "fetched"}, None)
    assert queue.dequeue(5) == []


def test_the_nearest_deadline_is_served_first(queue_of: MakeQueue) -> None:
    """Of critical requests the one whose caller waits least, also where it came last."""
    queue = queue_of()
    patient, hasty = queue.enqueue(key(1), CRITICAL, wait_seconds=30), queue.enqueue(key(2), CRITICAL, wait_seconds=5)
    assert [queue.dequeue(1)[0].request.id for _ in range(2)] == [hasty.id, patient.id]


def test_an_endless_retry_after_is_cut(queue_of: MakeQueue) -> None:
    """Whatever wait an upstream asks for, the row can be stored, and the request ends at its deadline."""
    queue = queue_of()
    for number, asked in enumerate((6e10, 1e300, float("inf"), float("nan"))):
        ticket = queue.enqueue(key(number), LOW)
        [claim] = queue.dequeue(1)
        assert queue.requeue(claim, "parked", retry_after=asked), asked

        found = find(queue, ticket.id)
        assert found.status is RequestStatus.PENDING, asked
        assert (found.not_before or 0.0) <= found.deadline, asked


def test_an_equal_request_is_joined_and_made_more_urgent(queue_of: MakeQueue) -> None:
    """One request in flight per report; a join takes the more urgent class and the later deadline."""
    queue = queue_of()
    first = queue.enqueue(key(1), LOW, wait_seconds=10)
    second = queue_of("two").enqueue(key(1), CRITICAL)

    assert (second.id, second.joined) == (first.id, True)
    joined = find(queue, first.id)
    assert (joined.priority, joined.deadline - joined.enqueued_at) == (CRITICAL, 900)
    [claim] = queue.dequeue(1)
    assert queue.enqueue(key(1), LOW).joined
    assert queue.ack(claim, {})
    assert not queue.enqueue(key(1), LOW).joined


def test_a_full_queue_sheds_the_lowest_class_and_refuses_the_rest(queue_of: MakeQueue, time: DatabaseClock) -> None:
    """The newest of the lowest class makes room for a more urgent one; an equal one is refused with a hint."""
    queue = queue_of(queue_size=3)
    kept = queue.enqueue(key(1), LOW)
    time.now += 1
    shed = queue.enqueue(key(2), LOW)
    queue.enqueue(key(3), NORMAL)

    with pytest.raises(Refused, match="the queue is full: 3 requests") as refusal:
        queue.enqueue(key(4), LOW)
    assert 1 <= refusal.value.retry_after <= 60
    queue.enqueue(key(4), CRITICAL)
    assert (find(queue, shed.id).status, find(queue, kept.id).status) == (RequestStatus.SHED, RequestStatus.PENDING)
    assert "a critical request came" in str(find(queue, shed.id).error)
    assert queue.status().to_dict()["pending"] == 3


def test_a_late_request_never_counts(queue_of: MakeQueue, time: DatabaseClock) -> None:
    """Requests past their deadline are not served, make room, and read as expired before any sweep."""
    queue = queue_of(queue_size=2)
    tickets = [queue.enqueue(key(n), CRITICAL, wait_seconds=30) for n in (1, 2)]
    time.now += 30

    assert {find(queue, ticket.id).status for ticket in tickets} == {RequestStatus.EXPIRED}
    assert queue.status().to_dict()["pending"] == 0
    fresh = queue.enqueue(key(3), LOW)
    assert [claim.request.id for claim in queue.dequeue(9)] == [fresh.id]
    assert "past its deadline" in str(find(queue, tickets[0].id).error)


def test_a_late_result_is_kept_and_expires_the_request(queue_of: MakeQueue, time: DatabaseClock) -> None:
    """The request says how late it was."""
    queue = queue_of(lease_seconds=60)
    ticket = queue.enqueue(key(1), HIGH, wait_seconds=30)
    [claim] = queue.dequeue(1)
    assert claim.seconds_left == 30
    time.now += 32

    assert queue.ack(claim, {"status": "fetched"})
    done = find(queue, ticket.id)
    assert (done.status, done.result) == (RequestStatus.EXPIRED, {"status": "fetched"})
    assert "2.0 s after its deadline" in str(done.error)


def test_a_dead_workers_request_comes_back(queue_of: MakeQueue, time: DatabaseClock) -> None:
    """After its lease another worker gets the request, and the first one can change nothing any more."""
    queue, other = queue_of(), queue_of("two")
    ticket = queue.enqueue(key(1), NORMAL)
    [lost] = queue.dequeue(1)
    assert other.dequeue(1) == []
    time.now += 29
    assert queue.renew([lost]) == [lost]
    time.now += 29
    assert other.dequeue(1) == []
    time.now += 1

    [taken] = other.dequeue(1)
    assert (taken.request.owner, taken.request.attempts) == ("two", 2)
    assert queue.renew([lost]) == []
    assert not queue.ack(lost, {})
    assert not queue.fail(lost, "no")
    assert not queue.requeue(lost, "no")
    assert other.ack(taken, {})
    assert find(queue, ticket.id).status is RequestStatus.COMPLETED


def test_poison_ends_as_failed(queue_of: MakeQueue, time: DatabaseClock) -> None:
    """A request that kills every worker fails after three attempts, with the reason."""
    queue = queue_of()
    ticket = queue.enqueue(key(1), NORMAL)
    for _ in range(3):
        assert len(queue.dequeue(1)) == 1
        time.now += 30

    assert queue.dequeue(1) == []
    assert find(queue, ticket.id).status is RequestStatus.FAILED
    assert find(queue, ticket.id).error == "given up after 3 tries; the worker one died during the last"


def test_failed_attempts_pause_and_end_with_the_reason(queue_of: MakeQueue, time: DatabaseClock) -> None:
    """A failed attempt is repeated after a pause that doubles; the third ends with the upstream's reason."""
    queue = queue_of()
    ticket = queue.enqueue(key(1), NORMAL)
    for pause in (5, 10, 20):
        [claim] = queue.dequeue(1)
        assert queue.requeue(claim, "the platform is down")
        time.now += pause - 1
        assert queue.dequeue(1) == []
        time.now += 1

    assert find(queue, ticket.id).status is RequestStatus.FAILED
    assert find(queue, ticket.id).error == "given up after 3 tries; the last: the platform is down"


def test_a_requested_wait_does_not_count_as_an_attempt(queue_of: MakeQueue, time: DatabaseClock) -> None:
    """A request that is parked again and again ends only at its deadline, whose message has the reason."""
    queue = queue_of()
    ticket = queue.enqueue(key(1), NORMAL)
    for _ in range(9):
        [claim] = queue.dequeue(1)
        queue.requeue(claim, "act_1 is parked", retry_after=99.5)
        time.now += 99.5
    [claim] = queue.dequeue(1)
    assert claim.request.attempts == 1
    queue.requeue(claim, "act_1 is parked", retry_after=99.5)
    time.now += 99.5
    assert queue.dequeue(1) == []
    assert (find(queue, ticket.id).status, find(queue, ticket.id).error) == (
        RequestStatus.EXPIRED,
        "past its deadline; act_1 is parked",
    )


def test_a_requeue_into_a_full_queue_sheds_the_least_urgent(queue_of: MakeQueue) -> None:
    """The size holds when a request is requeued."""
    queue = queue_of(queue_size=1)
    queue.enqueue(key(1), HIGH)
    [claim] = queue.dequeue(1)
    low = queue.enqueue(key(2), LOW)

    assert queue.requeue(claim, "busy", retry_after=1)
    assert find(queue, low.id).status is RequestStatus.SHED
    assert queue.status().to_dict()["pending"] == 1


def test_old_requests_are_deleted(queue_of: MakeQueue, time: DatabaseClock) -> None:
    """Requests that ended a week ago are deleted; open ones are not."""
    queue = queue_of()
    old = queue.enqueue(key(1), NORMAL)
    queue.fail(queue.dequeue(1)[0], "no")
    time.now += 7 * 86_400 + 1
    queue.enqueue(key(2), NORMAL)

    assert queue.delete_old() == 1
    assert queue.find(old.id) is None
    assert len(queue.dequeue(1)) == 1


def test_a_wait_is_a_positive_number(queue_of: MakeQueue) -> None:
    """Zero, negative and not-a-number waits are refused with what to write."""
    for wait in (0.0, -1.0, float("nan")):
        with pytest.raises(BadRequest, match="seconds above 0"):
            queue_of().enqueue(key(1), LOW, wait_seconds=wait)


def test_concurrent_workers_never_share_a_request(engine: Engine) -> None:
    """Callers and workers on real threads: no request is served twice, and none is left."""
    budget = BackpressureSettings(queue_size=40)
    queues = [RequestQueue(engine, budget, owner=str(n)) for n in range(4)]
    taken: list[int] = []

    def call(queue: RequestQueue) -> None:
        for number in range(20):
            queue.enqueue(key(number), Priority(number % 4))

    def work(queue: RequestQueue) -> None:
        while claims := queue.dequeue(3):
            taken.extend(claim.request.id for claim in claims)
            assert all(queue.ack(claim, {}) for claim in claims)

    for action, group in ((call, queues[:2]), (work, queues)):
        threads = [Thread(target=action, args=(queue,)) for queue in group]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(taken) == len(set(taken)) == 20
    assert queues[0].status().to_dict()["pending"] == 0


def test_a_wait_keeps_the_error_of_an_earlier_attempt(queue_of: MakeQueue, time: DatabaseClock) -> None:
    """Before any failed attempt the wait is the reason; after one, its error stays until the next."""
    queue = queue_of()
    queue.rules = replace(queue.rules, max_attempts=9)
    ticket = queue.enqueue(key(1), NORMAL)
    seen_errors = []
    for reason, wait in (
        ("parked", 1),
        ("down", None),
        ("left alone", 1),
        ("left alone", 1),
        ("odd", None),
        ("busy", 1),
    ):
        time.now += 60
        [claim] = queue.dequeue(1)
        queue.requeue(claim, reason, retry_after=wait)
        seen_errors.append(find(queue, ticket.id).error)
    assert seen_errors == ["parked", "down", "down", "down", "odd", "odd"]


def test_a_position_is_the_order_of_service(queue_of: MakeQueue, time: DatabaseClock) -> None:
    """Urgent requests come first, then the older ones; one that pauses comes last; one that is not pending has none."""
    queue = queue_of()
    tickets = [queue.enqueue(key(n), priority).id for n, priority in enumerate((LOW, NORMAL, HIGH, NORMAL))]
    assert [queue.find_position(number) for number in tickets] == [4, 2, 1, 3]

    (claim,) = queue.dequeue(1)
    queue.requeue(claim, "parked", retry_after=60)
    assert [queue.find_position(number) for number in tickets] == [3, 1, 4, 2]
    time.now += 61
    assert queue.find_position(tickets[2]) == 1
    queue.dequeue(1)
    assert queue.find_position(tickets[2]) is None
    time.now += 10_000
    assert [queue.find_position(number) for number in tickets] == [None] * 4


def test_a_result_can_be_looked_up_for_a_week(queue_of: MakeQueue, time: DatabaseClock) -> None:
    """A day after its end, and just before a week has passed, a request still has its result; then it is deleted."""
    queue = queue_of()
    ended = queue.enqueue(key(1), NORMAL).id
    queue.ack(queue.dequeue(1)[0], {"status": "fetched", "requests": 2})
    for seconds in (86_400, 7 * 86_400 - 86_460):
        time.now += seconds
        queue.delete_old()
        assert find(queue, ended).result == {"status": "fetched", "requests": 2}
    time.now += 120
    assert queue.delete_old() == 1
    assert queue.find(ended) is None


def test_recent_requests_are_listed(queue_of: MakeQueue, time: DatabaseClock) -> None:
    """The newest first, up to the limit; a late one reads as expired, and the newest completed one is found by key."""
    queue = queue_of()
    first = queue.enqueue(key(1), NORMAL).id
    queue.ack(queue.dequeue(1)[0], {"status": "fetched"})
    time.now += 1
    second = queue.enqueue(key(1), NORMAL).id
    queue.ack(queue.dequeue(1)[0], {"status": "fresh"})
    third = queue.enqueue(key(2), NORMAL).id
    time.now += 10_000

    assert [item.id for item in queue.list_newest(2)] == [third, second]
    statuses = [item.status for item in queue.list_newest(9)]
    assert statuses == [RequestStatus.EXPIRED, RequestStatus.COMPLETED, RequestStatus.COMPLETED]
    newest = queue.find_newest_completed(key(1))
    assert newest is not None
    assert (newest.id, first < second) == (second, True)
    assert queue.find_newest_completed(key(2)) is None
