"""Opens in quarters of an hour, as running totals: any count over any past window of any key is one subtraction.

Columns are quarters of an hour of UTC, so nothing that is read left of a column can have happened after it, not even in
the night the clocks are set back. A day or a week ago means the same wall clock time in the reader's zone.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from adwarm.foundation.arrow_arrays import Ints, Ints32
from adwarm.foundation.local_hours import to_local_micros
from adwarm.patterns.opens import Opens

SLOT_MICROS = 900_000_000
SLOTS_PER_DAY = 96
SLOTS_PER_WEEK = 7 * SLOTS_PER_DAY
_EPOCH_WEEKDAY = 3
NEVER = -100_000
_AWAY = 8


@dataclass(frozen=True)
class OpenGrid:
    """Arrays over keys x (columns + 1): what happened in columns left of each column.

    Attributes:
        origin: quarter of an hour since 1970 of column 0.
        start: the first column that was watched; the log begins there.
        opens: quarters with an open so far.
        firsts: quarters with a first open so far.
        account: per key, number of its account.
        offset: per zone and column, what the wall clock is ahead of UTC, in quarters of an hour.
        zones: names of the zones, in the order of `offset`.
        zone_of: per key, its zone's row in `offset`.
        kinds: what the keys show, `date_range/report`, sorted.
        kind_of: per key, its kind's place in `kinds`.
        account_keys: accounts x columns: keys of the account that had been seen by then, 1 or more.
        crowd: what everybody did, also when the grid holds some keys only.
    """

    origin: int
    start: int
    opens: Ints32
    firsts: Ints32
    account: npt.NDArray[np.int64]
    offset: npt.NDArray[np.int64]
    zones: tuple[str, ...]
    zone_of: npt.NDArray[np.int64]
    report_kinds: tuple[str, ...]
    report_kind_of: npt.NDArray[np.int64]
    account_keys: Ints32
    population: "PopulationTotals"

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
            since: leave out what is older; microseconds.
            delay: how long an open takes to become known: it is put into the column in which it is, microseconds.
            crowd: what everybody did, when `known` holds some accounts only; its first column is the grid's.
        """
        opens = opens if since is None else opens.since(since)
        population = population or PopulationTotals.from_opens(opens, until, delay)
        first, size = population.first, population.size
        names, zone_of = np.unique(opens.zone.astype(str), return_inverse=True)
        kinds, kind_of = np.unique((opens.date_range + "/" + opens.report).astype(str), return_inverse=True)
        offset = np.stack([_offsets(str(name), first, size + 1) for name in names]) if len(names) else _no_zone(size)
        place, key, is_first = _placed(opens, first, size, delay)
        appeared = np.clip((opens.first_ts + delay) // SLOT_MICROS - first, -1, size)
        account_keys = _appearances(opens.account, appeared, int(opens.account.max(initial=0)) + 1, size)
        return cls(
            first,
            0,
            _totals(key, place, opens.key_count, size),
            _totals(key[is_first], place[is_first], opens.key_count, size),
            opens.account.astype(np.int64),
            offset,
            tuple(map(str, names)),
            zone_of.astype(np.int64),
            tuple(map(str, kinds)),
            kind_of.astype(np.int64),
            np.maximum(account_keys, 1),
            population,
        )

    @property
    def key_count(self) -> int:
        """How many keys there are."""
        return len(self.account)

    @property
    def column_count(self) -> int:
        """How many quarters of an hour are covered."""
        return int(self.opens.shape[1]) - 1

    def column(self, at: int) -> int:
        """Return the column that begins at or before `at`, microseconds."""
        return int(at) // SLOT_MICROS - self.origin

    def local(self, key: Ints, column: Ints) -> Ints:
        """Return quarters of an hour since a Monday midnight of the reader's wall clock."""
        return self._wall(key, column) + _EPOCH_WEEKDAY * SLOTS_PER_DAY

    def local_day(self, key: Ints, column: Ints) -> Ints:
        """Return the reader's date, as days since 1970."""
        return self._wall(key, column) // SLOTS_PER_DAY

    def _wall(self, key: Ints, column: Ints) -> Ints:
        """Return quarters of an hour since 1970 of the reader's wall clock."""
        wall: Ints = column + self.origin + self.offset[self.zone_of[key], column]
        return wall

    def columns_before(self, key: Ints, column: Ints, days: int) -> Ints:
        """Return the column of the same wall clock time `days` before; below 0 when that was before the log."""
        at = self.zone_of[key]
        back = column - days * SLOTS_PER_DAY
        shift: Ints = self.offset[at, column] - self.offset[at, np.maximum(back, 0)]
        return back + shift

    @cached_property
    def last_open(self) -> Ints32:
        """Per key and column, the column of the latest open left of it."""
        return _latest(self.opens)

    @cached_property
    def last_first(self) -> Ints32:
        """Per key and column, the column of the latest first open left of it."""
        return _latest(self.firsts)

    @cached_property
    def account_opens(self) -> Ints32:
        """Accounts x columns: opens of all keys of the account so far."""
        return self._by_account(self.opens)

    @cached_property
    def account_firsts(self) -> Ints32:
        """Accounts x columns: first opens of all keys of the account so far."""
        return self._by_account(self.firsts)

    @cached_property
    def account_last(self) -> Ints32:
        """Accounts x columns: the column of the latest open of any of its keys."""
        return _latest(self.account_opens)

    @cached_property
    def arrivals(self) -> Ints32:
        """Accounts x columns: how often so far somebody came to the account after two hours without anybody."""
        opened = self.account_opens[:, 1:] > self.account_opens[:, :-1]
        return _running(opened & (_lately(self.account_opens, _AWAY) == 0))

    @cached_property
    def account_arrived(self) -> Ints32:
        """Accounts x columns: the column in which somebody last came like that."""
        return _latest(self.arrivals)

    @cached_property
    def quiet(self) -> Ints32:
        """Per key and column, quarters so far at whose start nobody had opened the key for half an hour."""
        return _running(self._is_quiet)

    @cached_property
    def joinable(self) -> Ints32:
        """Per key and column, those of `quiet` at whose start others of the account had been there within the hour."""
        return _running(self._is_quiet & self._has_company)

    @cached_property
    def joined(self) -> Ints32:
        """Per key and column, first opens so far that began while others of the account were there."""
        return _running((self.firsts[:, 1:] > self.firsts[:, :-1]) & self._has_company)

    @property
    def _is_quiet(self) -> npt.NDArray[np.bool_]:
        return np.asarray(_lately(self.opens, 2) == 0)

    @cached_property
    def _has_company(self) -> npt.NDArray[np.bool_]:
        return np.asarray(_lately(self.account_opens, 4)[self.account] > _lately(self.opens, 4))

    def has_first_open(self, key: Ints, column: Ints, slots: int) -> npt.NDArray[np.bool_]:
        """Return whether a first open falls into the `slots` quarters from `column` on."""
        end = np.minimum(column + slots, self.column_count)
        found: npt.NDArray[np.bool_] = self.firsts[key, end] > self.firsts[key, column]
        return found

    def _by_account(self, totals: Ints32) -> Ints32:
        result = np.zeros((int(self.account.max(initial=0)) + 1, totals.shape[1]), np.int32)
        np.add.at(result, self.account, totals)
        return result


@dataclass(frozen=True)
class PopulationTotals:
    """What all keys did together, per column: totals left of it.

    Attributes:
        first: quarter of an hour since 1970 of column 0.
        opens: quarters with an open, over all keys.
        firsts: quarters with a first open, over all keys.
        keys: keys that had been seen by then, 1 or more.
    """

    first: int
    opens: npt.NDArray[np.int64]
    firsts: npt.NDArray[np.int64]
    keys: npt.NDArray[np.int64]

    @classmethod
    def from_opens(cls, known: Opens, until: int, delay: int = 0) -> "PopulationTotals":
        """Return what everybody in `known` did before `until`."""
        last = -(-until // SLOT_MICROS)
        first = int((known.ts[0] + delay) // SLOT_MICROS) if len(known) else last
        size = max(last - first, 0)
        place, key, is_first = _placed(known, first, size, delay)
        appeared = np.clip((known.first_ts + delay) // SLOT_MICROS - first, -1, size)
        seen = np.cumsum(np.bincount(appeared + 1, minlength=size + 2))[: size + 1]
        opens = _all(key, place, known.key_count, size)
        firsts = _all(key[is_first], place[is_first], known.key_count, size)
        return cls(first, opens, firsts, np.maximum(seen, 1))

    @property
    def size(self) -> int:
        """How many columns there are."""
        return len(self.opens) - 1


def _placed(
    known: Opens, first: int, size: int, delay: int
) -> tuple[Ints, npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Return column, key and whether it is a first open, of the opens left of the last column."""
    place: Ints = (known.ts + delay) // SLOT_MICROS - first
    keep = place < size
    return place[keep], known.key[keep], known.first[keep]


def _all(key: npt.NDArray[np.int32], place: Ints, keys: int, size: int) -> npt.NDArray[np.int64]:
    """Count each key at most once per column."""
    # Sorted by column the pairs nearly are already, which is many times faster than looking for unique ones.
    pair = np.sort(place * max(keys, 1) + key)
    once = pair[np.diff(pair, prepend=-1) > 0] // max(keys, 1)
    return np.cumsum(np.bincount(once + 1, minlength=size + 1)[: size + 1])


def _totals(key: npt.NDArray[np.int32], place: npt.NDArray[np.int64], keys: int, size: int) -> Ints32:
    marks = np.zeros((keys, size + 1), np.int32)
    marks[key, place + 1] = 1
    return np.cumsum(marks, axis=1, dtype=np.int32, out=marks)


def _appearances(account: npt.NDArray[np.int32], appeared: npt.NDArray[np.int64], accounts: int, size: int) -> Ints32:
    marks = np.zeros((accounts, size + 2), np.int32)
    np.add.at(marks, (account, appeared + 1), 1)
    return np.cumsum(marks, axis=1, dtype=np.int32, out=marks)[:, : size + 1]


def _running(marks: npt.NDArray[np.bool_]) -> Ints32:
    totals = np.zeros((marks.shape[0], marks.shape[1] + 1), np.int32)
    np.cumsum(marks, axis=1, dtype=np.int32, out=totals[:, 1:])
    return totals


def _lately(totals: Ints32, slots: int) -> Ints32:
    """Return, per row and quarter of an hour, what happened in the `slots` before it."""
    before = totals[:, :-1].copy()
    before[:, slots:] -= totals[:, : -1 - slots]
    return before


def _latest(totals: Ints32) -> Ints32:
    result = np.full(totals.shape, NEVER, np.int32)
    grew = totals[:, 1:] > totals[:, :-1]
    result[:, 1:] = np.where(grew, np.arange(totals.shape[1] - 1, dtype=np.int32), np.int32(NEVER))
    return np.maximum.accumulate(result, axis=1, out=result)


def _offsets(name: str, first: int, size: int) -> npt.NDArray[np.int64]:
    quarters = np.arange(size) + first
    return to_local_micros(quarters * SLOT_MICROS, name) // SLOT_MICROS - quarters


def _no_zone(size: int) -> npt.NDArray[np.int64]:
    return np.zeros((1, size + 1), np.int64)
