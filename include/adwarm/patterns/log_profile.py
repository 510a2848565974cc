"""Profiles and counts of one log, without a store."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa

from adwarm.access_log.log_reader import read_events
from adwarm.foundation.local_hours import HOUR_MICROS
from adwarm.model import ALL_ACCOUNTS, normalize_account_id
from adwarm.patterns.arrow_memory import system_memory_pool
from adwarm.patterns.hour_of_week import count_slots
from adwarm.patterns.ingest.read_split import iterate_in_background
from adwarm.patterns.open_counts import FirstOpenCounter
from adwarm.patterns.profile import AccessProfiles, build_profiles
from adwarm.patterns.reloads import drop_reloads
from adwarm.patterns.slot_counts import SlotAggregator
from adwarm.settings import Settings
from adwarm.store.access_patterns import PatternHour, list_profile_hours

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
    return pd.DataFrame(list_profile_hours(profile, profile.until), columns=list(PatternHour._fields))
