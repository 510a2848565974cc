"""Groups that do not add up to the plain rows of their days are named, are not final, and are read again."""

import re
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from adwarm.model import Account, Priority, ReportKey, Window
from adwarm.model.breakdowns import HOURLY
from adwarm.prefetch import KeyRequest
from adwarm.prefetch.backfill import get_account_missing_spans, run_backfill
from adwarm.queries.operation import count_not_compared, list_short_groups
from adwarm.store import partitions
from adwarm.store.partitions import PartitionState
from adwarm_client.document import Document
from tests.unit.prefetch.conftest import PlatformHarness
from tests.unit.prefetch.test_breakdowns import REPORT, Division

ACCOUNT = Account("act_1")
WEEK = Window(date(2026, 11, 18), date(2026, 11, 24))
OLD = Window(date(2026, 7, 1), date(2026, 7, 30))
PLACEMENT = ("publisher_platform", "platform_position")
NEVER_ON = {"false_sum": [{"breakdown": "publisher_platform", "factor": 0}]}
LOST_GROUP = {"false_sum": [{"group": "instagram", "factor": 0}]}


class Groups(Division):
    """A division whose reports are fetched over any window, and the alerts that it raised."""

    alerts: list[str]

    def warm(self, report: str, window: Window = WEEK) -> int:
        """Make a report fresh, and return the calls that it took."""
        before = len(self.staging.calls())
        request = KeyRequest(ReportKey("act_1", str(window), report))
        [outcome] = self.engine.run([request], Priority.LOW, wait_seconds=600).outcomes
        assert outcome.status.is_served, outcome.reason
        return len(self.staging.calls()) - before

    def states(self, window: Window = WEEK) -> list[PartitionState]:
        """Return the stored days of the groups."""
        states = partitions.list_states(self.engine.engine, "act_1", self.spec.hash, window)
        return [states[day] for day in sorted(states)]

    def named(self) -> list[str]:
        """Return what the page and `adwarm doctor` name."""
        now = self.staging.clock.now()
        return [lack for _, _, lack in list_short_groups(self.engine.engine, self.engine.settings, now, 10)[0]]

    def groups(self, window: Window = WEEK) -> Document:
        """Return the stored document of the groups."""
        return self.answer(REPORT, window)

    def days_later(self, days: float) -> None:
        """Let time pass."""
        self.staging.clock.sleep(days * 86_400)


@pytest.fixture
def divide(make_staging: Callable[..., PlatformHarness], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Groups]:
    """Return a function that makes a division of four ads."""

    def make(level: str = "ad", breakdowns: tuple[str, ...] = PLACEMENT) -> Groups:
        stage = Groups(make_staging({"ads": 4}), level, breakdowns)
        stage.alerts = []
        monkeypatch.setattr(stage.engine.pipeline, "alert", lambda *parts: stage.alerts.append(": ".join(parts[1:])))
        return stage

    return make


@pytest.mark.parametrize("level", ["ad", "campaign", "account"])
@pytest.mark.parametrize(("fault", "words"), [(NEVER_ON, r": 0 of the"), (LOST_GROUP, "impressions of the report")])
def test_days_that_do_not_add_up_are_named_and_read_again(
    divide: Callable[..., Groups], level: str, fault: dict[str, Any], words: str
) -> None:
    """A breakdown that is never switched on, or a lost group: answer, page, doctor and one alert name the days without
    another call; they are not final; and once the platform answers they are read again, and everything is whole."""
    stage = divide(level)
    stage.warm("default")
    stage.staging.set_faults(**fault)
    assert stage.warm(REPORT) <= 2, "one request for the days, and one for the range"
    header = stage.groups().header
    assert (header.complete, header.settled) == (False, False)
    assert header.missing is not None
    assert "groups of 7 days from 2026-11-18 to 2026-11-24, on the first of them: " in header.missing
    assert words in header.missing
    assert [state.is_short for state in stage.states()] == [True] * 7
    assert stage.named() == [header.missing]
    assert len(stage.alerts) == 1
    assert "act_1 2026-11-18..2026-11-24" in stage.alerts[0]
    stage.days_later(1)
    stage.warm(REPORT)
    assert len(stage.alerts) == 1, "the same is not news"
    stage.staging.set_faults()
    stage.days_later(1)
    stage.warm("default")
    stage.warm(REPORT)
    assert (stage.groups().header.complete, stage.groups().header.missing) == (True, None)
    assert stage.rows() == stage.own_rows()
    assert stage.named() == []


def test_final_days_that_do_not_add_up_are_read_again_once_the_breakdown_is_answered(
    divide: Callable[..., Groups],
) -> None:
    """Old days are not settled and cost nothing until other days have groups, then one read; or one a week."""
    stage = divide()
    stage.warm("default", OLD)
    stage.staging.set_faults(**NEVER_ON)
    run_backfill(stage.engine, [ACCOUNT], OLD, report=REPORT)
    assert {(state.is_short, state.settled) for state in stage.states(OLD)} == {(True, False)}
    recent = Window(date(2026, 7, 20), OLD.until)

    def missing() -> tuple[Window, ...]:
        now = stage.staging.clock.now()
        return get_account_missing_spans(stage.engine.context, ACCOUNT, recent, now, REPORT)

    assert missing() == ()
    stage.days_later(7)
    assert missing() == (recent,)
    run_backfill(stage.engine, [ACCOUNT], recent, report=REPORT)
    assert missing() == ()
    stage.staging.set_faults()
    answered = Window(OLD.until + timedelta(days=1), OLD.until + timedelta(days=9))
    stage.days_later(0.01)
    stage.warm(REPORT, answered)
    now = stage.staging.clock.now()
    both = Window(recent.since, answered.until)
    spans = get_account_missing_spans(stage.engine.context, ACCOUNT, both, now, REPORT)
    assert spans == (recent,)
    stage.warm(REPORT, both)
    assert {(state.is_short, state.settled) for state in stage.states(both)} == {(False, True)}
    assert stage.groups(both).header.settled


def test_without_plain_rows_nothing_is_invented_and_later_ones_are_compared(divide: Callable[..., Groups]) -> None:
    """Days that are stored only by groups are whole as far as is known, and counted; plain rows that come later show
    what final groups lack, whose days are then read again."""
    stage = divide()
    stage.staging.set_faults(**LOST_GROUP)
    stage.warm(REPORT, OLD)
    assert stage.groups(OLD).header.complete
    assert stage.named() == []
    assert count_not_compared(stage.engine.engine, stage.engine.settings) == {REPORT: len(OLD)}
    stage.days_later(1)
    stage.warm("default", OLD)
    assert count_not_compared(stage.engine.engine, stage.engine.settings) == {}
    assert all(state.is_restated for state in stage.states(OLD))
    assert stage.warm(REPORT, OLD) > 0
    assert "groups of 30 days" in str(stage.groups(OLD).header.missing)
    assert len(stage.named()) == len(stage.alerts) == 1


def test_a_range_that_differs_from_its_days_says_so(divide: Callable[..., Groups]) -> None:
    """Days of before a breakdown was switched on and a range of after it do not disagree unsaid, without plain rows."""
    stage = divide()
    stage.staging.set_faults(**NEVER_ON)
    month = Window(date(2026, 10, 26), WEEK.until)
    stage.warm(REPORT, month)
    assert stage.groups(month).header.missing is None
    stage.staging.set_faults()
    stage.days_later(0.3)
    stage.warm(REPORT, month)
    document = stage.groups(month)
    assert {row["date_start"] for row in document.daily.to_rows()} == {str(month.until)}
    assert re.search(r"groups summary: [\d,]+ impressions over the range, and [\d,]+ as", str(document.header.missing))
    assert not document.header.complete


@pytest.mark.parametrize("breakdowns", [("age",), ("region",), (HOURLY,), ("product_id",), ("impression_device",)])
def test_honest_groups_add_up_for_weeks(divide: Callable[..., Groups], breakdowns: tuple[str, ...]) -> None:
    """Whatever the order and age of the reads, days that the platform restates are not taken for lost groups."""
    stage = divide("campaign", breakdowns)
    for hours in (1, 5, 13, 20, 30, 7 * 24, 3, 40):
        stage.days_later(hours / 24)
        today = stage.staging.clock.now().date()
        window = Window(today - timedelta(days=9), today)
        for report in ("default", REPORT) if hours % 2 else (REPORT, "default"):
            stage.warm(report, window)
        assert (stage.groups(window).header.missing, stage.named(), stage.alerts) == (None, [], [])
