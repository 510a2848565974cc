"""Brings slots back from the store, and tells first opens from the rest."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlalchemy import Engine

from adwarm.foundation.clock import floor_to, utc
from adwarm.patterns.slot_counts import SLOT_SCHEMA
from adwarm.store import accounts, aggregates
from adwarm.store.database import read_transaction
from adwarm.store.objects import ObjectStore

QUIET_PERIOD = timedelta(minutes=30)
"""An open is a first open when nobody opened the key for this long before."""

_KEY = ["account_id", "date_range", "report"]
_HOUR = timedelta(hours=1)


def load_slots(
    engine: Engine, objects: ObjectStore, since: datetime, until: datetime, *, default_zone: str = "UTC"
) -> pd.DataFrame:
    """Return the slots that start in the half-open window, by slot and key.

    Args:
        default_zone: the reader zone where neither the log nor the account has one.
    """
    tables = [_plain(table) for table in iter_slots(engine, objects, since, until)]
    slots = (pa.concat_tables(tables) if tables else _plain(SLOT_SCHEMA.empty_table())).to_pandas()
    slots = slots.sort_values(["slot", *_KEY, "time_zone"], ignore_index=True)
    return _with_zones(engine, slots, default_zone)


def iter_slots(engine: Engine, objects: ObjectStore, since: datetime, until: datetime) -> Iterator[pa.Table]:
    """Yield the slots that start in the half-open window, in `SLOT_SCHEMA`, object by object."""
    with read_transaction(engine) as connection:
        rows = aggregates.list_hours(connection, floor_to(utc(since), _HOUR), utc(until))
    held: dict[str, list[datetime]] = defaultdict(list)
    for row in rows:
        held[row.object_hash].append(row.hour)
    for digest, wanted in held.items():
        table = pq.read_table(pa.BufferReader(objects.get(digest)))
        slot = table["slot"]
        hour = pc.floor_temporal(slot, unit="hour")
        chosen = pc.and_(
            pc.greater_equal(slot, pa.scalar(since, slot.type)), pc.less(slot, pa.scalar(until, slot.type))
        )
        yield table.filter(pc.and_(chosen, pc.is_in(hour, pa.array(wanted, slot.type))))


def first_opens(slots: pd.DataFrame) -> pd.DataFrame:
    """Return the first opens: those that come after 30 quiet minutes of the same key, whoever opened it before.

    Slots tell them exactly, because no two opens in a quarter of an hour are 30 minutes apart. The first open of each
    key counts, so load slots from half an hour before the moment you ask about.

    Returns:
        Columns account_id, date_range, report, time_zone and ts, by moment and key.
    """
    if slots.empty:
        return slots[[*_KEY, "time_zone"]].assign(ts=slots["first_ts"])
    # The same slot may have a row for each reader zone; the quiet time is the key's.
    ordered = slots.assign(key=slots.groupby(_KEY, sort=False, observed=True).ngroup())
    ordered = ordered.sort_values(["key", "first_ts", "last_ts"], kind="stable", ignore_index=True)
    key = ordered["key"].to_numpy()
    newest = ordered.groupby("key", sort=False)["last_ts"].cummax()
    quiet = (ordered["first_ts"] - newest.shift()) >= QUIET_PERIOD
    first = quiet.to_numpy() | np.concatenate([[True], key[1:] != key[:-1]])
    found = ordered.loc[first, [*_KEY, "time_zone", "first_ts"]].rename(columns={"first_ts": "ts"})
    found = found.sort_values(["ts", *_KEY], ignore_index=True)
    return pd.DataFrame(found)


def _plain(table: pa.Table) -> pa.Table:
    """Return the table with words as text; dictionaries differ from object to object."""
    fields = [
        pa.field(field.name, pa.string() if pa.types.is_dictionary(field.type) else field.type) for field in SLOT_SCHEMA
    ]
    return table.select(SLOT_SCHEMA.names).cast(pa.schema(fields))


def _with_zones(engine: Engine, slots: pd.DataFrame, default_zone: str) -> pd.DataFrame:
    """Fill in the reader zone where the log did not name one: the account's, else the default."""
    unnamed = slots["time_zone"] == ""
    if unnamed.any():
        owners = slots.loc[unnamed, "account_id"]
        known = {name: found.reader_zone for name, found in accounts.get_many(engine, list(owners.unique())).items()}
        slots.loc[unnamed, "time_zone"] = [known.get(owner, default_zone) for owner in owners]
    return slots
