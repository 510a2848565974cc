"""Opens per slot of 15 minutes as running totals, so that a count over any past window of any key is one subtraction.

Columns are slots of UTC, so nothing left of a column can have happened after it, not even in the night when clocks are
set back. "A day ago" and "a week ago" mean the same wall clock time in the reader's zone.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from adwarm.foundation.arrow_arrays import Bools, Codes, Ints, Ints32, Strings
from adwarm.foundation.local_hours import to_local_micros
from adwarm.patterns.opens import Opens

SLOT_MICROS = 900_000_000
SLOTS_PER_DAY = 96
SLOTS_PER_WEEK = 7 * SLOTS_PER_DAY
_EPOCH_WEEKDAY = 3
NEVER = -100_000
_AWAY_SLOTS = 8


@dataclass(frozen=True)
class OpenGrid:
    """Totals of opens over keys x (columns + 1): what happened in the columns left of each column.

    Attributes:
        origin: slots from 1970 to column 0.
        start: the first column that was observed; the log begins there.
        opens: slots with an open so far.
        firsts: slots with a first open so far.
        account: per key, number of its account.
        offset: per zone and column, how far the wall clock is ahead of UTC, in slots.
        zones: names of the zones, in the order of `offset`.
        zone_of: per key, its zone's row in `offset`.
        report_kinds: the kinds of report of the keys, `date_range/report`, sorted.
        report_kind_of: per key, index of its kind in `report_kinds`.
        account_keys: accounts x columns: keys of the account that had been opened by then, 1 or more.
        population: totals over all keys, also when the grid holds only some of them.
        own_country: per key, the holiday country that its account has of its own; empty where it is that of the zone.
    """

    origin: int
    start: int
    opens: Ints32
    firsts: Ints32
    account: Ints
    offset: Ints
    zones: tuple[str, ...]
    zone_of: Ints
    report_kinds: tuple[str, ...]
    report_kind_of: Ints
    account_keys: Ints32
    population: "PopulationTotals"
    own_country: Strings

    @classmethod
    def from_opens(
        cls,
        opens: Opens,
        until: int,
        *,
        since: int | None = None,
        delay: int = 0,
        population: "PopulationTotals | None" = None,
    ) -> "OpenGrid":
        """Return the grid of the opens before `until`.

        Args:
            until: end of the last column, microseconds since 1970.
            since: ignore older opens, microseconds since 1970.
            delay: how long an open takes to become known, microseconds; it counts in the column in which it is known.
            population: totals of all keys, when `opens` holds only some accounts; the grid gets the same first column.
        """
        opens = opens if since is None else opens.since(since)
        population = population or PopulationTotals.from_opens(opens, until, delay)
        first, size = population.first, population.size
        names, zone_of = np.unique(opens.zone.astype(str), return_inverse=True)
        kinds, kind_of = np.unique((opens.date_range + "/" + opens.report).astype(str), return_inverse=True)
        offset = np.stack([_offsets(str(name), first, size + 1) for name in names]) if len(names) else _no_zone(size)
        column, key, is_first = _to_columns(opens, first, size, delay)
        appeared = np.clip((opens.first_ts + delay) // SLOT_MICROS - first, -1, size)
        account_keys = _appearances(opens.account, appeared, int(opens.account.max(initial=0)) + 1, size)
        return cls(
            origin=first,
            start=0,
            opens=_totals(key, column, opens.key_count, size),
            firsts=_totals(key[is_first], column[is_first], opens.key_count, size),
            account=opens.account.astype(np.int64),
            offset=offset,
            zones=tuple(map(str, names)),
            zone_of=zone_of.astype(np.int64),
            report_kinds=tuple(map(str, kinds)),
            report_kind_of=kind_of.astype(np.int64),
            account_keys=np.maximum(account_keys, 1),
            population=population,
            own_country=np.array(
                [opens.holiday_countries.get(name, "") for name in opens.account_id.tolist()], dtype=object
            ),
        )

    @property
    def key_count(self) -> int:
        """Number of keys."""
        return len(self.account)

    @property
    def column_count(self) -> int:
        """Number of columns."""
        return int(self.opens.shape[1]) - 1

    def column(self, at: int) -> int:
        """Return the column that contains `at`, microseconds since 1970."""
        return int(at) // SLOT_MICROS - self.origin

    def local(self, key: Ints, column: Ints) -> Ints:
        """Return the reader's wall clock in slots since a Monday midnight."""
        return self._wall(key, column) + _EPOCH_WEEKDAY * SLOTS_PER_DAY

    def local_day(self, key: Ints, column: Ints) -> Ints:
        """Return the reader's date as days since 1970."""
        return self._wall(key, column) // SLOTS_PER_DAY

    def _wall(self, key: Ints, column: Ints) -> Ints:
        """Return the reader's wall clock in slots since 1970."""
        wall: Ints = column + self.origin + self.offset[self.zone_of[key], column]
        return wall

    def columns_before(self, key: Ints, column: Ints, days: int) -> Ints:
        """Return the column of the same wall clock time `days` earlier; negative before the log."""
        at = self.zone_of[key]
        back = column - days * SLOTS_PER_DAY
        shift: Ints = self.offset[at, column] - self.offset[at, np.maximum(back, 0)]
        return back + shift

    @cached_property
    def last_open(self) -> "LastColumns":
        """Finds the last open of a key."""
        return LastColumns(self.opens)

    @cached_property
    def last_first(self) -> "LastColumns":
        """Finds the last first open of a key."""
        return LastColumns(self.firsts)

    @cached_property
    def account_opens(self) -> Ints32:
        """Accounts x columns: the sum of `opens` over the account's keys."""
        return self._by_account(self.last_open)

    @cached_property
    def account_firsts(self) -> Ints32:
        """Accounts x columns: the sum of `firsts` over the account's keys."""
        return self._by_account(self.last_first)

    @cached_property
    def account_last(self) -> "LastColumns":
        """Finds the last open of any key of an account."""
        return LastColumns(self.account_opens)

    @cached_property
    def arrivals(self) -> Ints32:
        """Accounts x columns: opens so far that came after two hours without an open in the account."""
        opened = self.account_opens[:, 1:] > self.account_opens[:, :-1]
        return _running(opened & ~_grew_within(self.account_opens, _AWAY_SLOTS))

    @cached_property
    def account_arrived(self) -> "LastColumns":
        """Finds the last such arrival of an account."""
        return LastColumns(self.arrivals)

    @cached_property
    def quiet(self) -> Ints32:
        """Per key and column, slots so far before which the key had not been opened for half an hour."""
        return _running(self._is_quiet)

    @cached_property
    def joinable(self) -> Ints32:
        """Per key and column, those of `quiet` with an open of another key of the account within the hour before."""
        return _running(self._is_quiet & self._has_company)

    @cached_property
    def joined(self) -> Ints32:
        """Per key and column, first opens so far with an open of another key of the account within the hour before."""
        return _running((self.firsts[:, 1:] > self.firsts[:, :-1]) & self._has_company)

    @cached_property
    def _is_quiet(self) -> Bools:
        return ~_grew_within(self.opens, 2)

    @cached_property
    def _has_company(self) -> Bools:
        slots = 4
        company = _grew_within(self.account_opens, slots)[self.account]
        # Where the key itself was opened, the account needs more opens than that.
        row, column = np.divmod(np.flatnonzero(_grew_within(self.opens, slots)), self.column_count)
        account, before = self.account[row], np.maximum(column - slots, 0)
        opens = self.account_opens[account, column] - self.account_opens[account, before]
        company[row, column] = opens > self.opens[row, column] - self.opens[row, before]
        return company

    def has_first_open(self, key: Ints, column: Ints, slots: int) -> Bools:
        """Return whether a first open falls into the `slots` columns from `column` on."""
        end = np.minimum(column + slots, self.column_count)
        came: Bools = self.firsts[key, end] > self.firsts[key, column]
        return came

    def _by_account(self, last: "LastColumns") -> Ints32:
        shape = int(self.account.max(initial=0)) + 1, self.column_count
        place = self.account[last.row] * self.column_count + last.column
        return _running(np.bincount(place, minlength=shape[0] * shape[1]).reshape(shape))


class LastColumns:
    """Finds the last column left of another one in which a running total grew.

    Attributes:
        row: rows in which the total grew, ascending.
        column: the column of each.
    """

    def __init__(self, totals: Ints32) -> None:
        self._totals = totals
        grew = totals[:, 1:] != totals[:, :-1]
        self.row, self.column = np.divmod(np.flatnonzero(grew), max(grew.shape[1], 1))
        times = totals[self.row, self.column + 1] - totals[self.row, self.column]
        self._columns = np.append(np.repeat(self.column, times), NEVER)
        self._begins = np.cumsum(totals[:, -1], dtype=np.int64) - totals[:, -1]

    def before(self, row: Ints, column: Ints) -> Ints:
        """Return, per pair, the last such column left of `column`, or `NEVER`."""
        count = self._totals[row, column]
        return np.where(count > 0, self._columns[self._begins[row] + count - 1], NEVER)


@dataclass(frozen=True)
class PopulationTotals:
    """Totals over all keys, per column: what happened left of it.

    Attributes:
        opens: slots with an open, summed over keys.
        firsts: slots with a first open, summed over keys.
        keys: keys that had been opened by then, 1 or more.
    """

    first: int
    opens: Ints
    firsts: Ints
    keys: Ints

    @classmethod
    def from_opens(cls, opens: Opens, until: int, delay: int = 0) -> "PopulationTotals":
        """Return the totals of the opens before `until`; see `OpenGrid.from_opens`."""
        last = -(-until // SLOT_MICROS)
        first = int((opens.ts[0] + delay) // SLOT_MICROS) if len(opens) else last
        size = max(last - first, 0)
        column, key, is_first = _to_columns(opens, first, size, delay)
        appeared = np.clip((opens.first_ts + delay) // SLOT_MICROS - first, -1, size)
        keys = np.cumsum(np.bincount(appeared + 1, minlength=size + 2))[: size + 1]
        totals = _population_totals(key, column, opens.key_count, size)
        firsts = _population_totals(key[is_first], column[is_first], opens.key_count, size)
        return cls(first, totals, firsts, np.maximum(keys, 1))

    @property
    def size(self) -> int:
        """Number of columns."""
        return len(self.opens) - 1


def _to_columns(opens: Opens, first: int, size: int, delay: int) -> tuple[Ints, Codes, Bools]:
    """Return column, key and whether it is a first open, of the opens in the `size` columns from slot `first` on."""
    column: Ints = (opens.ts + delay) // SLOT_MICROS - first
    inside = column < size
    return column[inside], opens.key[inside], opens.first[inside]


def _population_totals(key: Codes, column: Ints, keys: int, size: int) -> Ints:
    """Return running totals of pairs of key and column, each counted once."""
    # The pairs are nearly sorted by column already, so sorting is many times faster than `np.unique`.
    pair = np.sort(column * max(keys, 1) + key)
    once = pair[np.diff(pair, prepend=-1) > 0] // max(keys, 1)
    return np.cumsum(np.bincount(once + 1, minlength=size + 1)[: size + 1])


def _totals(key: Codes, column: Ints, keys: int, size: int) -> Ints32:
    marks = np.zeros((keys, size + 1), np.int32)
    marks[key, column + 1] = 1
    return np.cumsum(marks, axis=1, dtype=np.int32, out=marks)


def _appearances(account: Codes, appeared: Ints, accounts: int, size: int) -> Ints32:
    marks = np.zeros((accounts, size + 2), np.int32)
    np.add.at(marks, (account, appeared + 1), 1)
    return np.cumsum(marks, axis=1, dtype=np.int32, out=marks)[:, : size + 1]


def _running(marks: Bools | Ints) -> Ints32:
    totals = np.zeros((marks.shape[0], marks.shape[1] + 1), np.int32)
    np.cumsum(marks, axis=1, dtype=np.int32, out=totals[:, 1:])
    return totals


def _grew_within(totals: Ints32, slots: int) -> Bools:
    """Return, per row and column, whether the total grew in the `slots` columns before it."""
    grew: Bools = totals[:, :-1] > 0
    np.greater(totals[:, slots:-1], totals[:, : -1 - slots], out=grew[:, slots:])
    return grew


def _offsets(name: str, first: int, size: int) -> Ints:
    quarters = np.arange(size) + first
    return to_local_micros(quarters * SLOT_MICROS, name) // SLOT_MICROS - quarters


def _no_zone(size: int) -> Ints:
    return np.zeros((1, size + 1), np.int64)
