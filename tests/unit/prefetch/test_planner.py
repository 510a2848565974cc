"""Tests of the fetch planner."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from adwarm.model import FreshnessRules, Window
from adwarm.prefetch.planner import aligned_block, closing_windows, plan_fetch
from adwarm.store.partitions import PartitionState

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
RULES = FreshnessRules()
WEEK = Window(date(2026, 11, 18), date(2026, 11, 24))


def state(day: date, fetched_at: datetime = NOW, *, complete: bool = True) -> PartitionState:
    """A partition as the store would know it."""
    return PartitionState(day, "0" * 64, 3, "c", fetched_at, complete, False, 1, "v26.0")


def test_nothing_known_asks_for_the_whole_span_once() -> None:
    """Overlapping windows become one span of days, and one summary each but for single days."""
    yesterday, month = Window(WEEK.until, WEEK.until), Window(date(2026, 10, 26), WEEK.until)

    plan = plan_fetch([WEEK, yesterday, month], {}, "UTC", NOW, RULES)

    assert month == plan.daily
    assert (month, WEEK) == plan.ranges


def test_only_missing_and_stale_days_are_asked_for() -> None:
    """Days that are fresh are left out at both ends; one in the middle does not make two requests."""
    have = {day: state(day) for day in WEEK.days()}
    have[date(2026, 11, 20)] = state(date(2026, 11, 20), NOW - timedelta(days=3))
    del have[date(2026, 11, 22)]

    plan = plan_fetch([WEEK], have, "UTC", NOW, RULES)

    assert Window(date(2026, 11, 20), date(2026, 11, 22)) == plan.daily


def test_settled_days_are_never_asked_for_again() -> None:
    """Days fetched when they were older than 28 days are final."""
    old = Window(date(2026, 8, 1), date(2026, 8, 7))
    have = {day: state(day, datetime(2026, 9, 20, tzinfo=UTC)) for day in old.days()}

    assert plan_fetch([old], have, "UTC", NOW, RULES).daily is None


def test_incomplete_days_are_asked_for_again() -> None:
    """A partition that was cut short counts as missing."""
    have = {day: state(day, complete=day != date(2026, 11, 21)) for day in WEEK.days()}

    assert Window(date(2026, 11, 21), date(2026, 11, 21)) == plan_fetch([WEEK], have, "UTC", NOW, RULES).daily


def test_the_future_is_not_asked_for() -> None:
    """A window that reaches beyond the account's today is fetched up to today."""
    plan = plan_fetch([Window(date(2026, 11, 24), date(2026, 12, 24))], {}, "UTC", NOW, RULES)

    assert plan.daily is not None
    assert date(2026, 11, 25) == plan.daily.until


@given(st.dates(date(2000, 1, 1), date(2035, 1, 1)))
def test_blocks_tile_the_calendar(day: date) -> None:
    """Each day lies in exactly one block of 30 days, and all days of a block agree on it."""
    block = aligned_block(day)

    assert day in block
    assert len(block) == 30
    assert all(aligned_block(other) == block for other in (block.since, block.until))


@given(st.dates(date(2020, 1, 1), date(2026, 11, 24)), st.integers(8, 90))
def test_closing_a_day_looks_back_far_enough(day: date, history_days: int) -> None:
    """The history holds the score's look-back and never a day that has not closed."""
    last_closed = date(2026, 11, 24)

    week, history = closing_windows(day, history_days, last_closed)

    assert Window(day - timedelta(days=6), day) == week
    assert history.since <= day - timedelta(days=history_days - 1)
    assert day <= history.until <= last_closed


@given(st.sets(st.integers(0, 6)), st.integers(0, 60))
def test_whatever_is_planned_covers_what_is_not_fresh(known: set[int], age_hours: int) -> None:
    """After a plan is carried out, every wanted day is fresh."""
    days = list(WEEK.days())
    have = {days[index]: state(days[index], NOW - timedelta(hours=age_hours)) for index in known}

    plan = plan_fetch([WEEK], have, "UTC", NOW, RULES)
    if plan.daily:
        have.update({day: state(day) for day in plan.daily.days()})

    assert plan_fetch([WEEK], have, "UTC", NOW, RULES).daily is None
