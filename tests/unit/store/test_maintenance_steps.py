"""A step of maintenance has one runner at a time, and a runner that lost it saves nothing."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, update

from adwarm.store import maintenance_steps, write_transaction
from adwarm.store.maintenance_steps import StepOutcome
from adwarm.store.maintenance_steps import table as maintenance_step

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def _expire(engine: Engine) -> None:
    """Let the leases end, as if time had passed."""
    with write_transaction(engine) as connection:
        connection.execute(update(maintenance_step).values(lease_until=AT - timedelta(days=9_000)))


def test_one_runner_at_a_time(engine: Engine) -> None:
    """Nobody else gets a step that is running, not even the same process; it is free once the run is saved."""
    assert maintenance_steps.acquire(engine, "compact", "a", AT, 60) is not None
    assert maintenance_steps.acquire(engine, "compact", "b", AT, 60) is None
    assert maintenance_steps.acquire(engine, "compact", "a", AT, 60) is None
    assert maintenance_steps.acquire(engine, "scrub", "b", AT, 60) is not None
    assert maintenance_steps.save(engine, "compact", "a", AT, StepOutcome([1], AT + MINUTE, 60.0, {"counts": {}}))
    state = maintenance_steps.acquire(engine, "compact", "b", AT + MINUTE, 60)
    assert state is not None
    assert (state.cursor, state.result, state.round_started_at, state.round_finished_at) == (
        [1],
        {"counts": {}},
        AT,
        None,
    )


def test_a_runner_that_was_replaced_saves_nothing(engine: Engine) -> None:
    """After its lease another process takes over, and the first one's cursor and result are refused."""
    maintenance_steps.acquire(engine, "compact", "a", AT, 60)
    _expire(engine)
    assert maintenance_steps.acquire(engine, "compact", "b", AT + MINUTE, 60) is not None
    assert not maintenance_steps.save(engine, "compact", "a", AT, StepOutcome("late", AT, 1.0))
    assert maintenance_steps.save(engine, "compact", "b", AT + MINUTE, StepOutcome("new", AT, 1.0))
    state = maintenance_steps.find_state(engine, "compact")
    assert state is not None
    assert (state.cursor, state.owner) == ("new", "b")


def test_a_complete_pass_has_start_and_end(engine: Engine) -> None:
    """The pass starts with its first run and ends with the run that looked at the last thing; then a new one starts."""
    for minute, (cursor, is_complete) in enumerate([("a", False), ("b", False), (None, True)]):
        at = AT + minute * MINUTE
        state = maintenance_steps.acquire(engine, "scrub", "x", at, 60)
        assert state is not None
        maintenance_steps.save(engine, "scrub", "x", at, StepOutcome(cursor, at, 1.0, is_complete=is_complete))
    state = maintenance_steps.list_states(engine)["scrub"]
    assert (state.round_started_at, state.round_finished_at) == (None, AT + 2 * MINUTE)
    maintenance_steps.acquire(engine, "scrub", "x", AT + 9 * MINUTE, 60)
    assert maintenance_steps.list_states(engine)["scrub"].round_started_at == AT + 9 * MINUTE
