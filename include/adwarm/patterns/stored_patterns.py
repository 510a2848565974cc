"""Keeps the access patterns in SQL up to date, and loads them as pandas frames."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from adwarm.model import ALL_ACCOUNTS, AccessProfile, normalize_account_id
from adwarm.patterns.hour_of_week import format_peaks, format_week
from adwarm.patterns.open_counts import count_first_opens
from adwarm.patterns.open_history import find_log_end
from adwarm.patterns.profile import build_profiles
from adwarm.store import Context, access_patterns, read_transaction
from adwarm.store.access_patterns import DescribedProfile, PatternHour, ProfileSummary, StoredRange

UPDATE_INTERVAL = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class PatternUpdate:
    """What an update has stored.

    Attributes:
        accounts: accounts with a profile.
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
        now: stored with the patterns.
        force: update patterns of any age.
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
    rows = access_patterns.list_hours(context.engine, _account(account_id))
    return pd.DataFrame(rows, columns=list(PatternHour._fields))


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
    rows: list[Any] = access_patterns.list_summaries(context.engine, _account(account_id))
    return pd.DataFrame(rows, columns=list(ProfileSummary._fields))


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
