"""The batch engine: outcomes, shared requests, restated days, and each kind of failure."""

import gc
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any

import pytest

from adwarm.compression import unpack_document
from adwarm.foundation import compute_turn
from adwarm.foundation.errors import BadRequest, Denied, Isolated, Refused, Throttled, TokenDead, TooMuchData, Transient
from adwarm.model import Account, EntryKey, PlannedWarm, Priority, ReportKey, WarmReason, WarmStatus, Window
from adwarm.prefetch import KeyRequest, KeyStatus, account_fetch, engine
from adwarm.prefetch.backfill import run_backfill
from adwarm.prefetch.engine import CHECK_SECONDS, KillSwitch, WarmingStopped
from adwarm.prefetch.warm_batch import Pace, warm_batch
from adwarm.sources.protocol import FetchUnit, Increment, ResultPage
from adwarm.store import accounts, entries, jobs, leases, partitions, warms
from adwarm.store.read_traffic import get_day_totals
from adwarm.store.retention import delete_leases
from adwarm.store.switches import Switch, SwitchState, set_switch
from tests.unit.conftest import NOW, SQLITE_ONLY, PrefetchHarness, one_ad_page
from tests.unit.prefetch.test_async_reports import report

WEEK = Window(date(2026, 11, 18), date(2026, 11, 24))


def make_requests(account: str, *ranges: str) -> list[KeyRequest]:
    """Return requests for ranges of one account."""
    return [KeyRequest(ReportKey(account, name)) for name in ranges]


def raising(error: Exception):
    """Return a script entry that always fails."""

    def answer(unit: FetchUnit) -> ResultPage:
        raise error

    return answer


@SQLITE_ONLY
@pytest.mark.parametrize(("before", "after"), [(700, 100_000), (200_000, 200_000), (0, 0)])
def test_a_batch_collects_garbage_rarely(harness: PrefetchHarness, before: int, after: int) -> None:
    """The first batch leaves older objects out, and raises a low threshold; collections that are off stay off."""
    thresholds, frozen = gc.get_threshold(), gc.get_freeze_count()
    engine._prepare_garbage_collection.cache_clear()
    try:
        gc.set_threshold(before, 10, 10)
        harness.prefetch.run([], Priority.LOW)
        assert gc.get_threshold() == (after, 10, 10)
        assert gc.get_freeze_count() > frozen
    finally:
        gc.set_threshold(*thresholds)


def test_threads_compute_in_turns_where_the_database_is_a_file(harness: PrefetchHarness) -> None:
    """A thread of a batch has the turn in its slot, and not while it waits for a report; at a server there is none."""
    batch, seen = harness.prefetch.make_batch(Priority.LOW, 1), list[bool]()
    batch.poller.wait = lambda *_: seen.append(compute_turn._thread.takes_turns)  # type: ignore[assignment, method-assign]
    with batch.acquire_slot() as limit:
        seen.append(compute_turn._thread.takes_turns)
        batch.wait_for_report("", report(1), limit)
        seen.append(compute_turn._thread.takes_turns)
    is_file = harness.engine.dialect.name == "sqlite"

    assert seen == [is_file, False, is_file]


@SQLITE_ONLY
def test_as_many_threads_start_as_accounts_work(harness: PrefetchHarness) -> None:
    """Thirty accounts are run by as many threads as workers are set; while one waits for a report, another may work."""
    prefetch, names = harness.prefetch, set[str]()

    def note_thread(unit: FetchUnit) -> ResultPage:
        names.add(threading.current_thread().name)
        return one_ad_page(unit)

    accounts_ = [f"act_{number}" for number in range(30)]
    harness.source.script = dict.fromkeys(accounts_, note_thread)
    result = prefetch.run([item for name in accounts_ for item in make_requests(name, "yesterday")], Priority.LOW)
    assert result.count(KeyStatus.FETCHED) == 30
    assert len(names) <= prefetch.settings.workers

    batch, started = prefetch.make_batch(Priority.LOW, 1), list[str]()
    batch.poller.wait = lambda *_: started.append("polled")  # type: ignore[assignment, method-assign]
    batch.on_wait = lambda: started.append("another")
    with batch.acquire_slot() as limit:
        batch.wait_for_report("", report(1), limit)
    assert started == ["another", "polled"]


@SQLITE_ONLY
@pytest.mark.parametrize("started", [0, 1])
def test_a_batch_whose_threads_cannot_start_ends(
    harness: PrefetchHarness, monkeypatch: pytest.MonkeyPatch, started: int
) -> None:
    """A machine at its limit of threads fails the batch, so that it is tried again; accounts that ran are stored."""
    submit = ThreadPoolExecutor.submit

    def refuse(pool: ThreadPoolExecutor, /, *call: Any) -> Future[Any]:
        if len(pool._threads) == started:
            raise RuntimeError("can't start new thread")
        return submit(pool, *call)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", refuse)
    with pytest.raises(RuntimeError, match="thread"):
        harness.prefetch.run([*make_requests("act_1", "yesterday"), *make_requests("act_2", "yesterday")], Priority.LOW)


def test_overlapping_ranges_share_two_requests(harness: PrefetchHarness) -> None:
    """Three ranges of an account cost one span of days and one request for the summaries; then they are fresh."""
    keys = make_requests("act_1", "yesterday", "last_7d", "last_30d")

    first = harness.prefetch.run(keys, Priority.LOW)
    again = harness.prefetch.run(keys, Priority.LOW)

    assert [outcome.status for outcome in first.outcomes] == [KeyStatus.FETCHED] * 3
    assert [unit.increment for unit in harness.source.submitted] == [Increment.DAY, Increment.RANGE]
    assert first.calls == 3  # with the account's own zone and currency, asked once
    assert [outcome.status for outcome in again.outcomes] == [KeyStatus.FRESH] * 3
    assert again.calls == 0


def test_the_entry_holds_its_provenance(harness: PrefetchHarness) -> None:
    """The stored entry holds summary, days, and provenance."""
    harness.prefetch.run(make_requests("act_1", "last_7d"), Priority.LOW)

    spec = harness.settings.spec("default").hash
    result = entries.find(harness.engine, EntryKey("act_1", WEEK, spec))
    assert result is not None
    entry, blob = result
    document = unpack_document(blob, harness.settings.compression)
    assert (
        entry.fetched_at,
        entry.source,
        entry.api_version,
        entry.complete,
        entry.settled,
    ) == (NOW, "scripted", "v26.0", True, False)
    assert (document.window_table.rows, document.daily.rows) == (1, 7)
    assert (document.header.since, document.header.until) == (WEEK.since, WEEK.until)


def test_one_failing_account_does_not_stop_the_rest(harness: PrefetchHarness) -> None:
    """A denied, a throttled and a broken account end each with its reason; the others are fetched."""
    harness.source.script = {
        "act_2": raising(Denied("no access", account_id="act_2")),
        "act_3": raising(Throttled("slow down", scope="account:act_3", until=NOW + timedelta(minutes=5))),
        "act_4": raising(BadRequest("no such field")),
    }

    report = harness.prefetch.run(
        [w for n in range(1, 6) for w in make_requests(f"act_{n}", "yesterday")], Priority.LOW
    )

    assert [str(o.status) for o in report.outcomes] == ["fetched", "denied", "parked", "failed", "fetched"]
    assert report.outcomes[2].retry_after == 300
    assert all(outcome.reason for outcome in report.outcomes[1:4])
    account = accounts.get(harness.engine, "act_2")
    assert account is not None
    assert account.status == "denied"


@SQLITE_ONLY
def test_the_platform_is_blamed_only_for_what_it_said(harness: PrefetchHarness) -> None:
    """One of two calls is throttled; that adwarm does not call the parked account again counts as its own wait."""
    harness.source.script = {"act_3": raising(Throttled("slow", scope="account:act_3", until=NOW + timedelta(hours=1)))}
    for _ in range(3):
        report = harness.prefetch.run(make_requests("act_3", "yesterday"), Priority.LOW)
        assert report.count(KeyStatus.PARKED) == 1

    day = get_day_totals(harness.engine, NOW)
    assert (day["upstream_calls"], day["throttles"], day["postponed"]) == (2, 1, 2)


@SQLITE_ONLY
def test_a_denied_account_is_not_called_again(harness: PrefetchHarness) -> None:
    """An account that was denied once costs no further call."""
    harness.source.script = {"act_2": raising(Denied("no access", account_id="act_2"))}
    harness.prefetch.run(make_requests("act_2", "yesterday"), Priority.LOW)
    calls = len(harness.source.submitted)

    report = harness.prefetch.run(make_requests("act_2", "last_7d"), Priority.LOW)

    assert report.outcomes[0].status == KeyStatus.DENIED
    assert calls == len(harness.source.submitted)


@SQLITE_ONLY
def test_a_dead_token_stops_the_batch(harness: PrefetchHarness) -> None:
    """After the first dead token no further account is tried."""
    harness.source.script = {f"act_{n}": raising(TokenDead()) for n in range(1, 30)}

    report = harness.prefetch.run([w for n in range(1, 30) for w in make_requests(f"act_{n}", "today")], Priority.LOW)

    assert {KeyStatus.FAILED} == {outcome.status for outcome in report.outcomes}
    assert len(harness.source.submitted) <= 2  # one per worker thread


@SQLITE_ONLY
def test_transient_failures_are_retried(harness: PrefetchHarness) -> None:
    """A call that fails twice and then succeeds is a success; each try counts as a request."""
    failures = [Transient("busy"), Transient("busy")]

    def flaky(unit: FetchUnit) -> ResultPage:
        if failures:
            raise failures.pop()
        return one_ad_page(unit)

    harness.source.script = {"act_1": flaky}

    report = harness.prefetch.run(make_requests("act_1", "yesterday"), Priority.LOW)

    assert report.outcomes[0].status == KeyStatus.FETCHED
    assert report.calls == 4


@SQLITE_ONLY
def test_too_much_data_is_split(harness: PrefetchHarness) -> None:
    """A unit that is too large is fetched in the parts that the source splits it into, and no row is lost."""
    halves = [Window(date(2026, 10, 26), date(2026, 11, 10)), Window(date(2026, 11, 11), WEEK.until)]

    def picky(unit: FetchUnit) -> ResultPage:
        if unit.increment is Increment.DAY and len(unit.windows[0]) > 16:
            harness.source.split_into = [
                FetchUnit(unit.account_id, (half,), unit.increment, unit.spec) for half in halves
            ]
            raise TooMuchData
        return one_ad_page(unit)

    harness.source.script = {"act_1": picky}

    report = harness.prefetch.run(make_requests("act_1", "last_30d"), Priority.LOW)

    assert report.outcomes[0].status == KeyStatus.FETCHED
    assert any(unit.windows == (halves[1],) for unit in harness.source.submitted)
    states = partitions.list_states(harness.engine, "act_1", harness.settings.spec("default").hash, WEEK)
    assert [states[day].rows for day in WEEK.days()] == [1] * 7


def test_restated_days_get_a_new_version_and_equal_ones_do_not(harness: PrefetchHarness) -> None:
    """The data version of a day counts the changes of its rows."""
    harness.prefetch.run(make_requests("act_1", "last_7d"), Priority.LOW)
    harness.clock.sleep(25 * 3600)

    def restated(unit: FetchUnit) -> ResultPage:
        page = one_ad_page(unit)
        for row in page.rows:
            if row["date_start"] == "2026-11-24":
                row["spend"] = "6.00"
        return page

    harness.source.script = {"act_1": restated}
    harness.prefetch.run(make_requests("act_1", "last_7d"), Priority.LOW)

    states = partitions.list_states(harness.engine, "act_1", harness.settings.spec("default").hash, WEEK)
    assert states[date(2026, 11, 24)].data_version == 2
    assert states[date(2026, 11, 22)].data_version == 1


@SQLITE_ONLY
def test_a_failed_refresh_keeps_the_older_entry(harness: PrefetchHarness) -> None:
    """An error never replaces good data: the key ends as stale, its entry unchanged."""
    harness.prefetch.run(make_requests("act_1", "yesterday"), Priority.LOW)
    before = entries.list_entries(harness.engine, "act_1")
    harness.clock.sleep(7 * 3600)
    harness.source.script = {"act_1": raising(Transient("down"))}

    report = harness.prefetch.run(make_requests("act_1", "yesterday"), Priority.LOW)

    assert report.outcomes[0].status == KeyStatus.STALE
    assert before == entries.list_entries(harness.engine, "act_1")


@SQLITE_ONLY
def test_a_window_the_source_does_not_keep_fails_alone(harness: PrefetchHarness) -> None:
    """One impossible range fails with a reason; the other is fetched."""
    report = harness.prefetch.run(make_requests("act_1", "2001-01-01..2001-01-02", "yesterday"), Priority.LOW)

    assert [outcome.status for outcome in report.outcomes] == [KeyStatus.FAILED, KeyStatus.FETCHED]
    assert "2001-01-01..2001-01-02" in str(report.outcomes[0].reason)


def test_a_lease_held_by_another_worker_parks_the_key(harness: PrefetchHarness) -> None:
    """While another worker holds the account's lease nothing is fetched; the outcome says so, and when to come back."""
    harness.prefetch.run(make_requests("act_1", "today"), Priority.LOW)
    calls_before = len(harness.source.submitted)
    name = f"fetch:act_1:{harness.settings.spec('default').hash}"
    assert leases.acquire(harness.engine, name, "somebody else", 60)

    report = harness.prefetch.run(make_requests("act_1", "last_7d"), Priority.LOW, wait_seconds=0.2)

    assert (report.outcomes[0].status, report.outcomes[0].retry_after) == (KeyStatus.PARKED, 5)
    assert "another worker" in str(report.outcomes[0].reason)
    assert calls_before == len(harness.source.submitted)


@pytest.mark.parametrize("is_swept", [False, True])
def test_what_another_worker_fetched_just_before_the_lease_is_fresh(
    harness: PrefetchHarness, monkeypatch: pytest.MonkeyPatch, is_swept: bool
) -> None:
    """The lease's token tells that the first look is outdated, also after maintenance has deleted the lease's row."""
    harness.prefetch.run(make_requests("act_1", "yesterday"), Priority.LOW)
    harness.clock.sleep(timedelta(days=1).total_seconds())
    acquire, others = account_fetch.acquire_lease, list[KeyStatus]()

    def acquire_late(*arguments: Any) -> Any:
        monkeypatch.setattr(account_fetch, "acquire_lease", acquire)
        result = harness.prefetch.run(make_requests("act_1", "yesterday"), Priority.LOW)
        others.extend(outcome.status for outcome in result.outcomes)
        if is_swept:
            assert sum(delete_leases(harness.engine, timedelta(minutes=-1))) > 0
        return acquire(*arguments)

    monkeypatch.setattr(account_fetch, "acquire_lease", acquire_late)
    result = harness.prefetch.run(make_requests("act_1", "yesterday"), Priority.LOW)

    assert (others, result.outcomes[0].status, result.calls) == ([KeyStatus.FETCHED], KeyStatus.FRESH, 0)


@SQLITE_ONLY
@pytest.mark.parametrize(("hours", "status"), [(1, KeyStatus.FRESH), (7, KeyStatus.FETCHED)])
def test_fresh_through_the_predicted_open(harness: PrefetchHarness, hours: int, status: KeyStatus) -> None:
    """An entry that would be stale at the predicted open is fetched although it is fresh now."""
    harness.prefetch.run(make_requests("act_1", "yesterday"), Priority.LOW)
    item = KeyRequest(ReportKey("act_1", "yesterday"), fresh_until=NOW + timedelta(hours=hours))

    assert status == harness.prefetch.run([item], Priority.LOW).outcomes[0].status


@SQLITE_ONLY
def test_closing_a_settled_day_twice_costs_nothing_the_second_time(harness: PrefetchHarness) -> None:
    """Closing completes the history and the week; once the days are final it makes no call."""
    key = ReportKey("act_1", "2026-09-01..2026-09-07")
    item = KeyRequest(key, close_day=date(2026, 9, 7))

    first = harness.prefetch.run([item], Priority.LOW)
    harness.clock.sleep(90 * 86400)
    second = harness.prefetch.run([item], Priority.LOW)

    assert (first.outcomes[0].status, second.outcomes[0].status) == (KeyStatus.FETCHED, KeyStatus.FRESH)
    assert second.calls == 0


@SQLITE_ONLY
def test_a_clock_that_is_ahead_settles_nothing(harness: PrefetchHarness) -> None:
    """Days fetched while the local clock was 60 days ahead are as old as the platform says, and are fetched again."""
    window = "2026-11-18..2026-11-24"
    harness.clock.sleep(60 * 86_400)
    harness.source.clock_offset_seconds = -60 * 86_400.0
    (outcome,) = harness.prefetch.run(make_requests("act_1", window), Priority.LOW).outcomes
    assert outcome.fetched_at == NOW
    spec = harness.settings.spec("default").hash
    assert not any(state.settled for state in partitions.list_states(harness.engine, "act_1", spec, WEEK).values())
    harness.clock.set(NOW + timedelta(days=1))
    harness.source.clock_offset_seconds = 0.0
    calls_before = len(harness.source.submitted)
    assert harness.prefetch.run(make_requests("act_1", window), Priority.LOW).outcomes[0].status == KeyStatus.FETCHED
    assert len(harness.source.submitted) > calls_before


@SQLITE_ONLY
def test_keys_of_an_isolated_account_are_parked(harness: PrefetchHarness) -> None:
    """They wait for the end of the isolation, whatever the capacity, and cost no call; others are fetched."""
    keys = [*make_requests("act_1", "last_7d"), *make_requests("act_2", "last_7d")]
    harness.source.script = {"act_1": raising(BadRequest("no such field"))}
    for _ in range(5):
        harness.prefetch.run(keys, Priority.LOW)
        harness.clock.sleep(1)
    submitted = len(harness.source.submitted)
    result = harness.prefetch.run(keys, Priority.LOW)

    isolated, other = result.outcomes
    assert (isolated.status, isolated.has_fixed_delay, isolated.calls) == (KeyStatus.PARKED, True, 0)
    assert isolated.retry_after == pytest.approx(299)
    assert isinstance(isolated.error, Isolated)
    assert "act_1 is isolated since" in str(isolated.reason)
    assert (other.status, len(harness.source.submitted)) == (KeyStatus.FRESH, submitted)
    harness.source.script = {}
    harness.clock.sleep(300)
    assert harness.prefetch.run(keys, Priority.LOW).outcomes[0].status is KeyStatus.FETCHED


RUN = "dag/1"
PACED = Pace(slice_size=1, pause_seconds=1)


def _turn(harness: PrefetchHarness, *, is_on: bool) -> None:
    set_switch(harness.engine, SwitchState(Switch.WARMING, is_on, harness.clock.now(), "ops", "the quota is gone"))


def _plan(harness: PrefetchHarness, count: int) -> None:
    rows = [
        PlannedWarm(
            key=ReportKey(f"act_{n}", "yesterday"), reason=WarmReason.PREDICTED_OPEN, decided_at=NOW, warm_at=NOW
        )
        for n in range(1, count + 1)
    ]
    warms.replace_plan(harness.engine, RUN, rows)
    jobs.start(harness.engine, RUN, "dag", count, NOW)


def _with_virtual_time(harness: PrefetchHarness) -> None:
    harness.prefetch.kill_switch = KillSwitch(harness.engine, lambda: harness.clock.now().timestamp())


def _switching_off(harness: PrefetchHarness) -> Callable[[FetchUnit], ResultPage]:
    """Return a script of a source that a human switches warming off during its call."""

    def answer(unit: FetchUnit) -> ResultPage:
        _turn(harness, is_on=False)
        return one_ad_page(unit)

    return answer


def test_a_running_batch_takes_no_further_key(harness: PrefetchHarness) -> None:
    """The call in flight ends and is stored, no key is taken once the switch was read again, and each has a reason."""
    _with_virtual_time(harness)
    harness.source.script = {"act_2": _switching_off(harness)}
    _plan(harness, 9)
    result = warm_batch(harness.prefetch, RUN, 0, pace=PACED)

    rows = warms.list_by_run(harness.engine, RUN)
    fetched = [row for row in rows if row.status is WarmStatus.FETCHED]
    left = [row for row in rows if row.status is WarmStatus.CUT]
    assert len(fetched) + len(left) == 9
    assert 2 <= len(fetched) <= 2 + CHECK_SECONDS
    assert len(result.outcomes) == len(fetched)
    assert {row.explanation["cut"] for row in left} == {
        "not warmed: warming is switched off since 2026-11-25 12:00 UTC by ops: the quota is gone"
    }
    job = jobs.finish(harness.engine, RUN, NOW)
    assert (job.status, job.done, job.total) == ("completed", len(fetched), len(fetched))
    assert any("the quota is gone" in text for text in job.errors)


@SQLITE_ONLY
def test_a_batch_that_must_complete_goes_on_later(harness: PrefetchHarness) -> None:
    """It is refused with the time of another try, its keys stay planned, and that try fetches exactly those."""
    _with_virtual_time(harness)
    harness.source.script = {"act_1": _switching_off(harness)}
    _plan(harness, 6)
    with pytest.raises(Refused, match="ops: the quota is gone") as refused:
        warm_batch(harness.prefetch, RUN, 0, pace=PACED, must_complete=True)
    assert refused.value.retry_after > 0
    left = len(warms.list_planned(harness.engine, RUN, 0))
    assert 0 < left < 6

    harness.source.script = {}
    harness.clock.sleep(10)
    _turn(harness, is_on=True)
    again = warm_batch(harness.prefetch, RUN, 0, must_complete=True)
    assert len(again.outcomes) == left
    assert {row.status for row in warms.list_by_run(harness.engine, RUN)} == {"fetched"}


@SQLITE_ONLY
def test_a_batch_is_stopped_by_its_heartbeat(harness: PrefetchHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also within one group of keys: a slow account ends at its next call, and the others are not called."""
    harness.prefetch.kill_switch = KillSwitch(harness.engine, iter(range(0, 10_000, 10)).__next__)
    looks: list[int] = []
    check = harness.prefetch.kill_switch.check

    def counted(self: KillSwitch) -> None:
        looks.append(1)
        if len(looks) == 2:  # the first look comes before the first key
            _turn(harness, is_on=False)
        check()

    monkeypatch.setattr(KillSwitch, "check", counted)
    _plan(harness, 3)
    warm_batch(harness.prefetch, RUN, 0)
    rows = warms.list_by_run(harness.engine, RUN)
    assert all(row.status in {"fetched", "cut"} for row in rows)
    assert len(looks) >= 2


@SQLITE_ONLY
def test_a_stopped_batch_starts_nothing(harness: PrefetchHarness) -> None:
    """A batch that starts, or resumes, while warming is off makes no call."""
    _turn(harness, is_on=False)
    _plan(harness, 2)
    assert warm_batch(harness.prefetch, RUN, 0).outcomes == []
    assert harness.source.submitted == []


@SQLITE_ONLY
def test_what_readers_request_goes_on(harness: PrefetchHarness) -> None:
    """The engine behind the request queue fetches while warming is off."""
    _turn(harness, is_on=False)
    result = harness.prefetch.run([KeyRequest(ReportKey("act_1", "yesterday"))], Priority.HIGH)
    assert [str(outcome.status) for outcome in result.outcomes] == ["fetched"]


def test_a_backfill_stops_and_a_rerun_fetches_the_rest(harness: PrefetchHarness) -> None:
    """The error says what to do, the job has ended with it, and nothing that was fetched is fetched again."""
    _with_virtual_time(harness)
    names = [f"act_{n}" for n in range(1, 4)]
    accounts.save(harness.engine, [Account(name, "UTC", "UTC", "EUR") for name in names], NOW)
    chosen = [Account(name, "UTC", "UTC", "EUR") for name in names]
    span = Window(date(2026, 11, 1), date(2026, 11, 5))

    def slow(unit: FetchUnit) -> ResultPage:
        harness.clock.sleep(CHECK_SECONDS)
        return _switching_off(harness)(unit)

    harness.source.script = {"act_1": slow}
    with pytest.raises(WarmingStopped, match="run it again once warming is on"):
        run_backfill(harness.prefetch, chosen, span, batch_size=1)
    [job] = jobs.list_latest(harness.engine)
    assert (job.finished_at is not None, "the quota is gone" in job.errors[-1]) == (True, True)
    before = len(harness.source.submitted)

    harness.source.script = {}
    harness.clock.sleep(10)
    _turn(harness, is_on=True)
    result = run_backfill(harness.prefetch, chosen, span, batch_size=1)
    assert result.ended["fetched"] == 2
    assert {unit.account_id for unit in harness.source.submitted[before:]} == {"act_2", "act_3"}


@SQLITE_ONLY
def test_the_position_is_read_every_two_seconds(harness: PrefetchHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within two seconds a batch reads it once, however many keys it takes."""
    reads: list[Any] = []
    monkeypatch.setattr("adwarm.prefetch.engine.find_stop", lambda engine: reads.append(engine))
    now = [0.0]
    switch = KillSwitch(harness.engine, lambda: now[0])
    for _ in range(10):
        switch.check()
    assert len(reads) == 1
    now[0] += timedelta(seconds=CHECK_SECONDS).total_seconds()
    switch.check()
    assert len(reads) == 2
