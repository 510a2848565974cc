"""Reports with breakdowns go the way of all reports: whatever happens to their rows, the groups add up to the truth."""

import math
import re
from collections import Counter
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from adwarm.fetch_plan import TYPICAL_OBJECTS, count_calls
from adwarm.maintenance.compaction import compact
from adwarm.model import Account, Priority, ReportKey, Row, Window
from adwarm.model.breakdowns import HOURLY, count_groups
from adwarm.model.keys import row_key
from adwarm.planning.store_view import StoreView
from adwarm.prefetch import KeyRequest
from adwarm.prefetch.backfill import estimate, find_missing_spans, run_backfill
from adwarm.settings import ReportSettings
from adwarm.sources.protocol import Increment
from tests.unit.prefetch.conftest import PlatformHarness
from tests.unit.prefetch.test_levels import WEEK, Stage, rows_of, sums

PLACEMENT = ("publisher_platform", "platform_position")
REPORT = "divided"
ACCOUNT = Account("act_1")
RECENT = Window(date(2026, 11, 21), WEEK.until)
"""Days that are fetched again every day while these tests run."""
CASES = [
    ("ad", ("age", "gender")),
    ("ad", (HOURLY,)),
    ("adset", ("country",)),
    ("campaign", PLACEMENT),
    ("campaign", ("product_id",)),
    ("account", ("region",)),
    ("account", (*PLACEMENT, "impression_device")),
]


class Division(Stage):
    """A platform and an engine with one report by groups, at one level."""

    def __init__(
        self, staging: PlatformHarness, level: str, breakdowns: tuple[str, ...], actions: tuple[str, ...] = ()
    ) -> None:
        super().__init__(staging)
        self.level = level
        report = ReportSettings.model_validate({"level": level, "breakdowns": breakdowns, "action_breakdowns": actions})
        reports = self.engine.settings.reports | {REPORT: report}
        self.staging = staging.with_settings(self.engine.settings.model_copy(update={"reports": reports}))
        self.engine = self.staging.prefetch
        self.spec = self.engine.settings.spec(REPORT)

    def fetch(self, report: str = REPORT) -> None:
        """Fetch the week."""
        request = KeyRequest(ReportKey("act_1", str(WEEK), report))
        [outcome] = self.engine.run([request], Priority.LOW, wait_seconds=600).outcomes
        assert outcome.status.is_served, outcome.reason

    def rows(self, window: Window = WEEK) -> list[Row]:
        """Return the stored daily rows of the groups."""
        return self.in_order(self.stored(REPORT, window))

    def own_rows(self, window: Window = WEEK, increment: Increment = Increment.DAY) -> list[Row]:
        """Return what the platform itself says about the groups."""
        return self.in_order(self.truth(REPORT, window, increment))

    def in_order(self, rows: list[Row]) -> list[Row]:
        """Return rows in the order of their identity; no two have the same."""
        keys = [row_key(row, self.spec.identity) for row in rows]
        assert len(set(keys)) == len(keys)
        return [row for _, row in sorted(zip(map(str, keys), rows, strict=True), key=lambda pair: pair[0])]

    def check_sums(self, rows: list[Row], window: Window = WEEK, increment: Increment = Increment.DAY) -> None:
        """Check that the groups add up to what the platform says without breakdowns."""
        assert sums(rows, self.level) == sums(self.truth(self.level, window, increment), self.level)


MakeDivision = Callable[..., Division]


@pytest.fixture
def divide(make_staging: Callable[..., PlatformHarness]) -> MakeDivision:
    """Return a function that makes a division of four ads."""

    def make(level: str, breakdowns: tuple[str, ...], *actions: str, **config: Any) -> Division:
        return Division(make_staging({"ads": 4, **config}), level, breakdowns, actions)

    return make


@pytest.mark.parametrize(("level", "breakdowns"), CASES)
def test_groups_of_a_split_request_add_up(divide: MakeDivision, level: str, breakdowns: tuple[str, ...]) -> None:
    """Requests that are too large are split; every group is stored once, by day and over the range."""
    stage = divide(level, breakdowns)
    stage.staging.set_faults(size={"sync_rows": 90, "async_rows": 90})
    stage.fetch()
    assert stage.rows() == stage.own_rows()
    stage.check_sums(stage.rows())
    document = stage.answer(REPORT, WEEK)
    assert (document.header.complete, document.header.missing) == (True, None)
    assert document.header.query.fields[-len(breakdowns) :] == breakdowns
    whole = rows_of(document.window_table)
    assert stage.in_order(whole) == stage.own_rows(increment=Increment.RANGE)
    stage.check_sums(whole, increment=Increment.RANGE)


@pytest.mark.parametrize(("level", "breakdowns"), [("ad", PLACEMENT), ("campaign", ("age",))])
def test_a_gap_has_the_older_groups(divide: MakeDivision, level: str, breakdowns: tuple[str, ...]) -> None:
    """What cannot be computed after a restatement keeps all its older groups; once it can, all groups are new."""
    stage, name = divide(level, breakdowns), f"{level}_id"
    stage.fetch()
    before = stage.rows(RECENT)
    stage.staging.clock.sleep(86_400)
    stage.staging.set_faults(poison=[{"account": "act_1", "slot": 0}])
    stage.fetch()
    stored, own = stage.rows(RECENT), stage.own_rows(RECENT)
    [missing] = re.findall(rf"{level} (\d+): ", str(stage.answer(REPORT, WEEK).header.missing))
    assert [row for row in stored if row[name] == missing] == [row for row in before if row[name] == missing] != []
    assert [row for row in stored if row[name] != missing] == [row for row in own if row[name] != missing]
    assert own != before
    stage.staging.set_faults()
    stage.staging.clock.sleep(86_400)
    stage.fetch()
    assert stage.rows(RECENT) == stage.own_rows(RECENT) != own
    stage.check_sums(stage.rows(RECENT), RECENT)


@pytest.mark.parametrize(("level", "breakdowns"), [("adset", ("gender",)), ("account", (HOURLY,))])
def test_groups_are_whole_after_backfill_and_compaction(
    divide: MakeDivision, level: str, breakdowns: tuple[str, ...]
) -> None:
    """A month of groups is backfilled, settles, and is compacted into one object without losing one."""
    stage, month = divide(level, breakdowns, ads=4), Window(date(2026, 7, 1), date(2026, 7, 31))
    assert run_backfill(stage.engine, [ACCOUNT], month, report=REPORT).reasons == {}
    before = stage.rows(month)
    assert before == stage.own_rows(month)
    stage.staging.clock.sleep(60 * 86_400)
    packed = compact(stage.engine.context)
    assert (packed.errors, packed.months) == ([], 1)
    assert stage.rows(month) == before
    stage.check_sums(before, month)


def test_actions_by_device_are_stored_as_they_come(divide: MakeDivision) -> None:
    """A type that is there once for each device keeps all its items, by day and over the range, and they add up."""
    stage = divide("campaign", ("publisher_platform",), "action_type", "action_device")
    stage.fetch()
    assert stage.rows() == stage.own_rows()
    document = stage.answer(REPORT, WEEK)
    assert stage.in_order(rows_of(document.daily)) == stage.own_rows()
    assert stage.in_order(rows_of(document.window_table)) == stage.own_rows(increment=Increment.RANGE)
    devices = {item["action_device"] for row in stage.rows() for item in row.get("actions", ())}
    assert len(devices) == 3
    plain = stage.truth("campaign", WEEK, Increment.DAY)
    assert _count_clicks(stage.rows()) == _count_clicks(plain) > 0


def _count_clicks(rows: list[Row]) -> int:
    items = (item for row in rows for item in row.get("actions", ()))
    return sum(int(item["value"]) for item in items if item["action_type"] == "link_click")


@pytest.mark.parametrize(("plain_reports", "rows_per_day"), [(["default"], 4), ([], TYPICAL_OBJECTS["ad"])])
def test_the_first_fetch_of_many_groups_is_an_async_report(
    divide: MakeDivision, monkeypatch: pytest.MonkeyPatch, plain_reports: list[str], rows_per_day: float
) -> None:
    """Rows that were never fetched are those of the plain report, or the assumed ones, times the groups: for the fetch
    as for its estimate."""
    stage = divide("ad", PLACEMENT)
    for name in plain_reports:
        stage.fetch(name)
    assert stage.staging.calls("submit") == []
    monkeypatch.setattr("adwarm.fetch_plan.REPORT_ROWS", 7 * rows_per_day * count_groups(PLACEMENT) - 200)
    assert estimate(stage.engine.context, [(ACCOUNT, [WEEK])], REPORT).async_reports == 1
    stage.fetch()
    assert len(stage.staging.calls("submit")) == 1
    assert stage.rows() == stage.own_rows()


def test_groups_cost_their_calls(divide: MakeDivision) -> None:
    """Plan and estimate count the pages of the groups: expected ones before the first fetch, stored ones after it."""
    stage = divide("ad", (*PLACEMENT, "impression_device"), ads=8)
    context, now = stage.engine.context, stage.staging.clock.now()

    def costs(name: str = str(WEEK)) -> list[int]:
        keys = [ReportKey("act_1", name, report) for report in ("default", REPORT)]
        return [len(cost.calls) for cost in StoreView(context, now).get_request_costs(keys, [now, now])]

    def spans(report: str) -> Any:
        month = Window(date(2026, 8, 1), date(2026, 8, 30))
        missing = find_missing_spans(context, [ACCOUNT], month, now, report)
        return estimate(context, ((item.account, item.spans) for item in missing), report)

    groups = count_groups(stage.spec.breakdowns)
    together = count_calls(7, 50 * groups) + count_calls(1, 50 * groups)
    assert costs() == [2, together + together % 2]
    assert spans(REPORT).rows_from == "assumed"
    stage.fetch("default")
    plain, divided = spans("default"), spans(REPORT)
    assert (divided.rows_from, divided.rows_per_day) == ("other reports", plain.rows_per_day * groups)
    assert divided.requests > 5 * plain.requests
    assert (plain.async_reports, divided.async_reports > 0) == (0, True)
    assert "async report" in str(divided)
    stage.fetch()
    rows = len(stage.rows()) / len(WEEK)
    assert spans(REPORT).rows_per_day == pytest.approx(rows)
    plain_calls, calls = costs("last_14d")
    assert calls > 4 * plain_calls


@pytest.mark.parametrize("fetched", [(), ("default",), ("default", "campaign")])
def test_a_higher_level_costs_fewer_calls(
    divide: MakeDivision, monkeypatch: pytest.MonkeyPatch, fetched: tuple[str, ...]
) -> None:
    """Groups of campaigns are expected by the campaigns that are stored, or by a part of the ads: for the fetch, the
    estimate and the plan alike."""
    stage = divide("campaign", PLACEMENT, ads=40)
    for name in fetched:
        stage.fetch(name)
    context, now = stage.engine.context, stage.staging.clock.now()
    days = Counter(row["date_start"] for row in stage.stored(fetched[-1], WEEK)) if fetched else Counter({"any": 50})
    groups = count_groups(PLACEMENT) * (1 if "campaign" in fetched else 0.1)
    most = max(days.values()) * groups
    monkeypatch.setattr("adwarm.fetch_plan.REPORT_ROWS", 7 * math.ceil(most))
    expected = estimate(context, [(ACCOUNT, [WEEK])], REPORT)
    assert expected.rows_per_day == pytest.approx(days.total() / len(days) * groups)
    assert (expected.rows_from, expected.async_reports) == ("other reports" if fetched else "assumed", 0)
    [cost] = StoreView(context, now).get_request_costs([ReportKey("act_1", str(WEEK), REPORT)], [now])
    assert cost.pages == math.ceil((count_calls(7, days[max(days)] * groups) + 1) / 2)
    submitted = stage.staging.calls("submit")
    stage.fetch()
    assert stage.staging.calls("submit") == submitted
