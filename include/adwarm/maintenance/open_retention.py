"""Deletes old days of the open log."""

from datetime import datetime, timedelta

from adwarm.access_log.open_files import OpenFiles
from adwarm.foundation.clock import utc
from adwarm.store import Context


def prune_open_log(context: Context, now: datetime) -> int:
    """Delete the open log's days that ended more than `retention.traffic_days` ago; return how many files that were.

    What was learned from them stays in the aggregates.
    """
    files = OpenFiles(context.settings.data)
    oldest = (utc(now) - timedelta(days=context.settings.retention.traffic_days)).date()
    return sum(files.delete_day(day) for day in files.list_days(until=oldest - timedelta(days=1)))
