"""Access patterns in SQL, for BI tools: profiles with popular ranges, and hours of the week, by account and for all.

An account's rows are replaced in one transaction, so that a reader sees either the earlier or the later ones.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, NamedTuple

from sqlalchemy import Connection, Engine, delete, select
from sqlalchemy.types import BigInteger

from adwarm.model import ALL_ACCOUNTS
from adwarm.store.columns import from_row, table_of, to_row
from adwarm.store.database import read_transaction, upsert, write_transaction

SEVERAL_ZONES = "several"
_ACCOUNTS_AT_ONCE = 50
"""Accounts of one transaction: about 8,500 rows, so that other writers wait for a moment only."""


@dataclass(frozen=True, slots=True)
class PatternHour:
    """When the reports of an account are opened: one hour of its readers' week."""

    account_id: Annotated[str, "Account id; `all` for all accounts together."]
    weekday: Annotated[int, "Weekday on the reader's clock, 1 for Monday to 7 for Sunday (ISO 8601)."]
    hour: Annotated[int, "Hour on the reader's clock, 0 to 23."]
    weekday_name: Annotated[str, 9, "Name of the weekday."]
    opens: Annotated[int, BigInteger(), "First opens in this hour of the week."]
    observed_hours: Annotated[float, "How often this hour was observed."]
    opens_per_hour: Annotated[float, "First opens per observed hour."]
    active_weeks: Annotated[int, "In how many weeks this hour had a first open."]
    is_busy: Annotated[bool, "Whether the rate is significantly above the mean of the week."]
    is_peak: Annotated[bool, "Whether it is one of the up to three busiest busy hours of the weekday."]
    is_quiet: Annotated[bool, "Whether it is very likely opened at less than half the mean rate."]
    time_zone: Annotated[
        str, 64, "Zone of the hours; `several` when readers are in more than one, see `access_profile.time_zones`."
    ]
    observed_weeks: Annotated[float, "Weeks in which the account was observed."]
    computed_at: Annotated[datetime, "When the row was computed."]


access_pattern = table_of(
    PatternHour,
    "access_pattern",
    key=("account_id", "weekday", "hour"),
    grows="accounts opened in the last `ADWARM_FORECAST__HISTORY_DAYS`: 168 rows each",
    bound="replaced once a day; accounts that nobody opened in that time are deleted",
)


class StoredRange(NamedTuple):
    """One popular date range of an account, by its position from 1; `share` is that of the account's first opens."""

    account_id: str
    date_range: str
    position: int
    opens: int
    share: float
    computed_at: datetime


@dataclass(frozen=True, slots=True)
class ProfileSummary:
    """What the access patterns of an account rest on, and its hours as text."""

    account_id: Annotated[str, "Account id; `all` for all accounts together."]
    first_opens: Annotated[int, BigInteger(), "First opens in the observed time."]
    keys: Annotated[int, "Report keys that were opened."]
    observed_from: Annotated[datetime, "Start of the local day of the first open."]
    observed_until: Annotated[datetime, "End of the observed time."]
    observed_weeks: Annotated[float, "Observed weeks."]
    time_zones: Annotated[dict[str, int], "First opens by reader zone."]
    busy_hours: Annotated[str, "Busy hours, such as `Mon-Fri 08:00-17:00`; empty when there are none."]
    peak_hours: Annotated[str, "Peak hours, such as `Mon 09:00, 10:00, 14:00; Tue 09:00`; empty when there are none."]
    quiet_hours: Annotated[
        str, "Quiet hours, such as `Mon-Fri 22:00-07:00; Sat-Sun all day`; empty when there are none."
    ]
    evidence: Annotated[str, "Why there is neither a busy nor a quiet hour; empty when there is one."]
    popular_ranges: Annotated[
        list[dict[str, Any]],
        "At most 20 date ranges, the most opened first: `date_range`, `opens` (first opens) and `share` of the "
        "account's first opens, 0 to 1.",
    ]
    computed_at: Annotated[datetime, "When the row was computed."]


access_profile = table_of(
    ProfileSummary,
    "access_profile",
    key=("account_id",),
    grows="accounts opened in the last `ADWARM_FORECAST__HISTORY_DAYS`",
    bound="replaced once a day; accounts that nobody opened in that time are deleted",
)


def replace_profiles(engine: Engine, profiles: Sequence[ProfileSummary], hours: list[dict[str, Any]]) -> None:
    """Store profiles and the rows of their hours in place of earlier ones of the same accounts, all at once."""
    with write_transaction(engine) as connection:
        upsert(connection, access_profile, [to_row(profile) for profile in profiles])
        upsert(connection, access_pattern, hours)


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


def find_summary(connection: Connection) -> ProfileSummary | None:
    """Return the summary of the profile over all accounts; None when there is none."""
    row = connection.execute(select(access_profile).where(access_profile.c.account_id == ALL_ACCOUNTS)).one_or_none()
    return None if row is None else from_row(ProfileSummary, row)


def list_summaries(engine: Engine, account_id: str | None = None) -> list[ProfileSummary]:
    """Return the summaries of one account, or of all, by account id."""
    return [from_row(ProfileSummary, row) for row in _rows(engine, access_profile, account_id)]


def list_hours(engine: Engine, account_id: str | None = None) -> list[PatternHour]:
    """Return the hours of one account, or of all, by account id and hour of the week."""
    return [from_row(PatternHour, row) for row in _rows(engine, access_pattern, account_id)]


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
