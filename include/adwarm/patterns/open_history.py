"""Loads the stored opens as arrays, for training a forecast and for predicting.

Forecasts need no finer resolution than a quarter of an hour, so all opens of a key in one slot become one open. Names
stay numbers until the end, which takes about 20 bytes per open.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from adwarm.access_log.timestamps import HOUR, to_micros
from adwarm.foundation.arrow_arrays import Bools, Codes, DictionaryEncoder, Ints, Strings, to_bool_array, to_numpy
from adwarm.foundation.clock import floor_to, utc
from adwarm.foundation.local_hours import DAY_MICROS
from adwarm.foundation.ordering import order_by
from adwarm.model import ReportKey
from adwarm.patterns.opens import Opens, factorize, first_open_mask
from adwarm.patterns.reloads import CONTEXT, drop_reloads
from adwarm.patterns.slot_counts import SLOT_MICROS, SLOT_SCHEMA
from adwarm.store import Context, accounts, aggregates, read_transaction

if TYPE_CHECKING:
    import pandas as pd

_KEY = ["account_id", "date_range", "report"]
_HOUR = timedelta(hours=1)
_CONTEXT = timedelta(microseconds=CONTEXT)
_NAMES = ("account_id", "date_range", "report", "time_zone")
_LATEST = int(np.iinfo(np.int64).max)
_DTYPES = (np.int32, np.int32, np.int32, np.int32, np.int64, np.int32)


def load_slots(context: Context, since: datetime, until: datetime) -> "pd.DataFrame":
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
        yield _select(table, to_numpy(table["slot"]) >= to_micros(since))


def _iter_stored(context: Context, since: datetime, until: datetime) -> Iterator[pa.Table]:
    """Yield the stored slots that start in the half-open window, by day, one table per object that has any."""
    with read_transaction(context.engine) as connection:
        rows = aggregates.list_hours(connection, floor_to(utc(since), _HOUR), utc(until))
    hours_by_object: dict[str, list[datetime]] = defaultdict(list)
    for row in rows:
        hours_by_object[row.object_hash].append(row.hour)
    bodies = context.objects.map(context.objects.get, hours_by_object)
    for hours, data in zip(hours_by_object.values(), bodies, strict=True):
        table = pq.ParquetFile(pa.BufferReader(data)).read().cast(SLOT_SCHEMA)
        slot = to_numpy(table["slot"])
        is_chosen = (slot >= to_micros(since)) & (slot < to_micros(until))
        is_chosen &= np.isin(slot // HOUR, [to_micros(hour) // HOUR for hour in hours])
        selected = _select(table, is_chosen)
        if len(selected):
            yield selected


def _select(table: pa.Table, is_chosen: Bools) -> pa.Table:
    """Return some rows of a table; it is not copied where these are all."""
    return table if is_chosen.all() else table.filter(to_bool_array(is_chosen))


def _day(table: pa.Table) -> int:
    return int(table["slot"][0].value) // DAY_MICROS


def _plain(table: pa.Table) -> pa.Table:
    """Return the table with strings instead of dictionaries, which differ between objects."""
    fields = [
        pa.field(field.name, pa.string() if pa.types.is_dictionary(field.type) else field.type) for field in SLOT_SCHEMA
    ]
    return table.select(SLOT_SCHEMA.names).cast(pa.schema(fields))


def _with_zones(context: Context, slots: "pd.DataFrame") -> "pd.DataFrame":
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


def list_opened_keys(
    context: Context, since: datetime, until: datetime, date_ranges: Sequence[str], report: str
) -> set[ReportKey]:
    """Return the reports with one of the ranges that people have opened in the half-open window, in whichever log."""
    keys: set[ReportKey] = set()
    for table in filter(len, iter_slots(context, since, until)):
        columns = [table[name].combine_chunks() for name in _KEY]
        codes = np.unique(np.stack([to_numpy(column.indices) for column in columns]), axis=1).T.tolist()
        ids, ranges, reports = (column.dictionary.to_pylist() for column in columns)
        keys.update(
            ReportKey(ids[account], ranges[date_range], report)
            for account, date_range, name in codes
            if ranges[date_range] in date_ranges and reports[name] == report
        )
    return keys


def load_opens(context: Context, since: datetime, until: datetime) -> Opens:
    """Return the opens of the slots that start in the half-open window.

    The first open of each key counts as a first open. A key's zone is the one that a user has set for its account, else
    that of its latest slot in the log, else the account's, else the default zone of the settings.
    """
    encoders = {name: DictionaryEncoder() for name in _NAMES}
    tables = iter_slots(context, since, until)
    batches = [_encode_batch(batch, encoders) for table in tables for batch in table.cast(SLOT_SCHEMA).to_batches()]
    columns = [_concatenate(batches, dtype) for dtype in _DTYPES]
    keys, key = _number_keys(columns[:3], encoders)
    del columns[:3]
    zone, first, span = columns
    columns.clear()
    order, last = _one_per_slot(key, first, span)
    is_first = np.zeros(len(key), np.bool_)
    is_first[order] = first_open_mask(key[order], first[order], last)
    if len(order) < len(key):
        order = np.sort(order)
        key, first, zone, is_first = key[order], first[order], zone[order], is_first[order]
    # Rows are by slot still, as they are stored, so this sort has little left to do.
    order = order_by([first - first.min(initial=_LATEST), key], "stable")
    key, first, zone, is_first = key[order], first[order], zone[order], is_first[order]
    rows, at, latest = np.arange(len(key)), *np.empty((2, len(keys[0])), np.int64)
    at[key[::-1]], latest[key] = rows[::-1], rows  # of several rows of a key the last one that is written stays
    appearance = np.argsort(at)
    number = np.empty(len(appearance), np.int32)
    number[appearance] = np.arange(len(appearance), dtype=np.int32)
    at, latest = at[appearance], latest[appearance]
    account_id, date_range, report = (column[key[at]] for column in keys)
    zones = _zones(context, _decode(encoders["time_zone"], zone[latest]), account_id)
    return Opens(
        ts=first,
        key=number[key],
        first=is_first,
        account_id=account_id,
        date_range=date_range,
        report=report,
        zone=zones,
        account=factorize(account_id),
        first_ts=first[at],
        holiday_countries=accounts.get_holiday_countries(context.engine),
    )


def _encode_batch(batch: pa.RecordBatch, encoders: dict[str, DictionaryEncoder]) -> list[npt.NDArray[Any]]:
    """Return the codes of the names, the first timestamp and how much later the last one is, in microseconds."""
    codes = [encoders[name].encode_column(batch.column(name)) for name in _NAMES]
    first, last = (to_numpy(batch.column(name)) for name in ("first_ts", "last_ts"))
    return [*codes, first, (last - first).astype(np.int32)]


def _concatenate(batches: list[list[npt.NDArray[Any]]], dtype: type) -> npt.NDArray[Any]:
    """Return the first column of the batches, which lose it."""
    return np.concatenate([np.empty(0, dtype), *(batch.pop(0) for batch in batches)], dtype=dtype)


def _number_keys(codes: list[Codes], encoders: dict[str, DictionaryEncoder]) -> tuple[list[Strings], Codes]:
    """Return the names of the distinct keys in order, and the index of each row's key among them."""
    texts = [np.sort(np.array(encoders[name].values, dtype=object)) for name in _NAMES[:3]]
    packed = np.zeros(len(codes[0]), np.int64)
    for name, code, text in zip(_NAMES, codes, texts, strict=False):
        packed *= max(len(text), 1)
        packed += encoders[name].sorted_values()[1][code]
    size = math.prod(max(len(text), 1) for text in texts)
    key: Codes
    if size > max(len(packed), 1):
        distinct, numbers = np.unique(packed, return_inverse=True)
        key = numbers.astype(np.int32)
    else:  # counting takes a tenth of the time and memory of sorting
        occurs = np.zeros(size, np.bool_)
        occurs[packed] = True
        distinct, key = np.flatnonzero(occurs), (np.cumsum(occurs, dtype=np.int32) - 1)[packed]
    columns = []
    for text in reversed(texts):
        distinct, index = np.divmod(distinct, max(len(text), 1))
        columns.append(text[index])
    return columns[::-1], key


def _one_per_slot(key: Codes, first: Ints, span: Codes) -> tuple[Ints, Ints]:
    """Return a row per key and slot, by key and time, and its last timestamp; rows of several reader zones are one."""
    slot = (first // SLOT_MICROS - first.min(initial=_LATEST) // SLOT_MICROS).astype(np.int32)
    order = order_by([key, slot], "stable")
    starts = _find_starts(key[order], slot[order])
    if len(starts) == len(order):
        return order, (first + span)[order]
    order = np.lexsort((span, first, key))
    return order[starts], np.maximum.reduceat((first + span)[order], starts)


def _find_starts(key: Codes, slot: Codes) -> Ints:
    new = np.ones(len(key), np.bool_)
    new[1:] = (key[1:] != key[:-1]) | (slot[1:] != slot[:-1])
    return np.flatnonzero(new)


def _decode(encoder: DictionaryEncoder, code: Codes) -> Strings:
    return np.array(encoder.values, dtype=object)[code]


def _zones(context: Context, logged: Strings, account_id: Strings) -> Strings:
    """Put in the zones that users have set, and where the log names none, the account's, else the default."""
    set_zones = accounts.get_user_zones(context.engine)
    for index, name in enumerate(account_id.tolist() if set_zones else ()):
        logged[index] = set_zones.get(name, logged[index])
    unnamed = np.flatnonzero(logged == "")
    rows = accounts.get_many(context.engine, sorted(set(account_id[unnamed].tolist()))) if len(unnamed) else {}
    for index in unnamed.tolist():
        account = rows.get(account_id[index])
        logged[index] = account.reader_zone if account else context.settings.default_zone
    return logged
