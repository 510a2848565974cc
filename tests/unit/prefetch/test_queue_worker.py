"""The worker of the request queue: how requests end, deadlines, and workers that die during a batch."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from threading import Event
from typing import Any

import pytest

from adwarm.backpressure import Rejected, RequestQueue, TokenLimits
from adwarm.foundation.errors import BadRequest, Corrupt, Denied, Throttled, TokenDead, Transient
from adwarm.model import AccessToken, CauseKind, Priority, ReportKey, TokenScope
from adwarm.prefetch.queue_worker import DrainResult, QueueWorker
from adwarm.settings import BackpressureSettings
from adwarm.sources.protocol import FetchUnit, ResultPage
from adwarm.store import access_tokens
from adwarm.store.read_traffic import get_day_calls
from adwarm.store.requests import QueuedRequest, RequestStatus
from tests.unit.conftest import NOW, PrefetchHarness, one_ad_page


class Time:
    """The database's time and the worker's, moved by hand."""

    now = 1_764_072_000.0

    def database(self, connection: object) -> float:
        """Return seconds since the epoch."""
        return self.now

    def monotonic(self) -> float:
        """Return seconds since some start."""
        return self.now - 1_764_000_000.0


class QueueStage:
    """A queue, its worker, and the harness whose source responds by a script."""

    def __init__(self, harness: PrefetchHarness, **changes: Any) -> None:
        self.harness, self.time = harness, Time()
        self.queue = self.queue_of("one", **changes)
        self.drainer = QueueWorker(harness.prefetch, self.queue, 5, self.time.monotonic)

    def queue_of(self, owner: str, **changes: Any) -> RequestQueue:
        """Return the queue as another worker sees it."""
        rules = BackpressureSettings(**changes)
        return RequestQueue(self.harness.engine, rules, owner=owner, database_time=self.time.database)

    def enqueue(self, account: str, priority: Priority = Priority.NORMAL, wait: float | None = None) -> int:
        """Enqueue a week of an account."""
        return self.queue.enqueue(ReportKey(account, "last_30d"), priority, wait_seconds=wait).id

    def find(self, request_id: int) -> QueuedRequest:
        """Return the request as stored."""
        outcome = self.queue.find(request_id)
        assert outcome is not None
        return outcome

    def script(self, account: str, error: Exception, then: Callable[[], None] = lambda: None) -> None:
        """Make an account's calls fail."""

        def answer(unit: FetchUnit) -> ResultPage:
            then()
            raise error

        self.harness.source.script[account] = answer


@pytest.fixture
def stage(harness: PrefetchHarness) -> QueueStage:
    """A queue with the default rules."""
    return QueueStage(harness)


def test_calls_of_readers_are_told_from_those_of_others(stage: QueueStage) -> None:
    """A request of a token is a reader's; one of a command or a form is somebody's."""
    stage.enqueue("act_1")
    token = AccessToken(id="t", name="reader", scopes=frozenset({TokenScope.ENQUEUE}), created_at=NOW)
    access_tokens.insert_token(stage.harness.engine, token, "0" * 64)
    stage.queue.enqueue(ReportKey("act_2", "yesterday"), Priority.LOW, limits=TokenLimits.of(token, 9))
    stage.drainer.drain(60)
    calls = {item.cause.kind: item.calls for item in get_day_calls(stage.harness.engine, NOW).causes}
    assert calls == {CauseKind.MANUAL: 3, CauseKind.READER: 2}


def test_the_queue_is_drained_by_priority(stage: QueueStage) -> None:
    """Every request is completed with what was fetched, the most urgent class first."""
    low, high = stage.enqueue("act_1", Priority.LOW), stage.enqueue("act_2", Priority.HIGH)

    report = stage.drainer.drain(60)

    assert report.to_dict() == {"completed": 2, "failed": 0, "given_back": 0, "lost": 0, "requests": 6}
    assert [unit.account_id for unit in stage.harness.source.submitted] == ["act_2", "act_2", "act_1", "act_1"]
    for number in (low, high):
        done = stage.find(number)
        assert (done.status, done.error) == (RequestStatus.COMPLETED, None)
        assert done.result is not None
        assert (done.result["status"], done.result["fetched_at"]) == ("fetched", NOW.isoformat())


def test_a_fresh_report_costs_no_call(stage: QueueStage) -> None:
    """A request for a report that is fresh already is completed without a call."""
    stage.enqueue("act_1")
    stage.drainer.drain(60)
    calls = len(stage.harness.source.submitted)
    again = stage.enqueue("act_1")

    assert stage.drainer.drain(60).requests == 0
    assert dict(stage.find(again).result or {})["status"] == "fresh"
    assert len(stage.harness.source.submitted) == calls


def test_each_failure_ends_as_it_should(stage: QueueStage) -> None:
    """Denied and malformed fail at once, throttled is requeued, broken is tried three times; none stops the others."""
    numbers = [stage.enqueue(f"act_{n}") for n in range(1, 6)]
    stage.script("act_1", Denied("no access", account_id="act_1"))
    stage.script("act_2", Throttled("slow down", scope="account:act_2", until=NOW + timedelta(minutes=5)))
    stage.script("act_3", Transient("the platform is down", retry_after=3600))
    stage.script("act_5", BadRequest("no such field"))

    first = stage.drainer.drain(60)
    assert (first.completed, first.failed, first.given_back, len(first.errors)) == (1, 2, 2, 4)
    assert [type(error) for error in first.failures] == [Denied, Transient, BadRequest]
    denied, parked, broken, _, malformed = (stage.find(number) for number in numbers)
    assert (denied.status, denied.error) == (RequestStatus.FAILED, "no access")
    assert (malformed.status, malformed.error) == (RequestStatus.FAILED, "no such field")
    assert (parked.status, parked.attempts) == (RequestStatus.PENDING, 0)
    assert (parked.not_before or 0) - stage.time.now == 300
    assert (broken.status, broken.attempts) == (RequestStatus.PENDING, 1)
    for _ in range(2):
        stage.time.now += 20
        stage.drainer.drain(60)
    assert stage.find(numbers[2]).status is RequestStatus.FAILED
    assert "given up after 3 tries; the last: the platform is down" in str(stage.find(numbers[2]).error)
    assert stage.drainer.drain(60) == DrainResult()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TokenDead("the token is dead"), RequestStatus.FAILED),
        (Corrupt("a foreign row"), RequestStatus.PENDING),
    ],
)
def test_a_permanent_error_fails_at_once(stage: QueueStage, error: Exception, status: RequestStatus) -> None:
    """A dead token fails a request at once; corrupt data may be intact the next time. The row has the class."""
    number = stage.enqueue("act_1")
    stage.script("act_1", error)
    stage.drainer.drain(60)
    found = stage.find(number)
    assert (found.status, found.error, found.error_kind) == (status, str(error), type(error).__name__)


def test_a_request_ends_with_its_own_error(harness: PrefetchHarness) -> None:
    """When the breaker opens meanwhile, later tries wait; the request keeps the error of its own tries."""
    stage = QueueStage(harness, queue_timeout_seconds=60)
    number = stage.enqueue("act_1")
    stage.script("act_1", Transient("the platform is down"))
    stage.drainer.drain(60)
    assert stage.find(number).error == "the platform is down"

    class GivenUp:
        """An open breaker."""

        def admit(self, *args: Any, **kwargs: Any) -> Rejected:
            """Refuse."""
            return Rejected("source:scripted failed too often and is left alone for 60 s", 60.0)

    stage.drainer.prefetch = replace(harness.prefetch, admission=GivenUp())  # type: ignore[arg-type]
    stage.time.now += 10
    assert stage.drainer.drain(60).given_back == 1
    assert stage.find(number).error == "the platform is down"
    stage.time.now += 60
    assert stage.find(number).status is RequestStatus.EXPIRED
    assert stage.drainer.drain(60) == DrainResult()
    assert stage.find(number).error == "past its deadline; the platform is down"


def test_no_call_after_the_deadline(stage: QueueStage) -> None:
    """After the deadline a long fetch makes no further call, and the request expires."""

    def slow(unit: FetchUnit) -> ResultPage:
        stage.time.now += 31
        return one_ad_page(unit)

    stage.harness.source.script["act_1"] = slow
    late = stage.enqueue("act_1", Priority.CRITICAL, wait=30)
    patient = stage.enqueue("act_2", Priority.CRITICAL)
    stage.drainer.drain(600)

    assert [unit.account_id for unit in stage.harness.source.submitted].count("act_1") == 1
    assert stage.find(late).status is RequestStatus.EXPIRED
    assert "past its deadline" in str(stage.find(late).error)
    assert stage.find(patient).status is RequestStatus.COMPLETED


def test_a_drain_ends_when_its_time_is_up(stage: QueueStage) -> None:
    """No batch starts after the given time; what is left waits for the next drain."""
    stage.drainer.batch_size = 1
    numbers = [stage.enqueue("act_1"), stage.enqueue("act_2")]

    def slow(unit: FetchUnit) -> ResultPage:
        stage.time.now += 10
        return one_ad_page(unit)

    stage.harness.source.script["act_1"] = slow
    stage.drainer.drain(15)
    assert [stage.find(number).status for number in numbers] == [RequestStatus.COMPLETED, RequestStatus.PENDING]


def test_a_killed_workers_batch_is_done_by_another(stage: QueueStage) -> None:
    """Requests that a dead worker claimed go to another after the lease; the dead worker's claim is void."""
    number = stage.enqueue("act_1")
    [lost] = stage.queue_of("killed").dequeue(5)
    assert stage.drainer.drain(60).completed == 0
    stage.time.now += 30

    assert stage.drainer.drain(60).completed == 1
    assert not stage.queue_of("killed").ack(lost, {})
    assert stage.find(number).attempts == 2


def test_a_batch_that_was_lost_is_counted_as_lost(stage: QueueStage) -> None:
    """A worker that slept past its lease finds its requests done by another, and changes nothing."""
    number = stage.enqueue("act_1")
    thief = stage.queue_of("two")

    def asleep(unit: FetchUnit) -> ResultPage:
        if thief.find(number).owner == "one":  # type: ignore[union-attr]
            stage.time.now += 30
            [claim] = thief.dequeue(1)
            thief.ack(claim, {"status": "stolen"})
        return one_ad_page(unit)

    stage.harness.source.script["act_1"] = asleep
    assert stage.drainer.drain(60).lost == 1
    assert stage.find(number).result == {"status": "stolen"}


def test_leases_are_renewed_while_a_batch_runs(harness: PrefetchHarness) -> None:
    """A fetch that takes many lease lifetimes keeps its request, because the worker renews the lease."""
    stage = QueueStage(harness, lease_seconds=0.03)
    renewed: list[int] = []
    keep = stage.queue.renew

    def renew(claims: Any) -> Any:
        renewed.append(len(claims))
        return keep(claims)

    stage.queue.renew = renew  # type: ignore[method-assign]

    def slow(unit: FetchUnit) -> ResultPage:
        for _ in range(500):
            if len(renewed) >= 3:
                break
            bench_wait()
        return one_ad_page(unit)

    harness.source.script["act_1"] = slow
    stage.enqueue("act_1")
    assert stage.drainer.drain(60).completed == 1
    assert len(renewed) >= 3


def bench_wait() -> None:
    """Let the renewing thread run."""
    Event().wait(0.01)
