"""Async reports, through the engine and against the simulated platform."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from adwarm.foundation.clock import SystemClock, VirtualClock
from adwarm.foundation.errors import SLOW_BODY, Transient
from adwarm.model import Priority, ReportKey, Window, resolve_key
from adwarm.prefetch import KeyRequest
from adwarm.prefetch.batch import Batch
from adwarm.settings import ReportSettings
from adwarm.sources.meta.source import MetaSource
from adwarm.sources.protocol import FetchUnit, ResultPage
from adwarm.store import accounts, leases, partitions
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.leases import table as lease_table
from adwarm.store.partition_rows import daily_rows
from tests.unit.conftest import NOW
from tests.unit.prefetch.conftest import LONG_RANGE, LONG_WINDOW, PlatformHarness


def statuses(report: Any) -> list[str]:
    """Return how each key ended."""
    return [str(outcome.status) for outcome in report.outcomes]


def noted(staging: PlatformHarness, account: str = "act_1") -> Any:
    """Return the report recorded in the account's lease."""
    with read_transaction(staging.prefetch.engine) as connection:
        return connection.execute(lease_table.select().where(lease_table.c.name.like(f"fetch:{account}:%"))).one()


def test_answers_of_different_attribution_are_never_mixed(staging: PlatformHarness) -> None:
    """Each setting has days of its own; a plain request and an async report of one setting count the same purchases."""
    reports = {
        "default": ReportSettings(),
        "account": ReportSettings(attribution="account"),
        "windows": ReportSettings(attribution_windows=("1d_view",)),
    }
    settings = staging.prefetch.settings.model_copy(update={"reports": reports})
    harness = staging.with_settings(settings)
    week = Window(LONG_WINDOW.until - timedelta(days=6), LONG_WINDOW.until)
    bought: dict[tuple[str, str], int] = {}
    for name in reports:
        for way, window in (("plain", week), ("async", LONG_WINDOW)):
            with write_transaction(harness.prefetch.engine) as connection:
                connection.execute(partitions.table.delete())
            result = harness.prefetch.run(
                [KeyRequest(ReportKey("act_1", str(window), name))], Priority.LOW, wait_seconds=600
            )
            states = partitions.list_states(harness.prefetch.engine, "act_1", settings.spec(name).hash, week)
            rows = daily_rows(harness.prefetch.objects, states, week)
            actions = [action for row in rows for action in row.get("actions", [])]
            assert any("1d_view" in action for action in actions) is (name == "windows")
            bought[name, way] = sum(int(item["value"]) for item in actions if item["action_type"] == "purchase")
            assert statuses(result) == ["fetched"]
    assert len(harness.calls("submit")) == len(reports)
    assert bought["default", "plain"] == bought["default", "async"] == bought["windows", "plain"]
    assert bought["account", "plain"] == bought["account", "async"] < 0.8 * bought["default", "plain"]


def test_a_long_span_goes_as_a_report(staging: PlatformHarness) -> None:
    """A span of many days is submitted once, polled a few times, read, and equal to the platform's own rows."""
    report = staging.run("act_1")
    assert statuses(report) == ["fetched"]
    assert len(staging.calls("submit")) == 1
    assert 1 <= len(staging.calls("poll")) <= 5
    assert report.calls == len([call for call in staging.calls() if call.route != "batch"])
    assert noted(staging).report_run_id is noted(staging).report_unit is None
    assert staging.stored_rows("act_1") == staging.expected_rows("act_1")


def test_a_short_span_is_fetched_at_once(staging: PlatformHarness) -> None:
    """A week needs no report."""
    assert statuses(staging.run("act_1", span="last_7d")) == ["fetched"]
    assert staging.calls("submit") == []


def test_many_expected_rows_make_a_report(
    make_staging: Callable[..., PlatformHarness], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short span goes as a report when the stored days say that it has many rows."""
    for module in ("fetch_plan", "prefetch.refresh"):
        monkeypatch.setattr(f"adwarm.{module}.REPORT_ROWS", 30)
    staging = make_staging()
    staging.run("act_1", span="2026-11-18..2026-11-20")
    assert staging.calls("submit") == []
    staging.clock.sleep(86_400 * 2)
    assert statuses(staging.run("act_1", span="2026-11-18..2026-11-25")) == ["fetched"]
    assert len(staging.calls("submit")) == 1


@pytest.mark.parametrize("count", [16, pytest.param(60, marks=pytest.mark.slow)])
def test_fifty_reports_are_polled_in_one_request(make_staging: Callable[..., PlatformHarness], count: int) -> None:
    """Many accounts wait at once though four work at a time; polls are shared, and no grant is held while waiting."""
    staging = make_staging({"ads": 1})
    report = staging.run(*(f"act_{number}" for number in range(1, count + 1)))
    assert statuses(report) == ["fetched"] * count
    looks, envelopes = staging.calls("poll"), staging.calls("batch")
    assert len(staging.calls("submit")) == count
    assert len(envelopes) * 4 < len(looks)
    assert max(cost for _, cost in staging.admission.admitted) > 4
    assert max(cost for _, cost in staging.admission.admitted) <= 50
    assert staging.admission.peak_in_flight <= 5
    assert staging.admission.in_flight == 0


@pytest.mark.parametrize("kind", ["report_failed", "report_skipped", "report_stuck", "report_stuck_full"])
def test_a_failed_report_is_requested_again(staging: PlatformHarness, kind: str) -> None:
    """Failed, skipped, or stalled: one more report is requested, and its rows are the platform's."""
    staging.set_faults(fault=[{"kind": kind, "calls": 1}])
    assert statuses(staging.run("act_1")) == ["fetched"]
    assert len(staging.calls("submit")) == 2
    assert staging.stored_rows("act_1") == staging.expected_rows("act_1")


def test_a_unit_whose_reports_fail_is_split(staging: PlatformHarness) -> None:
    """After the second failed report the span is fetched by halves, at once."""
    staging.set_faults(fault=[{"kind": "report_failed"}])
    assert statuses(staging.run("act_1")) == ["fetched"]
    assert len(staging.calls("submit")) == 2
    assert staging.stored_rows("act_1") == staging.expected_rows("act_1")


def test_what_is_too_much_at_once_goes_as_a_report(staging: PlatformHarness) -> None:
    """A month that the platform cannot compute at once goes as a report, after smaller pages did not help."""
    staging.set_faults(poison=[{"slot": 0}])
    report = staging.run("act_1", span="2026-10-26..2026-11-24")
    assert statuses(report) == ["fetched"]
    assert len(staging.calls("submit")) == 1


@pytest.mark.parametrize(("code", "status", "reports"), [("timeout", "fetched", 1), (SLOW_BODY, "failed", 0)])
def test_what_takes_too_long_at_once_goes_as_a_report(
    staging: PlatformHarness, monkeypatch: pytest.MonkeyPatch, code: str, status: str, reports: int
) -> None:
    """A request without an answer goes as a report after the usual retries; one whose rows come too slowly does not."""
    submit, failures = MetaSource.submit, iter(range(3))

    def fail(source: MetaSource, unit: FetchUnit) -> ResultPage:
        if next(failures, None) is not None:
            raise Transient("no answer in time", code=code)
        return submit(source, unit)

    monkeypatch.setattr(MetaSource, "submit", fail)
    assert statuses(staging.run("act_1", span="2026-10-26..2026-11-24")) == [status]
    assert len(staging.calls("submit")) == reports
    assert {event.code for event in staging.events("Transient")} == {code}


def test_a_page_that_is_too_large_is_fetched_in_smaller_ones(staging: PlatformHarness) -> None:
    """For a week and for a report's rows alike; no report and no split is needed for a smaller page."""
    staging.set_faults(size={"page_cells": 5_000})
    assert statuses(staging.run("act_1", "act_2")) == ["fetched"] * 2
    assert len(staging.calls("submit")) == 2
    assert statuses(staging.run("act_3", span="2026-10-26..2026-11-24")) == ["fetched"]
    assert len(staging.calls("submit")) == 2
    assert max(call.rows for call in staging.calls()) <= 125
    assert staging.stored_rows("act_1") == staging.expected_rows("act_1")


@pytest.mark.parametrize("kind", ["html_500", "truncated", "reset", "error_in_200"])
def test_failed_polls_are_repeated(staging: PlatformHarness, kind: str) -> None:
    """A poll that fails costs time but no report."""
    staging.set_faults(fault=[{"kind": kind, "calls": 3, "routes": ["poll", "batch"]}])
    assert statuses(staging.run("act_1")) == ["fetched"]
    assert len(staging.calls("submit")) == 1


def test_a_batch_entry_without_a_response(staging: PlatformHarness) -> None:
    """A batch entry that the platform did not process is polled again."""
    staging.set_faults(fault=[{"kind": "null_entry", "calls": 2, "routes": ["poll"]}])
    assert statuses(staging.run("act_1")) == ["fetched"]


def test_a_report_that_is_not_visible_yet(staging: PlatformHarness) -> None:
    """A run that the platform does not show at first is not given up."""
    staging.set_faults(reports={"visible_after_seconds": 8, "base_seconds": 12})
    assert statuses(staging.run("act_1")) == ["fetched"]
    assert len(staging.calls("submit")) == 1
    assert 33 in [call.subcode for call in staging.calls("poll")]


def test_a_report_that_the_platform_forgot_is_requested_again(staging: PlatformHarness) -> None:
    """A run that stays unknown counts as expired, and another one is requested."""
    staging.set_faults(reports={"base_seconds": 40})
    assert statuses(staging.run("act_1", wait=5)) == ["parked"]
    staging.server.state.report_runs.clear()
    staging.server.state.report_runs._runs["1"] = None  # type: ignore[assignment]
    assert statuses(staging.run("act_1")) == ["fetched"]
    assert len(staging.calls("submit")) == 2


def test_a_command_waits_for_its_report(staging: PlatformHarness) -> None:
    """A caller that says how long it waits for reports gets one that takes longer than a call may wait."""
    staging.set_faults(reports={"base_seconds": 200, "spread": 0})
    request = KeyRequest(ReportKey("act_1", LONG_RANGE))
    assert statuses(staging.prefetch.run([request], Priority.LOW, wait_seconds=5)) == ["parked"]
    assert statuses(staging.prefetch.run([request], Priority.LOW, wait_seconds=5, report_seconds=900)) == ["fetched"]
    assert len(staging.calls("submit")) == 1


def test_a_slow_report_is_continued_by_another_worker(
    make_staging: Callable[..., PlatformHarness], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report that takes longer than a run may wait ends as parked; the next run, of any worker, submits none."""
    monkeypatch.setattr("adwarm.prefetch.async_reports.STUCK_SECONDS", 1_000.0)
    staging = make_staging()
    staging.set_faults(reports={"base_seconds": 400, "spread": 0})
    first = staging.run("act_1", "act_2", wait=20)
    assert statuses(first) == ["parked"] * 2
    assert all(
        15 <= (outcome.retry_after or 0) <= 30 and "is running" in str(outcome.reason) for outcome in first.outcomes
    )
    assert noted(staging).report_run_id is not None
    assert noted(staging).owner == ""
    again = staging.run("act_1", "act_2", owner="another")
    assert statuses(again) == ["fetched"] * 2
    assert len(staging.calls("submit")) == 2
    assert staging.events("OrphanReport") == []
    assert staging.stored_rows("act_1") == staging.expected_rows("act_1")


def test_short_runs_notice_a_stalled_report(staging: PlatformHarness) -> None:
    """Runs that wait a minute each notice together that a report stalls, and one of them requests another."""
    staging.set_faults(fault=[{"kind": "report_stuck", "calls": 1}])
    turns = 0
    while statuses(staging.run("act_1", wait=60)) != ["fetched"]:
        staging.clock.sleep(15)
        turns += 1
        assert turns < 12
    assert len(staging.calls("submit")) == 2
    assert staging.clock.now() - NOW < timedelta(minutes=10)


def test_the_next_run_remembers_what_was_too_large(make_staging: Callable[..., PlatformHarness]) -> None:
    """A throttle interrupts the splitting; the next run continues it and repeats no request that was too large."""
    staging = make_staging({"ads": 20})
    storm = {"poison": [{"slot": 3}], "fault": [{"kind": "load_shedding", "after_calls": 20, "calls": 1}]}
    staging.set_faults(**storm)
    first = staging.run("act_1", span="2026-10-26..2026-11-24")
    assert statuses(first) == ["parked"]
    failed = len([call for call in staging.calls() if call.code == 1])
    staging.clock.sleep(120)
    assert statuses(staging.run("act_1", span="2026-10-26..2026-11-24")) == ["fetched"]
    assert len([call for call in staging.calls() if call.code == 1]) < 30
    assert failed > 5
    assert noted(staging).learned is None


def test_data_of_a_continued_report_is_as_old_as_its_request(staging: PlatformHarness) -> None:
    """Data of a report that an earlier worker requested is stored with the moment of that request."""
    staging.set_faults(reports={"base_seconds": 400, "spread": 0})
    asked_at = staging.clock.now()
    staging.run("act_1", wait=20)
    staging.clock.sleep(600)
    staging.run("act_1")
    spec = staging.prefetch.settings.spec("default").hash

    ages = {
        state.fetched_at - asked_at
        for state in partitions.list_states(staging.prefetch.engine, "act_1", spec, LONG_WINDOW).values()
    }
    assert ages <= {timedelta(seconds=number) for number in range(5)}


def test_an_old_report_is_not_continued(staging: PlatformHarness) -> None:
    """A report from hours ago would give data from hours ago: it counts as an orphan, and another one is requested."""
    staging.set_faults(reports={"base_seconds": 400, "spread": 0})
    staging.run("act_1", wait=5)
    staging.clock.sleep(7_200)
    assert statuses(staging.run("act_1")) == ["fetched"]
    assert len(staging.calls("submit")) == 2
    assert len(staging.events("OrphanReport")) == 1


def test_another_unit_does_not_continue_the_report(staging: PlatformHarness) -> None:
    """The report id belongs to its unit: another span requests its own report, and the old one counts as an orphan."""
    staging.set_faults(reports={"base_seconds": 400, "spread": 0})
    staging.run("act_1", wait=5)
    assert statuses(staging.run("act_1", span="2026-08-01..2026-11-20")) == ["fetched"]
    assert len(staging.calls("submit")) == 2
    assert [event.subject for event in staging.events("OrphanReport")] == ["act_1"]


def test_a_submit_without_a_saved_id_costs_one_orphan(staging: PlatformHarness) -> None:
    """A worker that died between submit and save left its announcement: one orphan is counted, once."""
    staging.run("act_1", span="last_7d")
    spec = staging.prefetch.settings.spec("default").hash
    engine = staging.prefetch.engine
    lease = leases.acquire(engine, f"fetch:act_1:{spec}", "dead", 30)
    assert lease is not None
    now = staging.clock.now()
    assert leases.save_report(engine, lease, leases.SavedReport("1234", now, None, 0.0, now))
    leases.release(engine, lease)
    assert statuses(staging.run("act_1")) == ["fetched"]
    assert len(staging.calls("submit")) == 1
    assert [(event.subject, event.source) for event in staging.events("OrphanReport")] == [("act_1", "meta")]
    assert statuses(staging.run("act_1")) == ["fresh"]
    assert len(staging.events("OrphanReport")) == 1


def test_a_refused_submit_leaves_no_announcement(staging: PlatformHarness) -> None:
    """When the platform refuses a submit, no report runs, and no orphan is counted later."""
    staging.set_faults(fault=[{"kind": "transient_2", "routes": ["submit"], "calls": 3}])
    assert statuses(staging.run("act_1")) == ["failed"]
    assert noted(staging).report_unit is None
    assert statuses(staging.run("act_1")) == ["fetched"]
    assert staging.events("OrphanReport") == []


def test_throttled_while_reading_keeps_the_report(
    make_staging: Callable[..., PlatformHarness], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account that is parked before its rows are read continues its report after the park, not before."""
    monkeypatch.setattr("adwarm.sources.meta.source.PAGE_ROWS", 100)
    staging = make_staging()
    staging.set_faults(fault=[{"kind": "load_shedding", "routes": ["result"], "calls": 1}])
    report = staging.run("act_1")
    assert statuses(report) == ["parked"]
    staging.clock.sleep(report.outcomes[0].retry_after or 0)
    assert statuses(staging.run("act_1")) == ["fetched"]
    assert len(staging.calls("submit")) == 1
    assert staging.stored_rows("act_1") == staging.expected_rows("act_1")


def test_unreadable_rows_make_a_new_report(staging: PlatformHarness) -> None:
    """A completed run whose rows only return errors is given up after the retries."""
    staging.set_faults(fault=[{"kind": "html_500", "routes": ["result"], "calls": 3}])
    assert statuses(staging.run("act_1")) == ["fetched"]
    assert len(staging.calls("submit")) == 2


def test_a_parked_account_is_not_polled(staging: PlatformHarness) -> None:
    """Polls leave out a parked account, and find its report afterwards."""
    staging.set_faults(fault=[{"kind": "load_shedding", "routes": ["poll"], "calls": 1, "accounts": ["act_1"]}])
    report = staging.run("act_1", "act_2", wait=200)
    assert statuses(report) == ["fetched"] * 2
    refused = next(call for call in staging.calls("poll") if call.code == 4)
    soon = refused.at + timedelta(seconds=59)
    assert [call for call in staging.calls() if call.account == "act_1" and refused.at < call.at < soon] == []


def test_a_token_that_dies_while_reports_run(staging: PlatformHarness) -> None:
    """Every waiting account ends with the reason; their reports stay recorded for a new token."""
    staging.set_faults(fault=[{"kind": "token_dead", "routes": ["poll"]}])
    report = staging.run("act_1", "act_2", "act_3")
    assert statuses(report) == ["failed"] * 3
    assert all(
        "renew the token" in str(outcome.reason) or "token is dead" in str(outcome.reason)
        for outcome in report.outcomes
    )
    assert noted(staging).report_run_id is not None
    staging.set_faults()
    assert statuses(staging.run("act_1", "act_2", "act_3")) == ["fetched"] * 3
    assert len(staging.calls("submit")) == 3


def test_midnight_does_not_change_the_window(staging: PlatformHarness) -> None:
    """A report that runs past the account's midnight is read for the days it was requested for."""
    staging.clock.set(staging.clock.now().replace(hour=23, minute=59, second=50))
    staging.set_faults(reports={"base_seconds": 60, "spread": 0})
    assert statuses(staging.run("act_1", span="last_90d")) == ["fetched"]
    assert len(staging.calls("submit")) == 1
    account = accounts.get(staging.prefetch.engine, "act_1")
    assert account is not None
    spec = staging.prefetch.settings.spec("default")
    yesterday = VirtualClock(staging.clock.now() - timedelta(hours=1)).now()
    assert resolve_key(ReportKey("act_1", "last_90d"), account, spec, yesterday).window.until.day == 24


def test_two_callers_share_one_fetch(make_staging: Callable[..., PlatformHarness]) -> None:
    """A second caller of the same key waits, finds the entry, and makes no call."""
    staging, clock = make_staging({"latency_ms": 60}), SystemClock()
    staging.server.state.clock = clock
    with ThreadPoolExecutor(3) as pool:
        runs = [
            pool.submit(staging.run, "act_1", span="last_30d", owner=owner, clock=clock)
            for owner in ("one", "two", "three")
        ]
        reports = [run.result() for run in runs]
    assert sorted(statuses(report)[0] for report in reports) == ["fetched", "fresh", "fresh"]
    assert len(staging.calls("insights")) == 2
    assert sum(report.calls for report in reports) == len([call for call in staging.calls() if call.account])


def test_a_stopped_batch_leaves_its_reports(
    make_staging: Callable[..., PlatformHarness], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reports that run when the batch's time ends are continued by the next attempt, not requested again."""
    monkeypatch.setattr("adwarm.prefetch.async_reports.POLL_SECONDS", 0.5)
    staging = make_staging()
    staging.set_faults(reports={"base_seconds": 400, "spread": 0})
    heartbeat = Batch._heartbeat

    def end_batch(batch: Batch) -> None:
        if batch.poller.waiting == 2:
            batch._limit.extend(-math.inf)
        heartbeat(batch)

    with monkeypatch.context() as patch:
        patch.setattr(Batch, "_heartbeat", end_batch)
        first = staging.run("act_1", "act_2")
    assert statuses(first) == ["parked"] * 2
    assert all(
        "the batch took longer" in str(item.reason) or "is running" in str(item.reason) for item in first.outcomes
    )
    assert len(staging.calls("submit")) == 2
    staging.clock.sleep(500)
    assert statuses(staging.run("act_1", "act_2")) == ["fetched"] * 2
    assert len(staging.calls("submit")) == 2
