"""Tests of isolation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from adwarm.foundation.clock import VirtualClock
from adwarm.recovery.isolation import (
    Isolation,
    IsolationRules,
    IsolationState,
    IsolationTracker,
    MemoryIsolationStore,
)
from adwarm.settings import RecoverySettings
from adwarm.store.isolated_sources import SqlIsolationStore

RULES = IsolationRules.from_settings(RecoverySettings())


def calls(state: Isolation, now: float, well: int, badly: int) -> Isolation:
    """Record calls, the good ones first."""
    for failed in [False] * well + [True] * badly:
        state = state.after_call(RULES, now, failed=failed)
    return state


def test_a_source_that_fails_too_often_is_left_alone_and_recovers() -> None:
    """Isolated for five minutes, then on probation, then healthy at eight tenths well."""
    isolated = calls(Isolation(since=1000.0), 1000.0, 2, 3)
    assert isolated.state is IsolationState.ISOLATED
    assert isolated.remaining_seconds(RULES, 1100.0) == 200

    assert isolated.remaining_seconds(RULES, 1300.0) == 0
    assert calls(isolated, 1300.0, 4, 1).state is IsolationState.HEALTHY
    assert calls(isolated, 1300.0, 3, 2).state is IsolationState.ISOLATED


def test_a_few_failures_are_too_few() -> None:
    """Below the minimum volume nothing is judged, and old windows do not add up."""
    state = calls(Isolation(since=1000.0), 1000.0, 0, 4)

    assert state.state is IsolationState.HEALTHY
    assert calls(state, 1300.0, 0, 4).state is IsolationState.HEALTHY


@given(st.lists(st.tuples(st.floats(0, 400), st.booleans()), max_size=80))
def test_isolation_always_ends(steps: list[tuple[float, bool]]) -> None:
    """Whatever happens, a source is back in use after the isolation time at the latest (ER-6)."""
    state, now = Isolation(since=1000.0), 1000.0
    for passed, failed in steps:
        now += passed
        state = state.after_call(RULES, now, failed=failed)
        assert state.remaining_seconds(RULES, now) <= RULES.isolation_seconds
        assert state.remaining_seconds(RULES, now + RULES.isolation_seconds) == 0


def test_other_processes_see_it(engine: Engine, clock: VirtualClock) -> None:
    """The state is in the database, so that another task skips the source too (ER-6)."""
    book = IsolationTracker(SqlIsolationStore(engine), RULES, clock)
    for _ in range(5):
        book.record("warehouse", failed=True)

    assert IsolationTracker(SqlIsolationStore(engine), RULES, clock).remaining_seconds("warehouse") == pytest.approx(
        300
    )
    assert IsolationTracker(SqlIsolationStore(engine), RULES, clock).remaining_seconds("store") == 0


def test_without_a_database_it_works_in_one_process(clock: VirtualClock) -> None:
    """The in-memory store behaves alike."""
    book = IsolationTracker(MemoryIsolationStore(), RULES, clock)
    for _ in range(5):
        book.record("warehouse", failed=True)

    assert book.remaining_seconds("warehouse") == pytest.approx(300)
