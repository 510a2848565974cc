"""How often each report is opened in each hour of the reader's week; memory is bounded by the answer, not by the log.

Tables of parts of a log add up to the table of the whole, in any order: make one a day, store it, and merge. Only opens
by persons count, all reports of an account and date range together.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from adwarm.access_log.log_reader import read_events, timestamp_column
from adwarm.foundation.arrow_arrays import Codes, Ints, Ints16, to_arrow_array, to_numpy
from adwarm.patterns.arrow_memory import system_memory_pool
from adwarm.patterns.background_iterator import iterate_in_background
from adwarm.patterns.dictionary_encoder import DictionaryEncoder
from adwarm.patterns.hour_counts import HourCounts
from adwarm.patterns.local_hours import DAY_QUARTERS, QUARTER_MICROS, HourOfWeekLookup
from adwarm.patterns.opens import keep_human_events
from adwarm.patterns.pair_index import PairIndex
from adwarm.settings import Settings

if TYPE_CHECKING:
    import pandas as pd  # counting does without; only the frame needs it

_WORD = pa.dictionary(pa.int32(), pa.string())
HOUR_SCHEMA = pa.schema([
    pa.field("account_id", _WORD, nullable=False),
    pa.field("date_range", _WORD, nullable=False),
    pa.field("hour_of_week", pa.uint8(), nullable=False),
    pa.field("opens", pa.int64(), nullable=False),
])
"""One row per account, date range and hour of the week that saw an open; hour 0 is Monday 00:00 to 01:00."""


class HourOfWeekTable:
    """Adds up events, slots or tables that were made before.

    Args:
        default_zone: the zone of the reader where neither the log nor `account_zones` has one.
        account_zones: the zones of accounts, for events whose zone the log does not name.
    """

    def __init__(self, default_zone: str = "UTC", account_zones: Mapping[str, str] | None = None) -> None:
        self._default_zone = default_zone
        self._account_zones = account_zones or {}
        self._accounts, self._ranges, self._zones = DictionaryEncoder(), DictionaryEncoder(), DictionaryEncoder()
        self._pairs = PairIndex()
        self._cells = HourCounts()
        self._local = HourOfWeekLookup()
        self._table: tuple[tuple[int, int, int], Ints16] | None = None

    @property
    def pair_count(self) -> int:
        """How many pairs of account and date range have been counted."""
        return len(self._pairs)

    def add(self, events: pa.RecordBatch) -> None:
        """Count the opens by persons in a batch of events, in `EVENT_SCHEMA`."""
        events = keep_human_events(events)
        if events.num_rows:
            self._cells.add_events(self._rows_of(events), self._hours(events, timestamp_column(events)))

    def add_slots(self, slots: pa.Table) -> None:
        """Count the opens of slots, in `SLOT_SCHEMA`; no slot is cut by an hour of any zone."""
        for batch in slots.to_batches():
            if batch.num_rows:
                rows, hours = self._rows_of(batch), self._hours(batch, timestamp_column(batch, "slot"))
                self._cells.add_counts(rows, hours, _longs(batch, "opens"))

    def add_table(self, table: pa.Table) -> None:
        """Add a table in `HOUR_SCHEMA`, such as a day's."""
        for batch in table.cast(HOUR_SCHEMA).to_batches():
            if batch.num_rows:
                self._cells.add_counts(self._rows_of(batch), _longs(batch, "hour_of_week"), _longs(batch, "opens"))

    def merge(self, other: "HourOfWeekTable") -> None:
        """Add what `other` has counted; `other` stays as it is."""
        for batch in other.batches():
            self.add_table(pa.Table.from_batches([batch]))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the table piece by piece, in order of account, date range and hour."""
        accounts, account = _in_use(self._accounts, self._pairs.pairs[:, 0])
        ranges, date_range = _in_use(self._ranges, self._pairs.pairs[:, 1])
        order = np.lexsort((date_range, account))
        account, date_range = account[order], date_range[order]
        for places, hours, counts in self._cells.blocks(order):
            words = (_coded(account[places], accounts), _coded(date_range[places], ranges))
            columns = [*words, to_arrow_array(hours.astype(np.uint8), pa.uint8()), to_arrow_array(counts, pa.int64())]
            yield pa.RecordBatch.from_arrays(columns, schema=HOUR_SCHEMA)

    def table(self) -> pa.Table:
        """Return the whole table."""
        return pa.Table.from_batches(self.batches(), schema=HOUR_SCHEMA)

    def frame(self) -> "pd.DataFrame":
        """Return the whole table for pandas."""
        frame: pd.DataFrame = self.table().to_pandas()
        return frame

    def _rows_of(self, batch: pa.RecordBatch) -> Codes:
        accounts = self._accounts.encode_column(batch.column("account_id"))
        ranges = self._ranges.encode_column(batch.column("date_range"))
        rows = self._pairs.encode(accounts, ranges, len(self._accounts.values), len(self._ranges.values))
        self._cells.reserve(len(self._pairs))
        return rows

    def _hours(self, batch: pa.RecordBatch, micros: Ints) -> Ints16:
        """Return the hour of the week of each moment in its reader's zone."""
        zones = self._zone_codes(batch)
        quarters = micros // QUARTER_MICROS
        first, last = int(quarters.min()) // DAY_QUARTERS, int(quarters.max()) // DAY_QUARTERS
        wanted = (first, last, len(self._zones.values))
        if self._table is None or self._table[0] != wanted:
            names = [name or self._default_zone for name in self._zones.values]
            self._table = (wanted, self._local.table(names, first, last))
        table = self._table[1]
        quarters -= first * DAY_QUARTERS
        quarters += np.multiply(zones, table.shape[1], dtype=np.int64)
        return table.reshape(-1)[quarters]

    def _zone_codes(self, batch: pa.RecordBatch) -> Codes:
        zones = self._zones.encode_column(batch.column("time_zone"))
        if not self._account_zones or "" not in self._zones.values:
            return zones
        unnamed = zones == self._zones.encode("")
        if not unnamed.any():
            return zones
        owners = batch.column("account_id")
        own = [self._zones.encode(self._account_zones.get(name, "")) for name in owners.dictionary.to_pylist()]
        return np.where(unnamed, np.array(own, np.int32)[to_numpy(owners.indices)], zones)


def count_log(
    url: str,
    settings: Settings,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    account_zones: Mapping[str, str] | None = None,
) -> HourOfWeekTable:
    """Return the table of the events of a log in the half-open UTC window, reading it piece by piece.

    Raises:
        NotFound: there is no log at `url`.
        BadRequest: none of its files can be read.
    """
    table = HourOfWeekTable(settings.default_zone, account_zones)
    with system_memory_pool():
        for batch in iterate_in_background(read_events(url, settings, since=since, until=until)):
            table.add(batch)
    return table


def write_table(table: HourOfWeekTable, target: str | Path | BinaryIO) -> None:
    """Write the table as Parquet, piece by piece."""
    with (
        system_memory_pool(),
        pq.ParquetWriter(target, HOUR_SCHEMA, compression="zstd", write_statistics=False) as writer,
    ):
        for batch in iterate_in_background(table.batches()):
            writer.write_batch(batch)


def _in_use(words: DictionaryEncoder, codes: Codes) -> tuple[pa.Array, Ints]:
    """Return the words that `codes` name, in order, and the place of each code among them."""
    ordered, ranks = words.sorted_values()
    used, places = np.unique(ranks[codes], return_inverse=True)
    return ordered.take(to_arrow_array(used, pa.int64())), places


def _coded(codes: Ints, words: pa.Array) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(to_arrow_array(codes.astype(np.int32), pa.int32()), words)


def _longs(batch: pa.RecordBatch, name: str) -> Ints:
    return to_numpy(batch.column(name)).astype(np.int64, copy=False)
