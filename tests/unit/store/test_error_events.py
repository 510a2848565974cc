"""The error history."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from adwarm.settings import RetentionSettings
from adwarm.store.error_events import ErrorCount, ErrorEvent, ErrorFilter, ErrorLog, PeriodCount

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def event(seconds: float = 0, source: str = "meta", message: str = "down", **values: Any) -> ErrorEvent:
    """An error some seconds after noon."""
    values = {"kind": "Transient", "subject": "act_1 last_7d", "code": "2", **values}
    return ErrorEvent(NOON + timedelta(seconds=seconds), source, message=message, **values)


def test_errors_come_back_newest_first(engine: Engine) -> None:
    """Every field comes back, and the list can be filtered by each of them."""
    log = ErrorLog(engine)
    errors = [
        event(0),
        event(1, "warehouse"),
        event(2, kind="Throttled", connection="agency", account_id="act_2"),
        event(3, account_id="act_1"),
    ]
    for error in errors:
        log.record(error)

    def listed(**wanted: Any) -> list[int]:
        found = log.list_recent(100, ErrorFilter(**wanted))
        assert all(item == errors[errors.index(item)] for item in found)
        return [errors.index(item) for item in found]

    assert list(log.list_recent()) == errors[::-1]
    assert listed(kind="Throttled") == [2]
    assert listed(account_id="act_1") == [3]
    assert listed(since=NOON + timedelta(seconds=1), until=NOON + timedelta(seconds=3)) == [2, 1]
    assert list(log.list_recent(2)) == errors[:1:-1]


def test_all_workers_count_in_a_window(engine: Engine) -> None:
    """Two logs on one database count each other's errors by scope; the start of the window is exclusive."""
    one, two = ErrorLog(engine), ErrorLog(engine)
    for second in range(5):
        one.record(event(second, account_id="act_1"))
        two.record(event(second, account_id="act_1", connection="agency"))
    two.record(event(3, kind="Denied", account_id="act_2"))

    assert one.count("meta", "Transient", NOON) == ErrorCount(8, NOON + timedelta(seconds=4), "act_1")
    assert one.count("account:act_1", "Transient", NOON).errors == 8
    assert one.count("account:act_2", "Transient", NOON) == ErrorCount(0)
    assert one.count("connection:agency", "Transient", NOON).errors == 4
    assert one.count("connection:meta", "Transient", NOON).errors == 4, "those without a connection"
    assert one.count("warehouse", "Transient", NOON) == ErrorCount(0)
    two.record(event(4))
    assert one.count("meta", "Transient", NOON).account_id is None


def test_errors_are_counted_over_time(engine: Engine) -> None:
    """Counts by hour and by day name source and kind, the newest period first, and obey the filter."""
    log = ErrorLog(engine)
    for seconds in (0, 60, 3_599, 3_600, 86_400):
        log.record(event(seconds))
    log.record(event(10, kind="Denied"))

    hours = log.count_by_period("hour")
    assert hours == [
        PeriodCount(NOON + timedelta(days=1), "meta", "Transient", 1),
        PeriodCount(NOON + timedelta(hours=1), "meta", "Transient", 1),
        PeriodCount(NOON, "meta", "Denied", 1),
        PeriodCount(NOON, "meta", "Transient", 3),
    ]
    day = NOON.replace(hour=0)
    assert log.count_by_period("day", ErrorFilter(kind="Transient")) == [
        PeriodCount(day + timedelta(days=1), "meta", "Transient", 1),
        PeriodCount(day, "meta", "Transient", 4),
    ]


def test_long_values_are_cut_to_their_columns(engine: Engine) -> None:
    """An error with a long name is recorded and counted by its source."""
    long = ErrorEvent(NOON, "s" * 300, "k" * 300, "m" * 5000, "x" * 900, "c" * 300, "n" * 300, "a" * 300)
    log = ErrorLog(engine)
    log.record(long)

    assert log.count("s" * 300, "k" * 300, NOON - timedelta(seconds=1)).errors == 1
    assert len(log.list_recent()[0].kind) == 40


def test_the_table_stays_bounded(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recording deletes rows by number, and by age as the retention says."""
    monkeypatch.setattr("adwarm.store.error_events.MAX_ERRORS", 100)
    log = ErrorLog(engine, RetentionSettings(history_days=61))
    for second in range(200):
        log.record(event(second))
    assert len(log.list_recent(limit=1000)) == 100
    assert log.list_recent(limit=1)[0].at == NOON + timedelta(seconds=199)

    assert log.prune(NOON + timedelta(days=60)) == 0
    assert log.prune(NOON + timedelta(days=61, seconds=300)) == 100
    assert list(log.list_recent()) == []
