"""Progress of the access log: one aggregate per UTC hour, the files read so far, and the watermark.

What writes takes the caller's connection, so that hours, files and watermark change in one transaction.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from sqlalchemy import BigInteger, Connection, Engine, Index, String, Table, delete, func, select

from adwarm.store.columns import UtcDateTime, columns_of, from_row, key_column, metadata, table_of, to_row, value_column
from adwarm.store.database import read_transaction, upsert

# One row per reader of the log.
watermark = Table(
    "watermark",
    metadata,
    key_column("name", String(80)),
    value_column("until", UtcDateTime()),
    value_column("updated_at", UtcDateTime()),
)


_WATERMARK = "access_log"
LATE = timedelta(hours=48)
"""Events up to this late reopen their hour: a log that is delivered once a day may miss a delivery."""


@dataclass(frozen=True, slots=True)
class HourAggregate:
    """The opens of humans in one UTC hour."""

    hour: Annotated[datetime, "First moment of the hour."]
    object_hash: Annotated[
        str, 64, "Object with its opens per key and 15-minute slot; it may hold other hours of the day."
    ]
    opens: Annotated[int, BigInteger(), "Opens counted in the hour."]
    keys: Annotated[int, "Report keys opened in the hour."]


access_aggregate = table_of(
    HourAggregate,
    "access_aggregate",
    value_column("updated_at", UtcDateTime(), doc="When the hour was last read."),
    Index(None, "object_hash"),
    key=("hour",),
    grows="hours of log: 24 rows a day",
    bound="deleted after `ADWARM_RETENTION__AGGREGATE_DAYS`, with their objects",
)


@dataclass(frozen=True, slots=True)
class LogFileProgress:
    """How far a file of the access log has been read."""

    path: Annotated[str, 1024, "Path of the file."]
    size: Annotated[int, BigInteger(), "Size when it was last read."]
    mtime: Annotated[float, "Modification time when it was last read."]
    offset: Annotated[int, BigInteger(), "Bytes of a text file that were read; the next event starts there."]
    checkpoints: Annotated[
        list[list[int]],
        "Pairs of hour, counted since the epoch, and offset: every event before the offset is older than the hour.",
    ]
    events: Annotated[int, BigInteger(), "Events that were read."]
    rejected: Annotated[int, BigInteger(), "Lines that were quarantined."]
    read_at: Annotated[datetime, "When it was last read."]


log_file = table_of(
    LogFileProgress,
    "log_file",
    key=("path",),
    grows="files of the access log",
    bound="the row of a file is deleted when the file is gone; rotated names grow with their number",
)


def list_hours(
    connection: Connection, since: datetime | None = None, until: datetime | None = None
) -> list[HourAggregate]:
    """Return the hours that start in the half-open window, oldest first."""
    query = select(*columns_of(HourAggregate, access_aggregate)).order_by(access_aggregate.c.hour)
    if since is not None:
        query = query.where(access_aggregate.c.hour >= since)
    if until is not None:
        query = query.where(access_aggregate.c.hour < until)
    return [HourAggregate(*row) for row in connection.execute(query)]


def list_object_hashes(connection: Connection, after: str, limit: int) -> list[str]:
    """Return up to `limit` hashes of objects that come after one, in order."""
    digest = access_aggregate.c.object_hash
    query = select(digest).where(digest > after).distinct().order_by(digest).limit(limit)
    return [str(value) for value in connection.execute(query).scalars()]


def count_objects(connection: Connection) -> int:
    """Return the number of objects that hold hours."""
    return int(connection.execute(select(func.count(access_aggregate.c.object_hash.distinct()))).scalar_one())


def find_newest_hour(connection: Connection) -> datetime | None:
    """Return the newest hour with an open, or None."""
    newest: datetime | None = connection.execute(select(func.max(access_aggregate.c.hour))).scalar_one_or_none()
    return newest


def replace_hours(
    connection: Connection, since: datetime, until: datetime, rows: Iterable[HourAggregate], at: datetime
) -> None:
    """Replace all hours that start in the half-open window by `rows`."""
    connection.execute(
        delete(access_aggregate).where(access_aggregate.c.hour >= since, access_aggregate.c.hour < until)
    )
    values = [{**to_row(row), "updated_at": at} for row in rows]
    if values:
        connection.execute(access_aggregate.insert(), values)


def list_log_files(connection: Connection) -> dict[str, LogFileProgress]:
    """Return the files read so far, by path."""
    return {row.path: from_row(LogFileProgress, row) for row in connection.execute(select(log_file))}


def save_log_files(connection: Connection, rows: Iterable[LogFileProgress]) -> None:
    """Store how far files have been read."""
    upsert(connection, log_file, [to_row(row) for row in rows])


def delete_log_files(connection: Connection, paths: Iterable[str]) -> None:
    """Delete the rows of files that no longer exist."""
    for path in paths:
        connection.execute(delete(log_file).where(log_file.c.path == path))


def get_watermark(connection: Connection) -> datetime | None:
    """Return the time up to which the log has been read; None before the first run."""
    return connection.execute(select(watermark.c.until).where(watermark.c.name == _WATERMARK)).scalar_one_or_none()


def find_last_reading(connection: Connection) -> datetime | None:
    """Return when the log was read last; None before the first run."""
    return connection.execute(select(watermark.c.updated_at).where(watermark.c.name == _WATERMARK)).scalar_one_or_none()


def set_watermark(connection: Connection, until: datetime, at: datetime) -> None:
    """Store the time up to which the log has been read."""
    upsert(connection, watermark, [{"name": _WATERMARK, "until": until, "updated_at": at}])


def find_log_end(engine: Engine) -> datetime | None:
    """Return up to when opens are stored: the watermark, or the end of the newest hour if that is later."""
    with read_transaction(engine) as connection:
        newest = find_newest_hour(connection)
        ends = [get_watermark(connection), newest + timedelta(hours=1) if newest else None]
    return max((end for end in ends if end), default=None)
