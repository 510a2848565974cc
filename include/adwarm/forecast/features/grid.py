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
_AWAY_SLOTS, _COMPANY_SLOTS, _QUIET_SLOTS = 8, 4, 2


@dataclass(frozen=True)
class OpenGrid:
    """Totals of opens over keys x (columns + 1): what happened in the columns left of each column.

    Attributes:
        origin: slots from 1970 to column 0.
        start: the first column that was observed; the log begins there.
        opens: per key, the columns with an open.
        first_opens: per key, the columns with a first open.
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
    opens: "Marks"
    first_opens: "Marks"
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
        cell = key.astype(np.int64) * size + column
        appeared = np.clip((opens.first_ts + delay) // SLOT_MICROS - first, -1, size)
        account_keys = _appearances(opens.account, appeared, int(opens.account.max(initial=0)) + 1, size)
        return cls(
            origin=first,
            start=0,
            opens=Marks.from_cells(cell, opens.key_count, size),
            first_opens=Marks.from_cells(cell[is_first], opens.key_count, size),
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
        return self.opens.width

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
    def firsts(self) -> Ints32:
        """Keys x (columns + 1): the first opens left of each column."""
        return _running(self.first_opens.to_array())

    @cached_property
    def account_opens(self) -> Ints32:
        """Accounts x (columns + 1): the sum over the account's keys of the columns with an open."""
        return self._by_account(self.opens)

    @cached_property
    def account_firsts(self) -> Ints32:
        """Accounts x (columns + 1): the sum over the account's keys of the columns with a first open."""
        return self._by_account(self.first_opens)

    @cached_property
    def opens_of_account(self) -> "Marks":
        """Per account, the columns with an open of any of its keys."""
        return Marks.from_cells(self._to_account(self.opens), len(self.account_opens), self.column_count)

    @cached_property
    def arrivals(self) -> "Marks":
        """Per account, the columns with an open that came after two hours without an open in the account."""
        opens = self.opens_of_account
        came = np.ones(len(opens.row), np.bool_)
        came[1:] = (opens.row[1:] != opens.row[:-1]) | (np.diff(opens.column) > _AWAY_SLOTS)
        return opens.select(came)

    @cached_property
    def arrival_totals(self) -> Ints32:
        """Accounts x (columns + 1): the arrivals left of each column."""
        return _running(self.arrivals.to_array())

    @cached_property
    def busy(self) -> "Marks":
        """Per key, the columns before which the key had been opened within half an hour."""
        return self.opens.followed(_QUIET_SLOTS)

    @cached_property
    def account_company(self) -> Ints32:
        """Accounts x (columns + 1): the columns so far with an open of the account in the hour before."""
        before = np.pad(self.account_opens, ((0, 0), (_COMPANY_SLOTS, 0)))[:, : self.column_count]
        return _running(self.account_opens[:, :-1] > before)

    @cached_property
    def not_joinable(self) -> "Marks":
        """Per key, the columns of `account_company` that are busy, or where no other key of the account was opened."""
        near = self.opens.followed(_COMPANY_SLOTS)
        is_quiet = near.column - self.opens.last_before(near.row, near.column) > _QUIET_SLOTS
        return near.select(~(self._has_company(near) & is_quiet))

    @cached_property
    def joined(self) -> "Marks":
        """Per key, the columns with a first open and an open of another key of the account within the hour before."""
        return self.first_opens.select(self._has_company(self.first_opens))

    def _has_company(self, marks: "Marks") -> Bools:
        """Return, per marked column, whether another key of the account was opened within the hour before."""
        width, before = self.account_opens.shape[1], np.maximum(marks.column - _COMPANY_SLOTS, 0)
        account, totals = self.account[marks.row] * width, self.account_opens.ravel()
        # Where the key itself was opened, the account needs more opens than that.
        opens = totals.take(account + marks.column) - totals.take(account + before)
        company: Bools = opens > self.opens.count(marks.row, before, marks.column)
        return company

    def has_first_open(self, key: Ints, column: Ints, slots: int) -> Bools:
        """Return whether a first open falls into the `slots` columns from `column` on."""
        end = np.minimum(column + slots, self.column_count)
        came: Bools = self.firsts[key, end] > self.firsts[key, column]
        return came

    def _by_account(self, marks: "Marks") -> Ints32:
        shape = int(self.account.max(initial=0)) + 1, self.column_count
        return _running(np.bincount(self._to_account(marks), minlength=shape[0] * shape[1]).reshape(shape))

    def _to_account(self, marks: "Marks") -> Ints:
        return self.account[marks.row] * self.column_count + marks.column


class Marks:
    """Marked columns of rows. It takes no memory for the others, of which there are a hundred times as many.

    Args:
        cell: row times `width` plus column of each, ascending, each once.
    """

    def __init__(self, cell: Ints, rows: int, width: int) -> None:
        self._cell, self.rows, self.width = cell, rows, width
        self.row, self.column = np.divmod(cell, max(width, 1))
        self._begins = np.searchsorted(cell, np.arange(rows) * width)

    @classmethod
    def from_cells(cls, cell: Ints, rows: int, width: int) -> "Marks":
        """Return marks at cells in any order, some perhaps given twice."""
        cell = np.sort(cell)
        return cls(cell[np.diff(cell, prepend=-1) > 0], rows, width)

    def count(self, row: Ints, start: Ints, end: Ints) -> Ints:
        """Return how many columns in `[start, end)` are marked; all are within 0 and the width."""
        return self._find(row, end) - self._find(row, start)

    def last_before(self, row: Ints, column: Ints) -> Ints:
        """Return the last marked column left of `column`, or `NEVER`."""
        index = self._find(row, column)
        return np.where(index > self._begins[row], np.append(self.column, NEVER)[index - 1], NEVER)

    def followed(self, columns: int) -> "Marks":
        """Return marks at so many next columns after each mark."""
        sizes = np.minimum(np.append(np.diff(self._cell), columns), np.minimum(self.width - 1 - self.column, columns))
        first = np.cumsum(sizes) - sizes
        cell = np.repeat(self._cell + 1 - first, sizes) + np.arange(sizes.sum())
        return Marks(cell, self.rows, self.width)

    def select(self, chosen: Bools) -> "Marks":
        """Return some of the marks."""
        return Marks(self._cell[chosen], self.rows, self.width)

    def take(self, rows: Ints) -> "Marks":
        """Return the marks of some rows, ascending, which are renumbered."""
        chosen = np.isin(self.row, rows)
        return Marks(np.searchsorted(rows, self.row[chosen]) * self.width + self.column[chosen], len(rows), self.width)

    def to_array(self) -> Bools:
        """Return rows x columns."""
        marked = np.zeros((self.rows, self.width), np.bool_)
        marked[self.row, self.column] = True
        return marked

    def _find(self, row: Ints, column: Ints) -> Ints:
        return np.searchsorted(self._cell, row * self.width + column)


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
    # The pairs are nearly sorted by column already, which this kind of sorting makes use of.
    pair = np.sort(column * max(keys, 1) + key, kind="stable")
    once = pair[np.diff(pair, prepend=-1) > 0] // max(keys, 1)
    return np.cumsum(np.bincount(once + 1, minlength=size + 1)[: size + 1])


def _appearances(account: Codes, appeared: Ints, accounts: int, size: int) -> Ints32:
    marks = np.zeros((accounts, size + 2), np.int32)
    np.add.at(marks, (account, appeared + 1), 1)
    return np.cumsum(marks, axis=1, dtype=np.int32, out=marks)[:, : size + 1]


def _running(marks: Bools | Ints) -> Ints32:
    totals = np.zeros((marks.shape[0], marks.shape[1] + 1), np.int32)
    np.cumsum(marks, axis=1, dtype=np.int32, out=totals[:, 1:])
    return totals


def _offsets(name: str, first: int, size: int) -> Ints:
    quarters = np.arange(size) + first
    return to_local_micros(quarters * SLOT_MICROS, name) // SLOT_MICROS - quarters


def _no_zone(size: int) -> Ints:
    return np.zeros((1, size + 1), np.int64)
