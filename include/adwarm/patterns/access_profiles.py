"""Access patterns: kept up to date in SQL and loaded as pandas frames, and those of one log without a store."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

import pandas as pd
import pyarrow as pa
from sqlalchemy import Engine

from adwarm.access_log.log_reader import read_events
from adwarm.foundation.arrow_arrays import system_memory_pool
from adwarm.foundation.background_iterator import iterate_in_background
from adwarm.foundation.clock import floor_to
from adwarm.foundation.local_time import WEEK_HOURS
from adwarm.model import ALL_ACCOUNTS, WEEKDAYS
from adwarm.patterns.hour_of_week import format_peaks, format_week
from adwarm.patterns.open_counts import count_first_opens, count_hours_of_week, load_open_counts
from adwarm.patterns.pattern_document import list_popular_ranges
from adwarm.patterns.profile import AccessProfiles, build_profiles
from adwarm.patterns.reloads import drop_reloads
from adwarm.patterns.slot_counts import SlotAggregator
from adwarm.settings import Settings
from adwarm.store import Context, access_patterns, accounts, read_transaction
from adwarm.store.access_patterns import SEVERAL_ZONES, PatternHour, ProfileSummary, StoredRange
from adwarm.store.aggregates import find_log_end

UPDATE_INTERVAL = timedelta(hours=24)
_ACCOUNTS_AT_ONCE = 50
"""Accounts of one transaction: about 8,500 rows, so that other writers wait for a moment only."""
_HOUR = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PatternUpdate:
    """What an update has stored.

    Attributes:
        removed: accounts whose rows were deleted, because nobody opened them in the period.
        busy: accounts with a busy hour.
        quiet: accounts with a quiet hour.
        why: why nothing was stored; empty when the update was made.
    """

    accounts: int = 0
    removed: int = 0
    busy: int = 0
    quiet: int = 0
    why: str = ""


def update_patterns(context: Context, until: datetime, now: datetime, *, force: bool = False) -> PatternUpdate:
    """Store the patterns of the `history_days` before `until`, unless stored ones are less than a day older.

    Accounts are replaced one by one, and the profile of all last: after an interruption the next call starts anew.

    Args:
        until: end of the period; no later than the end of the stored log.
    """
    end = find_log_end(context.engine)
    if end is None:
        return PatternUpdate(why="no open is stored yet")
    until = min(until, end)
    with read_transaction(context.engine) as connection:
        stored = access_patterns.find_summary(connection)
    if stored and not force and until < stored.observed_until + UPDATE_INTERVAL:
        return PatternUpdate(why=f"patterns up to {stored.observed_until:%Y-%m-%d %H:%M} UTC are stored")
    since = until - timedelta(days=context.settings.forecast.history_days)
    profiles = build_profiles(load_open_counts(context, since, until), until)
    total, *rows = profiles.accounts.index
    for start in range(1, len(rows) + 1, _ACCOUNTS_AT_ONCE):
        _store(context.engine, profiles, slice(start, start + _ACCOUNTS_AT_ONCE), now)
    removed = access_patterns.delete_other_profiles(context.engine, {total, *rows})
    _store(context.engine, profiles, slice(1), now)
    busy, quiet = (profiles.accounts[name].iloc[1:].map(bool).sum() for name in ("busy_hours", "quiet_hours"))
    return PatternUpdate(len(rows), removed, int(busy), int(quiet))


def load_patterns(context: Context, account_id: str | None = None) -> pd.DataFrame:
    """Return the stored access patterns: 168 rows per account, one for each hour of the reader's week.

    The DAG `adwarm_access_patterns` stores them once a day. Rows with the account `all` are of all accounts together.

    Args:
        context: database, object store and settings; `Runtime().context`.
        account_id: only this account, or `all`; by default every account.

    Returns:
        The columns of the table `access_pattern`, by account and hour of the week.

    Raises:
        BadRequest: the account id is not valid.
    """
    return _to_frame(PatternHour, access_patterns.list_hours(context.engine, _find_account(context, account_id)))


def load_popular_ranges(context: Context, account_id: str | None = None) -> pd.DataFrame:
    """Return the stored popular date ranges of each account, the most popular first.

    Args:
        context: database, object store and settings; `Runtime().context`.
        account_id: only this account, or `all`; by default every account.

    Returns:
        The fields of a `StoredRange`, by account and position.

    Raises:
        BadRequest: the account id is not valid.
    """
    rows = access_patterns.list_ranges(context.engine, _find_account(context, account_id))
    return pd.DataFrame(rows, columns=list(StoredRange._fields))


def load_access_profiles(context: Context, account_id: str | None = None) -> pd.DataFrame:
    """Return one row per account: its busy, peak and quiet hours as text, its time zones, and what they rest on.

    Args:
        context: database, object store and settings; `Runtime().context`.
        account_id: only this account, or `all`; by default every account.

    Returns:
        The columns of the table `access_profile`, by account.

    Raises:
        BadRequest: the account id is not valid.
    """
    return _to_frame(ProfileSummary, access_patterns.list_summaries(context.engine, _find_account(context, account_id)))


def _to_frame(kind: Any, rows: Iterable[Any]) -> pd.DataFrame:
    names = [item.name for item in fields(kind)]
    return pd.DataFrame(map(attrgetter(*names), rows), columns=names)


def _find_account(context: Context, text: str | None) -> str | None:
    return text if text is None or text == ALL_ACCOUNTS else accounts.find_id(context, text)


def _store(engine: Engine, profiles: AccessProfiles, rows: slice, at: datetime) -> None:
    """Store the profiles of some accounts, by the position of each."""
    some = AccessProfiles(
        profiles.hours.iloc[(rows.start or 0) * WEEK_HOURS : rows.stop * WEEK_HOURS],
        profiles.accounts.iloc[rows],
        profiles.until,
    )
    summaries = [_summarize(account, profiles.until, at) for account in some.accounts.itertuples()]
    columns = {str(name): values.tolist() for name, values in list_hours(some).items()}
    records = [dict(zip(columns, row, strict=True), computed_at=at) for row in zip(*columns.values(), strict=True)]
    access_patterns.replace_profiles(engine, summaries, records)


def _summarize(account: Any, until: datetime, at: datetime) -> ProfileSummary:
    return ProfileSummary(
        account_id=account.Index,
        first_opens=account.first_opens,
        keys=account.keys,
        observed_from=account.since.to_pydatetime(),
        observed_until=until,
        observed_weeks=round(account.weeks, 2),
        time_zones=account.time_zones,
        busy_hours=format_week(account.busy_hours),
        peak_hours=format_peaks(account.peak_hours),
        quiet_hours=format_week(account.quiet_hours),
        evidence=account.evidence,
        popular_ranges=list_popular_ranges(account.ranges),
        computed_at=at,
    )


def list_hours(profiles: AccessProfiles) -> pd.DataFrame:
    """Return the columns of the table `access_pattern` but the last one, by account and hour of the week."""
    hours = profiles.hours.reset_index()
    zones = profiles.accounts["time_zones"].map(lambda zones: SEVERAL_ZONES if len(zones) > 1 else "".join(zones))
    return pd.DataFrame({
        "account_id": hours["account_id"],
        "weekday": hours["hour_of_week"] // 24 + 1,
        "hour": hours["hour_of_week"] % 24,
        "weekday_name": (hours["hour_of_week"] // 24).map(dict(enumerate(WEEKDAYS))),
        "opens": hours["opens"],
        "observed_hours": hours["observed"].round(3),
        "opens_per_hour": hours["rate"].round(4),
        **hours[["active_weeks", "is_busy", "is_peak", "is_quiet"]],
        "time_zone": hours["account_id"].map(zones),
        "observed_weeks": hours["account_id"].map(profiles.accounts["weeks"].round(2)),
    })


def profile_and_count_log(url: str, settings: Settings) -> tuple[AccessProfiles, pd.DataFrame]:
    """Return the profiles of a log, observed to the end of its last hour, and all opens by report and hour of the week.

    Raises:
        NotFound: there is no log at `url`.
        BadRequest: none of its files can be read.
    """
    slots, newest = SlotAggregator(), _EPOCH

    def list_days() -> Iterator[pa.Table]:
        nonlocal newest
        for table in drop_reloads(table for _, table in slots.days()):
            newest = max([newest, *table["slot"][-1:].to_pylist()])
            yield table

    with system_memory_pool():
        for batch in iterate_in_background(read_events(url, settings)):
            slots.add(batch)
        counts = count_first_opens(list_days(), settings.default_zone)
        hours = count_hours_of_week(list_days(), settings.default_zone)
    return build_profiles(counts, floor_to(newest, _HOUR) + _HOUR), hours


def profile_log(url: str, settings: Settings, account_id: str = ALL_ACCOUNTS) -> pd.DataFrame:
    """Return when the reports of an account are opened, from a log, without a store: one row per hour of the week.

    Args:
        url: file, folder, glob or fsspec URL of the access log.
        settings: format of the log, and the zone of readers whose zone it does not name.
        account_id: the account; by default all together.

    Returns:
        The columns of the table `access_pattern`, by hour of the reader's week; `computed_at` is the log's end.

    Raises:
        NotFound: there is no log at `url`, or it has no human open of the account.
        BadRequest: the account id is not valid, or none of the log's files can be read.
    """
    profiles = profile_and_count_log(url, settings)[0]
    name = profiles.find_account(account_id)
    profiles.require(name)
    hours = list_hours(profiles).assign(computed_at=profiles.until)
    return hours[hours["account_id"] == name].reset_index(drop=True)
