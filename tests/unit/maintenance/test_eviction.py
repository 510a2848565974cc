"""Eviction: past windows once unread, and over the size budget what is least likely to be opened."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from adwarm.foundation.clock import VirtualClock
from adwarm.maintenance import eviction
from adwarm.maintenance.eviction import (
    Eviction,
    StoredEntry,
    delete_entries,
    find_evictions,
    list_evictions,
    list_stored,
    make_evict_entries,
    preview,
)
from adwarm.maintenance.runner import StepBudget
from adwarm.model import EntryKey, ReportKey, Window
from adwarm.settings import CacheSettings, Settings
from adwarm.store import Context, ObjectStore, entries, write_transaction
from adwarm.store.entries import Entry

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAY = timedelta(days=1)
MIB = 2**20
SETTINGS = Settings(cache=CacheSettings(max_bytes=MIB))
SPEC = SETTINGS.spec("default").hash


def _entry(account: str, day: date = date(2026, 11, 24), *, size: int = 10, age: timedelta = timedelta(0)) -> Entry:
    key = EntryKey(account, Window(day, day), SPEC)
    return Entry(key, "yesterday", "default", "zstd", 100, size, NOW - age, NOW + DAY, "meta")


def _stored(number: int, chance: float | None, size: int, unread_days: int = 0, *, current: bool = True) -> StoredEntry:
    return StoredEntry(_entry(f"act_{number}", size=size, age=unread_days * DAY), current, chance)


def _accounts(evictions: list[Eviction]) -> list[str]:
    return [item.entry.key.account_id for item in evictions]


def test_the_least_likely_entries_go_first() -> None:
    """Over the budget: past windows, then entries without a forecast, then by chance, until the rest fits."""
    stored = [
        _stored(1, 0.9, MIB // 2),
        _stored(2, 0.1, MIB // 2),
        _stored(3, None, MIB // 2),
        _stored(4, 0.95, MIB // 2, current=False),
        _stored(5, 0.5, MIB // 2),
    ]
    evictions = find_evictions(stored, SETTINGS, NOW)
    assert _accounts(evictions) == ["act_4", "act_3", "act_2"]
    assert "its chance of an open within a day is 10.0%" in evictions[2].why
    assert find_evictions(stored[:2], SETTINGS, NOW) == []


def test_equal_chances_go_by_last_use() -> None:
    """Of entries that are equally likely the one that was read or fetched longest ago goes first."""
    recent = _stored(1, None, MIB, 9)
    recent = replace(recent, entry=replace(recent.entry, last_read_at=NOW))
    stored = [recent, _stored(2, None, MIB, 3), _stored(3, None, MIB, 5)]
    assert _accounts(find_evictions(stored, SETTINGS, NOW)) == ["act_3", "act_2"]


def test_past_windows_go_once_they_are_unread() -> None:
    """A past window goes 35 days after its last read, whatever the budget; a current entry never does for its age."""
    read = _stored(2, None, 1, 36, current=False)
    stored = [
        _stored(1, None, 1, 36, current=False),
        replace(read, entry=replace(read.entry, last_read_at=NOW - 34 * DAY)),
        _stored(3, None, 1, 34, current=False),
        _stored(4, None, 1, 400),
    ]
    assert _accounts(find_evictions(stored, SETTINGS, NOW)) == ["act_1"]


@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.floats(0, 1)), st.integers(1, 2 * MIB), st.integers(0, 60), st.booleans()),
        max_size=12,
    )
)
def test_what_is_left_fits_and_nothing_goes_needlessly(rows: list[tuple[float | None, int, int, bool]]) -> None:
    """The rest fits the budget; without the last eviction for size it would not."""
    stored = [_stored(number, *row[:3], current=row[3]) for number, row in enumerate(rows)]
    evictions = find_evictions(stored, SETTINGS, NOW)
    size = {item.entry.key: item.entry.stored_bytes for item in stored}
    left = sum(size.values()) - sum(size[item.entry.key] for item in evictions)
    for_size = [item for item in evictions if "exceed" in item.why]
    assert left <= MIB
    assert not for_size or left + size[for_size[-1].entry.key] > MIB
    assert len({item.entry.key for item in evictions}) == len(evictions)


def _publish(engine: Engine, *items: tuple[Entry, bytes]) -> None:
    with write_transaction(engine) as connection:
        entries.publish(connection, list(items), 1, NOW - 2 * DAY)


def test_evicting_deletes_the_entry_and_its_payload(engine: Engine, objects: ObjectStore) -> None:
    """The entry goes, and its payload once it is a day old; what is current and within the budget stays."""
    context = Context(engine, objects, SETTINGS)
    old, current = _entry("act_1", date(2026, 9, 1), age=80 * DAY), _entry("act_2")
    _publish(engine, (old, b"old"), (current, b"new"))
    assert [(item.entry.key.account_id, item.is_current) for item in list_stored(context, NOW)] == [
        ("act_2", True),
        ("act_1", False),
    ]
    evictions = list_evictions(context, NOW)
    result = delete_entries(context, evictions, NOW)
    assert _accounts(evictions) == ["act_1"]
    assert (result.entries, result.stored_bytes, result.payloads, result.changed) == (1, 10, 1, 0)
    assert "deleted 1 entry of 10 B" in str(result)
    assert [item.key.account_id for item in entries.list_entries(engine)] == ["act_2"]
    assert list_evictions(context, NOW) == []


def test_the_forecast_predicts_only_over_the_budget(
    engine: Engine, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the budget no prediction is made; over it the least likely entry goes by the forecast's chance."""
    predicted: list[datetime] = []

    def predict(context: Context, at: datetime) -> dict[ReportKey, float]:
        predicted.append(at)
        return {ReportKey("act_1", "yesterday"): 0.2, ReportKey("act_2", "yesterday"): 0.9}

    monkeypatch.setattr(eviction, "get_open_chances", predict)
    context = Context(engine, objects, SETTINGS)
    _publish(engine, (_entry("act_1", size=MIB // 2), b"1"), (_entry("act_2", size=MIB // 2), b"2"))
    assert (list_evictions(context, NOW), predicted) == ([], [])
    _publish(engine, (_entry("act_1", size=MIB), b"3"))
    assert (_accounts(list_evictions(context, NOW)), predicted) == (["act_1"], [NOW])


def test_an_entry_that_was_fetched_again_stays(engine: Engine, objects: ObjectStore) -> None:
    """An entry that was published between listing and deleting is kept, and the result says so."""
    context = Context(engine, objects, SETTINGS)
    _publish(engine, (_entry("act_1"), b"old"))
    listed = [Eviction(item.entry, "test") for item in list_stored(context, NOW)]
    assert str(preview(listed)) == "would delete 1 entry of 10 B"
    _publish(engine, (replace(_entry("act_1"), fetched_at=NOW + timedelta(minutes=1)), b"new"))
    result = delete_entries(context, listed, NOW)
    assert (result.entries, result.changed) == (0, 1)
    assert "changed meanwhile" in str(result)
    assert len(entries.list_entries(engine)) == 1


def test_an_entry_of_a_removed_report_is_past(engine: Engine, objects: ObjectStore) -> None:
    """A report that is no longer configured can be asked by nobody."""
    _publish(engine, (replace(_entry("act_1"), report="gone"), b"x"))
    assert [item.is_current for item in list_stored(Context(engine, objects, SETTINGS), NOW)] == [False]


def test_a_step_without_time_deletes_a_part(
    engine: Engine, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is out of time says how many entries are left, and the next one deletes them."""
    monkeypatch.setattr(eviction, "_DELETED_AT_ONCE", 2)
    context, clock = Context(engine, objects, SETTINGS), VirtualClock(NOW)
    _publish(engine, *((_entry(f"act_{n}", date(2026, 9, 1), age=80 * DAY), b"%d" % n) for n in range(3)))
    step = make_evict_entries(context, clock)
    first = step(None, StepBudget.of(clock, 0))
    assert (first.counts["entries"], first.cursor) == (2, {"left": 1})
    second = step(first.cursor, StepBudget.of(clock, 0))
    assert (second.counts["entries"], second.cursor) == (1, None)
