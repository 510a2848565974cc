"""The error history."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from adwarm.store.error_events import ErrorEvent, ErrorLog

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def event(seconds: float = 0, source: str = "meta", message: str = "down") -> ErrorEvent:
    """An error some seconds after noon."""
    return ErrorEvent(NOON + timedelta(seconds=seconds), source, "Transient", message, "act_1 last_7d", "2")


def test_errors_come_back_newest_first(engine: Engine) -> None:
    """Every field comes back, and the list can be limited to a source."""
    log = ErrorLog(engine)
    for error in (event(0), event(1, "warehouse"), event(2)):
        log.record(error)

    assert log.list_recent() == [event(2), event(1, "warehouse"), event(0)]
    assert log.list_recent(source="warehouse") == [event(1, "warehouse")]
    assert log.list_recent(limit=1) == [event(2)]


def test_all_workers_count_in_a_window(engine: Engine) -> None:
    """Two logs on one database count each other's errors; the start of the window is exclusive."""
    one, two = ErrorLog(engine), ErrorLog(engine)
    for second in range(5):
        one.record(event(second))
        two.record(event(second))

    assert one.count("meta", NOON) == 8
    assert one.count("meta", NOON, {"TooMuchData"}) == 8
    assert one.count("meta", NOON, {"Transient"}) == 0
    assert one.count("warehouse", NOON) == 0


def test_long_values_are_cut_to_their_columns(engine: Engine) -> None:
    """An error with a long name is recorded and counted by its source."""
    long = ErrorEvent(NOON, "s" * 300, "k" * 300, "m" * 5000, "x" * 900, "c" * 300)
    log = ErrorLog(engine)
    log.record(long)

    assert log.count("s" * 300, NOON - timedelta(seconds=1)) == 1
    assert len(log.list_recent()[0].kind) == 40


def test_the_table_stays_bounded(engine: Engine) -> None:
    """Recording deletes rows by number and by age."""
    log = ErrorLog(engine, max_rows=50)
    for second in range(200):
        log.record(event(second))
    assert len(log.list_recent(limit=1000)) == 50
    assert log.list_recent(limit=1)[0].at == NOON + timedelta(seconds=199)

    assert log.prune(NOON + timedelta(days=31)) == 50
    assert log.list_recent() == []
