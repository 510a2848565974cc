"""Reads the rows of one account into arrays of ads x days."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from adwarm.fatigue.history import read_ad_key, read_day, read_number
from adwarm.fatigue.results import list_results, with_parsed_results
from adwarm.model import ColumnTable

IntArray = npt.NDArray[np.int64]
FIGURES: Final = ("impressions", "clicks", "inline_link_clicks", "spend")
"""Fields with numbers."""
CHANGE_COLUMNS: Final = ("adset_id", "creative_id", "targeting", "creative")


@dataclass(slots=True)
class AccountRows:
    """The rows of an account within a span of days, with the ad and the day of each.

    Attributes:
        table: the rows.
        ad_ids: ids of the ads, sorted.
        ads: index of each row's ad.
        columns: index of each row's day.
        days: number of days of the span.
    """

    table: ColumnTable
    ad_ids: list[str]
    ads: IntArray
    columns: IntArray
    days: int

    @property
    def cells(self) -> IntArray:
        """Index of each row in the flattened ads x days."""
        return self.ads * self.days + self.columns

    def sum_cells(self, values: npt.NDArray[np.float64], chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        """Return ads x days with the sums of the chosen rows, equal in any order of the rows."""
        cells, picked = self.cells[chosen], values[chosen]
        size = len(self.ad_ids) * self.days
        if len(np.unique(cells)) < len(cells):  # the order of additions decides the last bit
            order = np.lexsort((picked, cells))
            cells, picked = cells[order], picked[order]
        totals: npt.NDArray[np.float64] = np.bincount(cells, weights=picked, minlength=size).astype(np.float64)
        return totals.reshape(len(self.ad_ids), self.days)

    def days_of(self, chosen: npt.NDArray[np.bool_] | IntArray) -> npt.NDArray[np.bool_]:
        """Return, by day, whether any of the chosen rows is on it."""
        present = np.zeros(self.days, bool)
        present[self.columns[chosen]] = True
        return present

    def has_row(self) -> npt.NDArray[np.bool_]:
        """Return ads x days, whether the ad has a row."""
        cells = np.zeros(len(self.ad_ids) * self.days, bool)
        cells[self.cells] = True
        return cells.reshape(len(self.ad_ids), self.days)


def locate_rows(table: ColumnTable, first_day: date, last_day: date) -> AccountRows:
    """Return the rows of the span with the ad and the day of each.

    Raises:
        BadRequest: a row has no account id, ad id or day.
    """
    days = (last_day - first_day).days + 1
    if not table.rows:
        return AccountRows(table, [], np.zeros(0, np.int64), np.zeros(0, np.int64), days)
    names = [table.columns.get(name) for name in ("account_id", "ad_id")]
    for row in range(table.rows) if any(column is None or None in column for column in names) else ():
        keys = ("account_id", "ad_id")
        read_ad_key({
            name: column[row]
            for name, column in zip(keys, names, strict=True)
            if column is not None and column[row] is not None
        })
    stated = table.columns.get("date_start") or [None] * table.rows
    by_text: dict[Any, int] = {}
    for value in dict.fromkeys(stated):
        if value not in by_text:
            row = stated.index(value)
            by_text[value] = (
                read_day({"ad_id": table.columns["ad_id"][row], "date_start": value}, "date_start") - first_day
            ).days
    columns = np.fromiter((by_text[value] for value in stated), np.int64, table.rows)
    inside = (columns >= 0) & (columns < days)
    if not inside.all():
        kept = np.flatnonzero(inside)
        table, columns = table.take(kept.tolist()), columns[kept]
    ids = [str(value) for value in table.columns["ad_id"]] if table.rows else []
    ad_ids = sorted(set(ids))
    index = {ad_id: number for number, ad_id in enumerate(ad_ids)}
    return AccountRows(table, ad_ids, np.fromiter((index[ad_id] for ad_id in ids), np.int64, len(ids)), columns, days)


def parse_numbers(table: ColumnTable, name: str) -> npt.NDArray[np.float64]:
    """Return the numbers of a column; nan where a row has none.

    Raises:
        BadRequest: a value is no number of 0 or more; the message names the ad and the field.
    """
    column = table.columns.get(name)
    if column is None:
        return np.full(table.rows, np.nan)
    numbers = _parse_texts(column)
    if numbers is None or bool((np.nan_to_num(numbers, nan=0.0) < 0).any()):
        ad_ids = table.columns["ad_id"]
        numbers = np.fromiter(
            (
                np.nan if value is None or value == "" else read_number({"ad_id": ad_id, name: value}, name)
                for ad_id, value in zip(ad_ids, column, strict=True)
            ),
            np.float64,
            table.rows,
        )
    return numbers


def _parse_texts(column: Sequence[Any]) -> npt.NDArray[np.float64] | None:
    """Return the numbers of texts, nan for None and empty; None unless each text is a plain finite number."""
    if set(map(type, column)) == {float}:  # parsed before
        known = np.array(column, np.float64)
        return None if bool(np.isinf(known).any()) else known
    try:
        texts = pa.array(column, pa.string())
        texts = pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
        values = pc.cast(texts, pa.float64())
    except (pa.ArrowException, TypeError, ValueError):
        return None
    numbers: npt.NDArray[np.float64] = values.to_numpy(zero_copy_only=False).astype(np.float64, copy=True)
    finite = int(np.count_nonzero(np.isfinite(numbers)))
    return numbers if finite == len(numbers) - values.null_count else None


def with_parsed_figures(table: ColumnTable) -> ColumnTable:
    """Return a table whose numbers and results are parsed, so that panels of several spans need not do it again.

    Raises:
        BadRequest: a value is no number of 0 or more; the message names the ad and the field.
    """
    parsed = with_parsed_results(table)
    numbers: dict[str, list[Any]] = {
        name: parse_numbers(table, name).tolist() for name in FIGURES if name in table.columns
    }
    return ColumnTable(parsed.rows, {**parsed.columns, **numbers})


def read_results(rows: AccountRows) -> npt.NDArray[np.float64]:
    """Return ads x days of results, nan where unknown; see `adwarm.fatigue.results` for what counts."""
    ads = len(rows.ad_ids)
    result = np.full((ads, rows.days), np.nan)
    stating, found = list_results(rows.table)
    result[:, rows.days_of(np.array(stating, np.int64))] = 0.0
    found = [item for item in found if item[2]]
    if not found:
        return result
    numbers = np.array(found)
    chosen, kinds, counts = numbers[:, 0].astype(np.int64), numbers[:, 1].astype(np.int64), numbers[:, 2]
    order = np.lexsort((counts, kinds, rows.columns[chosen], rows.ads[chosen]))
    chosen, kinds, counts = chosen[order], kinds[order], counts[order]
    owners, first = np.unique(rows.ads[chosen], return_index=True)
    kind_of_ad = np.full(ads, -1)
    kind_of_ad[owners] = kinds[first]
    same = kinds == kind_of_ad[rows.ads[chosen]]
    sums = np.bincount(rows.cells[chosen[same]], weights=counts[same], minlength=result.size).reshape(result.shape)
    result += sums
    return result


def read_changes(rows: AccountRows) -> npt.NDArray[np.bool_] | None:
    """Return ads x days, whether an ad's ad set, audience or creative differs from its last row's; None for never."""
    changed = np.zeros((len(rows.ad_ids), rows.days), bool)
    for name in CHANGE_COLUMNS:
        column = rows.table.columns.get(name)
        if column is None:
            continue
        texts = ["" if value is None else str(value) for value in column]
        index = {text: number for number, text in enumerate(sorted(set(texts)))}
        codes = np.fromiter((index[text] for text in texts), np.int64, len(texts))
        stated = np.flatnonzero(codes != index.get("", -1))
        order = stated[np.lexsort((codes[stated], rows.columns[stated], rows.ads[stated]))]
        cells, first = np.unique(rows.cells[order], return_index=True)
        values, ads = codes[order][first], cells // rows.days
        differs = np.flatnonzero((values[1:] != values[:-1]) & (ads[1:] == ads[:-1])) + 1
        changed.reshape(-1)[cells[differs]] = True
    return changed if changed.any() else None


def read_names(rows: AccountRows) -> tuple[list[str], dict[int, tuple[tuple[int, str], ...]]]:
    """Return the newest name of each ad, and by ad those with several names: each with its first column."""
    column = rows.table.columns.get("ad_name")
    texts = [""] * rows.table.rows if column is None else ["" if value is None else str(value) for value in column]
    newest: list[str] = [""] * len(rows.ad_ids)
    names: dict[int, set[str]] = {}
    for ad, text in set(zip(rows.ads.tolist(), texts, strict=True)):
        names.setdefault(ad, set()).add(text)
        newest[ad] = text
    renamed = {ad for ad, of_ad in names.items() if len(of_ad) > 1}
    changes = {}
    for ad in renamed:
        days: dict[int, str] = {}
        for row in np.flatnonzero(rows.ads == ad).tolist():
            day = int(rows.columns[row])
            days[day] = max(days.get(day, ""), texts[row])
        steps = [(day, text) for day, text in sorted(days.items())]
        changes[ad] = tuple(step for number, step in enumerate(steps) if not number or step[1] != steps[number - 1][1])
        newest[ad] = steps[-1][1]
    return newest, {ad: steps for ad, steps in changes.items() if len(steps) > 1}
