"""Tests of the rules of the request queue: order, ageing, room, retry hints, and counts by class."""

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.backpressure.request_queue import QueueRules, can_displace, estimate_retry_seconds, summarize_queue
from adwarm.model import Priority, ReportKey
from adwarm.settings import BackpressureSettings
from adwarm.store.requests import QueuedRequest, RequestStatus

NOW = 1_764_072_000.0
RULES = QueueRules()


def waiting(number: int, priority: Priority, waited: float = 0.0, **values: object) -> QueuedRequest:
    """A pending request that has waited for `waited` seconds."""
    key = ReportKey(f"act_{number}", "today")
    start = NOW - waited
    request = {"status": RequestStatus.PENDING, "enqueued_at": start, "deadline": start + 900, **values}
    return QueuedRequest(number, key, priority, **request)  # type: ignore[arg-type]


def test_the_rules_come_from_the_settings() -> None:
    """What can be set is, and the defaults agree."""
    assert QueueRules.from_settings(BackpressureSettings()) == RULES
    assert QueueRules.from_settings(BackpressureSettings(queue_size=7)).size == 7


def test_a_batch_is_one_class_in_order_of_age() -> None:
    """The most urgent class comes first, its oldest request before the rest; other classes wait for the next batch."""
    ready = [
        waiting(1, Priority.LOW, 30),
        waiting(2, Priority.HIGH, 5),
        waiting(3, Priority.HIGH, 9),
        waiting(4, Priority.NORMAL, 20),
        waiting(5, Priority.HIGH, 1),
    ]

    assert [item.id for item in RULES.next_in_line(ready, 10)] == [3, 2, 5]
    assert [item.id for item in RULES.next_in_line(ready, 2)] == [3, 2]
    assert RULES.next_in_line([], 2) == []


def test_waiting_raises_the_priority() -> None:
    """A low request that has waited three steps longer goes before a critical one."""
    patient, hasty = waiting(1, Priority.LOW, 3 * 120 + 1), waiting(2, Priority.CRITICAL)

    assert RULES.next_in_line([hasty, patient], 1) == [patient]
    assert RULES.next_in_line([hasty, waiting(1, Priority.LOW, 3 * 120 - 1)], 1) == [hasty]


def test_a_critical_caller_is_never_overtaken_by_age() -> None:
    """A request with a deadline of 30 seconds goes before old ones, and the nearest deadline goes first."""
    caller = waiting(1, Priority.CRITICAL, deadline=NOW + 30)
    sooner = waiting(2, Priority.CRITICAL, deadline=NOW + 9)
    backlog = [waiting(3, Priority.HIGH, 700), waiting(4, Priority.LOW, 899), waiting(5, Priority.CRITICAL, 800)]

    assert RULES.next_in_line([*backlog, caller, sooner], 3) == [sooner, caller, backlog[2]]


def test_a_request_that_failed_before_is_served_alone() -> None:
    """It takes no new requests with it."""
    tried = waiting(1, Priority.HIGH, 10, attempts=1)
    fresh = [waiting(2, Priority.HIGH, 5), waiting(3, Priority.HIGH, 4)]

    assert RULES.next_in_line([tried, *fresh], 10) == [tried]
    assert RULES.next_in_line([*fresh, waiting(4, Priority.HIGH, 1, attempts=2)], 10) == fresh


@given(st.lists(st.tuples(st.sampled_from(Priority), st.floats(0, 900)), min_size=1, max_size=20), st.floats(0, 1e6))
def test_the_order_never_changes_while_waiting(queue: list[tuple[Priority, float]], later: float) -> None:
    """The order does not depend on the time at which it is computed."""
    ready = [waiting(number, priority, waited) for number, (priority, waited) in enumerate(queue)]
    line = sorted(ready, key=RULES.sort_key)

    urgency = [int(item.priority) - (NOW + later - item.enqueued_at) / RULES.ageing_seconds for item in line]
    assert all(before <= after + 1e-6 for before, after in pairwise(urgency))


def test_only_a_more_urgent_request_displaces_another() -> None:
    """A full queue sheds its lowest class, and never for an equal one."""
    for lowest, newcomer in product(Priority, Priority):
        assert can_displace(waiting(1, lowest), newcomer) == (newcomer < lowest), (lowest, newcomer)


@pytest.mark.parametrize(
    ("finished", "earliest", "hint"),
    [
        (0, None, 60),
        (30, None, 2),
        (600, None, 1),
        (0, NOW + 12, 12),
        (0, NOW + 500, 60),
        (0, NOW - 5, 1),
    ],
)
def test_the_retry_hint_estimates_when_there_is_room(finished: int, earliest: float | None, hint: float) -> None:
    """The pace of the last minute or the next deadline, whichever is first, between one second and a minute."""
    assert estimate_retry_seconds(finished, earliest, NOW) == hint


def test_deadlines() -> None:
    """A caller that waits gets at most 30 s, other requests 15 minutes; the backoff doubles."""
    assert [RULES.deadline(NOW, wait) - NOW for wait in (None, 5.0, 300.0)] == [900, 5, 30]
    assert [RULES.backoff_seconds(attempts) for attempts in (1, 2, 3)] == [5, 10, 20]
    assert [RULES.is_exhausted(attempts) for attempts in (2, 3)] == [False, True]


def test_the_counts_by_class() -> None:
    """Late requests are left out; an expired lease counts as ready, a live one as an active worker."""
    found = [
        waiting(1, Priority.LOW, 60),
        waiting(2, Priority.LOW, 1_000),
        waiting(3, Priority.HIGH, 5, not_before=NOW + 9),
        waiting(4, Priority.HIGH, 50, status=RequestStatus.PROCESSING, lease_until=NOW + 1),
        waiting(5, Priority.NORMAL, 50, status=RequestStatus.PROCESSING, lease_until=NOW - 1),
    ]
    status = summarize_queue(found, RULES, NOW)

    assert (status.ready, status.has_active_worker) == ((1, 5), True)
    assert status.to_dict() == {
        "size": 100,
        "pending": 2,
        "critical": {"pending": 0, "processing": 0, "oldest_seconds": None},
        "high": {"pending": 1, "processing": 1, "oldest_seconds": 5},
        "normal": {"pending": 0, "processing": 1, "oldest_seconds": None},
        "low": {"pending": 1, "processing": 0, "oldest_seconds": 60},
    }
