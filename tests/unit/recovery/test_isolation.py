"""Tests of isolating sources that fail."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from adwarm.foundation.clock import VirtualClock
from adwarm.recovery.isolation import IsolationTracker, MemoryIsolationStore, isolation_rules
from adwarm.settings import RecoverySettings
from adwarm.store.isolated_sources import SqlIsolationStore

BEGIN = datetime(2026, 11, 25, 12, tzinfo=UTC)
SETTINGS = RecoverySettings()
RULES = isolation_rules(SETTINGS)


@pytest.fixture
def tracker(clock: VirtualClock) -> IsolationTracker:
    """A tracker whose states are in memory."""
    return IsolationTracker(MemoryIsolationStore(), RULES, clock)


def record(tracker: IsolationTracker, successes: int, failures: int) -> None:
    """Record calls of the warehouse, successes first."""
    for failed in [False] * successes + [True] * failures:
        tracker.record("warehouse", failed=failed)


def test_a_source_that_fails_too_often_is_isolated_for_five_minutes(
    tracker: IsolationTracker, clock: VirtualClock
) -> None:
    """Three failures of five calls isolate it; it may be used again after that."""
    record(tracker, 2, 3)
    clock.sleep(100)
    assert tracker.remaining_seconds("warehouse") == pytest.approx(200)
    clock.sleep(200)
    assert tracker.remaining_seconds("warehouse") == 0


def test_half_of_the_calls_are_too_few_to_isolate(tracker: IsolationTracker) -> None:
    """The rate must be above one half."""
    record(tracker, 3, 3)

    assert tracker.remaining_seconds("warehouse") == 0


@pytest.mark.parametrize(("successes", "failures", "isolated"), [(4, 1, False), (3, 2, True)])
def test_after_an_isolation_eight_of_ten_calls_must_succeed(
    tracker: IsolationTracker, clock: VirtualClock, successes: int, failures: int, isolated: bool
) -> None:
    """The first five calls after the isolation decide, at a success rate of 0.8."""
    record(tracker, 0, 5)
    clock.sleep(300)
    record(tracker, successes, failures)

    assert (tracker.remaining_seconds("warehouse") > 0) == isolated


def test_fewer_than_five_calls_in_a_window_never_isolate(tracker: IsolationTracker, clock: VirtualClock) -> None:
    """Failures of the window before do not count."""
    record(tracker, 0, 4)
    clock.sleep(300)
    record(tracker, 0, 4)

    assert tracker.remaining_seconds("warehouse") == 0


@given(st.lists(st.tuples(st.floats(0, 400), st.booleans()), max_size=80))
def test_isolation_always_ends(steps: list[tuple[float, bool]]) -> None:
    """Whatever happens, a source may be used again after the isolation time."""
    clock = VirtualClock(BEGIN)
    tracker = IsolationTracker(MemoryIsolationStore(), RULES, clock)
    for seconds, failed in steps:
        clock.sleep(seconds)
        tracker.record("warehouse", failed=failed)
        assert tracker.remaining_seconds("warehouse") <= SETTINGS.isolation_seconds
    clock.sleep(SETTINGS.isolation_seconds)
    assert tracker.remaining_seconds("warehouse") == 0


def test_other_processes_see_it(engine: Engine, clock: VirtualClock) -> None:
    """The state is in the database, so another task skips the source too."""
    record(IsolationTracker(SqlIsolationStore(engine), RULES, clock), 0, 5)
    other = IsolationTracker(SqlIsolationStore(engine), RULES, clock)

    assert other.remaining_seconds("warehouse") == pytest.approx(300)
    assert other.remaining_seconds("store") == 0


OLDER_ROWS: list[tuple[dict[str, Any], list[bool], bool]] = [
    ({"state": "healthy", "calls": 4, "failures": 4}, [True], True),
    ({"state": "healthy", "calls": 4, "failures": 2}, [False, True], False),
    ({"state": "isolated", "calls": 0, "failures": 0}, [], True),
    ({"state": "probation", "calls": 4, "failures": 1}, [True], True),
    ({"state": "probation", "calls": 4, "failures": 1}, [False, True, True], False),
]


@pytest.mark.parametrize(("row", "later_calls", "isolated"), OLDER_ROWS)
def test_rows_from_before_the_shared_breaker_keep_their_meaning(
    clock: VirtualClock, row: Mapping[str, Any], later_calls: list[bool], isolated: bool
) -> None:
    """A row with the older states still isolates, and its counts still count."""
    store = MemoryIsolationStore()
    since = clock.now().timestamp()
    store.save("warehouse", row["state"], since, {**row, "since": since})
    tracker = IsolationTracker(store, RULES, clock)
    clock.sleep(10)
    for failed in later_calls:
        tracker.record("warehouse", failed=failed)

    assert (tracker.remaining_seconds("warehouse") > 0) == isolated


def test_an_older_isolation_ends_on_time(clock: VirtualClock) -> None:
    """It lasts from the moment in the row."""
    store = MemoryIsolationStore()
    since = clock.now().timestamp() - 100
    store.save("warehouse", "isolated", since, {"state": "isolated", "since": since, "calls": 0, "failures": 0})

    assert IsolationTracker(store, RULES, clock).remaining_seconds("warehouse") == pytest.approx(200)
