"""Reports of every level are complete: daily and range rows equal the platform's own, and the sums of its ads."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from adwarm.compression import Document, unpack_document
from adwarm.fatigue.account_scores import score_accounts
from adwarm.maintenance.compaction import compact
from adwarm.model import Account, ColumnTable, EntryKey, Priority, ReportKey, Row, Window
from adwarm.prefetch import KeyRequest
from adwarm.prefetch.backfill import run_backfill
from adwarm.settings import ReportSettings
from adwarm.sources.protocol import Increment, ResultPage
from adwarm.store import Context, entries, partitions
from adwarm.store.partition_rows import daily_rows
from graph_simulator.fault_profile import parse_fault_profile
from tests.unit.prefetch.conftest import PlatformHarness

LEVELS = ("ad", "adset", "campaign", "account")
WEEK = Window(date(2026, 11, 18), date(2026, 11, 24))
LONG = Window(date(2026, 10, 1), date(2026, 11, 24))
ADDITIVE = ("impressions", "clicks", "spend", "inline_link_clicks")
STORMS: dict[str, dict[str, Any]] = {
    "calm": {},
    "split": {"size": {"sync_rows": 2, "async_rows": 2}},
    "pages": {"size": {"page_cells": 300}},
}


class Stage:
    """A platform whose accounts have several campaigns, and an engine with a report for each level."""

    def __init__(self, staging: PlatformHarness) -> None:
        reports = {"default": ReportSettings()} | {level: ReportSettings(level=level) for level in LEVELS}
        settings = staging.prefetch.settings.model_copy(update={"reports": reports})
        self.staging = staging.with_settings(settings)
        self.engine = self.staging.prefetch

    def stored(self, level: str, window: Window, account: str = "act_1") -> list[Row]:
        """Return the stored daily rows."""
        spec = self.engine.settings.spec(level).hash
        return daily_rows(
            self.engine.objects, partitions.list_states(self.engine.engine, account, spec, window), window
        )

    def answer(self, level: str, window: Window) -> Document:
        """Return the stored document."""
        spec = self.engine.settings.spec(level).hash
        result = entries.find(self.engine.engine, EntryKey("act_1", window, spec))
        assert result is not None
        return unpack_document(result[1], self.engine.settings.compression)

    def truth(self, level: str, window: Window, increment: Increment) -> list[Row]:
        """Return the platform's own rows, read without faults, page by page."""
        storm = self.staging.server.state.fault_profile
        self.staging.server.state.set_fault_profile(parse_fault_profile({}, "calm"))
        source = self.engine.sources.make_default()
        (unit,) = source.plan(source.get_account("act_1"), [window], increment, self.engine.settings.spec(level))
        rows: list[Row] = []
        page = source.submit(unit)
        while isinstance(page, ResultPage):
            rows += page.rows
            if page.next_cursor is None:
                break
            page = source.read(unit, page.next_cursor)
        self.staging.server.state.set_fault_profile(storm)
        return in_order(rows, self.engine.settings.spec(level).level)


def in_order(rows: list[Row], level: str) -> list[Row]:
    """Return rows by day and object."""
    return sorted(rows, key=lambda row: (row["date_start"], row[f"{level}_id"]))


def sums(rows: list[Row], level: str) -> dict[tuple[str, str], dict[str, Decimal]]:
    """Return additive metrics by day and object of a level."""
    result: dict[tuple[str, str], dict[str, Decimal]] = defaultdict(lambda: dict.fromkeys(ADDITIVE, Decimal(0)))
    for row in rows:
        for name in ADDITIVE:
            result[row["date_start"], row[f"{level}_id"]][name] += Decimal(row.get(name, "0"))
    return dict(result)


def rows_of(table: ColumnTable) -> list[Row]:
    """Return the rows of a document, whose account is named in full, as the platform writes them."""
    rows = table.to_rows()
    assert {row["account_id"] for row in rows} <= {"act_1"}
    return [{**row, "account_id": "1"} for row in rows]


@pytest.fixture
def stage(make_staging: Callable[..., PlatformHarness]) -> Stage:
    """Twenty ads in several campaigns, with more rows than a page."""
    return Stage(make_staging({"ads": 20}))


@pytest.mark.parametrize(
    ("level", "storm"),
    [
        ("ad", "calm"),
        ("ad", "pages"),
        ("adset", "split"),
        ("campaign", "split"),
        ("account", "calm"),
        ("account", "pages"),
    ],
)
def test_rows_and_sums_are_the_platforms(stage: Stage, level: str, storm: str) -> None:
    """Fetched at once, split, or in small pages: every row is stored once, by day and over the range."""
    stage.staging.set_faults(**STORMS[storm])
    report = stage.engine.run([KeyRequest(ReportKey("act_1", str(WEEK), level))], Priority.LOW, wait_seconds=600)
    assert [str(outcome.status) for outcome in report.outcomes] == ["fetched"]
    daily = in_order(stage.stored(level, WEEK), level)
    assert daily == stage.truth(level, WEEK, Increment.DAY)
    assert sums(daily, level) == sums(stage.truth("ad", WEEK, Increment.DAY), level)
    document = stage.answer(level, WEEK)
    rows = rows_of(document.window_table)
    assert in_order(rows, level) == stage.truth(level, WEEK, Increment.RANGE)
    assert sums(rows, level) == sums(stage.truth("ad", WEEK, Increment.RANGE), level)
    assert (document.header.complete, document.header.missing) == (True, None)
    if level != "account":
        assert len({row[f"{level}_id"] for row in daily}) > 3


@pytest.mark.parametrize("level", LEVELS[1:])
def test_long_spans_of_a_level_go_as_a_report(stage: Stage, level: str) -> None:
    """A quarter is fetched as an async report, and equals the platform's rows."""
    report = stage.engine.run([KeyRequest(ReportKey("act_1", str(LONG), level))], Priority.LOW, wait_seconds=600)
    assert [str(outcome.status) for outcome in report.outcomes] == ["fetched"]
    assert len(stage.staging.calls("submit")) == 1
    assert in_order(stage.stored(level, LONG), level) == stage.truth(level, LONG, Increment.DAY)


@pytest.mark.parametrize("level", LEVELS[1:])
def test_a_backfill_and_a_compaction_keep_every_row(stage: Stage, level: str) -> None:
    """Two months of a level are backfilled, settle, and are compacted into an object a month without losing a row."""
    months = Window(date(2026, 7, 1), date(2026, 8, 31))
    done = run_backfill(stage.engine, [Account("act_1", "UTC", "UTC")], months, report=level)
    assert done.reasons == {}
    before = in_order(stage.stored(level, months), level)
    assert before == stage.truth(level, months, Increment.DAY)
    stage.staging.clock.sleep(60 * 86_400)
    packed = compact(stage.engine.context)
    assert packed.errors == []
    assert packed.months > 0
    assert in_order(stage.stored(level, months), level) == before


@pytest.mark.parametrize("level", ["campaign", "adset"])
def test_missing_data_is_of_the_reports_level(stage: Stage, level: str) -> None:
    """An ad that cannot be computed makes its campaign or ad set missing, and nothing else."""
    stage.staging.set_faults(poison=[{"account": "act_1", "slot": 2}])
    report = stage.engine.run([KeyRequest(ReportKey("act_1", str(WEEK), level))], Priority.LOW, wait_seconds=600)
    assert [str(outcome.status) for outcome in report.outcomes] == ["fetched"]
    document = stage.answer(level, WEEK)
    truth = stage.truth(level, WEEK, Increment.DAY)
    named = {
        part.split(":")[0].split(" ")[1] for part in str(document.header.missing).split("; ") if part.startswith(level)
    }
    assert named
    rest = [row for row in truth if row[f"{level}_id"] not in named]
    assert in_order(stage.stored(level, WEEK), level) == rest
    assert 0 < len({row[f"{level}_id"] for row in rest}) < len({row[f"{level}_id"] for row in truth})


def test_scores_need_rows_of_ads(stage: Stage) -> None:
    """When the default report is by campaign no ad is scored, and the result says why."""
    reports = stage.engine.settings.reports | {"default": ReportSettings(level="campaign")}
    settings = stage.engine.settings.model_copy(update={"reports": reports})
    engine = replace(stage.engine, context=replace(stage.engine.context, settings=settings))
    engine.run([KeyRequest(ReportKey("act_1", str(WEEK)))], Priority.LOW, wait_seconds=600)
    now = stage.staging.clock.now()
    report = score_accounts(Context(engine.engine, engine.objects, settings), [("act_1", WEEK.until)], now)
    assert report.accounts == 0
    assert "ADWARM_REPORTS__DEFAULT__LEVEL" in report.errors[0]
