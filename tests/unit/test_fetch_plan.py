"""The schedule fetches each day again as often as it may change, and never a final one."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.fetch_plan import (
    FetchPlan,
    RefetchSchedule,
    RequestCost,
    aligned_block,
    aligned_blocks,
    combine_request,
    count_calls,
    expect_rows,
    find_expiry,
    get_day_close_windows,
    get_request_cost,
    is_large,
    list_similar,
    needs_fetch,
    plan_fetch,
    refetch_weekday,
)
from adwarm.foundation.local_time import local_midnight
from adwarm.model import Account, FreshnessRules, QuerySpec, Window
from adwarm.settings import ReportSettings, Settings
from adwarm.sources.protocol import Capabilities
from adwarm.store.partitions import PartitionState

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
TODAY = date(2026, 11, 25)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ZONES = st.sampled_from(["UTC", "America/New_York", "Pacific/Auckland", "Asia/Kolkata"])
MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2026, 12, 1), timezones=st.just(UTC))


def _schedule(weekday: int = 2) -> RefetchSchedule:
    return RefetchSchedule("UTC", weekday)


def test_each_age_has_its_interval(subtests: pytest.Subtests) -> None:
    """Today and yesterday by hours, the week by days, the month by weeks."""
    for age, hours_ago, due in [
        (0, 2, False),
        (0, 3, True),  # today: three hours
        (1, 5, False),
        (1, 6, True),  # yesterday: six
        (2, 11, False),
        (2, 13, True),
        (7, 11, False),
        (7, 13, True),  # once per day, from midnight on
        (8, 11, False),
        (8, 13, True),
        (28, 13, True),  # it is a Wednesday, the account's own weekday
    ]:
        with subtests.test(age=age):
            assert _schedule().is_due(TODAY - age * DAY, NOW - hours_ago * HOUR, NOW) is due


def test_settling_days_wait_for_the_accounts_weekday() -> None:
    """A day of two weeks ago, fetched after Tuesday began, is not fetched again until the next Tuesday, local time."""
    assert RefetchSchedule("UTC").weekday == 0
    assert [_schedule(0).is_due(TODAY - age * DAY, NOW - DAY, NOW) for age in (7, 8)] == [True, False]
    schedule = RefetchSchedule("America/New_York", 1)
    zone = ZoneInfo("America/New_York")
    read, day = datetime(2026, 11, 24, 0, 30, tzinfo=zone), date(2026, 11, 10)
    assert not schedule.is_due(day, read, datetime(2026, 11, 30, 23, 59, tzinfo=zone))
    assert schedule.is_due(day, read, datetime(2026, 12, 1, 0, 1, tzinfo=zone))
    assert schedule.is_due(day, read - HOUR, datetime(2026, 11, 30, 23, 59, tzinfo=zone))


def test_a_day_read_while_it_ran_is_due_when_it_has_ended() -> None:
    """Data of 23:30 is fresh for three hours, but not beyond midnight: the day was not complete."""
    late = datetime(2026, 11, 24, 23, 30, tzinfo=UTC)
    assert not _schedule().is_due(date(2026, 11, 24), late, late + timedelta(minutes=29))
    assert _schedule().is_due(date(2026, 11, 24), late, late + timedelta(minutes=31))
    midnight = datetime(2026, 11, 25, tzinfo=UTC)
    assert not _schedule().is_due(date(2026, 11, 24), midnight, midnight + HOUR)
    assert _schedule().is_due(date(2026, 11, 24), midnight - timedelta(seconds=1), midnight)


@given(ZONES, st.integers(0, 6), st.integers(0, 60), MOMENTS, st.integers(0, 24 * 90))
def test_final_days_are_never_due(zone: str, weekday: int, age: int, fetched_at: datetime, later: int) -> None:
    """Data fetched when it was over 28 days old is never fetched again; older fetches become due in time."""
    schedule = RefetchSchedule(zone, weekday)
    day = schedule.today(fetched_at) - age * DAY
    if age > 28:
        assert not schedule.is_due(day, fetched_at, fetched_at + later * HOUR)
    else:
        assert schedule.is_due(day, fetched_at, fetched_at + 8 * DAY)


@given(st.integers(0, 6), st.integers(8, 28), MOMENTS)
def test_a_settling_day_is_fetched_once_a_week(weekday: int, age: int, start: datetime) -> None:
    """Checked every hour of a week, a settling day is due once, or twice when the week begins on its weekday."""
    schedule, fetched = RefetchSchedule("UTC", weekday), []
    day, last = start.date() - age * DAY, start
    for hour in range(7 * 24):
        now = start + hour * HOUR
        if schedule.is_due(day, last, now):
            fetched.append(now)
            last = now
    assert len(fetched) == 1 or (not fetched and start.weekday() == weekday)


@given(ZONES, MOMENTS, st.integers(1, 10))
def test_a_summary_is_due_once_per_day_of_the_account(zone: str, fetched_at: datetime, days: int) -> None:
    """It is kept until the account's midnight; from then on it is due until the window is final."""
    schedule = RefetchSchedule(zone)
    today = schedule.today(fetched_at)
    window = Window(today - 7 * DAY, today - DAY)
    assert not schedule.is_summary_due(
        window, fetched_at, local_midnight(today + DAY, schedule.data_zone) - timedelta(seconds=1)
    )
    assert schedule.is_summary_due(window, fetched_at, local_midnight(today + days * DAY, schedule.data_zone))
    old = Window(today - 40 * DAY, today - 29 * DAY)
    assert not schedule.is_summary_due(old, fetched_at, fetched_at + days * DAY)


def test_accounts_are_spread_over_the_week() -> None:
    """Weekdays depend only on the id and no day has much more than its share."""
    result = [refetch_weekday(f"act_{number}") for number in range(7_000)]
    assert result == [refetch_weekday(f"act_{number}") for number in range(7_000)]
    assert result[1:6] == [4, 3, 1, 5, 6]
    assert set(result) == set(range(7))
    assert all(850 < result.count(weekday) < 1_150 for weekday in range(7))
    rules = FreshnessRules(daily_days=3)
    assert RefetchSchedule.for_account(Account("act_1"), rules) == RefetchSchedule(
        "UTC", refetch_weekday("act_1"), rules
    )


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


def test_an_entry_is_fresh_until_the_first_of_its_days_is_due() -> None:
    """A missing day makes it due at once, days ahead of today do not count, and final days never end it."""
    stored = {day: state(day, fetched_at=NOW) for day in WEEK.days()}
    ends = [find_expiry(Window(day, day), stored, CALENDAR, NOW) for day in WEEK.days()]
    assert find_expiry(WEEK, stored, CALENDAR, NOW) == min(end for end in ends if end is not None) > NOW
    assert find_expiry(
        Window(WEEK.since, TODAY + DAY * 9), {**stored, TODAY: state(TODAY, fetched_at=NOW)}, CALENDAR, NOW
    )
    missing = {day: item for day, item in stored.items() if day != WEEK.since}
    assert find_expiry(WEEK, missing, CALENDAR, NOW) == NOW
    old = date(2025, 6, 1)
    assert find_expiry(Window(old, old), {old: state(old, fetched_at=NOW)}, CALENDAR, NOW) is None


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
    assert history.since == min(aligned_block(day).since, day - timedelta(days=36))
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


NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
YESTERDAY = Window(WEEK.until, WEEK.until)
SCHEDULE = RefetchSchedule("UTC")


def _states(window: Window, fetched_at: datetime = NOON) -> dict[date, PartitionState]:
    return {day: PartitionState(day, "h", 1, "c", fetched_at, True, False, 1, "v26.0") for day in window.days()}


def test_with_nothing_stored_everything_is_fetched() -> None:
    """A single day costs its days; more days cost a summary too. The planner says the same."""
    for window in (YESTERDAY, Window(YESTERDAY.since - DAY, YESTERDAY.until), WEEK):
        plan = plan_fetch([window], {}, SCHEDULE, NOON)
        expected = RequestCost(bool(plan.spans), bool(plan.summary_windows))
        assert get_request_cost(window, {}, SCHEDULE, NOON) == expected == RequestCost(True, window != YESTERDAY)


def test_stored_days_cost_nothing_until_they_are_due(subtests: pytest.Subtests) -> None:
    """Fresh days need no request; once yesterday's freshness has ended they need one. The summary always counts."""
    for age, days in [(timedelta(0), False), (timedelta(hours=23), True)]:
        with subtests.test(age=age, days=days):
            assert get_request_cost(WEEK, _states(WEEK), SCHEDULE, NOON + age) == RequestCost(days, True)


def test_a_missing_day_costs_a_request() -> None:
    """One day that is not stored is enough."""
    states = _states(WEEK)
    del states[WEEK.since]
    assert get_request_cost(WEEK, states, SCHEDULE, NOON) == RequestCost(True, True)


@pytest.mark.parametrize(
    ("window", "missing", "rows_per_day", "expected"),
    [
        (YESTERDAY, 1, 1_200, RequestCost(True, False, 3)),
        (Window(WEEK.until - DAY, WEEK.until), 2, 1_200, RequestCost(True, True, 4)),
        (WEEK, 7, 1_250, RequestCost(True, True, 11)),
        (WEEK, 1, 1_900, RequestCost(True, True, 4)),
        (WEEK, 0, 1_200, RequestCost(False, True, 3)),
        (YESTERDAY, 0, 1_200, RequestCost(False, False, 1)),
        (WEEK, 7, 2_000, RequestCost(True, True, 21)),
        (Window(WEEK.until - 89 * DAY, WEEK.until), 90, 0, RequestCost(True, True, 1)),
    ],
)
def test_the_calls_of_a_key_are_counted_by_its_rows(
    window: Window, missing: int, rows_per_day: int, expected: RequestCost
) -> None:
    """Days that are missing and a summary of a day's rows take pages, each request half of them, and at least one."""
    stored = dict([*_states(window).items()][missing:])
    cost = get_request_cost(window, stored, SCHEDULE, NOON, *[rows_per_day] * bool(rows_per_day))
    assert cost == expected
    assert len(cost.calls) == (cost.days + cost.summary) * cost.pages


@pytest.mark.parametrize(
    ("days", "rows_per_day", "calls"),
    [(3, 0, 1), (1, 500, 1), (1, 501, 2), (45, 1, 1), (46, 1, 11), (1, 10_000, 20), (1, 10_001, 31), (4, 2_500, 20)],
)
def test_a_request_takes_pages_and_a_large_one_a_report(days: int, rows_per_day: int, calls: int) -> None:
    """A page has 500 rows; more than 45 days or 10,000 rows take the ten calls of an async report too."""
    assert count_calls(days, rows_per_day) == calls
    assert is_large(days, rows_per_day) is (calls > 20 or days > 45)


@pytest.mark.parametrize(
    ("level", "own", "similar", "objects"),
    [
        *(("ad", 7.5, [("ad", 20.0)], 7.5), ("ad", 0.0, [("ad", 20.0)], 0.0), ("account", 7.5, [], 7.5)),
        *(("ad", None, [("ad", 20.0)], 20.0), ("ad", None, [("ad", 0.0)], 0.0), ("ad", None, [("ad", None)], 50.0)),
        *(("ad", None, [], 50.0), ("adset", None, [], 15.0), ("campaign", None, [], 5.0), ("account", None, [], 1.0)),
        *(("campaign", None, [("ad", 300.0)], 30.0), ("campaign", None, [("ad", None), ("adset", 60.0)], 20.0)),
        *(("adset", None, [("adset", 7.0), ("ad", 300.0)], 7.0), ("ad", None, [("campaign", 4.0)], 40.0)),
        *(("campaign", None, [("ad", 3.0)], 1.0), ("adset", None, [("ad", 0.5)], 0.5)),
        *(("campaign", None, [("ad", 0.0)], 0.0), ("account", None, [("ad", 300.0)], 1.0)),
    ],
)
def test_the_rows_of_a_day_are_expected(
    level: str, own: float | None, similar: list[tuple[str, float | None]], objects: float
) -> None:
    """Rows that are stored count; else the objects of the level, by the first report with rows, times the groups."""
    groups = 1 if own is not None else 18
    assert expect_rows(QuerySpec(level=level, breakdowns=("age", "gender")), own, similar) == objects * groups
    assert expect_rows(QuerySpec(level=level), own, similar) == objects


def test_similar_reports_have_no_groups_and_the_nearest_level() -> None:
    """First those of the same level, then of the next ones; a report is not similar to itself."""
    levels = {"people": "ad", "sets": "adset", "campaigns": "campaign", "whole": "account"}
    reports = {name: ReportSettings.model_validate({"level": level}) for name, level in levels.items()}
    reports["people"] = ReportSettings(breakdowns=("age",))
    settings = Settings(reports=reports)

    def names(level: str, *breakdowns: str) -> list[str]:
        spec = QuerySpec(level=level, breakdowns=breakdowns)
        return [other.level for other in list_similar(spec, settings)]

    assert names("campaign", "age") == ["campaign", "adset", "ad"]
    assert names("adset", "age") == ["adset", "campaign", "ad"]
    assert names("ad", "age") == ["ad", "adset", "campaign"]
    assert [other.level for other in list_similar(settings.spec("sets"), settings)] == ["campaign", "ad"]
