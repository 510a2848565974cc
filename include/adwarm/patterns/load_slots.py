"""Loads slots from the store."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import groupby

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from adwarm.foundation.clock import floor_to, utc
from adwarm.foundation.local_hours import DAY_MICROS
from adwarm.patterns.reloads import CONTEXT, drop_reloads
from adwarm.patterns.slot_counts import SLOT_SCHEMA
from adwarm.store import Context, accounts, aggregates
from adwarm.store.database import read_transaction

_KEY = ["account_id", "date_range", "report"]
_HOUR = timedelta(hours=1)
_CONTEXT = timedelta(microseconds=CONTEXT)


def load_slots(context: Context, since: datetime, until: datetime) -> pd.DataFrame:
    """Return the slots that start in the half-open window, by slot and key.

    The reader zone is the one that a user has set for the account, else that of the log, else the account's, else the
    default zone of the settings.

    Returns:
        The columns of `SLOT_SCHEMA`, names as strings.
    """
    tables = [_plain(table) for table in iter_slots(context, since, until)]
    slots = (pa.concat_tables(tables) if tables else _plain(SLOT_SCHEMA.empty_table())).to_pandas()
    slots = slots.sort_values(["slot", *_KEY, "time_zone"], ignore_index=True)
    return _with_zones(context, slots)


def iter_slots(context: Context, since: datetime, until: datetime) -> Iterator[pa.Table]:
    """Yield the slots that start in the half-open window without reloads, in `SLOT_SCHEMA`, one table per UTC day."""
    since, until = utc(since), utc(until)
    stored = _iter_stored(context, since - _CONTEXT, until)
    days = (pa.concat_tables(tables).unify_dictionaries() for _, tables in groupby(stored, key=_day))
    for table in drop_reloads(days):
        slot = table["slot"]
        yield table.filter(pc.greater_equal(slot, pa.scalar(since, slot.type)))


def _iter_stored(context: Context, since: datetime, until: datetime) -> Iterator[pa.Table]:
    """Yield the stored slots that start in the half-open window, by day, one table per object that has any."""
    with read_transaction(context.engine) as connection:
        rows = aggregates.list_hours(connection, floor_to(utc(since), _HOUR), utc(until))
    hours_by_object: dict[str, list[datetime]] = defaultdict(list)
    for row in rows:
        hours_by_object[row.object_hash].append(row.hour)
    found = context.objects.map(context.objects.get, hours_by_object)
    for hours, data in zip(hours_by_object.values(), found, strict=True):
        table = pq.read_table(pa.BufferReader(data))
        slot = table["slot"]
        hour = pc.floor_temporal(slot, unit="hour")
        chosen = pc.and_(
            pc.greater_equal(slot, pa.scalar(since, slot.type)), pc.less(slot, pa.scalar(until, slot.type))
        )
        selected = table.filter(pc.and_(chosen, pc.is_in(hour, pa.array(hours, slot.type)))).cast(SLOT_SCHEMA)
        if len(selected):
            yield selected


def _day(table: pa.Table) -> int:
    return int(table["slot"][0].value) // DAY_MICROS


def _plain(table: pa.Table) -> pa.Table:
    """Return the table with strings instead of dictionaries, which differ between objects."""
    fields = [
        pa.field(field.name, pa.string() if pa.types.is_dictionary(field.type) else field.type) for field in SLOT_SCHEMA
    ]
    return table.select(SLOT_SCHEMA.names).cast(pa.schema(fields))


def _with_zones(context: Context, slots: pd.DataFrame) -> pd.DataFrame:
    """Put in the reader zones that users have set, and where the log names none, the account's, else the default."""
    set_zones = accounts.get_user_zones(context.engine)
    is_set = slots["account_id"].isin(list(set_zones))
    if is_set.any():
        slots.loc[is_set, "time_zone"] = slots.loc[is_set, "account_id"].map(set_zones)
    unnamed = slots["time_zone"] == ""
    if unnamed.any():
        owners = slots.loc[unnamed, "account_id"]
        zones = {
            name: row.reader_zone for name, row in accounts.get_many(context.engine, list(owners.unique())).items()
        }
        slots.loc[unnamed, "time_zone"] = [zones.get(owner, context.settings.default_zone) for owner in owners]
    return slots
