"""Slots of parts of a log add up to the slots of the whole log."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.patterns.slot_counts import SLOT_SCHEMA, SlotAggregator
from tests.unit.patterns.conftest import Event, event_batch

START = datetime(2026, 3, 7, 22, tzinfo=UTC)

EVENT = st.tuples(
    st.integers(0, 60 * 60 * 24),
    st.sampled_from(["act_1", "act_2", "act_30"]),
    st.sampled_from(["today", "last_7d"]),
    st.sampled_from(["", "Asia/Tokyo"]),
    st.sampled_from(["human", "embedded", "api", "warmer"]),
)


def _slots(*batches: list[Event], buffer_rows: int = 1_000_000) -> SlotAggregator:
    slots = SlotAggregator(buffer_rows)
    for events in batches:
        slots.add(event_batch(START, events))
    return slots


def _counted(events: list[Event]) -> list[dict[str, object]]:
    """Count slots one event at a time."""
    found: dict[tuple[object, ...], list[datetime]] = {}
    for at, account, name, zone, actor in events:
        if actor in {"human", "embedded"}:
            moment = START + timedelta(seconds=at)
            slot = moment.replace(minute=moment.minute // 15 * 15, second=0)
            found.setdefault((slot, account, name, "default", zone), []).append(moment)
    names = ("slot", "account_id", "date_range", "report", "time_zone")
    return [
        dict(zip(names, key, strict=True)) | {"opens": len(at), "first_ts": min(at), "last_ts": max(at)}
        for key, at in sorted(found.items())
    ]


@given(st.lists(EVENT, max_size=60))
def test_slots_equal_a_count_of_single_events(events: list[Event]) -> None:
    """Opens, first and last time of each key and slot are the same; programs do not count."""
    slots = _slots(events)
    assert slots.table().to_pylist() == _counted(events)
    assert slots.count_keys() == len({event[1:3] for event in events if event[4] in {"human", "embedded"}})


@given(st.lists(EVENT, max_size=40), st.lists(EVENT, max_size=40), st.randoms(use_true_random=False))
def test_slots_of_two_logs_merge_into_the_slots_of_both(one: list[Event], two: list[Event], random: object) -> None:
    """slots(A + B) == merge(slots(A), slots(B)), in any order of the lines."""
    whole = [*one, *two]
    random.shuffle(whole)  # type: ignore[attr-defined]
    merged = _slots(one)
    merged.merge(_slots(two))
    assert merged.table().equals(_slots(whole).table())


@given(st.lists(st.lists(EVENT, max_size=20), max_size=8), st.integers(1, 40))
def test_a_small_buffer_changes_nothing(batches: list[list[Event]], buffer_rows: int) -> None:
    """Spilling to temporary files gives the same slots, days and keys."""
    small, large = _slots(*batches, buffer_rows=buffer_rows), _slots(*batches)
    assert small.table().equals(large.table())
    assert small.count_keys() == large.count_keys()
    days = list(large.days())
    assert [day for day, _ in small.days()] == [day for day, _ in days]
    spans = list(small.days(at_least=buffer_rows))
    assert [row for _, table in spans for row in table.to_pylist()] == [
        row for _, table in days for row in table.to_pylist()
    ]
    assert {day for day, _ in spans} <= {day for day, _ in days}
    assert [table.to_pylist() for _, table in large.days(at_least=buffer_rows)] == _join(days, buffer_rows)


def _join(days: list[tuple[int, pa.Table]], at_least: int) -> list[list[dict[str, object]]]:
    """Return the rows of whole days together, each list but the last with as many rows or a few more."""
    spans: list[list[dict[str, object]]] = []
    for _, table in days:
        if not spans or len(spans[-1]) >= at_least:
            spans.append([])
        spans[-1] += table.to_pylist()
    return spans


def test_an_empty_aggregate_is_an_empty_table() -> None:
    """The table has the right columns and no rows."""
    assert _slots([]).table().equals(SLOT_SCHEMA.empty_table())
    assert _slots().count_keys() == 0


def test_days_are_cut_at_midnight_utc(subtests: pytest.Subtests) -> None:
    """Each day's table holds its own slots, in order."""
    for count in [3]:
        with subtests.test(count=count):
            events: list[Event] = [(hour * 3600, "act_1", "today", "", "human") for hour in range(24 * count)]
            days = list(_slots(events).days())
            assert [table.num_rows for _, table in days] == [2, *[24] * (count - 1), 22]
            assert [day for day, _ in days] == sorted(day for day, _ in days)
