"""Misses and stale reports: what is requested, who waits and for how long, and what is left behind."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import Any

import pytest
from sqlalchemy import Engine

from adwarm.foundation.errors import Refused, Transient
from adwarm.model import Account, Priority, ReportKey
from adwarm.serving.misses import FetchOutcome
from adwarm.serving.problems import ANSWER_SECONDS, Problem, unknown_report
from adwarm.store import accounts, denials
from adwarm.store.requests import RequestStatus
from tests.unit.conftest import NOW, SQLITE_ONLY
from tests.unit.serving.miss_harness import KEY, MissHarness, make_harness, make_token, settle

MakeHarness = Callable[..., MissHarness]


@pytest.fixture
def make(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeHarness]:
    """Makes handlers at which many readers may wait, and closes their loops."""
    monkeypatch.setattr("adwarm.serving.misses.MAX_WAITERS", 2_000)
    made: list[MissHarness] = []

    def make_one(serving: dict[str, Any] | None = None, **backpressure: Any) -> MissHarness:
        made.append(make_harness(engine, serving, **backpressure))
        return made[-1]

    yield make_one
    for harness in made:
        harness.loop.close()


@pytest.fixture
def harness(make: MakeHarness) -> MissHarness:
    """A handler with the default limits, except that many readers may wait."""
    return make()


def key(number: int) -> ReportKey:
    """The week of an account."""
    return ReportKey(f"act_{number}", "last_7d")


def assert_nothing_left(harness: MissHarness) -> None:
    """No reader, task or flight is left in the handler or in its loop."""
    harness.run(settle())
    assert (harness.misses.waiting, harness.misses._flights._flights) == (0, {})
    assert asyncio.all_tasks(harness.loop) == set()


class StuckExecutor(Executor):
    """Takes work and never does it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Return a future that has no end."""
        return Future()


@pytest.mark.parametrize("part", ["_check", "_flights"])
@pytest.mark.parametrize("wait", [0.0, 3.0, 20.0])
def test_a_database_that_does_not_answer_is_waited_for_no_longer_than_the_reader_waits(
    harness: MissHarness, part: str, wait: float
) -> None:
    """Whether its thread is stuck in reading the account or in writing the request: 503, in the time of the reader."""
    getattr(harness.misses, part)._executor = StuckExecutor()
    with pytest.raises(Problem) as caught:
        harness.fetch(wait=wait)
    assert (caught.value.status, "Retry-After" in caught.value.headers) == (503, True)
    assert harness.loop.time() == max(wait, ANSWER_SECONDS) + 1
    for task in asyncio.all_tasks(harness.loop):
        task.cancel()
    harness.run(settle())


def test_the_scope_read_requests_nothing(harness: MissHarness) -> None:
    """A token that only reads gets the reason, and neither a miss nor a stale report writes a row."""
    outcome = harness.fetch(scopes=("read",), wait=30)

    async def revalidate() -> None:
        harness.misses.revalidate(KEY, make_token(scopes=("read",)), Priority.NORMAL)
        await settle()

    harness.run(revalidate())
    assert (outcome.is_stored, outcome.request_id) == (False, None)
    assert "scope `enqueue`" in (outcome.reason or "")
    assert (harness.rows(), harness.drainer.wakes) == (0, 0)


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("wanted", "highest", "given"),
    [(Priority.CRITICAL, Priority.NORMAL, Priority.NORMAL), (Priority.LOW, Priority.HIGH, Priority.LOW)],
)
def test_the_class_is_cut_to_the_highest_of_the_token(
    harness: MissHarness, wanted: Priority, highest: Priority, given: Priority
) -> None:
    """A request is as urgent as its caller asks for, but not more urgent than its token allows."""
    outcome = harness.fetch(priority=wanted, highest_priority=highest)

    request = harness.find(outcome.request_id)
    assert (request.priority, request.token_id, request.key) == (given, "t1", KEY)
    assert outcome == FetchOutcome(False, request.id, 7, "it is queued; somebody fetches it soon")
    assert harness.drainer.wakes == 1


@SQLITE_ONLY
def test_accounts_that_are_unknown_closed_or_not_on_the_list_look_alike(
    harness: MissHarness, subtests: pytest.Subtests
) -> None:
    """Each gets the same 404, and no row is written."""
    accounts.save(harness.engine, [Account("act_28", status="closed")], NOW)
    denials.close_account(harness.engine, "act_29", "no access", NOW)
    for account, values in [
        ("act_999", {}),
        ("act_2", {"accounts": frozenset({"act_1"})}),
        ("act_998", {"accounts": frozenset({"act_1"})}),
        ("act_28", {}),
        ("act_29", {}),
    ]:
        with subtests.test(account=account, values=values):
            with pytest.raises(Problem) as refused:
                harness.fetch(ReportKey(account, "last_7d"), **values)
            assert (refused.value.status, refused.value.body()) == (404, unknown_report().body())
            assert harness.rows() == 0


@SQLITE_ONLY
def test_a_new_account_may_be_requested_within_a_second(harness: MissHarness) -> None:
    """A process that has just answered 404 for it reads the account again a second later."""
    with pytest.raises(Problem):
        harness.fetch(key(999))
    accounts.save(harness.engine, [Account("act_999")], NOW)
    harness.loop.now += 1
    assert harness.fetch(key(999)).request_id


def test_a_token_with_a_list_requests_accounts_that_are_not_stored_yet(harness: MissHarness) -> None:
    """Its owner named the account; one that is known to be closed is still not requested, and the reason is given."""
    accounts.save(harness.engine, [Account("act_2", status="closed")], NOW)
    listed: dict[str, Any] = {"accounts": frozenset({"act_777", "act_2"})}

    assert harness.fetch(ReportKey("act_777", "last_7d"), **listed).request_id
    closed = harness.fetch(key(2), **listed)
    assert (closed.request_id, closed.is_stored) == (None, False)
    assert "closed" in (closed.reason or "")
    assert harness.rows() == 1


@SQLITE_ONLY
def test_ranges_that_the_platform_does_not_serve_are_refused(harness: MissHarness, subtests: pytest.Subtests) -> None:
    """A range in the future, before the platform's oldest day, too long or malformed is a 400 without a row."""
    for date_range, words in [
        ("2026-11-20..2026-11-26", "future"),
        ("2023-10-30..2023-11-05", "oldest day"),
        ("2020-01-01..2026-11-24", "longer than"),
        ("2026-11-24..2026-11-20", "before it starts"),
        ("last_9d", "neither"),
    ]:
        with subtests.test(date_range=date_range, words=words):
            with pytest.raises(Problem) as refused:
                harness.fetch(ReportKey("act_1", date_range))
            assert refused.value.status == 400
            assert words in refused.value.detail
            assert harness.rows() == 0


@SQLITE_ONLY
def test_today_is_that_of_the_account(harness: MissHarness) -> None:
    """In Auckland tomorrow has begun already."""
    accounts.save(harness.engine, [Account("act_1", "Pacific/Auckland", "UTC")], NOW)

    assert harness.fetch(ReportKey("act_1", "2026-11-20..2026-11-26")).request_id


@SQLITE_ONLY
def test_an_unknown_report_is_not_found(harness: MissHarness) -> None:
    """A report that is not configured gets the 404 of unknown ones."""
    with pytest.raises(Problem) as refused:
        harness.fetch(ReportKey("act_1", "last_7d", "other"))
    assert refused.value.status == 404


def test_a_thousand_readers_share_one_request(harness: MissHarness) -> None:
    """Concurrent readers of one missing report cause one transaction, and all are served when it is done."""

    async def read_all() -> list[FetchOutcome]:
        readers = [asyncio.create_task(harness.start()) for _ in range(1_000)]
        await settle()
        assert harness.misses.waiting == 1_000
        claim = harness.claim()
        harness.queue.ack(claim, {"status": "fetched"})
        return await asyncio.gather(*readers)

    outcomes = harness.run(read_all())
    assert {(outcome.is_stored, outcome.reason) for outcome in outcomes} == {(True, None)}
    assert (harness.rows(), harness.queue.enqueues, harness.drainer.wakes) == (1, 1, 1)
    assert harness.queue.polls <= 2
    assert_nothing_left(harness)


def test_readers_that_leave_leave_nothing(harness: MissHarness) -> None:
    """Half of the readers are canceled midway: the others are served, and no slot, future or task is left."""

    async def read_all() -> list[FetchOutcome]:
        readers = [asyncio.create_task(harness.start()) for _ in range(1_000)]
        await settle()
        for reader in readers[:500]:
            reader.cancel()
        await asyncio.wait(readers[:500])
        assert harness.misses.waiting == 500
        harness.queue.ack(harness.claim(), {})
        return await asyncio.gather(*readers[500:])

    outcomes = harness.run(read_all())
    assert all(outcome.is_stored for outcome in outcomes)
    assert harness.queue.enqueues == 1
    assert_nothing_left(harness)


@SQLITE_ONLY
@pytest.mark.parametrize("rounds", [0, 1, 3, 6, 12, 50])
def test_when_every_reader_leaves_only_the_request_is_left(harness: MissHarness, rounds: int) -> None:
    """Wherever they are canceled, nothing waits, and a request that was enqueued keeps its short deadline."""

    async def leave() -> None:
        readers = [asyncio.create_task(harness.start()) for _ in range(10)]
        await settle(rounds)
        for reader in readers:
            reader.cancel()
        await asyncio.wait(readers)

    harness.run(leave())
    assert_nothing_left(harness)
    for number in range(1, harness.rows() + 1):
        request = harness.queue.list_newest(number)[-1]
        assert request.deadline - request.enqueued_at == 30


def test_over_the_limit_of_waiters_a_reader_gets_the_request_at_once(
    make: MakeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers beyond the slots of their token, or of the process, do not wait; slots are free again afterwards."""
    harness = make({"max_waiters_per_token": 2})
    monkeypatch.setattr("adwarm.serving.misses.MAX_WAITERS", 3)

    async def read() -> None:
        waiting = [asyncio.create_task(harness.start(name=name)) for name in ("t1", "t1", "t2")]
        await settle()
        third_of_t1 = await harness.start(name="t1")
        fourth_of_process = await harness.start(name="t3")
        assert (third_of_t1.is_stored, fourth_of_process.is_stored) == (False, False)
        assert third_of_t1.request_id == fourth_of_process.request_id
        assert harness.loop.now == 0
        harness.queue.ack(harness.claim(), {})
        assert all(outcome.is_stored for outcome in await asyncio.gather(*waiting))

    harness.run(read())
    assert_nothing_left(harness)


def test_a_reader_whose_time_is_over_gets_the_request_and_it_stays_in_the_queue(harness: MissHarness) -> None:
    """After the wait the request has the ordinary deadline of a queued one; nothing polls any more."""
    outcome = harness.fetch(wait=12)

    assert harness.loop.now == pytest.approx(12, abs=0.01)
    request = harness.find(outcome.request_id)
    assert (request.status, outcome.is_stored, outcome.retry_after) == (RequestStatus.PENDING, False, 7)
    assert request.deadline - NOW.timestamp() == pytest.approx(12 + 900, abs=0.1)
    assert harness.queue.polls < 25
    assert_nothing_left(harness)


def test_a_reader_that_joins_late_does_not_see_its_request_expire(harness: MissHarness) -> None:
    """A request that readers still wait for when its first deadline is near lives on."""

    async def read() -> FetchOutcome:
        first = asyncio.create_task(harness.start(wait=30))
        await asyncio.sleep(20)
        late = asyncio.create_task(harness.start(wait=30))
        await settle()
        first.cancel()
        await asyncio.sleep(25)
        harness.queue.ack(harness.claim(), {})
        return await late

    assert harness.run(read()).is_stored
    assert harness.rows() == 1


def test_a_request_that_expired_before_its_reader_gave_up_is_made_again(harness: MissHarness) -> None:
    """A reader never gets the id of a request that will not be carried out; the key is not counted as new twice."""

    async def read() -> FetchOutcome:
        reader = asyncio.create_task(harness.start(wait=30, daily_new_keys=1))
        await settle()
        harness.loop.now += 30.5
        return await reader

    outcome = harness.run(read())
    assert_nothing_left(harness)
    assert [request.status for request in harness.queue.list_newest(9)] == [
        RequestStatus.PENDING,
        RequestStatus.EXPIRED,
    ]
    assert outcome.request_id == harness.queue.list_newest(1)[0].id
    assert harness.count("new_keys") == 1


def test_a_failed_request_wakes_its_readers_with_the_reason(harness: MissHarness) -> None:
    """They do not wait for the end of their time, and no secret of the reason reaches them."""

    async def read() -> list[FetchOutcome]:
        readers = [asyncio.create_task(harness.start()) for _ in range(5)]
        await settle()
        reason = "no such field: access_token=EAABsecretvalue123"
        harness.queue.fail(harness.claim(), reason, error_kind="BadRequest")
        return await asyncio.gather(*readers)

    for outcome in harness.run(read()):
        assert (outcome.is_stored, outcome.retry_after) == (False, 7)
        assert "no such field" in (outcome.reason or "")
        assert "secretvalue" not in (outcome.reason or "")
        assert outcome.error_kind == "BadRequest"
    assert harness.loop.now < 1
    again = harness.fetch(wait=30)
    assert again.error_kind == "BadRequest"
    assert (again.request_id, "no such field" in (again.reason or "")) == (None, True)
    assert harness.rows() == 1, "a report that failed a moment ago is not requested again"
    harness.loop.now += 31
    assert harness.fetch().request_id


def test_a_shed_request_wakes_its_readers(make: MakeHarness) -> None:
    """A more urgent request that takes the place in a full queue ends the wait at once."""
    harness = make(queue_size=1)

    async def read() -> FetchOutcome:
        reader = asyncio.create_task(harness.start(priority=Priority.LOW))
        await settle()
        harness.queue.enqueue(key(2), Priority.CRITICAL)
        return await reader

    outcome = harness.run(read())
    assert "shed" in (outcome.reason or "")
    assert harness.loop.now < 1


def test_a_report_that_came_in_late_is_stored(harness: MissHarness) -> None:
    """A report that came in after the deadline, or after the last poll, is stored; no second request is made."""

    async def read(number: int, at: float) -> FetchOutcome:
        reader = asyncio.create_task(harness.start(key(number), wait=30))
        await settle()
        claim = harness.claim()
        harness.loop.now += at
        harness.queue.ack(claim, {"status": "fetched"})
        return await reader

    late, just_in_time = harness.run(read(3, 30.5)), harness.run(read(4, 29.999))
    assert (late.is_stored, just_in_time.is_stored) == (True, True)
    assert harness.find(late.request_id).status is RequestStatus.EXPIRED
    assert harness.find(just_in_time.request_id).status is RequestStatus.COMPLETED
    assert harness.rows() == 2


def test_a_request_that_pauses_longer_than_the_wait_ends_it(harness: MissHarness) -> None:
    """Nobody waits for a parked account; the answer says when to ask again, and the last error."""

    async def read() -> FetchOutcome:
        reader = asyncio.create_task(harness.start(wait=30))
        await settle()
        harness.queue.requeue(harness.claim(), "the account is parked", retry_after=300)
        return await reader

    outcome = harness.run(read())
    assert not outcome.is_stored
    assert outcome.retry_after == pytest.approx(300, abs=1)
    assert "the account is parked" in (outcome.reason or "")
    assert harness.loop.now < 1
    assert harness.find(outcome.request_id).status is RequestStatus.PENDING


def test_a_token_has_a_number_of_open_requests(make: MakeHarness) -> None:
    """One more is a 429 that names the limit; joining an open one is not counted, and another token is free."""
    harness = make({"max_queued_per_token": 2})
    first = [harness.fetch(key(number)).request_id for number in (1, 2)]
    harness.loop.now += 5

    assert harness.fetch(key(2)).request_id == first[1]
    with pytest.raises(Problem) as refused:
        harness.fetch(key(3), wait=30)
    assert (refused.value.status, refused.value.fields) == (429, {"limit": "open_requests"})
    assert int(refused.value.headers["Retry-After"]) > 0
    assert harness.fetch(key(4), name="t2").request_id
    harness.queue.ack(harness.claim(), {})
    assert harness.fetch(key(3)).request_id
    assert_nothing_left(harness)


def test_a_token_has_a_number_of_new_keys_a_day(harness: MissHarness) -> None:
    """Only reports that were never stored count, joins do not, and the next UTC day starts anew."""
    for number in (1, 2):
        assert harness.fetch(key(number), daily_new_keys=2).request_id
    harness.loop.now += 5
    assert harness.fetch(key(1), daily_new_keys=2).request_id
    harness.store(key(3))
    assert harness.fetch(key(3), daily_new_keys=2).request_id
    with pytest.raises(Problem) as refused:
        harness.fetch(key(4), daily_new_keys=2)
    assert (refused.value.status, refused.value.fields) == (429, {"limit": "daily_new_keys"})
    assert int(refused.value.headers["Retry-After"]) == 12 * 3600 - 5
    harness.loop.now += 12 * 3600
    assert harness.fetch(key(4), daily_new_keys=2).request_id


def test_a_revalidation_of_what_is_not_stored_is_a_new_key(harness: MissHarness) -> None:
    """Whoever asks, the database says whether a report is stored: what the chain answers from stored days is not."""

    async def revalidate() -> None:
        for number in range(1, 9):
            harness.misses.revalidate(key(number), make_token(daily_new_keys=1), Priority.NORMAL)
            await settle()

    harness.run(revalidate())
    assert (harness.rows(), harness.count("new_keys"), harness.count("refetches")) == (1, 1, 0)


def test_a_token_has_a_number_of_refetches_a_day(harness: MissHarness) -> None:
    """Stored reports that are requested again count, whoever asks and whatever the range is called; then 429."""
    days = ReportKey("act_2", "2026-11-18..2026-11-24")
    for stored in (key(1), key(2)):
        harness.store(stored)

    async def revalidate() -> None:
        harness.misses.revalidate(key(1), make_token(daily_new_keys=0, daily_refetches=2), Priority.NORMAL)
        await settle()

    harness.run(revalidate())
    assert harness.fetch(days, daily_new_keys=0, daily_refetches=2).request_id
    assert (harness.rows(), harness.count("new_keys"), harness.count("refetches")) == (2, 0, 2)
    with pytest.raises(Problem) as refused:
        harness.fetch(key(2), daily_refetches=2)
    assert (refused.value.status, refused.value.fields) == (429, {"limit": "daily_refetches"})
    assert int(refused.value.headers["Retry-After"]) == 12 * 3600
    harness.loop.now += 12 * 3600
    assert harness.fetch(key(2), daily_refetches=2).request_id


def test_a_call_without_a_request_passes_the_same_limits(harness: MissHarness) -> None:
    """The step `source` of the chain makes such calls: each counts, and the one beyond the limit is refused."""
    token = make_token(daily_new_keys=1, daily_refetches=1)
    harness.store(key(1))
    for report, limit in ((key(1), "daily_refetches"), (key(2), "daily_new_keys")):
        harness.misses.admit_call(report, token)
        with pytest.raises(Refused) as refused:
            harness.misses.admit_call(report, token)
        assert refused.value.code == limit
    assert (harness.rows(), harness.count("new_keys"), harness.count("refetches")) == (0, 1, 1)


def test_a_request_that_was_carried_out_counts_again(harness: MissHarness) -> None:
    """Only one that no worker has taken costs nothing: a report that fails all day uses the limit up."""
    first = harness.fetch(daily_new_keys=1)
    harness.queue.fail(harness.claim(), "no such field")
    harness.loop.now += 31
    assert first.request_id
    with pytest.raises(Problem) as refused:
        harness.fetch(daily_new_keys=1)
    assert refused.value.fields == {"limit": "daily_new_keys"}


def test_a_full_queue_is_a_503_and_costs_no_new_key(make: MakeHarness) -> None:
    """The answer says when the queue has room; the day's new keys are not used up by it."""
    harness = make(queue_size=1)
    harness.queue.enqueue(key(9), Priority.CRITICAL)

    with pytest.raises(Problem) as refused:
        harness.fetch(wait=30)
    assert refused.value.status == 503
    assert int(refused.value.headers["Retry-After"]) > 0
    assert harness.count("new_keys") == 0
    assert_nothing_left(harness)


def test_the_limit_of_another_token_refuses_nobody_else(make: MakeHarness) -> None:
    """Readers of two tokens share a flight; the one whose token has no requests left is refused, the other is not."""
    harness = make({"max_queued_per_token": 1})
    harness.fetch(key(2), name="t1")

    async def read() -> list[Any]:
        readers = [asyncio.create_task(harness.start(name=name)) for name in ("t1", "t2", "t2")]
        await settle()
        while claims := harness.queue.dequeue(1):
            harness.queue.ack(claims[0], {})
        return await asyncio.gather(*readers, return_exceptions=True)

    refused, *served = harness.run(read())
    assert isinstance(refused, Problem)
    assert [outcome.is_stored for outcome in served] == [True, True]


def test_a_more_urgent_reader_makes_the_request_more_urgent(harness: MissHarness) -> None:
    """The request gets the class of its most urgent reader; readers that are less urgent change nothing."""

    async def read() -> FetchOutcome:
        readers = []
        for priority in (Priority.LOW, Priority.HIGH, Priority.NORMAL):
            readers.append(
                asyncio.create_task(harness.start(priority=priority, highest_priority=Priority.CRITICAL, wait=1))
            )
            await settle()
        assert harness.queue.enqueues == 2
        return (await asyncio.gather(*readers))[0]

    outcome = harness.run(read())
    assert harness.find(outcome.request_id).priority is Priority.HIGH


def test_callers_that_do_not_wait_share_a_ticket(harness: MissHarness) -> None:
    """A burst of requests for one report is one transaction; the request has the ordinary deadline."""

    async def read() -> set[int | None]:
        first = await asyncio.gather(*(harness.start(wait=0) for _ in range(100)))
        return {outcome.request_id for outcome in [*first, await harness.start(wait=0)]}

    (number,) = harness.run(read())
    assert harness.queue.enqueues == 1
    assert harness.find(number).deadline - NOW.timestamp() == pytest.approx(900)
    assert_nothing_left(harness)


def test_a_caller_that_does_not_wait_extends_the_request_of_one_that_does(harness: MissHarness) -> None:
    """An id that was given away stands for a request with the ordinary deadline."""

    async def read() -> FetchOutcome:
        waiting = asyncio.create_task(harness.start(wait=30))
        await settle()
        outcome = await harness.start(wait=0)
        waiting.cancel()
        return outcome

    outcome = harness.run(read())
    assert harness.find(outcome.request_id).deadline - NOW.timestamp() == pytest.approx(900)


def test_a_stale_report_is_requested_once_in_a_while(harness: MissHarness) -> None:
    """Many reads of a stale report cause one request, at the class they ask for, and another one seconds later."""

    async def read() -> None:
        for _ in range(100):
            harness.misses.revalidate(KEY, make_token(), Priority.LOW)
        assert harness.queue.enqueues == 0, "it does not block its caller"
        await settle()
        assert harness.queue.enqueues == 1
        harness.queue.ack(harness.claim(), {})
        await asyncio.sleep(3)
        harness.misses.revalidate(KEY, make_token(), Priority.LOW)
        await settle()
        assert harness.queue.enqueues == 1
        await asyncio.sleep(3)
        harness.misses.revalidate(KEY, make_token(), Priority.LOW)
        await settle()

    harness.store(KEY)
    harness.run(read())
    assert [request.priority for request in harness.queue.list_newest(9)] == [Priority.LOW, Priority.LOW]
    assert (harness.count("new_keys"), harness.count("refetches")) == (0, 2)
    assert_nothing_left(harness)


def test_a_revalidation_that_fails_disturbs_nobody(make: MakeHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown accounts, full queues and lost databases are logged; the caller has its stale answer already."""
    harness = make(queue_size=1)
    harness.queue.enqueue(key(9), Priority.CRITICAL)

    async def revalidate(report: ReportKey) -> None:
        harness.misses.revalidate(report, make_token(), Priority.LOW)
        await settle()

    harness.run(revalidate(KEY))
    harness.run(revalidate(ReportKey("act_999", "last_7d")))
    monkeypatch.setattr(harness.queue, "enqueue", _raise_lost)
    harness.run(revalidate(key(3)))
    assert harness.rows() == 1
    assert_nothing_left(harness)


def _raise_lost(*args: object, **values: object) -> None:
    raise Transient("the connection to the database was lost")


def test_a_lost_database_is_a_503(harness: MissHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that cannot be enqueued is refused with a hint; one that is only not readable lets its reader wait."""
    with monkeypatch.context() as lost:
        lost.setattr(harness.queue, "enqueue", _raise_lost)
        with pytest.raises(Problem) as refused:
            harness.fetch(wait=30)
    assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "5"})
    assert_nothing_left(harness)

    async def read() -> FetchOutcome:
        reader = asyncio.create_task(harness.start(wait=30))
        await settle()
        with monkeypatch.context() as lost:
            lost.setattr(harness.queue, "find_many", _raise_lost)
            await asyncio.sleep(5)
        harness.queue.ack(harness.claim(), {})
        return await reader

    assert harness.run(read()).is_stored


@SQLITE_ONLY
def test_closing_lets_the_readers_go(harness: MissHarness) -> None:
    """At a shutdown every reader gets its request, which stays in the queue for another process."""

    async def read() -> list[FetchOutcome]:
        readers = [asyncio.create_task(harness.start(wait=30)) for _ in range(20)]
        await settle()
        await harness.misses.close()
        return await asyncio.gather(*readers)

    outcomes = harness.run(read())
    (number,) = {outcome.request_id for outcome in outcomes}
    assert harness.loop.now < 1
    assert harness.find(number).deadline - NOW.timestamp() == pytest.approx(900, abs=1)
    assert_nothing_left(harness)
