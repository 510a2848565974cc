"""The rows of one account, parsed once: figures of ads x days, of which panels of any span are cut."""

from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from adwarm.fatigue.results import COLUMNS as RESULT_COLUMNS
from adwarm.fatigue.results import PLAIN as PLAIN_RESULTS
from adwarm.fatigue.results import count_results
from adwarm.fatigue.text_columns import (
    clear_rows,
    encode_column,
    find_bad_numbers,
    get_column,
    parse_numbers,
    read_ad_key,
    read_day,
    to_text_table,
)
from adwarm.model import ColumnTable

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
FIGURES: Final = ("impressions", "clicks", "inline_link_clicks", "spend")
"""Fields with numbers."""
CHANGE_COLUMNS: Final = ("adset_id", "creative_id", "targeting", "creative")
NameSteps = tuple[tuple[int, str], ...]
"""Names of an ad, each with the column of its first day."""


@dataclass(frozen=True, slots=True)
class AccountRows:
    """The parsed rows of an account.

    Attributes:
        ad_ids: ids of the ads, sorted.
        first_day: day of column 0.
        has_row: ads x days, whether the ad has a row.
        figures: by name, ads x days of sums: zero without a row, nan where no row of the day has the figure.
        results: ad, column and kind of each count of results, sorted by these and the count.
        states_results: by column, whether any row states results.
        changes: ad, column and the column of the ad's row before, of rows that differ from that in a field of
            `CHANGE_COLUMNS`.
        names: the only name of each ad.
        renamed: by ad with several names, the name of each day with a row.
        left_out: why rows are left out; the figures of their ads are unknown on those days.
    """

    ad_ids: list[str]
    first_day: date
    has_row: BoolArray
    figures: dict[str, FloatArray]
    results: IntArray
    result_counts: FloatArray
    states_results: BoolArray
    changes: IntArray
    names: list[str]
    renamed: dict[int, NameSteps]
    left_out: tuple[str, ...] = ()

    def locate(self, first_day: date, days: int) -> tuple[slice, slice]:
        """Return the columns of a span that the rows have, and where in the span they are."""
        offset = (self.first_day - first_day).days
        start, end = max(0, offset), min(days, offset + self.has_row.shape[1])
        end = max(start, end)
        return slice(start - offset, end - offset), slice(start, end)

    def count_results(self, columns: slice, used: BoolArray) -> FloatArray:
        """Return ads x days of results in some columns, nan where unknown; see `adwarm.fatigue.results`.

        An ad keeps the kind of the first of those days that has any.

        Args:
            used: which of the columns count.
        """
        shape = len(self.ad_ids), columns.stop - columns.start
        counted = np.full(shape, np.nan)
        counted[:, self.states_results[columns] & used] = 0.0
        ads, days, kinds = self.results
        chosen = np.flatnonzero((days >= columns.start) & (days < columns.stop))
        chosen = chosen[used[days[chosen] - columns.start]]
        if not len(chosen):
            return counted
        ads, days, kinds = ads[chosen], days[chosen] - columns.start, kinds[chosen]
        owners, first = np.unique(ads, return_index=True)
        kind_of_ad = np.full(len(self.ad_ids), -1)
        kind_of_ad[owners] = kinds[first]
        same = kinds == kind_of_ad[ads]
        cells = ads[same] * shape[1] + days[same]
        weights = self.result_counts[chosen][same]
        counted += np.bincount(cells, weights=weights, minlength=counted.size).reshape(shape)
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

    def find_names(self, columns: slice, place: int) -> dict[int, NameSteps]:
        """Return the names of renamed ads that have a row in the columns; the first column is counted as `place`."""
        names = {}
        for ad, days in self.renamed.items():
            steps = [(day - columns.start + place, name) for day, name in days if columns.start <= day < columns.stop]
            if steps:
                names[ad] = tuple(
                    step for number, step in enumerate(steps) if not number or step[1] != steps[number - 1][1]
                )
        return names


def parse_rows(table: pa.Table | ColumnTable) -> AccountRows:
    """Parse the rows of one account.

    Args:
        table: columns of text, lists as JSON; or columns of any values.

    The figures of a row of which one is no number of 0 or more are left out, with the reason: they are unknown.

    Raises:
        BadRequest: a row's id or day cannot be read; the message names the ad and the field.
    """
    if isinstance(table, ColumnTable):
        table = to_text_table(table)
    bad = find_bad_numbers(table, (*FIGURES, *PLAIN_RESULTS), PLAIN_RESULTS)
    if bad:
        table = clear_rows(table, list(bad), (*FIGURES, *RESULT_COLUMNS))
    cells = _locate_rows(table)
    has_row = cells.has(np.ones(table.num_rows, bool))
    results = count_results(table)
    order = np.lexsort((results.counts, results.kinds, cells.columns[results.rows], cells.ads[results.rows]))
    rows, kinds, counts = results.rows[order], results.kinds[order], results.counts[order]
    names, renamed = _read_names(table, cells)
    figures = {name: _read_figure(table, name, cells, has_row) for name in FIGURES}
    for values in figures.values():
        values[cells.ads[list(bad)], cells.columns[list(bad)]] = np.nan
    return AccountRows(
        ad_ids=cells.ad_ids,
        first_day=cells.first_day,
        has_row=has_row,
        figures=figures,
        results=np.stack([cells.ads[rows], cells.columns[rows], kinds]),
        result_counts=counts,
        states_results=cells.days_of(results.stating),
        changes=_read_changes(table, cells),
        names=names,
        renamed=renamed,
        left_out=tuple(bad.values()),
    )


@dataclass(frozen=True, slots=True)
class _Cells:
    """The ad and the day of each row.

    Attributes:
        ad_ids: ids of the ads, sorted.
        first_day: day of column 0.
        days: number of columns.
        ads: index of each row's ad.
        columns: index of each row's day.
        are_unique: whether no ad has two rows on a day.
    """

    ad_ids: list[str]
    first_day: date
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

    def days_of(self, chosen: BoolArray | IntArray) -> BoolArray:
        """Return, by day, whether any of the chosen rows is on it."""
        present = np.zeros(self.days, bool)
        present[self.columns[chosen]] = True
        return present

    def has(self, chosen: BoolArray) -> BoolArray:
        """Return ads x days, whether the ad has one of the chosen rows."""
        cells = np.zeros(len(self.ad_ids) * self.days, bool)
        cells[self.flat[chosen]] = True
        return cells.reshape(len(self.ad_ids), self.days)


def _locate_rows(table: pa.Table) -> _Cells:
    """Return the ad and the day of each row.

    Raises:
        BadRequest: a row has no account id, ad id or day.
    """
    keys = {name: get_column(table, name) for name in ("account_id", "ad_id")}
    if any(column.null_count for column in keys.values()):
        for row in range(table.num_rows):
            read_ad_key({name: column[row].as_py() for name, column in keys.items() if column[row].is_valid})
    dates = get_column(table, "date_start")
    day_codes, day_texts = encode_column(dates)
    days = [_read_day(keys["ad_id"], day_codes, code, text) for code, text in enumerate(day_texts)]
    first_day = min(days, default=date.min)
    offsets = np.array([(day - first_day).days for day in days], np.int64)
    ad_codes, ad_texts = encode_column(keys["ad_id"])
    ad_ids = sorted(str(text) for text in ad_texts)
    index = {ad_id: number for number, ad_id in enumerate(ad_ids)}
    ads = np.array([index[str(text)] for text in ad_texts], np.int64)[ad_codes]
    columns, count = offsets[day_codes], int(offsets.max(initial=-1)) + 1
    is_unique = len(np.unique(ads * count + columns)) == table.num_rows
    return _Cells(ad_ids=ad_ids, first_day=first_day, days=count, ads=ads, columns=columns, are_unique=is_unique)


def _read_day(ad_ids: pa.Array, codes: IntArray, code: int, text: str | None) -> date:
    try:
        return date.fromisoformat(text or "")
    except ValueError:
        row = int((codes == code).argmax())
        return read_day({"ad_id": ad_ids[row].as_py(), "date_start": text}, "date_start")


def _read_figure(table: pa.Table, name: str, cells: _Cells, has_row: BoolArray) -> FloatArray:
    """Return ads x days of a figure: zero without a row, nan where no row of the day has it."""
    numbers = parse_numbers(table, name)
    present = np.isfinite(numbers)
    has_figure = cells.days_of(present)
    sums: FloatArray = np.where(has_row & ~has_figure, np.nan, cells.sum(numbers, present))
    return sums


def _read_changes(table: pa.Table, cells: _Cells) -> IntArray:
    """Return ad, column and the column before, of rows that differ from the ad's row before; see `AccountRows`."""
    changes = [np.zeros((3, 0), np.int64)]
    for name in CHANGE_COLUMNS:
        codes, texts = encode_column(get_column(table, name))
        if sum(bool(text) for text in texts) < 2:
            continue
        ordered = {text: rank for rank, text in enumerate(sorted({text or "" for text in texts}))}
        ranks = np.array([ordered[text or ""] for text in texts], np.int64)
        is_stated = np.array([bool(text) for text in texts], bool)[codes]
        stated = np.flatnonzero(is_stated)
        order = stated[np.lexsort((ranks[codes[stated]], cells.columns[stated], cells.ads[stated]))]
        unique, first = np.unique(cells.flat[order], return_index=True)
        values, ads, columns = ranks[codes[order]][first], unique // cells.days, unique % cells.days
        differs = np.flatnonzero((values[1:] != values[:-1]) & (ads[1:] == ads[:-1])) + 1
        changes.append(np.stack([ads[differs], columns[differs], columns[differs - 1]]))
    return np.concatenate(changes, axis=1)


def _read_names(table: pa.Table, cells: _Cells) -> tuple[list[str], dict[int, NameSteps]]:
    """Return the name of each ad, and by ad with several of them the name of each day with a row."""
    codes, stated = encode_column(get_column(table, "ad_name"))
    texts = [text or "" for text in stated]
    pairs = np.unique(cells.ads * len(texts) + codes)
    names = [""] * len(cells.ad_ids)
    different: dict[int, set[str]] = {}
    for ad, code in zip((pairs // len(texts)).tolist(), (pairs % len(texts)).tolist(), strict=True):
        names[ad] = texts[code]
        different.setdefault(ad, set()).add(texts[code])
    renamed = {}
    for ad in [ad for ad, of_ad in different.items() if len(of_ad) > 1]:
        days: dict[int, str] = {}
        for row in np.flatnonzero(cells.ads == ad).tolist():
            day = int(cells.columns[row])
            days[day] = max(days.get(day, ""), texts[codes[row]])
        renamed[ad] = tuple(sorted(days.items()))
    return names, renamed
