"""Counts how often each report is opened in each hour of the reader's week.

The counts are folded out of the slots that ingest makes, so that a log is read in one way only. Only human opens count,
all reports of an account and date range together.
"""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from adwarm.access_log.log_reader import timestamp_column
from adwarm.foundation.arrow_arrays import to_arrow_array, to_numpy
from adwarm.foundation.dictionary_encoder import DictionaryEncoder, dictionary_column
from adwarm.foundation.local_hours import hours_of_week, local_hours_in_zones
from adwarm.patterns.cell_counts import CellCounts

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


def count_slots(tables: Iterable[pa.Table], default_zone: str = "UTC") -> pa.Table:
    """Return the counts of tables of slots, in `HOUR_SCHEMA`, by account, date range and hour.

    Args:
        tables: in `SLOT_SCHEMA`; memory is bounded by one of them and the result.
        default_zone: the zone of readers whose zone the log does not name.
    """
    accounts, ranges, zones = DictionaryEncoder(), DictionaryEncoder(), DictionaryEncoder()
    counts = CellCounts()
    for batch in (batch for table in tables for batch in table.to_batches() if batch.num_rows):
        account = accounts.encode_column(batch.column("account_id")).astype(np.int64)
        date_range = ranges.encode_column(batch.column("date_range")).astype(np.int64)
        zone = zones.encode_column(batch.column("time_zone"))
        zone_names = [name or default_zone for name in zones.values]
        hour = hours_of_week(local_hours_in_zones(timestamp_column(batch, "slot"), zone, zone_names))
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
