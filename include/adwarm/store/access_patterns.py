"""Access patterns in SQL, for BI tools: profiles with popular ranges, and hours of the week, by account and for all.

An account's rows are replaced in one transaction, so that a reader sees either the earlier or the later ones.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, delete, select
from sqlalchemy.schema import Column, Table
from sqlalchemy.types import JSON, BigInteger, Boolean, Float, Integer, String, Text

from adwarm.model import ALL_ACCOUNTS, WEEKDAYS, AccessProfile
from adwarm.store.columns import UtcDateTime, metadata
from adwarm.store.database import read_transaction, upsert, write_transaction

# One row per account opened in the last `ADWARM_FORECAST__HISTORY_DAYS`, and one of all; others are deleted.
access_profile = Table(
    "access_profile",
    metadata,
    Column("account_id", String(24), primary_key=True),
    Column("first_opens", BigInteger, nullable=False),
    Column("keys", Integer, nullable=False),
    Column("observed_from", UtcDateTime(), nullable=False),
    Column("observed_until", UtcDateTime(), nullable=False),
    Column("observed_weeks", Float, nullable=False),
    Column("time_zones", JSON, nullable=False),
    Column("busy_hours", Text, nullable=False),
    Column("peak_hours", Text, nullable=False),
    Column("quiet_hours", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("popular_ranges", JSON, nullable=False),
    Column("computed_at", UtcDateTime(), nullable=False),
)

# 168 rows per row of `access_profile`.
access_pattern = Table(
    "access_pattern",
    metadata,
    Column("account_id", String(24), primary_key=True),
    Column("weekday", Integer, primary_key=True),
    Column("hour", Integer, primary_key=True),
    Column("weekday_name", String(9), nullable=False),
    Column("opens", BigInteger, nullable=False),
    Column("observed_hours", Float, nullable=False),
    Column("opens_per_hour", Float, nullable=False),
    Column("active_weeks", Integer, nullable=False),
    Column("is_busy", Boolean, nullable=False),
    Column("is_peak", Boolean, nullable=False),
    Column("is_quiet", Boolean, nullable=False),
    Column("time_zone", String(64), nullable=False),
    Column("observed_weeks", Float, nullable=False),
    Column("computed_at", UtcDateTime(), nullable=False),
)


SEVERAL_ZONES = "several"
_ACCOUNTS_AT_ONCE = 50
"""Accounts of one transaction: about 8,500 rows, so that other writers wait for a moment only."""


class PatternHour(NamedTuple):
    """One hour of an account's week; docs/reference/tables.md describes the columns."""

    account_id: str
    weekday: int
    hour: int
    weekday_name: str
    opens: int
    observed_hours: float
    opens_per_hour: float
    active_weeks: int
    is_busy: bool
    is_peak: bool
    is_quiet: bool
    time_zone: str
    observed_weeks: float
    computed_at: datetime


class StoredRange(NamedTuple):
    """One popular date range of an account, by its position from 1; `share` is that of the account's first opens."""

    account_id: str
    date_range: str
    position: int
    opens: int
    share: float
    computed_at: datetime


class ProfileSummary(NamedTuple):
    """What an account's profile rests on; docs/reference/tables.md describes the columns."""

    account_id: str
    first_opens: int
    keys: int
    observed_from: datetime
    observed_until: datetime
    observed_weeks: float
    time_zones: dict[str, int]
    busy_hours: str
    peak_hours: str
    quiet_hours: str
    evidence: str
    popular_ranges: list[dict[str, Any]]
    computed_at: datetime


class DescribedProfile(NamedTuple):
    """A profile with its hours as text."""

    profile: AccessProfile
    busy_hours: str
    peak_hours: str
    quiet_hours: str


def replace_profiles(engine: Engine, profiles: Iterable[DescribedProfile], at: datetime) -> int:
    """Store profiles in place of earlier ones of the same accounts, and return how many.

    Profiles are stored in their order, some at a time; each account changes at once.
    """
    count = 0
    remaining = iter(profiles)
    while some := list(islice(remaining, _ACCOUNTS_AT_ONCE)):
        with write_transaction(engine) as connection:
            upsert(connection, access_profile, [_summary(item, at)._asdict() for item in some])
            upsert(connection, access_pattern, [row._asdict() for item in some for row in _hours(item.profile, at)])
        count += len(some)
    return count


def delete_other_profiles(engine: Engine, ids: Collection[str]) -> int:
    """Delete the rows of all accounts but `ids`, and return how many accounts that were."""
    with read_transaction(engine) as connection:
        gone = sorted(set(connection.execute(select(access_profile.c.account_id)).scalars()) - set(ids))
    for start in range(0, len(gone), _ACCOUNTS_AT_ONCE):
        some = gone[start : start + _ACCOUNTS_AT_ONCE]
        with write_transaction(engine) as connection:
            for table in (access_pattern, access_profile):
                connection.execute(delete(table).where(table.c.account_id.in_(some)))
    return len(gone)


def find_summary(connection: Connection, account_id: str = ALL_ACCOUNTS) -> ProfileSummary | None:
    """Return the summary of an account's profile, by default of the one over all accounts; None when there is none."""
    row = connection.execute(select(access_profile).where(access_profile.c.account_id == account_id)).one_or_none()
    return None if row is None else ProfileSummary(**row._asdict())


def list_summaries(engine: Engine, account_id: str | None = None) -> list[ProfileSummary]:
    """Return the summaries of one account, or of all, by account id."""
    return [ProfileSummary(**row._asdict()) for row in _rows(engine, access_profile, account_id)]


def list_hours(engine: Engine, account_id: str | None = None) -> list[PatternHour]:
    """Return the hours of one account, or of all, by account id and hour of the week."""
    return [PatternHour(**row._asdict()) for row in _rows(engine, access_pattern, account_id)]


def list_ranges(engine: Engine, account_id: str | None = None) -> list[StoredRange]:
    """Return the popular ranges of one account, or of all, by account id and position."""
    return [
        StoredRange(account_id=item.account_id, position=position, computed_at=item.computed_at, **fields)
        for item in list_summaries(engine, account_id)
        for position, fields in enumerate(item.popular_ranges, 1)
    ]


def _rows(engine: Engine, table: Any, account_id: str | None) -> list[Any]:
    query = select(table).order_by(*table.primary_key.columns)
    if account_id is not None:
        query = query.where(table.c.account_id == account_id)
    with read_transaction(engine) as connection:
        return list(connection.execute(query))


def _summary(item: DescribedProfile, at: datetime) -> ProfileSummary:
    profile = item.profile
    return ProfileSummary(
        account_id=profile.account_id,
        first_opens=profile.first_opens,
        keys=profile.keys,
        observed_from=profile.since,
        observed_until=profile.until,
        observed_weeks=profile.weeks,
        time_zones=profile.time_zones,
        busy_hours=item.busy_hours,
        peak_hours=item.peak_hours,
        quiet_hours=item.quiet_hours,
        evidence=profile.evidence,
        popular_ranges=[item._asdict() for item in profile.popular_ranges],
        computed_at=at,
    )


def list_profile_hours(profile: AccessProfile, at: datetime) -> list[PatternHour]:
    """Return the rows of a profile, by hour of the week; `at` is when it was computed."""
    return list(_hours(profile, at))


def _hours(profile: AccessProfile, at: datetime) -> Iterable[PatternHour]:
    busy, peak, quiet = set(profile.busy_hours), set(profile.peak_hours), set(profile.quiet_hours)
    zone = next(iter(profile.time_zones), "") if len(profile.time_zones) < 2 else SEVERAL_ZONES
    columns = zip(profile.hour_of_week, profile.observed, profile.rate, profile.active_weeks, strict=True)
    for hour, (opens, observed, rate, weeks) in enumerate(columns):
        day, of_day = divmod(hour, 24)
        yield PatternHour(
            account_id=profile.account_id,
            weekday=day + 1,
            hour=of_day,
            weekday_name=WEEKDAYS[day],
            opens=opens,
            observed_hours=observed,
            opens_per_hour=rate,
            active_weeks=weeks,
            is_busy=hour in busy,
            is_peak=hour in peak,
            is_quiet=hour in quiet,
            time_zone=zone,
            observed_weeks=profile.weeks,
            computed_at=at,
        )
