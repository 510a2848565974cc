"""Rows past their retention are deleted."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from adwarm.backpressure import RequestQueue
from adwarm.maintenance.retention import apply_retention
from adwarm.model import CompressionCounts
from adwarm.settings import BackpressureSettings
from adwarm.store import compression_days, read_transaction, write_transaction
from adwarm.store.error_events import ErrorEvent, ErrorLog
from adwarm.store.tables import token_day

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def test_old_rows_are_deleted_and_counted(engine: Engine) -> None:
    """Statistics stay a year, counts of tokens 7 days and errors 30 days; a second run has nothing to do."""
    queue = RequestQueue(engine, BackpressureSettings(), owner="test")
    for age in (0, 400):
        compression_days.add_counts(engine, NOW - age * DAY, {"zstd": CompressionCounts(packed=1)})
    with write_transaction(engine) as connection:
        rows = [{"token_id": "t", "day": (NOW - age * DAY).date(), "new_keys": 1} for age in (0, 7, 8)]
        connection.execute(token_day.insert(), rows)
    log = ErrorLog(engine)
    for age in (0, 31):
        log.record(ErrorEvent(NOW - age * DAY, "meta", "Transient", "x"))
    assert apply_retention(engine, queue, NOW) == {"compression_day": 1, "token_day": 1, "request": 0, "error_event": 1}
    assert set(apply_retention(engine, queue, NOW).values()) == {0}
    with read_transaction(engine) as connection:
        assert len(connection.execute(token_day.select()).all()) == 2
