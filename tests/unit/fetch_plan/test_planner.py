"""The fetch planner requests exactly what is missing or due, in the fewest requests, and no final day."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from adwarm.fetch_plan.planner import (
    HISTORY_DAYS,
    FetchPlan,
    aligned_block,
    aligned_blocks,
    combine_request,
    get_day_close_windows,
    needs_fetch,
    plan_fetch,
)
from adwarm.fetch_plan.refetch_schedule import RefetchSchedule
from adwarm.model import Window
from adwarm.sources.protocol import Capabilities
from adwarm.store.partitions import PartitionState

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
TODAY = date(2026, 11, 25)
CALENDAR = RefetchSchedule("UTC", weekday=0)
WEEK = Window(date(2026, 11, 18), date(2026, 11, 24))
DAY = timedelta(days=1)


def state(day: date, fetched_at: datetime = NOW, *, complete: bool = True, rows: int = 3) -> PartitionState:
    """Return a stored partition."""
    return PartitionState(day, "0" * 64, rows, "c", fetched_at, complete, False, 1, "v26.0")


def test_with_nothing_stored_the_whole_span_is_one_request() -> None:
    """Overlapping windows become one span of days, and one summary each unless they are a single day."""
    yesterday, month = Window(WEEK.until, WEEK.until), Window(date(2026, 10, 26), WEEK.until)

    assert plan_fetch([WEEK, yesterday, month], {}, CALENDAR, NOW) == FetchPlan((month,), (month, WEEK))


def test_only_missing_and_due_days_are_fetched() -> None:
    """Days that are not due are left out at both ends; one in the middle does not make two requests."""
    stored = {day: state(day) for day in WEEK.days()}
    stored[date(2026, 11, 20)] = state(date(2026, 11, 20), NOW - timedelta(days=3))
    del stored[date(2026, 11, 22)]

    assert plan_fetch([WEEK], stored, CALENDAR, NOW).spans == (Window(date(2026, 11, 20), date(2026, 11, 22)),)


def test_days_that_would_cost_a_page_are_not_joined() -> None:
    """Two requests are cheaper than one whose extra rows fill more pages than the second request has."""
    stored = {day: state(day, rows=400) for day in WEEK.days()}
    del stored[WEEK.since], stored[WEEK.until]
    ends = tuple(Window(day, day) for day in (WEEK.since, WEEK.until))

    assert plan_fetch([WEEK], stored, CALENDAR, NOW, page_rows=500).spans == ends
    assert plan_fetch([WEEK], stored, CALENDAR, NOW, page_rows=2_000).spans == (WEEK,)


def test_final_days_separate_spans() -> None:
    """A final day between two missing ones is not fetched again, though that takes one more request."""
    old = Window(date(2026, 8, 1), date(2026, 8, 4))
    stored = {date(2026, 8, 2): state(date(2026, 8, 2), datetime(2026, 9, 20, tzinfo=UTC))}

    assert plan_fetch([old], stored, CALENDAR, NOW).spans == (
        Window(date(2026, 8, 1), date(2026, 8, 1)),
        Window(date(2026, 8, 3), date(2026, 8, 4)),
    )


def test_incomplete_days_are_fetched_again() -> None:
    """A partition that was cut short counts as missing."""
    stored = {day: state(day, complete=day != date(2026, 11, 21)) for day in WEEK.days()}

    assert plan_fetch([WEEK], stored, CALENDAR, NOW).spans == (Window(date(2026, 11, 21), date(2026, 11, 21)),)


def test_the_future_is_not_fetched() -> None:
    """A window beyond the account's today is fetched up to today."""
    plan = plan_fetch([Window(date(2026, 11, 24), date(2026, 12, 24))], {}, CALENDAR, NOW)

    assert plan.spans[-1].until == TODAY


def test_history_is_completed_without_a_summary() -> None:
    """Days of history are fetched with the key's own days, without a summary."""
    history = Window(date(2026, 10, 1), WEEK.until)

    assert plan_fetch([WEEK], {}, CALENDAR, NOW, [history]) == FetchPlan((history,), (WEEK,))


def test_few_days_and_summaries_go_in_one_request() -> None:
    """Days are windows too. Too many, only one kind, or a source without unique users: two requests."""
    caps, month = Capabilities(max_windows_per_request=9), Window(date(2026, 10, 26), WEEK.until)
    days = tuple(Window(day, day) for day in WEEK.days())

    assert combine_request([WEEK], [WEEK, month], caps) == (*days, WEEK, month)
    assert combine_request([WEEK], [WEEK, month, WEEK], caps) == ()
    assert combine_request([], [WEEK], caps) == combine_request([WEEK], [], caps) == ()
    assert combine_request([WEEK], [month], replace(caps, unique_metrics=frozenset())) == ()
    assert combine_request([WEEK], [month], caps, rows_per_day=100, max_rows=699) == ()
    assert combine_request([WEEK], [month], caps, max_rows=0) == (*days, month)
    assert combine_request([WEEK], [month], caps, rows_per_day=100, max_rows=700) == (*days, month)


def test_blocks_are_always_the_same() -> None:
    """They are counted from the first day of 2000, so that fetches of all time share them."""
    assert aligned_block(date(2000, 1, 1)) == Window(date(2000, 1, 1), date(2000, 1, 30))
    assert aligned_block(date(1999, 12, 31)) == Window(date(1999, 12, 2), date(1999, 12, 31))


@given(st.dates(date(2000, 1, 1), date(2035, 1, 1)))
def test_blocks_tile_the_calendar(day: date) -> None:
    """Each day is in exactly one block of 30 days, and all days of a block agree on it."""
    block = aligned_block(day)

    assert day in block
    assert len(block) == 30
    assert all(aligned_block(other) == block for other in (block.since, block.until))


@given(st.dates(date(2020, 1, 1), date(2026, 11, 24)), st.integers(0, 400))
def test_the_blocks_of_a_window_are_its_days(since: date, length: int) -> None:
    """A window's blocks contain each of its days once, and none is longer than a block."""
    window = Window(since, since + length * DAY)
    blocks = aligned_blocks(window)

    assert [day for block in blocks for day in block.days()] == list(window.days())
    assert all(aligned_block(block.since) == aligned_block(block.until) for block in blocks)


@given(st.dates(date(2020, 1, 1), date(2026, 11, 24)))
def test_closing_a_day_looks_back_far_enough(day: date) -> None:
    """The history covers the score's look-back and never a day that has not closed."""
    last_closed = date(2026, 11, 24)

    week, history = get_day_close_windows(day, last_closed)

    assert Window(day - timedelta(days=6), day) == week
    assert history.since <= day - timedelta(days=HISTORY_DAYS - 1)
    assert day <= history.until <= last_closed


SPANS = st.tuples(st.integers(-3, 70), st.integers(0, 40)).map(
    lambda pair: Window(TODAY - (pair[0] + pair[1]) * DAY, TODAY - pair[0] * DAY)
)
KNOWN = st.dictionaries(
    st.integers(0, 110), st.tuples(st.integers(0, 24 * 60), st.booleans(), st.integers(0, 300)), max_size=60
)


@given(st.lists(SPANS, min_size=1, max_size=4), KNOWN, st.integers(0, 6))
def test_a_plan_covers_exactly_what_is_missing_or_due(
    windows: list[Window], stored_days: dict[int, tuple[int, bool, int]], weekday: int
) -> None:
    """Whatever is stored and requested: every missing or due day is fetched once, no final day, none beyond today.

    A day that is neither is read along only between two that are, and then it was wanted at some time: it is there.
    """
    schedule = RefetchSchedule("UTC", weekday)
    stored = {
        (day := TODAY - age * DAY): state(day, NOW - timedelta(hours=hours), complete=complete, rows=rows)
        for age, (hours, complete, rows) in stored_days.items()
        if hours >= 0
    }

    plan = plan_fetch(windows, stored, schedule, NOW)

    fetched = [day for span in plan.spans for day in span.days()]
    requested = {day for window in windows for day in window.days() if day <= TODAY}
    due = {day for day in requested if needs_fetch(day, stored.get(day), schedule, NOW)}
    along = set(fetched) - due
    assert len(fetched) == len(set(fetched))
    assert due <= set(fetched)
    assert along <= set(stored)
    assert not any(schedule.is_final(day, stored[day].fetched_at) for day in along)
    assert all(span.since in due and span.until in due for span in plan.spans)


@given(st.lists(SPANS, min_size=1, max_size=4), KNOWN)
def test_carrying_a_plan_out_leaves_nothing_to_do(
    windows: list[Window], stored_days: dict[int, tuple[int, bool, int]]
) -> None:
    """After a plan is carried out the same windows need nothing more."""
    stored = {
        (day := TODAY - age * DAY): state(day, NOW - timedelta(hours=hours), complete=complete, rows=rows)
        for age, (hours, complete, rows) in stored_days.items()
    }
    for span in plan_fetch(windows, stored, CALENDAR, NOW).spans:
        stored.update({day: state(day) for day in span.days()})

    assert plan_fetch(windows, stored, CALENDAR, NOW).is_empty
