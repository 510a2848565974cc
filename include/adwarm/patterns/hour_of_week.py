"""Hours of the reader's week: how often each report is opened in each, and the words for them.

`Mon-Fri 22:00-07:00; Sat-Sun all day` is how people write them.

The counts are folded out of the slots that ingest makes, so that a log is read in one way only. Only human opens count,
all reports of an account and date range together.
"""

from collections.abc import Collection, Iterable
from itertools import pairwise

import numpy as np
import pyarrow as pa

from adwarm.access_log.log_reader import timestamp_column
from adwarm.foundation.arrow_arrays import DictionaryEncoder, dictionary_column, to_arrow_array, to_numpy
from adwarm.foundation.local_hours import hours_of_week, local_hours_in_zones
from adwarm.foundation.local_time import WEEK_HOURS
from adwarm.model import WEEKDAYS
from adwarm.patterns.slot_counts import CellCounts

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
SHORT_DAYS = tuple(name[:3] for name in WEEKDAYS)


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


def format_time(hour: int) -> str:
    """Return an hour of the day or of the week as `09:00`."""
    return f"{hour % 24:02d}:00"


def format_week(hours: Collection[int]) -> str:
    """Return hours of the week as ranges; equal ranges of several weekdays are written once.

    A range may cross midnight: `Mon-Thu 17:00-09:00` ends on the next day. No hours give an empty text.
    """
    chosen = set(hours)
    if len(chosen) == WEEK_HOURS:
        return "all week"
    days_by_range: dict[tuple[int, int], list[int]] = {}
    for start in sorted(hour for hour in chosen if (hour - 1) % WEEK_HOURS not in chosen):
        length = next(n for n in range(1, WEEK_HOURS) if (start + n) % WEEK_HOURS not in chosen)
        days_by_range.setdefault((start % 24, length), []).append(start // 24)
    return "; ".join(_format_range(days, *span) for span, days in days_by_range.items())


def format_day(hours: Collection[int], weekday: int) -> list[str]:
    """Return those of the hours of the week that lie on one weekday, 0 for Monday, as ranges such as `00:00-07:00`."""
    chosen = sorted(hour % 24 for hour in hours if hour // 24 == weekday)
    starts = [hour for before, hour in pairwise([-2, *chosen]) if hour != before + 1]
    ends = [hour + 1 for hour, after in pairwise([*chosen, 99]) if after != hour + 1]
    return [f"{format_time(start)}-{_format_end(end)}" for start, end in zip(starts, ends, strict=True)]


def list_times(hours: Collection[int], weekday: int) -> list[str]:
    """Return those of the hours of the week that lie on one weekday, 0 for Monday, as times such as `09:00`."""
    return [format_time(hour) for hour in sorted(hours) if hour // 24 == weekday]


def format_peaks(hours: Collection[int]) -> str:
    """Return hours of the week by weekday: `Mon 09:00, 10:00, 14:00; Tue 09:00`. No hours give an empty text."""
    days = ((SHORT_DAYS[day], list_times(hours, day)) for day in range(7))
    return "; ".join(f"{name} {', '.join(times)}" for name, times in days if times)


def _format_range(days: list[int], start: int, length: int) -> str:
    if start == 0 and length % 24 == 0:
        return f"{_format_days(sorted({(day + n) % 7 for day in days for n in range(length // 24)}))} all day"
    if length <= 24:
        return f"{_format_days(days)} {format_time(start)}-{_format_end(start + length)}"
    spans = []
    for day in days:
        end = (day * 24 + start + length) % WEEK_HOURS
        until, time = (end // 24, format_time(end)) if end % 24 else ((end // 24 - 1) % 7, "24:00")
        spans.append(f"{SHORT_DAYS[day]} {format_time(start)} to {SHORT_DAYS[until]} {time}")
    return "; ".join(spans)


def _format_end(hour: int) -> str:
    return "24:00" if hour == 24 else format_time(hour)


def _format_days(days: list[int]) -> str:
    """Return weekdays, ascending, as `Mon-Fri` or `Mon, Wed-Thu`."""
    starts = [day for before, day in pairwise([-2, *days]) if day != before + 1]
    ends = [day for day, after in pairwise([*days, 99]) if after != day + 1]
    return ", ".join(
        SHORT_DAYS[start] if start == end else f"{SHORT_DAYS[start]}-{SHORT_DAYS[end]}"
        for start, end in zip(starts, ends, strict=True)
    )
