"""Access patterns: kept up to date in SQL and loaded as pandas frames, and those of one log without a store."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

import pandas as pd
import pyarrow as pa

from adwarm.access_log.log_reader import read_events
from adwarm.foundation.arrow_arrays import system_memory_pool
from adwarm.foundation.background_iterator import iterate_in_background
from adwarm.foundation.local_hours import HOUR_MICROS
from adwarm.model import ALL_ACCOUNTS, AccessProfile, normalize_account_id
from adwarm.patterns.hour_of_week import count_slots, format_peaks, format_week
from adwarm.patterns.open_counts import FirstOpenCounter, count_first_opens
from adwarm.patterns.profile import AccessProfiles, build_profiles
from adwarm.patterns.reloads import drop_reloads
from adwarm.patterns.slot_counts import SlotAggregator
from adwarm.settings import Settings
from adwarm.store import Context, access_patterns, read_transaction
from adwarm.store.access_patterns import DescribedProfile, PatternHour, ProfileSummary, StoredRange, list_profile_hours
from adwarm.store.aggregates import find_log_end

UPDATE_INTERVAL = timedelta(hours=24)
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
    profiles = build_profiles(count_first_opens(context, since, until), until)
    total, *rows = profiles.ids
    access_patterns.replace_profiles(context.engine, _describe(profiles.row(n) for n in range(1, len(rows) + 1)), now)
    removed = access_patterns.delete_other_profiles(context.engine, {total, *rows})
    access_patterns.replace_profiles(context.engine, _describe([profiles.get()]), now)
    busy, quiet = (int(hours[1:].any(axis=1).sum()) for hours in (profiles.busy, profiles.quiet))
    return PatternUpdate(len(rows), removed, busy, quiet)


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
    return _to_frame(PatternHour, access_patterns.list_hours(context.engine, _account(account_id)))


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
    rows = access_patterns.list_ranges(context.engine, _account(account_id))
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
    return _to_frame(ProfileSummary, access_patterns.list_summaries(context.engine, _account(account_id)))


def _to_frame(kind: Any, rows: Iterable[Any]) -> pd.DataFrame:
    names = [item.name for item in fields(kind)]
    return pd.DataFrame(map(attrgetter(*names), rows), columns=names)


def _account(text: str | None) -> str | None:
    return text if text is None or text == ALL_ACCOUNTS else normalize_account_id(text)


def _describe(profiles: Iterable[AccessProfile]) -> Iterator[DescribedProfile]:
    for profile in profiles:
        yield DescribedProfile(
            profile,
            format_week(profile.busy_hours),
            format_peaks(profile.peak_hours),
            format_week(profile.quiet_hours),
        )


def profile_and_count_log(url: str, settings: Settings) -> tuple[AccessProfiles, pa.Table]:
    """Return the profiles of a log, observed to the end of its last hour, and its counts in `HOUR_SCHEMA`.

    Raises:
        NotFound: there is no log at `url`.
        BadRequest: none of its files can be read.
    """
    slots, counter, newest = SlotAggregator(), FirstOpenCounter(settings.default_zone), 0
    with system_memory_pool():
        for batch in iterate_in_background(read_events(url, settings)):
            slots.add(batch)
        for table in drop_reloads(table for _, table in slots.days()):
            counter.add_day([table])
            newest = max(newest, table["slot"].cast(pa.int64()).to_numpy().max())
        counts = count_slots(drop_reloads(table for _, table in slots.days()), settings.default_zone)
    until = _EPOCH + timedelta(hours=int(newest) // HOUR_MICROS + 1)
    return build_profiles(counter.counts(), until), counts


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
    name = account_id if account_id == ALL_ACCOUNTS else normalize_account_id(account_id)
    profile = profile_and_count_log(url, settings)[0].get(name)
    return _to_frame(PatternHour, list_profile_hours(profile, profile.until))
