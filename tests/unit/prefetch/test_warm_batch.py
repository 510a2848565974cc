"""A batch of a stored plan is carried out once, warm by warm, and continues where it stopped."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from adwarm.backpressure import CallRequest
from adwarm.fetch_plan import HISTORY_DAYS
from adwarm.foundation.clock import floor_to
from adwarm.foundation.errors import Denied, Throttled, TokenDead, Transient
from adwarm.model import (
    Account,
    CallCause,
    CauseKind,
    PlannedWarm,
    Priority,
    ReportKey,
    Strategy,
    WarmReason,
    WarmStatus,
)
from adwarm.prefetch import BatchResult
from adwarm.prefetch.warm_batch import Pace, lift_denials, list_earlier_outcomes, reopen_batch, warm_batch
from adwarm.sources.protocol import FetchUnit, ResultPage
from adwarm.store import accounts, denials, entries, jobs, read_traffic, warms, write_transaction
from adwarm.store.read_traffic import get_day_calls
from adwarm.store.strategies import claim_slot, list_strategies, save_strategy
from tests.unit.conftest import NOW, SQLITE_ONLY, PrefetchHarness, one_ad_page

RUN = "dag/1"


def _row(account: str, date_range: str = "yesterday", **values: Any) -> PlannedWarm:
    common = {"reason": WarmReason.STRATEGY, "decided_at": NOW, "warm_at": NOW}
    return PlannedWarm(key=ReportKey(account, date_range), **{**common, **values})


def _plan(harness: PrefetchHarness, *rows: PlannedWarm) -> None:
    warms.replace_plan(harness.engine, RUN, rows)
    jobs.start(harness.engine, RUN, "dag", len(rows), NOW)


def _raising(error: Exception) -> Any:
    def answer(unit: FetchUnit) -> ResultPage:
        raise error

    return answer


def test_outcomes_are_recorded(harness: PrefetchHarness) -> None:
    """Each warm records when it was fetched, when it expires and what it cost; the job adds up."""
    harness.source.script = {"act_2": _raising(Denied("no access", account_id="act_2"))}
    _plan(harness, _row("act_1"), _row("act_2"), _row("act_3", batch=1))

    report = warm_batch(harness.prefetch, RUN, 0)

    first, second, third = warms.list_by_run(harness.engine, RUN)
    assert (first.status, first.fetched_at, first.expires_at) == ("fetched", NOW, NOW + timedelta(hours=6))
    assert (second.status, second.error) == ("denied", "no access")
    assert third.status == "planned"
    job = jobs.finish(harness.engine, RUN, NOW)
    assert (job.done, job.failed, job.errors) == (1, 1, ("act_2 yesterday: no access",))
    assert job.requests == report.calls == first.requests + second.requests


def test_data_and_outcomes_are_stored_together(harness: PrefetchHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A count that cannot be stored takes the entry back with it; calls are counted once, and no lease is left."""
    finish, tried = warms.finish, list[int]()

    def fail_once(*arguments: Any) -> None:
        tried.append(1)
        finish(*arguments)
        if len(tried) == 1:
            raise Transient("the database was locked")

    monkeypatch.setattr(warms, "finish", fail_once)
    _plan(harness, _row("act_1"))
    report = warm_batch(harness.prefetch, RUN, 0)

    [warm] = warms.list_by_run(harness.engine, RUN)
    assert (warm.status, warm.error) == ("failed", "the database was locked")
    assert not entries.list_entries(harness.engine, "act_1")
    assert get_day_calls(harness.engine, NOW).made == warm.requests == report.calls > 0
    assert [str(outcome.status) for outcome in _attempt(harness).outcomes] == ["fetched"]
    job = jobs.finish(harness.engine, RUN, NOW)
    assert (job.done, job.failed) == (1, 0)
    assert len(entries.list_entries(harness.engine, "act_1")) == 1


@SQLITE_ONLY
def test_a_second_call_does_nothing(harness: PrefetchHarness) -> None:
    """Ended warms are left out: no call is made and no count changes."""
    _plan(harness, _row("act_1"))
    warm_batch(harness.prefetch, RUN, 0)
    asked = len(harness.source.submitted)
    assert warm_batch(harness.prefetch, RUN, 0).outcomes == []
    assert len(harness.source.submitted) == asked
    assert jobs.finish(harness.engine, RUN, NOW).done == 1


@SQLITE_ONLY
def test_a_parked_key_stays_planned(harness: PrefetchHarness) -> None:
    """After the park the same call fetches it; until then it counts neither as done nor as failed."""
    harness.source.script = {
        "act_1": _raising(Throttled("slow down", scope="account:act_1", until=NOW + timedelta(minutes=5)))
    }
    _plan(harness, _row("act_1"))
    warm_batch(harness.prefetch, RUN, 0, wait_seconds=0)
    assert [row.status for row in warms.list_planned(harness.engine, RUN, 0)] == ["planned"]
    assert jobs.list_latest(harness.engine)[0].failed == 0


@SQLITE_ONLY
def test_pauses_come_between_groups(harness: PrefetchHarness) -> None:
    """Five keys in groups of two take two pauses, and none before the first or after the last."""
    _plan(harness, *[_row(f"act_{n}") for n in range(1, 6)])
    warm_batch(harness.prefetch, RUN, 0, pace=Pace(slice_size=2, pause_seconds=10))
    assert (harness.clock.now() - NOW).total_seconds() == pytest.approx(20, abs=1)
    assert {row.status for row in warms.list_by_run(harness.engine, RUN)} == {"fetched"}


@SQLITE_ONLY
def test_an_entry_stays_fresh_through_the_open(harness: PrefetchHarness) -> None:
    """An entry that is fresh now but not at the predicted open is fetched again."""
    _plan(harness, _row("act_1"), _row("act_1", batch=1, predicted_open=NOW + timedelta(hours=6, minutes=30)))
    warm_batch(harness.prefetch, RUN, 0)
    harness.clock.sleep(3600)
    report = warm_batch(harness.prefetch, RUN, 1)
    assert [str(outcome.status) for outcome in report.outcomes] == ["fetched"]


@SQLITE_ONLY
def test_closing_a_day_fetches_its_history(harness: PrefetchHarness) -> None:
    """Closing a day fetches the days its score looks back on, not only the week."""
    _plan(harness, _row("act_1", reason=WarmReason.DAY_CLOSED, date_range="2026-11-18..2026-11-24"))
    seen: list[FetchUnit] = []
    harness.source.script = {"act_1": lambda unit: (seen.append(unit), one_ad_page(unit))[1]}
    warm_batch(harness.prefetch, RUN, 0)
    days = {day for unit in seen for window in unit.windows for day in window.days()}
    assert len(days) >= HISTORY_DAYS
    assert [row.status for row in warms.list_by_run(harness.engine, RUN)] == ["fetched"]


@SQLITE_ONLY
def test_each_warm_is_admitted_in_its_own_class(harness: PrefetchHarness) -> None:
    """A batch of mixed priorities fetches the urgent warms first, and nothing in another's class."""
    asked: list[tuple[str, Priority]] = []
    admit = harness.prefetch.admission.admit

    def watched(call: CallRequest) -> Any:
        asked.append((call.scopes[0].id, call.priority))
        return admit(call)

    harness.prefetch.admission = SimpleNamespace(admit=watched, settle=harness.prefetch.admission.release)
    _plan(harness, _row("act_1", priority=Priority.LOW), _row("act_2", priority=Priority.NORMAL))
    warm_batch(harness.prefetch, RUN, 0)
    assert {("act_1", Priority.LOW), ("act_2", Priority.NORMAL)} == set(asked)
    assert asked[0][0] == "act_2"


def test_calls_are_counted_as_traffic(harness: PrefetchHarness) -> None:
    """The upstream calls of a batch are in the traffic of their hour, with what planned them."""
    _plan(harness, _row("act_1", strategy="board"))
    report = warm_batch(harness.prefetch, RUN, 0)
    counted = read_traffic.get_totals(harness.engine, NOW, NOW + timedelta(hours=1))
    assert (report.calls, 0, 0) == (counted["upstream_calls"], counted["throttles"], counted["hits"])
    (cause,) = get_day_calls(harness.engine, NOW).causes
    assert (cause.calls, cause.cause) == (report.calls, CallCause(CauseKind.STRATEGY, "board"))


def _statuses(harness: PrefetchHarness) -> list[str]:
    return [row.status for row in warms.list_by_run(harness.engine, RUN)]


def _attempt(harness: PrefetchHarness, *, by_human: bool = False) -> BatchResult:
    reopen_batch(harness.engine, RUN, 0, by_human=by_human)
    report = warm_batch(harness.prefetch, RUN, 0)
    return BatchResult([*list_earlier_outcomes(harness.engine, RUN, 0, report), *report.outcomes])


def test_the_next_attempt_tries_failed_warms_again(harness: PrefetchHarness) -> None:
    """Each attempt fails for the same reason until the token is renewed; then all is fetched and counted once."""
    names = ["act_1", "act_2"]
    _plan(harness, *map(_row, names), _row("act_3", batch=1, status=WarmStatus.FAILED))
    harness.source.script = dict.fromkeys(names, _raising(TokenDead("the token is dead")))
    for _ in range(2):  # two runs in each; five would isolate the connection
        failure = _attempt(harness).failure()
        assert isinstance(failure, TokenDead)
        assert "the token is dead" in str(failure)
        assert _statuses(harness) == ["failed"] * 3
        assert [(job.done, job.failed) for job in jobs.list_latest(harness.engine)] == [(0, 2)]
    harness.source.script = {}

    assert _attempt(harness).summary()["fetched"] == 2
    assert _statuses(harness) == ["fetched", "fetched", "failed"]
    job = jobs.finish(harness.engine, RUN, NOW)
    assert (job.done, job.failed, job.errors) == (2, 0, ())
    assert _attempt(harness).summary() | {"requests": 0} == BatchResult(_attempt(harness).outcomes).summary()


@SQLITE_ONLY
def test_an_early_group_is_tried_again_with_a_renewed_token(
    harness: PrefetchHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group that met the dead token is fetched at the end of the batch, and its failure is taken back."""
    names = [f"act_{n}" for n in range(1, 4)]
    _plan(harness, *map(_row, names))
    dead = TokenDead("the token is dead")
    harness.source.script = {"act_1": _raising(dead)}
    renewed: list[str] = []

    def is_renewed(connection: str, credential: str) -> bool:
        if len([name for name in _statuses(harness) if name == "fetched"]) < 2:
            return False  # the connection is renewed while the later groups are fetched
        renewed.append(connection)
        harness.source.script = {}
        return True

    monkeypatch.setattr(harness.prefetch.sources, "is_renewed", is_renewed)
    result = warm_batch(harness.prefetch, RUN, 0, pace=Pace(slice_size=1))

    assert [str(item.status) for item in result.outcomes] == ["fetched"] * 3
    assert _statuses(harness) == ["fetched"] * 3
    job = jobs.finish(harness.engine, RUN, NOW)
    assert (job.done, job.failed, job.errors, len(renewed)) == (3, 0, (), 1)


@SQLITE_ONLY
def test_a_retry_respects_a_denial_and_a_human_lifts_it(harness: PrefetchHarness) -> None:
    """An automatic attempt makes no call and fails again; one that a human starts calls the account again."""
    harness.source.script = {"act_1": _raising(Denied("no access", account_id="act_1"))}
    _plan(harness, _row("act_1"))
    assert isinstance(_attempt(harness).failure(), Denied)
    asked = len(harness.source.submitted)

    again = _attempt(harness)
    assert isinstance(again.failure(), Denied)
    assert "no access" in str(again.failure())
    assert (len(harness.source.submitted), _statuses(harness)) == (asked, ["denied"])

    harness.source.script = {}
    assert _attempt(harness, by_human=True).summary()["fetched"] == 1
    account = accounts.get(harness.engine, "act_1")
    assert account is not None
    assert account.status == "active"


@SQLITE_ONLY
def test_lifting_covers_the_accounts_of_the_plan(harness: PrefetchHarness) -> None:
    """Denials of other batches stay when one batch is reopened, those of other plans always."""
    accounts.save(harness.engine, [Account(f"act_{n}") for n in (1, 2, 3)], NOW)
    for number in (1, 2, 3):
        denials.close_account(harness.engine, f"act_{number}", "no", NOW)
    _plan(harness, _row("act_1"), _row("act_2", batch=1))
    assert (lift_denials(harness.engine, RUN, 0), lift_denials(harness.engine, RUN)) == (1, 1)
    assert [item.status for item in accounts.get_many(harness.engine).values()] == ["active", "active", "denied"]


@SQLITE_ONLY
def test_a_stale_key_is_tried_again_too(harness: PrefetchHarness) -> None:
    """An older entry that was kept does not count as a fresh one."""
    _plan(harness, _row("act_1", batch=1))
    warm_batch(harness.prefetch, RUN, 1)
    harness.clock.sleep(86_400)
    _plan(harness, _row("act_1", date_range="2026-11-24..2026-11-24"))
    harness.source.script = {"act_1": _raising(Transient("down"))}
    failure = _attempt(harness).failure()
    assert isinstance(failure, Transient)
    assert _statuses(harness)[-1] == "stale"
    harness.source.script = {}
    assert _attempt(harness).failure() is None
    assert _statuses(harness)[-1] == "fetched"


@SQLITE_ONLY
def test_a_batch_stops_at_the_budget_of_its_strategy(harness: PrefetchHarness) -> None:
    """What no longer fits into the hour is cut with a reason and leaves the job; the next hour has a new budget."""
    accounts.save(harness.engine, [Account(f"act_{number}") for number in range(1, 6)], NOW)
    rows = [_row(f"act_{number}", strategy="s", price=1.0) for number in range(1, 6)]
    _plan(harness, *rows)
    warm_batch(harness.prefetch, RUN, 0, pace=Pace(slice_size=2, max_calls=3))
    assert _statuses(harness) == ["fetched"] * 3 + ["cut"] * 2
    assert "3 upstream calls were used up" in warms.list_by_run(harness.engine, RUN)[-1].explanation["cut"]
    job = jobs.finish(harness.engine, RUN, NOW)
    assert (job.total, job.done, job.status) == (3, 3, "completed")
    harness.clock.sleep(3600)
    warms.replace_plan(harness.engine, "dag/2", [_row("act_4", strategy="s", price=2.0)])
    warm_batch(harness.prefetch, "dag/2", 0, pace=Pace(max_calls=1))
    assert [row.status for row in warms.list_by_run(harness.engine, "dag/2")] == ["fetched"]


def test_what_a_batch_cuts_is_requested_for_the_next_hour(harness: PrefetchHarness) -> None:
    """The strategy is planned again at the start of the next hour, when this run has planned it last."""
    with write_transaction(harness.engine) as connection:
        for name, run_id in (("s", RUN), ("other", "dag/2")):
            save_strategy(connection, Strategy(name, ("yesterday",)), NOW)
            claim_slot(connection, name, NOW, run_id)
    _plan(harness, *[_row(f"act_{n}", strategy="s", price=1.0) for n in (1, 2)], _row("act_3", strategy="other"))
    warm_batch(harness.prefetch, RUN, 0, pace=Pace(max_calls=1))
    with write_transaction(harness.engine) as connection:
        requested = {stored.name: stored.state.recheck_at for stored in list_strategies(connection)}
    assert requested == {"s": floor_to(NOW, timedelta(hours=1)) + timedelta(hours=1), "other": None}


@SQLITE_ONLY
def test_an_account_stays_in_one_group(harness: PrefetchHarness) -> None:
    """Groups hold at most their size, and keys of an account share a group where they fit."""
    sizes = []
    run = harness.prefetch.run

    def watched(requests: Any, *args: Any, **kwargs: Any) -> Any:
        sizes.append([item.key.account_id for item in requests])
        return run(requests, *args, **kwargs)

    harness.prefetch.run = watched  # type: ignore[method-assign]
    _plan(harness, *[_row(f"act_{n}", name) for n in (1, 2) for name in ("yesterday", "today")], _row("act_3"))
    warm_batch(harness.prefetch, RUN, 0, pace=Pace(slice_size=3))
    assert sizes == [["act_1"] * 2, ["act_2", "act_2", "act_3"]]
