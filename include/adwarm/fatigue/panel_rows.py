"""The rows of accounts, parsed once: figures of ads x days, of which panels of any span are cut."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from adwarm.fatigue.text_columns import (
    BoolArray,
    FloatArray,
    IntArray,
    encode_column,
    get_column,
    parse_numbers,
    read_ad_key,
    read_day,
)
from adwarm.model import Window

RESULT_COLUMNS: Final = ("results", "conversions")
"""Fields with results: what the platform counts for the ad, as a list or a number; or else a number of conversions."""
FIGURES: Final = ("impressions", "clicks", "inline_link_clicks", "spend")
"""Fields with numbers."""
CHANGE_COLUMNS: Final = ("adset_id", "creative_id", "targeting", "creative")


def count_results(table: pa.Table) -> tuple[BoolArray, IntArray, FloatArray, dict[int, str]]:
    """Return the results in rows of text columns; docs/explanation/fatigue.md has the rule.

    Returns:
        By row, whether it states any field with results; their kind, an index in `RESULT_COLUMNS`, or a higher number
        for each indicator of the platform's lists; their number, 0 without any; and why a plain number is not 0 or
        more, for rows with such a one.
    """
    states, kinds, counts = np.zeros(table.num_rows, bool), np.zeros(table.num_rows, int), np.zeros(table.num_rows)
    bad = dict[int, str]()
    for kind, name in enumerate(RESULT_COLUMNS):
        column = get_column(table, name)
        is_list = pc.fill_null(pc.starts_with(pc.utf8_ltrim_whitespace(column), "["), False)
        numbers, reasons = parse_numbers(table, name, pc.if_else(is_list, pa.scalar(None, pa.string()), column))
        of_field = np.full(table.num_rows, kind)
        if name == "results":
            numbers = numbers.copy()
            _read_lists(pc.if_else(is_list, column, pa.scalar(None, pa.string())), of_field, numbers)
        bad = reasons | bad
        chosen = (numbers > 0) & ~states
        kinds[chosen], counts[chosen] = of_field[chosen], numbers[chosen]
        states |= pc.fill_null(pc.not_equal(column, ""), False).to_numpy(zero_copy_only=False)
    return states, kinds, counts, bad


def _read_lists(lists: pa.Array, kinds: IntArray, numbers: FloatArray) -> None:
    """Fill in the first number in each of the platform's `results`: lists of items, each with a list of values."""
    rows, indicators, texts = [], [], []
    for row, text in enumerate(lists.to_pylist() if lists.null_count < len(lists) else ()):
        pairs = [(item, value) for item in _decode(text) for value in item.get("values") or ()]
        item, value = next((pair for pair in pairs if isinstance(pair[1], dict)), ({}, None))
        if value is not None:
            rows.append(row)
            indicators.append(str(item.get("indicator")))
            texts.append(str(value.get("value")))
    codes = np.unique(np.array(indicators, str), return_inverse=True)[1]
    kinds[rows] = len(RESULT_COLUMNS) + codes
    numbers[rows] = parse_numbers(pa.table({"value": pa.array(texts, pa.string())}), "value")[0]


def _decode(text: str | None) -> list[dict[str, Any]]:
    """Return the objects in the text of a list; none when it is not JSON."""
    try:
        items = orjson.loads(text or "[]")
    except orjson.JSONDecodeError:
        return []
    return [item for item in items if isinstance(item, dict)]


@dataclass(frozen=True, slots=True)
class AdRows:
    """The parsed rows of the ads of some accounts, sorted by account and ad.

    Attributes:
        account_ids: account of each ad; equal ones are adjacent.
        first_day: day of column 0.
        has_row: ads x days, whether the ad has a row.
        figures: by name, ads x days of sums: zero without a row, nan where no row of the account's day has the figure.
        results: ad, column and kind of each count of results, sorted by these and the count.
        states_results: ads x days, whether any row of the account's day states results.
        changes: ad, column and the column of the ad's rows before, of days that share no value of a field of
            `CHANGE_COLUMNS` with that one.
        names: the different names of each account.
        name_codes: ads x days, index in `names` of the name in the ad's row.
        left_out: why rows are left out; the figures of their ads are unknown on those days.
    """

    account_ids: tuple[str, ...]
    ad_ids: tuple[str, ...]
    first_day: date
    has_row: BoolArray
    figures: dict[str, FloatArray]
    results: IntArray
    result_counts: FloatArray
    states_results: BoolArray
    changes: IntArray
    names: npt.NDArray[np.object_]
    name_codes: IntArray
    left_out: tuple[str, ...] = ()

    @classmethod
    def join(cls, parts: "Sequence[AdRows]") -> "AdRows":
        """Return the rows of one or more accounts together; all of the same span, and in the order of their ids."""
        first_ads = np.cumsum([0, *(len(part.ad_ids) for part in parts)])
        first_names = np.cumsum([0, *(len(part.names) for part in parts)])
        of_ads = [np.array([[first], [0], [0]]) for first in first_ads]
        return cls(
            account_ids=tuple(chain.from_iterable(part.account_ids for part in parts)),
            ad_ids=tuple(chain.from_iterable(part.ad_ids for part in parts)),
            first_day=parts[0].first_day,
            has_row=np.concatenate([part.has_row for part in parts]),
            figures={name: np.concatenate([part.figures[name] for part in parts]) for name in FIGURES},
            results=np.concatenate([part.results + first for part, first in zip(parts, of_ads, strict=False)], axis=1),
            result_counts=np.concatenate([part.result_counts for part in parts]),
            states_results=np.concatenate([part.states_results for part in parts]),
            changes=np.concatenate([part.changes + first for part, first in zip(parts, of_ads, strict=False)], axis=1),
            names=np.concatenate([part.names for part in parts]),
            name_codes=np.concatenate([
                part.name_codes + first for part, first in zip(parts, first_names, strict=False)
            ]),
            left_out=tuple(chain.from_iterable(part.left_out for part in parts)),
        )

    def count_results(self, columns: slice, used: BoolArray) -> FloatArray:
        """Return ads x days of results in some columns, nan where unknown; see `adwarm.fatigue.panel_rows`.

        An ad keeps the kind of the first of those days that has any.

        Args:
            used: ads x days, which of them count.
        """
        counted = np.where(self.states_results[:, columns] & used, 0.0, np.nan)
        ads, days, kinds = self.results
        chosen = np.flatnonzero((days >= columns.start) & (days < columns.stop))
        chosen = chosen[used[ads[chosen], days[chosen] - columns.start]]
        ads, days, kinds = ads[chosen], days[chosen] - columns.start, kinds[chosen]
        owners, first = np.unique(ads, return_index=True)
        kind_of_ad = np.full(len(self.ad_ids), -1)
        kind_of_ad[owners] = kinds[first]
        same = kinds == kind_of_ad[ads]
        np.add.at(counted, (ads[same], days[same]), self.result_counts[chosen][same])
        return counted

    def find_changes(self, columns: slice) -> BoolArray | None:
        """Return ads x days, whether an ad set, audience or creative changed within the columns; None for never."""
        ads, days, before = self.changes
        chosen = (before >= columns.start) & (days < columns.stop)
        if not chosen.any():
            return None
        changed = np.zeros((len(self.ad_ids), columns.stop - columns.start), bool)
        changed[ads[chosen], days[chosen] - columns.start] = True
        return changed

    def find_names(self, columns: slice) -> npt.NDArray[np.object_]:
        """Return ads x days: the name in the newest row up to each day in the columns, or in the first row of them."""
        has_row = self.has_row[:, columns]
        newest = np.maximum.accumulate(np.where(has_row, np.arange(has_row.shape[1]), -1), axis=1)
        newest = np.maximum(newest, has_row.argmax(axis=1)[:, None])
        return self.names[np.take_along_axis(self.name_codes[:, columns], newest, 1)]


def parse_rows(account_id: str, table: pa.Table, span: Window) -> AdRows:
    """Parse the rows of one account, columns of text with lists as JSON.

    The figures of a row of which one is not a number of 0 or more are left out, with the reason: they are unknown.

    Args:
        account_id: counts as it is, as Meta's rows name the account by digits alone; yet each row must state its own.
        span: the days of the columns, which all rows are of.

    Raises:
        BadRequest: a row's id or day cannot be read; the message names the ad and the field.
    """
    cells = _locate_rows(table, span)
    parsed = {name: parse_numbers(table, name) for name in FIGURES}
    states, kinds, counts, bad_results = count_results(table)
    bad: dict[int, str] = {}
    for reasons in (*(reasons for _, reasons in parsed.values()), bad_results):
        bad |= {row: reason for row, reason in reasons.items() if row not in bad}
    is_bad = np.zeros(table.num_rows, bool)
    is_bad[list(bad)] = True
    has_row = cells.has(np.ones(table.num_rows, bool))
    figures = {}
    for name, (numbers, _) in parsed.items():
        figures[name] = _sum_figure(numbers, cells, np.isfinite(numbers) & ~is_bad, has_row)
        figures[name][cells.ads[is_bad], cells.columns[is_bad]] = np.nan
    rows = np.lexsort((counts, kinds, cells.columns, cells.ads))
    rows = rows[(counts[rows] > 0) & ~is_bad[rows]]
    names, name_codes = _read_names(table, cells)
    return AdRows(
        account_ids=(account_id,) * len(cells.ad_ids),
        ad_ids=cells.ad_ids,
        first_day=span.since,
        has_row=has_row,
        figures=figures,
        results=np.stack([cells.ads[rows], cells.columns[rows], kinds[rows]]),
        result_counts=counts[rows],
        states_results=np.broadcast_to(cells.days_of(states & ~is_bad), has_row.shape),
        changes=_read_changes(table, cells),
        names=names,
        name_codes=name_codes,
        left_out=tuple(f"{account_id} {reason}" for reason in bad.values()),
    )


@dataclass(frozen=True, slots=True)
class _Cells:
    """The ad and the day of each row.

    Attributes:
        ad_ids: ids of the ads, sorted.
        days: number of columns.
        ads: index of each row's ad.
        columns: index of each row's day.
        are_unique: whether no ad has two rows on a day.
    """

    ad_ids: tuple[str, ...]
    days: int
    ads: IntArray
    columns: IntArray
    are_unique: bool

    @property
    def flat(self) -> IntArray:
        """Index of each row in the flattened ads x days."""
        return self.ads * self.days + self.columns

    def sum(self, values: FloatArray, chosen: BoolArray) -> FloatArray:
        """Return ads x days with the sums of the chosen rows, equal in any order of the rows."""
        cells, picked = self.flat[chosen], values[chosen]
        if not self.are_unique:  # the order of additions decides the last bit
            order = np.lexsort((picked, cells))
            cells, picked = cells[order], picked[order]
        totals = np.bincount(cells, weights=picked, minlength=len(self.ad_ids) * self.days).astype(np.float64)
        return totals.reshape(len(self.ad_ids), self.days)

    def days_of(self, chosen: BoolArray) -> BoolArray:
        """Return, by day, whether any of the chosen rows is on it."""
        present = np.zeros(self.days, bool)
        present[self.columns[chosen]] = True
        return present

    def has(self, chosen: BoolArray) -> BoolArray:
        """Return ads x days, whether the ad has one of the chosen rows."""
        cells = np.zeros(len(self.ad_ids) * self.days, bool)
        cells[self.flat[chosen]] = True
        return cells.reshape(len(self.ad_ids), self.days)


def _locate_rows(table: pa.Table, span: Window) -> _Cells:
    """Return the ad and the day of each row.

    Raises:
        BadRequest: a row has no account id, ad id or day.
    """
    keys = {name: get_column(table, name) for name in ("account_id", "ad_id")}
    if any(column.null_count for column in keys.values()):
        for row in range(table.num_rows):
            read_ad_key({name: column[row].as_py() for name, column in keys.items() if column[row].is_valid})
    day_codes, day_texts = encode_column(get_column(table, "date_start"))
    days = [_read_day(keys["ad_id"], day_codes, code, text) for code, text in enumerate(day_texts)]
    columns = np.array([(day - span.since).days for day in days], np.int64)[day_codes]
    ad_codes, ad_texts = encode_column(keys["ad_id"])
    ad_ids = tuple(sorted(str(text) for text in ad_texts))
    index = {ad_id: number for number, ad_id in enumerate(ad_ids)}
    ads = np.array([index[str(text)] for text in ad_texts], np.int64)[ad_codes]
    count = (span.until - span.since).days + 1
    is_unique = len(np.unique(ads * count + columns)) == table.num_rows
    return _Cells(ad_ids=ad_ids, days=count, ads=ads, columns=columns, are_unique=is_unique)


def _read_day(ad_ids: pa.Array, codes: IntArray, code: int, text: str | None) -> date:
    try:
        return date.fromisoformat(text or "")
    except ValueError:
        row = int((codes == code).argmax())
        return read_day({"ad_id": ad_ids[row].as_py(), "date_start": text}, "date_start")


def _sum_figure(numbers: FloatArray, cells: _Cells, present: BoolArray, has_row: BoolArray) -> FloatArray:
    """Return ads x days of a figure: zero without a row, nan where no row of the day has it."""
    has_figure = cells.days_of(present)
    sums: FloatArray = np.where(has_row & ~has_figure, np.nan, cells.sum(numbers, present))
    return sums


def _read_changes(table: pa.Table, cells: _Cells) -> IntArray:
    """Return ad, column and the column before, of rows that differ from the ad's row before; see `AdRows`."""
    changes = [np.zeros((3, 0), np.int64)]
    for name in CHANGE_COLUMNS:
        codes, texts = encode_column(get_column(table, name))
        if sum(bool(text) for text in texts) < 2:
            continue
        stated = np.flatnonzero(np.array([bool(text) for text in texts], bool)[codes])
        unique, numbers = np.unique(cells.flat[stated], return_inverse=True)
        ads, columns = unique // cells.days, unique % cells.days
        # A day with several values, as of a creative in several ad sets, differs if it shares none with the day before.
        pairs = np.sort(numbers * len(texts) + codes[stated])
        before = pairs[np.searchsorted(pairs[:-1], pairs - len(texts))]
        continued = np.zeros(len(unique), bool)
        continued[pairs[before == pairs - len(texts)] // len(texts)] = True
        differs = np.flatnonzero((ads[1:] == ads[:-1]) & ~continued[1:]) + 1
        changes.append(np.stack([ads[differs], columns[differs], columns[differs - 1]]))
    return np.concatenate(changes, axis=1)


def _read_names(table: pa.Table, cells: _Cells) -> tuple[npt.NDArray[np.object_], IntArray]:
    """Return the different names, and ads x days the code of the name; of several on a day that of the last one."""
    codes, stated = encode_column(get_column(table, "ad_name"))
    names = sorted({text or "" for text in stated})
    rank_of = {name: rank for rank, name in enumerate(names)}
    ranks = np.array([rank_of[text or ""] for text in stated], np.int64)
    of_cells = np.full(len(cells.ad_ids) * cells.days, -1)
    np.maximum.at(of_cells, cells.flat, ranks[codes])
    return np.array(names or [""], object), of_cells.reshape(len(cells.ad_ids), cells.days)
