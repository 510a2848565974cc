"""Arrivals of data: what they mark, that a notice counts once, and that a running fetch does not hide one."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, update

from adwarm.model import EntryKey, Window
from adwarm.store import data_arrivals, entries, partitions
from adwarm.store.data_arrivals import ArrivalResult
from adwarm.store.data_arrivals import table as data_arrival
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.entries import Entry
from adwarm.store.entries import table as entry
from adwarm.store.partitions import PartitionState
from adwarm.store.partitions import table as partition

SPEC = "abcdefabcdef"
AT = datetime(2026, 11, 25, 9, tzinfo=UTC)
DAYS = [date(2026, 11, day) for day in range(1, 11)]


def _store(engine: Engine, fetched_at: datetime, days: list[date] = DAYS) -> None:
    states = [PartitionState(day, "o" * 64, 1, "c" * 64, fetched_at, True, True, 1, "v25.0") for day in days]
    with write_transaction(engine) as connection:
        partitions.publish(connection, "act_1", SPEC, states, 1)


def _save(engine: Engine, account_id: str, *facts: Any) -> ArrivalResult:
    with write_transaction(engine) as connection:
        return data_arrivals.save(connection, account_id, *facts)


def _store_entry(engine: Engine, window: Window, fetched_at: datetime) -> None:
    item = Entry(EntryKey("act_1", window, SPEC), str(window), "default", "zstd", 1, 1, fetched_at, None, "meta")
    with write_transaction(engine) as connection:
        entries.publish(connection, [(item, b"sealed")], 1, fetched_at)


def _restated(engine: Engine) -> list[date]:
    states = partitions.list_states(engine, "act_1", SPEC, Window(DAYS[0], DAYS[-1]))
    return [day for day, state in sorted(states.items()) if state.is_restated]


def test_reported_days_are_marked_with_the_entries_that_contain_them(engine: Engine) -> None:
    """Exactly the reported days are restated, and entries that contain one are no longer fresh, final ones included."""
    _store(engine, AT - timedelta(days=1))
    _store_entry(engine, Window(DAYS[0], DAYS[4]), AT - timedelta(days=1))
    _store_entry(engine, Window(DAYS[7], DAYS[9]), AT - timedelta(days=1))

    result = _save(engine, "act_1", DAYS[3:6], AT, "cli", [SPEC])

    assert (result.marked, result.repeated, result.skipped, result.entries) == (tuple(DAYS[3:6]), (), (), 1)
    assert _restated(engine) == DAYS[3:6]
    assert [item.key.window.since for item in entries.list_entries(engine) if item.is_fresh(AT)] == [DAYS[7]]


def test_the_same_notice_changes_nothing(engine: Engine) -> None:
    """A second notice with the same time, and one that comes before the days are fetched, mark nothing new."""
    _store(engine, AT - timedelta(days=1))
    _save(engine, "act_1", DAYS[:2], AT, "cli", [SPEC])
    equal = _save(engine, "act_1", DAYS[:2], AT, "cli", [SPEC])
    later = _save(engine, "act_1", DAYS[:2], AT + timedelta(minutes=1), "cli", [SPEC])

    for result in (equal, later):
        assert (result.marked, result.repeated, result.entries) == ((), tuple(DAYS[:2]), 0)
    assert len(data_arrivals.list_pending(engine, AT - timedelta(hours=1))) == 2


def test_newer_data_is_recorded_and_left(engine: Engine) -> None:
    """Days that were fetched after their data had arrived stay as they are, and no plan waits for them."""
    _store(engine, AT)
    result = _save(engine, "act_1", DAYS[:2], AT - timedelta(hours=1), "cli", [SPEC])

    assert (result.marked, result.skipped) == ((), tuple(DAYS[:2]))
    assert _restated(engine) == []
    assert data_arrivals.list_pending(engine, AT - timedelta(days=1)) == []


def test_a_fetch_that_had_begun_before_does_not_hide_an_arrival(engine: Engine) -> None:
    """A day stored late, by a fetch from before its data arrived, stays to be fetched; a newer fetch ends that."""
    _store(engine, AT - timedelta(days=1))
    _save(engine, "act_1", DAYS[:1], AT, "cli", [SPEC])
    _store(engine, AT - timedelta(minutes=1))
    assert _restated(engine) == DAYS[:1]
    _store(engine, AT + timedelta(minutes=1))
    assert _restated(engine) == []
    again = _save(engine, "act_1", DAYS[:1], AT + timedelta(hours=1), "api:1", [SPEC])
    assert again.marked == tuple(DAYS[:1])


def test_a_day_that_was_first_stored_meanwhile_is_marked_again(engine: Engine) -> None:
    """A day that was not stored when its data arrived is marked when the plan looks at the arrival."""
    _save(engine, "act_1", DAYS[:1], AT, "cli", [SPEC])
    _store(engine, AT - timedelta(minutes=1), DAYS[:1])
    assert _restated(engine) == []
    data_arrivals.mark_again(engine, data_arrivals.list_pending(engine, AT - timedelta(hours=1)))
    assert _restated(engine) == DAYS[:1]


def test_planned_arrivals_are_done_unless_they_were_reported_again(engine: Engine) -> None:
    """Marking an arrival as planned ends it; one with a later time stays pending."""
    _save(engine, "act_1", DAYS[:2], AT, "cli", [SPEC])
    pending = data_arrivals.list_pending(engine, AT - timedelta(hours=1))
    _save(engine, "act_1", DAYS[:1], AT + timedelta(minutes=5), "cli", [SPEC])
    data_arrivals.mark_planned(engine, pending, "dag/run", AT)

    assert [item.day for item in data_arrivals.list_pending(engine, AT - timedelta(hours=1))] == DAYS[:1]


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fetched=st.lists(st.integers(-600, 600), min_size=10, max_size=10),
    reported=st.sets(st.integers(0, 9), min_size=1),
)
def test_a_reported_day_is_fetched_again_exactly_when_it_is_older(
    engine: Engine, fetched: list[int], reported: set[int]
) -> None:
    """Whatever was fetched when, exactly the reported days that were fetched before are to be fetched again."""
    with write_transaction(engine) as connection:
        connection.execute(delete(data_arrival))
        connection.execute(update(partition).values(restated_at=None))
        connection.execute(delete(entry))
    for day, minutes in zip(DAYS, fetched, strict=True):
        _store(engine, AT + timedelta(minutes=minutes), [day])

    _save(engine, "act_1", [DAYS[index] for index in sorted(reported)], AT, "cli", [SPEC])

    assert _restated(engine) == [DAYS[index] for index in sorted(reported) if fetched[index] < 0]
    with read_transaction(engine) as connection:
        assert len(connection.execute(data_arrival.select()).all()) == len(reported)
