"""Deletes rows past their retention from tables that nothing else prunes."""

from datetime import datetime, timedelta

from sqlalchemy import Engine

from adwarm.backpressure import RequestQueue
from adwarm.store import compression_days, token_days, write_transaction
from adwarm.store.error_events import ErrorLog

_TOKEN_DAYS = timedelta(days=7)


def apply_retention(engine: Engine, queue: RequestQueue, now: datetime) -> dict[str, int]:
    """Delete old rows, and return how many of each table.

    Statistics of compression stay a year, the daily counts of tokens 7 days, ended requests 7 days, and errors 30 days.

    Args:
        engine: the database.
        queue: the request queue, which knows when its requests ended.
        now: the time of the run, UTC.
    """
    with write_transaction(engine) as connection:
        tokens = token_days.delete_before(connection, (now - _TOKEN_DAYS).date())
    return {
        "compression_day": compression_days.delete_old(engine, now),
        "token_day": tokens,
        "request": queue.delete_old(),
        "error_event": ErrorLog(engine).prune(now),
    }
