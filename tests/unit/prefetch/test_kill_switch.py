"""Switching warming off stops a running batch and a backfill within seconds, and loses nothing."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from adwarm.foundation.errors import Refused
from adwarm.model import Account, PlannedWarm, Priority, ReportKey, WarmReason, WarmStatus, Window
from adwarm.prefetch import KeyRequest
from adwarm.prefetch.backfill import run_backfill
from adwarm.prefetch.kill_switch import CHECK_SECONDS, KillSwitch, WarmingStopped
from adwarm.prefetch.warm_batch import Pace, warm_batch
from adwarm.sources.protocol import FetchUnit, ResultPage
from adwarm.store import accounts, jobs, warms
from adwarm.store.switches import Switch, SwitchState, set_switch
from tests.unit.conftest import NOW, SQLITE_ONLY, PrefetchHarness, one_ad_page

RUN = "dag/1"
PACED = Pace(slice_size=1, pause_seconds=1)


def _turn(bench: PrefetchHarness, *, is_on: bool) -> None:
    set_switch(bench.engine, SwitchState(Switch.WARMING, is_on, bench.clock.now(), "ops", "the quota is gone"))


def _plan(bench: PrefetchHarness, count: int) -> None:
    rows = [
        PlannedWarm(
            key=ReportKey(f"act_{n}", "yesterday"), reason=WarmReason.PREDICTED_OPEN, decided_at=NOW, warm_at=NOW
        )
        for n in range(1, count + 1)
    ]
    warms.replace_plan(bench.engine, RUN, rows)
    jobs.start(bench.engine, RUN, "dag", count, NOW)


def _with_virtual_time(bench: PrefetchHarness) -> None:
    bench.prefetch.kill_switch = KillSwitch(bench.engine, lambda: bench.clock.now().timestamp())


def _switching_off(bench: PrefetchHarness) -> Callable[[FetchUnit], ResultPage]:
    """Return a script of a source that a human switches warming off during its call."""

    def answer(unit: FetchUnit) -> ResultPage:
        _turn(bench, is_on=False)
        return one_ad_page(unit)

    return answer


def test_a_running_batch_takes_no_further_key(bench: PrefetchHarness) -> None:
    """The call in flight ends and is stored, no key is taken once the switch was read again, and each has a reason."""
    _with_virtual_time(bench)
    bench.source.script = {"act_2": _switching_off(bench)}
    _plan(bench, 9)
    result = warm_batch(bench.prefetch, RUN, 0, pace=PACED)

    rows = warms.list_by_run(bench.engine, RUN)
    fetched = [row for row in rows if row.status is WarmStatus.FETCHED]
    left = [row for row in rows if row.status is WarmStatus.CUT]
    assert len(fetched) + len(left) == 9
    assert 2 <= len(fetched) <= 2 + CHECK_SECONDS
    assert len(result.outcomes) == len(fetched)
    assert {row.explanation["cut"] for row in left} == {
        "not warmed: warming is switched off since 2026-11-25 12:00 UTC by ops: the quota is gone"
    }
    job = jobs.finish(bench.engine, RUN, NOW)
    assert (job.status, job.done, job.total) == ("completed", len(fetched), len(fetched))
    assert any("the quota is gone" in text for text in job.errors)


@SQLITE_ONLY
def test_a_batch_that_must_complete_goes_on_later(bench: PrefetchHarness) -> None:
    """It is refused with the time of another try, its keys stay planned, and that try fetches exactly those."""
    _with_virtual_time(bench)
    bench.source.script = {"act_1": _switching_off(bench)}
    _plan(bench, 6)
    with pytest.raises(Refused, match="ops: the quota is gone") as refused:
        warm_batch(bench.prefetch, RUN, 0, pace=PACED, must_complete=True)
    assert refused.value.retry_after > 0
    left = len(warms.list_planned(bench.engine, RUN, 0))
    assert 0 < left < 6

    bench.source.script = {}
    bench.clock.sleep(10)
    _turn(bench, is_on=True)
    again = warm_batch(bench.prefetch, RUN, 0, must_complete=True)
    assert len(again.outcomes) == left
    assert {row.status for row in warms.list_by_run(bench.engine, RUN)} == {"fetched"}


@SQLITE_ONLY
def test_a_batch_is_stopped_by_its_heartbeat(bench: PrefetchHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also within one group of keys: a slow account ends at its next call, and the others are not called."""
    bench.prefetch.kill_switch = KillSwitch(bench.engine, iter(range(0, 10_000, 10)).__next__)
    looks: list[int] = []
    check = bench.prefetch.kill_switch.check

    def counted(self: KillSwitch) -> None:
        looks.append(1)
        if len(looks) == 2:  # the first look comes before the first key
            _turn(bench, is_on=False)
        check()

    monkeypatch.setattr(KillSwitch, "check", counted)
    _plan(bench, 3)
    warm_batch(bench.prefetch, RUN, 0)
    rows = warms.list_by_run(bench.engine, RUN)
    assert all(row.status in {"fetched", "cut"} for row in rows)
    assert len(looks) >= 2


@SQLITE_ONLY
def test_a_stopped_batch_starts_nothing(bench: PrefetchHarness) -> None:
    """A batch that starts, or resumes, while warming is off makes no call."""
    _turn(bench, is_on=False)
    _plan(bench, 2)
    assert warm_batch(bench.prefetch, RUN, 0).outcomes == []
    assert bench.source.submitted == []


@SQLITE_ONLY
def test_what_readers_request_goes_on(bench: PrefetchHarness) -> None:
    """The engine behind the request queue fetches while warming is off."""
    _turn(bench, is_on=False)
    result = bench.prefetch.run([KeyRequest(ReportKey("act_1", "yesterday"))], Priority.HIGH)
    assert [str(outcome.status) for outcome in result.outcomes] == ["fetched"]


def test_a_backfill_stops_and_a_rerun_fetches_the_rest(bench: PrefetchHarness) -> None:
    """The error says what to do, the job has ended with it, and nothing that was fetched is fetched again."""
    _with_virtual_time(bench)
    names = [f"act_{n}" for n in range(1, 4)]
    accounts.save(bench.engine, [Account(name, "UTC", "UTC", "EUR") for name in names], NOW)
    chosen = [Account(name, "UTC", "UTC", "EUR") for name in names]
    span = Window(date(2026, 11, 1), date(2026, 11, 5))

    def slow(unit: FetchUnit) -> ResultPage:
        bench.clock.sleep(CHECK_SECONDS)
        return _switching_off(bench)(unit)

    bench.source.script = {"act_1": slow}
    with pytest.raises(WarmingStopped, match="run it again once warming is on"):
        run_backfill(bench.prefetch, chosen, span, batch_size=1)
    [job] = jobs.list_latest(bench.engine)
    assert (job.finished_at is not None, "the quota is gone" in job.errors[-1]) == (True, True)
    before = len(bench.source.submitted)

    bench.source.script = {}
    bench.clock.sleep(10)
    _turn(bench, is_on=True)
    result = run_backfill(bench.prefetch, chosen, span, batch_size=1)
    assert result.ended["fetched"] == 2
    assert {unit.account_id for unit in bench.source.submitted[before:]} == {"act_2", "act_3"}


@SQLITE_ONLY
def test_the_position_is_read_every_two_seconds(bench: PrefetchHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within two seconds a batch reads it once, however many keys it takes."""
    reads: list[Any] = []
    monkeypatch.setattr("adwarm.prefetch.kill_switch.find_stop", lambda engine: reads.append(engine))
    now = [0.0]
    switch = KillSwitch(bench.engine, lambda: now[0])
    for _ in range(10):
        switch.check()
    assert len(reads) == 1
    now[0] += timedelta(seconds=CHECK_SECONDS).total_seconds()
    switch.check()
    assert len(reads) == 2
