"""Counts how often each report is opened in each hour of the reader's week.

The counts are folded out of the slots that ingest makes, so that a log is read in one way only. Only human opens count,
all reports of an account and date range together.
"""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from adwarm.access_log.log_reader import read_events, timestamp_column
from adwarm.foundation.arrow_arrays import Codes, Ints, Micros, to_arrow_array, to_numpy
from adwarm.foundation.dictionary_encoder import DictionaryEncoder, dictionary_column
from adwarm.foundation.local_hours import HOUR_MICROS, hours_of_week, to_local_micros
from adwarm.patterns.arrow_memory import system_memory_pool
from adwarm.patterns.background_iterator import iterate_in_background
from adwarm.patterns.slot_counts import SlotAggregator
from adwarm.settings import Settings

_STRINGS = pa.dictionary(pa.int32(), pa.string())
HOUR_SCHEMA = pa.schema([
    pa.field("account_id", _STRINGS, nullable=False),
    pa.field("date_range", _STRINGS, nullable=False),
    pa.field("hour_of_week", pa.uint8(), nullable=False),
    pa.field("opens", pa.int64(), nullable=False),
])
"""One row per account, date range and hour of the week with an open; hour 0 is Monday 00:00 to 01:00."""

# A cell packs the codes of account and date range and the hour into one number.
_ACCOUNT_SHIFT, _RANGE_SHIFT = 32, 8
_RANGE_MASK, _HOUR_MASK = (1 << _ACCOUNT_SHIFT - _RANGE_SHIFT) - 1, (1 << _RANGE_SHIFT) - 1
_MERGE_ROWS = 1_000_000


def count_log(url: str, settings: Settings) -> pa.Table:
    """Return the counts of a log, in `HOUR_SCHEMA`, by account, date range and hour.

    Raises:
        NotFound: there is no log at `url`.
        BadRequest: none of its files can be read.
    """
    slots = SlotAggregator()
    with system_memory_pool():
        for batch in iterate_in_background(read_events(url, settings)):
            slots.add(batch)
        return count_slots((table for _, table in slots.days()), settings.default_zone)


def count_slots(tables: Iterable[pa.Table], default_zone: str = "UTC") -> pa.Table:
    """Return the counts of tables of slots, in `HOUR_SCHEMA`, by account, date range and hour.

    Args:
        tables: in `SLOT_SCHEMA`; memory is bounded by one of them and the result.
        default_zone: the zone of readers whose zone the log does not name.
    """
    accounts, ranges, zones = DictionaryEncoder(), DictionaryEncoder(), DictionaryEncoder()
    counts = _CellCounts()
    for batch in (batch for table in tables for batch in table.to_batches() if batch.num_rows):
        account = accounts.encode_column(batch.column("account_id")).astype(np.int64)
        date_range = ranges.encode_column(batch.column("date_range")).astype(np.int64)
        zone = zones.encode_column(batch.column("time_zone"))
        hour = _local_hours(timestamp_column(batch, "slot"), zone, [name or default_zone for name in zones.values])
        cells = (account << _ACCOUNT_SHIFT) | (date_range << _RANGE_SHIFT) | hour
        counts.add(cells, to_numpy(batch.column("opens")).astype(np.int64))
    cells, opens = counts.merge()
    account_names, account_ranks = accounts.sorted_values()
    range_names, range_ranks = ranges.sorted_values()
    account = account_ranks[cells >> _ACCOUNT_SHIFT]
    date_range = range_ranks[(cells >> _RANGE_SHIFT) & _RANGE_MASK]
    hour = cells & _HOUR_MASK
    order = np.lexsort((hour, date_range, account))
    columns = [
        dictionary_column(account[order], account_names),
        dictionary_column(date_range[order], range_names),
        to_arrow_array(hour[order].astype(np.uint8), pa.uint8()),
        to_arrow_array(opens[order], pa.int64()),
    ]
    return pa.Table.from_arrays(columns, schema=HOUR_SCHEMA)


class _CellCounts:
    """Adds up counts by cell. Merges when as many rows are new as are merged, so that each is sorted few times."""

    def __init__(self) -> None:
        self._parts: list[tuple[Ints, Ints]] = [(np.empty(0, np.int64), np.empty(0, np.int64))]
        self._pending = 0

    def add(self, cells: Ints, opens: Ints) -> None:
        self._parts.append(_summed(cells, opens))
        self._pending += len(self._parts[-1][0])
        if self._pending > max(_MERGE_ROWS, len(self._parts[0][0])):
            self.merge()

    def merge(self) -> tuple[Ints, Ints]:
        """Return the distinct cells, ascending, and their counts."""
        cells, opens = (np.concatenate(columns) for columns in zip(*self._parts, strict=True))
        self._parts, self._pending = [_summed(cells, opens)], 0
        return self._parts[0]


def _summed(cells: Ints, opens: Ints) -> tuple[Ints, Ints]:
    order = np.argsort(cells, kind="stable")  # quick where sorted runs are joined
    cells, opens = cells[order], opens[order]
    starts = np.flatnonzero(np.diff(cells, prepend=-1))
    return cells[starts], np.add.reduceat(opens, starts) if len(starts) else opens


def _local_hours(slots: Micros, zone: Codes, zone_names: list[str]) -> Ints:
    """Return the hour of the week of each slot in its zone. Each pair of slot and zone is converted once.

    No zone has changed its clocks within a quarter of an hour since 2022.
    """
    starts, row = np.unique(slots, return_inverse=True)
    hours = np.stack([hours_of_week(to_local_micros(starts, name) // HOUR_MICROS) for name in zone_names])
    return hours[zone, row]
