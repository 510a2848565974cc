"""Requests counted in a replay are those that the fetch planner would send."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from adwarm.access_log.moments import to_micros
from adwarm.model import FreshnessRules, Window
from adwarm.prefetch.planner import plan_fetch
from adwarm.replay.requests import DayShelf
from adwarm.store.partitions import PartitionState

RULES = FreshnessRules()
TODAY = date(2026, 3, 20)
WINDOWS = st.tuples(st.integers(0, 40), st.integers(0, 10)).map(
    lambda pair: Window(TODAY - timedelta(days=pair[0] + pair[1]), TODAY - timedelta(days=pair[0]))
)
FETCHES = st.lists(st.tuples(st.integers(0, 400), st.lists(WINDOWS, min_size=1, max_size=3)), min_size=1, max_size=8)


@given(FETCHES)
def test_a_shelf_counts_what_the_planner_asks_for(fetches: list[tuple[int, list[Window]]]) -> None:
    """Over any series of fetches, spans and summaries are as many as the planner's."""
    shelf, held = DayShelf(RULES), {}
    now = datetime(2026, 3, 20, 1, tzinfo=UTC)
    for minutes, windows in fetches:
        now += timedelta(minutes=minutes)
        today = now.date()
        plan = plan_fetch(windows, held, "UTC", now, RULES)
        spans = [(window.since.toordinal(), window.until.toordinal()) for window in windows]

        assert shelf.requests(spans, today.toordinal(), to_micros(now)) == (plan.daily is not None) + bool(plan.ranges)
        for day in plan.daily.days() if plan.daily else ():
            held[day] = PartitionState(day, "h", 1, "c", now, True, False, 1, "v1")
