"""Requests counted in a replay are those that the fetch planner would send."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from adwarm.access_log.timestamps import to_micros
from adwarm.fetch_plan import RefetchSchedule, combine_request, plan_fetch
from adwarm.model import FreshnessRules, Window
from adwarm.prefetch.entry_builder import RangeSummary, find_due_summaries, version_sum
from adwarm.replay.deployed_plan import FetchedDays
from adwarm.sources.protocol import Capabilities
from adwarm.store.partitions import PartitionState

RULES = FreshnessRules()
TODAY = date(2026, 3, 20)
WINDOWS = st.tuples(st.integers(0, 40), st.integers(0, 10)).map(
    lambda pair: Window(TODAY - timedelta(days=pair[0] + pair[1]), TODAY - timedelta(days=pair[0]))
)
FETCHES = st.lists(st.tuples(st.integers(0, 4_000), st.lists(WINDOWS, min_size=1, max_size=3)), min_size=1, max_size=8)


@given(FETCHES, st.integers(0, 6))
def test_requests_equal_those_of_the_planner(fetches: list[tuple[int, list[Window]]], weekday: int) -> None:
    """Over any series of fetches, the number of requests is the planner's."""
    fetched, states = FetchedDays(RULES, weekday), {}
    summaries: dict[Window, RangeSummary] = {}
    calendar = RefetchSchedule("UTC", weekday, RULES)
    now = datetime(2026, 3, 20, 1, tzinfo=UTC)
    for minutes, windows in fetches:
        now += timedelta(minutes=minutes)
        today = now.date()
        plan = plan_fetch(windows, states, calendar, now)
        early = find_due_summaries(plan.summary_windows, summaries, states, calendar, now)
        together = bool(combine_request(plan.spans, early, Capabilities()))
        for day in {day for span in plan.spans for day in span.days()}:
            version = (states[day].data_version if day in states else 0) + (day == today)
            states[day] = PartitionState(day, "h", 1, "c", now, True, False, version, "v1")
        summaries.update((window, RangeSummary([], now, version_sum(states, window))) for window in early)
        late = find_due_summaries(plan.summary_windows, summaries, states, calendar, now)
        summaries.update((window, RangeSummary([], now, version_sum(states, window))) for window in late)
        spans = [(window.since.toordinal(), window.until.toordinal()) for window in windows]

        requests = 1 + bool(late) if together else len(plan.spans) + bool(early or late)
        assert fetched.fetch(spans, today.toordinal(), to_micros(now)) == requests
