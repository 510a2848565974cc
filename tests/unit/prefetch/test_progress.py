"""What was read is never thrown away: with any source that responds at all, every run makes progress."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from adwarm.backpressure import CallRequest
from adwarm.backpressure.admission import Decision, Wait
from adwarm.foundation.clock import TimeLimit, VirtualClock
from adwarm.foundation.errors import Corrupt, TooMuchData, Transient
from adwarm.model import Priority, ReportKey, Row, UsageSample, Window
from adwarm.prefetch import BatchResult, KeyRequest, PrefetchEngine
from adwarm.recovery import RecoveryPipeline
from adwarm.settings import Settings, SourceSettings
from adwarm.sources.pool import SourcePool
from adwarm.sources.protocol import (
    AsyncReportHandle,
    AsyncReportProgress,
    AsyncReportState,
    Capabilities,
    FetchUnit,
    Increment,
    ResultPage,
)
from adwarm.sources.units import split_by_time
from adwarm.store import Context, ObjectStore, partitions
from adwarm.store.database import open_engine, read_transaction, write_transaction
from adwarm.store.error_events import ErrorLog
from adwarm.store.partition_rows import daily_rows
from adwarm.store.partitions import table as partition
from adwarm.store.quarantine import table as quarantined_item
from adwarm.store.schema import upgrade
from adwarm.store.tables import metadata
from tests.support.memory_recovery import memory_options
from tests.unit.conftest import NOW, SQLITE_ONLY, PrefetchHarness, ScriptedSource, one_ad_page
from tests.unit.prefetch.conftest import UnlimitedAdmission


@dataclass
class PagedSource(ScriptedSource):
    """Some ads on every day, in pages of `page` rows; large units go as async reports, which are ready at once."""

    ads: int = 3
    page: int = 2
    begun: dict[str, FetchUnit] = field(default_factory=dict)
    capabilities: Capabilities = field(default_factory=lambda: Capabilities(has_async_reports=True))

    def rows(self, unit: FetchUnit) -> list[Row]:
        """Return every row of a unit."""
        return [
            row | {"ad_id": str(ad), "spend": f"{ad}.00"}
            for row in one_ad_page(unit).rows
            for ad in range(1, self.ads + 1)
        ]

    def submit(self, unit: FetchUnit) -> ResultPage:
        """Return the first page."""
        self.submitted.append(unit)
        return self.read(unit, None)

    def read(self, target: FetchUnit | AsyncReportHandle, cursor: str | None) -> ResultPage:
        """Return the page at an offset."""
        rows = self.rows(target.unit if isinstance(target, AsyncReportHandle) else target)
        start = int(cursor or 0)
        end = start + self.page
        return ResultPage(rows[start:end], str(end) if end < len(rows) else None, api_version="v26.0")

    def submit_async(self, unit: FetchUnit) -> AsyncReportHandle:
        """Start a report."""
        handle = AsyncReportHandle(str(len(self.begun) + 1), unit)
        self.begun[handle.id] = unit
        return handle

    def poll(self, handles: Sequence[AsyncReportHandle]) -> dict[AsyncReportHandle, AsyncReportProgress]:
        """Return every report as ready."""
        return {handle: AsyncReportProgress(AsyncReportState.READY, 100.0) for handle in handles}

    def split(self, unit: FetchUnit) -> list[FetchUnit]:
        """Split by time."""
        return split_by_time(unit)


@dataclass
class FewCalls(UnlimitedAdmission):
    """Admission of `calls` calls a run; the next one would have to wait an hour."""

    calls: int = 1
    left: int = 0

    def admit(self, call: CallRequest) -> Decision:
        """Grant while calls are left."""
        with self.lock:
            if self.left <= 0:
                return Wait(3600.0, "the account is parked", str(call.scopes[0]))
            self.left -= 1
        return super().admit(call)


@dataclass
class LimitedStage:
    """An engine whose admission grants few calls a run."""

    engine: PrefetchEngine
    admission: FewCalls
    source: PagedSource

    def run(self, *ranges: str) -> BatchResult:
        """Do one run."""
        self.admission.left = self.admission.calls
        requests = [KeyRequest(ReportKey("act_1", name)) for name in ranges]
        return self.engine.run(requests, Priority.LOW, wait_seconds=5)

    def stored(self, window: Window) -> list[Row]:
        """Return the stored daily rows."""
        spec = self.engine.settings.spec("default").hash
        return daily_rows(
            self.engine.objects, partitions.list_states(self.engine.engine, "act_1", spec, window), window
        )


def make_limited_stage(database: Engine, folder: Path, ads: int, page: int, calls: int, **source: int) -> LimitedStage:
    """Return an engine that may make `calls` a run, over pages of `page` rows."""
    clock, upstream = VirtualClock(NOW), PagedSource(ads=ads, page=page)
    values = Settings(workers=1, source=SourceSettings(**source))
    pipeline = RecoveryPipeline(values.recovery, ErrorLog(database), clock, random.Random(1), **memory_options(clock))
    admission = FewCalls(clock, calls=calls)
    objects = ObjectStore(str(folder / "data"))
    engine = PrefetchEngine(
        Context(database, objects, values), SourcePool(lambda: upstream), admission, pipeline, clock, "test"
    )
    return LimitedStage(engine, admission, upstream)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """One database for all examples of a property."""
    engine = open_engine(f"sqlite:///{tmp_path_factory.mktemp('progress')}/adwarm.db")
    upgrade(engine)
    return engine


def clear(database: Engine) -> None:
    """Delete what an earlier test has stored."""
    with write_transaction(database) as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ads=st.integers(1, 4),
    page=st.integers(1, 6),
    calls=st.integers(1, 3),
    ranges=st.sets(st.sampled_from(["yesterday", "last_3d", "last_7d", "today"]), min_size=1),
    reports=st.booleans(),
)
def test_one_call_a_run_is_enough(
    database: Engine,
    tmp_path_factory: pytest.TempPathFactory,
    ads: int,
    page: int,
    calls: int,
    ranges: set[str],
    reports: bool,
) -> None:
    """However few calls a run may make and however small the pages are, every key is published after some runs.

    With and without async reports, which a source may not have.
    """
    clear(database)
    stage = make_limited_stage(database, tmp_path_factory.mktemp("data"), ads, page, calls)
    stage.source.capabilities = Capabilities(has_async_reports=reports)
    names = sorted(ranges)
    for turn in range(200):
        statuses = {str(outcome.status) for outcome in stage.run(*names).outcomes}
        if statuses <= {"fetched", "fresh"}:
            break
        assert statuses <= {"fetched", "fresh", "parked"}, turn
    else:
        raise AssertionError("200 runs were not enough")
    week = Window(date(2026, 11, 18), date(2026, 11, 24))
    if "last_7d" in ranges:
        assert len(stage.stored(week)) == 7 * ads


@SQLITE_ONLY
def test_full_usage_with_every_response_needs_two_runs(harness: PrefetchHarness) -> None:
    """When each response says that the account is used up, the second run publishes the last key."""

    def used_up(unit: FetchUnit) -> ResultPage:
        scope = harness.source.scopes(unit.account_id)[0]
        return ResultPage(one_ad_page(unit).rows, None, (UsageSample(scope, 100.0, 300.0),), "v26.0")

    harness.source.script = {f"act_{number}": used_up for number in (1, 2, 3)}
    requests = [
        KeyRequest(ReportKey(account, name)) for account in harness.source.script for name in ("yesterday", "last_30d")
    ]
    engine = replace(harness.prefetch, admission=UnlimitedAdmission(harness.clock))
    first = engine.run(requests, Priority.LOW, wait_seconds=5)
    assert [str(outcome.status) for outcome in first.outcomes] == ["fetched", "parked"] * 3
    harness.clock.sleep(300)
    second = engine.run(requests, Priority.LOW, wait_seconds=5)
    assert [str(outcome.status) for outcome in second.outcomes] == ["fresh", "fetched"] * 3
    assert second.calls == 3


def test_days_are_published_before_anything_waits(database: Engine, tmp_path: Path) -> None:
    """A run that is interrupted after the days stores them as partitions, and the next one fetches only the summary."""
    clear(database)
    stage = make_limited_stage(database, tmp_path, ads=2, page=500, calls=2)
    assert [str(outcome.status) for outcome in stage.run("last_30d").outcomes] == ["parked"]
    assert len(stage.stored(Window(date(2026, 10, 26), date(2026, 11, 24)))) == 60
    asked = len(stage.source.submitted)
    assert [str(outcome.status) for outcome in stage.run("last_30d").outcomes] == ["fetched"]
    assert [unit.increment for unit in stage.source.submitted[asked:]] == [Increment.RANGE]


def test_reading_a_report_continues_at_its_page(
    database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run continues at the page where the last one stopped, and requests no other report."""
    monkeypatch.setattr("adwarm.fetch_plan.REPORT_DAYS", 5)
    clear(database)
    stage = make_limited_stage(database, tmp_path, ads=4, page=20, calls=4)
    runs = 0
    while [str(outcome.status) for outcome in stage.run("last_30d").outcomes] != ["fetched"]:
        runs += 1
        assert runs < 10
    assert len(stage.source.begun) == 1
    assert len(stage.stored(Window(date(2026, 10, 26), date(2026, 11, 24)))) == 4 * 30


@SQLITE_ONLY
def test_an_unexpected_error_ends_its_account_only(harness: PrefetchHarness) -> None:
    """Whatever one account raises becomes its failed outcome, with its cause; the others continue."""
    faults = [KeyError("date_start"), ValueError("not a date"), OverflowError("too large"), ZeroDivisionError()]

    def broken(fault: Exception):
        def answer(unit: FetchUnit) -> ResultPage:
            raise fault

        return answer

    harness.source.script = {f"act_{number}": broken(fault) for number, fault in enumerate(faults, 1)}
    requests = [KeyRequest(ReportKey(f"act_{number}", "yesterday")) for number in range(1, 25)]
    report = harness.prefetch.run(requests, Priority.LOW)
    assert [str(outcome.status) for outcome in report.outcomes] == ["failed"] * 4 + ["fetched"] * 20
    for outcome, fault in zip(report.outcomes, faults, strict=False):
        assert type(fault).__name__ in str(outcome.reason)
        assert outcome.error is not None
        assert outcome.error.__cause__ is fault


@SQLITE_ONLY
def test_a_failing_progress_callback_ends_its_account_only(harness: PrefetchHarness) -> None:
    """An outcome that cannot be recorded is a failed one; the other accounts are not affected."""

    def progress(outcomes: Sequence[object]) -> None:
        if outcomes[0].request.key.account_id == "act_1":  # type: ignore[attr-defined]
            raise OSError("disk full")

    requests = [KeyRequest(ReportKey(f"act_{number}", "yesterday")) for number in (1, 2)]
    report = harness.prefetch.run(requests, Priority.LOW, progress=progress)
    assert [str(outcome.status) for outcome in report.outcomes] == ["failed", "fetched"]
    assert "disk full" in str(report.outcomes[0].reason)


def _list_quarantined(engine: Engine) -> list[Any]:
    with read_transaction(engine) as connection:
        return list(connection.execute(select(quarantined_item).order_by(quarantined_item.c.id)))


@SQLITE_ONLY
def test_damaged_days_are_fetched_again_in_the_same_run(harness: PrefetchHarness) -> None:
    """Days of lost and damaged objects are deleted and fetched again, and the error is recorded."""
    key = KeyRequest(ReportKey("act_1", "last_30d"))
    harness.prefetch.run([key], Priority.LOW)
    store = harness.prefetch.objects
    damaged = 0
    for number, (digest, suffix) in enumerate(list(store.list_objects())):
        path = Path(store.describe_location(digest, suffix))
        path.unlink() if number % 2 else path.write_bytes(b"damaged")
        damaged += 1
    harness.clock.sleep(86_400)
    asked = len(harness.source.submitted)
    report = harness.prefetch.run([key], Priority.LOW)
    assert [str(outcome.status) for outcome in report.outcomes] == ["fetched"]
    assert len(harness.source.submitted) > asked
    events = ErrorLog(harness.engine).list_recent(10)
    assert [(event.kind, event.subject) for event in events] == [("Corrupt", "act_1")]
    assert [item.outcome for item in _list_quarantined(harness.engine)] == ["the days were fetched again"] * damaged
    other = KeyRequest(ReportKey("act_1", "last_14d"))
    assert [str(outcome.status) for outcome in harness.prefetch.run([other], Priority.LOW).outcomes] == ["fetched"]


@pytest.mark.parametrize(
    ("bound", "reason"),
    [("pages", "not full may be 20 at most"), ("rows", "exceeds 20 rows"), ("bytes", "exceeds 4,096 bytes")],
)
def test_a_result_is_bounded(
    database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, reason: str
) -> None:
    """Endless pages are cut off by number, rows and bytes; the reason names the bound."""
    clear(database)
    monkeypatch.setattr("adwarm.sources.units.MAX_ROWS", 20 if bound == "rows" else 1_000)
    monkeypatch.setattr("adwarm.sources.units.MAX_BYTES", 4_096 if bound == "bytes" else 2**20)
    monkeypatch.setattr("adwarm.sources.units.MAX_SPARSE_PAGES", 20 if bound == "pages" else 1_000)
    stage = make_limited_stage(database, tmp_path, ads=1, page=1, calls=10_000)
    reads = 0

    def endless(asked: FetchUnit | AsyncReportHandle, cursor: str | None) -> ResultPage:
        nonlocal reads
        reads += 1
        unit = asked.unit if isinstance(asked, AsyncReportHandle) else asked
        return ResultPage(one_ad_page(unit).rows[:1], str(reads), size_bytes=1024)

    stage.source.read = endless  # type: ignore[method-assign]
    (outcome,) = stage.run("yesterday").outcomes
    assert str(outcome.status) == "failed"
    assert isinstance(outcome.error, Corrupt if bound == "pages" else TooMuchData)
    assert reason in str(outcome.reason)
    assert reads < 50


def test_a_cursor_is_followed_once(database: Engine, tmp_path: Path) -> None:
    """Pages that lead back to an earlier one fail at once, and nothing of them is stored."""
    clear(database)
    stage = make_limited_stage(database, tmp_path, ads=1, page=1, calls=10_000)
    reads = 0

    def circle(asked: FetchUnit | AsyncReportHandle, cursor: str | None) -> ResultPage:
        nonlocal reads
        reads += 1
        unit = asked.unit if isinstance(asked, AsyncReportHandle) else asked
        return ResultPage(one_ad_page(unit).rows[:1], "B" if cursor == "A" else "A")

    stage.source.read = circle  # type: ignore[method-assign]
    (outcome,) = stage.run("yesterday").outcomes
    assert str(outcome.status) == "failed"
    assert isinstance(outcome.error, Corrupt)
    assert reads < 5
    with database.connect() as connection:
        assert connection.execute(partition.select()).all() == []


@pytest.mark.parametrize(("seconds", "attempts"), [(4.0, 3), (6.0, 2), (11.0, 1)])
def test_the_retries_of_a_call_are_a_part_of_its_time(
    database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, attempts: int
) -> None:
    """With ten seconds for a call, one of four is made three times, of six twice, of eleven once."""
    clear(database)
    now, tries = 0.0, 0

    def make_limit(rules: SourceSettings) -> TimeLimit:
        return TimeLimit(rules.call_timeout, "the call", "SETTING", waits_for_call=True, monotonic=lambda: now)

    def fail(_unit: FetchUnit) -> ResultPage:
        nonlocal now, tries
        now, tries = now + seconds, tries + 1
        raise Transient("no answer in time", code="slow")

    monkeypatch.setattr("adwarm.prefetch.fetcher.call_limit", make_limit)
    stage = make_limited_stage(database, tmp_path, ads=1, page=10, calls=100, call_timeout=10)
    stage.source.submit = fail  # type: ignore[method-assign]
    assert [str(outcome.status) for outcome in stage.run("yesterday").outcomes] == ["failed"]
    assert tries == attempts


def test_a_report_whose_rows_come_too_slowly_is_read_by_the_next_run(
    database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not requested again: it stays in the lease, and its rows are read when the platform is faster."""
    monkeypatch.setattr("adwarm.fetch_plan.REPORT_DAYS", 1)
    clear(database)
    stage = make_limited_stage(database, tmp_path, ads=1, page=500, calls=100)
    stage.source.capabilities = Capabilities(has_async_reports=True)
    read = stage.source.read

    def fail(target: FetchUnit | AsyncReportHandle, cursor: str | None) -> ResultPage:
        raise Transient("no answer in time", code="timeout")

    stage.source.read = fail  # type: ignore[method-assign]
    assert [str(outcome.status) for outcome in stage.run("last_7d").outcomes] == ["failed"]
    assert len(stage.source.begun) == 1
    stage.source.read = read  # type: ignore[method-assign]
    assert [str(outcome.status) for outcome in stage.run("last_7d").outcomes] == ["fetched"]
    assert len(stage.source.begun) == 1
