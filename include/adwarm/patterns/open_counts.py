"""Counts first opens by account and local hour, in one pass over slots.

Memory is bounded by the slots of the busiest day, the distinct report keys, and the hours in which accounts were
opened.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

import numpy as np
import pyarrow as pa

from adwarm.access_log.log_reader import timestamp_column
from adwarm.foundation.arrow_arrays import Codes, DictionaryEncoder, Ints, Micros
from adwarm.foundation.local_hours import DAY_MICROS, local_hours_in_zones
from adwarm.patterns.open_history import iter_slots
from adwarm.patterns.opens import FirstOpenFinder
from adwarm.patterns.slot_counts import CellCounts
from adwarm.store import Context, accounts

ReaderZones = Callable[[Sequence[str]], Mapping[str, str]]
"""Returns the reader zones of accounts, by account id; accounts without one are left out."""

_Columns = tuple[Codes, Codes, Ints, Codes, Micros, Micros, Micros]
"""Account, date range, key, zone, slot, and first and last open in it."""

# Days with few rows are counted together.
_DAYS_AT_ONCE, _ROWS_AT_ONCE = 31, 50_000
_SHIFT = 32
_MASK = (1 << _SHIFT) - 1
# A key packs the codes of account, date range and report into one number.
_ACCOUNT_SHIFT, _REPORT_BITS = 36, 13


@dataclass(frozen=True)
class OpenCounts:
    """First opens of a period. Accounts, zones and ranges are numbered by the position of their name.

    Attributes:
        started: per account, its first open, microseconds.
        keys: per account, how many report keys were opened.
        hours: account, whole hours since 1970 on the reader's clock, and first opens; one column per hour with an open.
        zones: account, zone, and first opens; one column per pair with an open.
        ranges: account, date range, and first opens; one column per pair with an open.
    """

    accounts: list[str]
    started: Micros
    keys: Ints
    hours: Ints
    zones: Ints
    ranges: Ints
    zone_names: list[str]
    range_names: list[str]


class FirstOpenCounter:
    """Counts the first opens in the slots of one day after the other.

    Args:
        default_zone: the zone of readers that neither the log nor `reader_zones` names.
        reader_zones: zones of the accounts whose readers' zone the log does not name.
    """

    def __init__(self, default_zone: str, reader_zones: ReaderZones | None = None) -> None:
        self._default_zone, self._reader_zones = default_zone, reader_zones
        self._accounts, self._ranges, self._reports, self._zones = (DictionaryEncoder() for _ in range(4))
        self._hours, self._zone_opens, self._range_opens = CellCounts(), CellCounts(), CellCounts()
        self._finder = FirstOpenFinder()
        self._started, self._account_zone = np.empty(0, np.int64), np.empty(0, np.int32)
        self._pending: list[_Columns] = []
        self._pending_days = 0

    def add_day(self, day: Iterable[pa.Table]) -> None:
        """Count the slots of one UTC day, in `SLOT_SCHEMA`, in any order. Days have to come in order."""
        self._pending += [self._encode(batch) for table in day for batch in table.to_batches() if len(batch)]
        self._pending_days += 1
        if self._pending_days >= _DAYS_AT_ONCE or sum(len(part[0]) for part in self._pending) >= _ROWS_AT_ONCE:
            self._count_pending()

    def counts(self) -> OpenCounts:
        """Return what has been counted so far."""
        self._count_pending()
        keys = np.bincount(self._finder.keys >> _ACCOUNT_SHIFT, minlength=len(self._accounts.values))
        return OpenCounts(
            accounts=list(self._accounts.values),
            started=self._started,
            keys=keys.astype(np.int64),
            hours=_unpack(*self._hours.merge()),
            zones=_unpack(*self._zone_opens.merge()),
            ranges=_unpack(*self._range_opens.merge()),
            zone_names=list(self._zones.values),
            range_names=list(self._ranges.values),
        )

    def _count_pending(self) -> None:
        parts, self._pending, self._pending_days = self._pending, [], 0
        if not parts:
            return
        columns = (np.concatenate(column) for column in zip(*parts, strict=True))
        account, date_range, key, zone, slot, opened, last = columns
        order = np.lexsort((last, opened, key))
        first = np.zeros(len(key), np.bool_)
        first[order] = self._finder.find(key[order], opened[order], last[order])
        account, date_range, zone, slot = account[first], date_range[first], zone[first], slot[first]
        self._note_starts(account, opened[first])
        zone = self._fill_zones(account, zone)
        one = np.ones(len(account), np.int64)
        owner = account.astype(np.int64) << _SHIFT
        zone_names = [name or self._default_zone for name in self._zones.values]  # no row has an empty name any more
        self._hours.add(owner | local_hours_in_zones(slot, zone, zone_names), one)
        self._zone_opens.add(owner | zone, one)
        self._range_opens.add(owner | date_range, one)

    def _encode(self, batch: pa.RecordBatch) -> _Columns:
        account = self._accounts.encode_column(batch.column("account_id"))
        date_range = self._ranges.encode_column(batch.column("date_range"))
        report = self._reports.encode_column(batch.column("report"))
        zone = self._zones.encode_column(batch.column("time_zone"))
        key = (account.astype(np.int64) << _ACCOUNT_SHIFT) | (date_range.astype(np.int64) << _REPORT_BITS) | report
        slot, opened, last = (timestamp_column(batch, name) for name in ("slot", "first_ts", "last_ts"))
        return account, date_range, key, zone, slot, opened, last

    def _note_starts(self, account: Codes, opened: Micros) -> None:
        """Remember the first open of accounts that are new today."""
        new = len(self._accounts.values) - len(self._started)
        self._started = np.append(self._started, np.full(new, np.iinfo(np.int64).max))
        np.minimum.at(self._started, account, opened)

    def _fill_zones(self, account: Codes, zone: Codes) -> Codes:
        """Replace zones that the log does not name by the account's reader zone, else by the default zone."""
        unnamed = np.flatnonzero(np.array([not name for name in self._zones.values], np.bool_)[zone])
        if not len(unnamed):
            return zone
        new = len(self._accounts.values) - len(self._account_zone)
        self._account_zone = np.append(self._account_zone, np.full(new, -1, np.int32))
        owners = np.unique(account[unnamed])
        missing = owners[self._account_zone[owners] < 0].tolist()
        ids = [self._accounts.values[code] for code in missing]
        stored = self._reader_zones(ids) if self._reader_zones and ids else {}
        for code, account_id in zip(missing, ids, strict=True):
            self._account_zone[code] = self._zones.encode(stored.get(account_id) or self._default_zone)
        zone = zone.copy()
        zone[unnamed] = self._account_zone[account[unnamed]]
        return zone


def count_first_opens(context: Context, since: datetime, until: datetime) -> OpenCounts:
    """Return the first opens of the stored slots that start in the half-open window.

    Where the log names no reader zone, it is the account's, else the default zone of the settings. The first open of
    each key in the window is a first open.
    """

    def reader_zones(ids: Sequence[str]) -> dict[str, str]:
        return {name: row.reader_zone for name, row in accounts.get_many(context.engine, list(ids)).items()}

    counter = FirstOpenCounter(context.settings.default_zone, reader_zones)
    # Objects come in the order of their first hour, and each holds hours of one day.
    tables = (table for table in iter_slots(context, since, until) if len(table))
    for _, day in groupby(tables, key=_day):
        counter.add_day(day)
    return counter.counts()


def _day(table: pa.Table) -> int:
    return int(table["slot"][0].value) // DAY_MICROS


def _unpack(cells: Ints, counts: Ints) -> Ints:
    return np.stack([cells >> _SHIFT, cells & _MASK, counts])
