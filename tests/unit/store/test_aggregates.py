"""Hours, files and watermark of the access log."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from adwarm.store import aggregates
from adwarm.store.aggregates import HourAggregate, LogFileProgress
from adwarm.store.database import read_transaction, write_transaction

START = datetime(2026, 3, 8, tzinfo=UTC)
HOURS = [HourAggregate(START + timedelta(hours=n), f"{n:064x}", opens=n + 1, keys=1) for n in range(6)]


def test_hours_of_a_window_are_replaced_and_others_stay(engine: Engine) -> None:
    """Only hours that start in the half-open window change; an hour without a new row is deleted."""
    with write_transaction(engine) as connection:
        aggregates.replace_hours(connection, START, START + timedelta(hours=6), HOURS, START)
        fresh = HourAggregate(HOURS[3].hour, "f" * 64, opens=9, keys=2)
        aggregates.replace_hours(connection, HOURS[2].hour, HOURS[4].hour, [fresh], START)
    with read_transaction(engine) as connection:
        assert aggregates.list_hours(connection) == [*HOURS[:2], fresh, *HOURS[4:]]
        assert aggregates.list_hours(connection, HOURS[1].hour, HOURS[4].hour) == [HOURS[1], fresh]
        assert aggregates.find_newest_hour(connection) == HOURS[5].hour


def test_the_newest_hour_of_an_empty_log_is_none(engine: Engine) -> None:
    """Before the first reading there is no hour, no watermark and no file."""
    with read_transaction(engine) as connection:
        assert aggregates.find_newest_hour(connection) is None
        assert aggregates.get_watermark(connection) is None
        assert aggregates.list_log_files(connection) == {}


def test_the_watermark_moves_by_name(engine: Engine) -> None:
    """Each name has its own watermark, in UTC."""
    with write_transaction(engine) as connection:
        aggregates.set_watermark(connection, START, START)
        aggregates.set_watermark(connection, START + timedelta(hours=1), START)
    with read_transaction(engine) as connection:
        assert aggregates.get_watermark(connection) == START + timedelta(hours=1)


def test_files_are_saved_and_deleted(engine: Engine) -> None:
    """A later reading replaces the row of a file."""
    row = LogFileProgress("/log.jsonl", 10, 1.5, 8, [[3, 0], [4, 5]], 2, 1, START)
    grown = LogFileProgress("/log.jsonl", 20, 2.5, 20, [[4, 5]], 4, 1, START)
    with write_transaction(engine) as connection:
        aggregates.save_log_files(connection, [row, LogFileProgress("/old.jsonl", 1, 1.0, 1, [], 0, 0, START)])
        aggregates.save_log_files(connection, [grown])
        aggregates.save_log_files(connection, [])
        aggregates.delete_log_files(connection, ["/old.jsonl", "/never.jsonl"])
    with read_transaction(engine) as connection:
        assert aggregates.list_log_files(connection) == {"/log.jsonl": grown}
