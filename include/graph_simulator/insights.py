"""The response to an insights query: which rows there are, their order, one page of them, totals, and size limits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from operator import itemgetter, methodcaller
from typing import Any

import numpy as np

from graph_simulator.ads import Ad, Days, Metric
from graph_simulator.dataset import Dataset
from graph_simulator.date_ranges import DateRange
from graph_simulator.error_responses import GraphError, bad_parameter
from graph_simulator.fault_profile import FalseSum, Poison, SizeSetting
from graph_simulator.fields import ALWAYS, CONSTANTS, DATE_FIELDS, EMPTY, NAME_FIELDS
from graph_simulator.figures import (
    ACTION_LISTS,
    ATTRIBUTION_SETTINGS,
    COUNTS,
    RATIOS,
    RESULT_FIELDS,
    ActionSplit,
    Figures,
    Row,
    action_lists,
    results,
    write_ratio,
)
from graph_simulator.filters import FigureTest
from graph_simulator.levels import LevelTotals, ad_names, aggregate
from graph_simulator.page_cursors import paging, requested_page
from graph_simulator.query import Query, action_split

_PLAIN = ActionSplit()
_HEAVY_FIELDS = ("actions", "cost_per_action_type", "unique_actions", "cost_per_unique_action_type")
_HEAVY_WEIGHT = 12


@dataclass(frozen=True)
class Selection:
    """The rows of a query, not rendered yet.

    Attributes:
        windows: the row's index into the windows of `table`, by row.
        objects: the row's index into the objects of `table`, by row.
        is_included: whether an ad passes the filters of the query.
        account_totals: computes the account's totals over all days of the query.
    """

    account: str
    query: Query
    table: LevelTotals
    windows: Days
    objects: Days
    is_included: Callable[[Ad], bool]
    account_totals: Callable[[], LevelTotals]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.windows)

    def ads(self) -> list[Ad]:
        """Return the ads with delivery that the rows consist of, whatever their level."""
        ad_totals = self.table.ad_totals
        has_delivery = ad_totals.totals[Metric.IMPRESSIONS].any(axis=0)
        return [ad for index, ad in enumerate(ad_totals.ads) if has_delivery[index] and self.is_included(ad)]


def select(dataset: Dataset, account: str, query: Query, now: datetime) -> Selection:
    """Return the rows of a query about `account`, with the figures as of `now`."""
    attributed = ATTRIBUTION_SETTINGS[query.attribution_setting]
    ad_totals = dataset.ad_totals(account, query.windows, now, attributed, query.breakdowns)
    today = dataset.today(account, now)

    def is_included(ad: Ad) -> bool:
        return query.matches(ad_names(ad_totals, ad), has_ended=ad.truth.ended < today)

    def account_totals() -> LevelTotals:
        whole = DateRange(min(w.since for w in query.windows), max(w.until for w in query.windows))
        return aggregate(dataset.ad_totals(account, [whole], now, attributed), "account", is_included)

    table = aggregate(ad_totals, query.level, is_included)
    windows, objects = delivered(table, query.figures)
    return Selection(
        account=account,
        query=query,
        table=table,
        windows=windows,
        objects=objects,
        is_included=is_included,
        account_totals=account_totals,
    )


def falsified(selection: Selection, sums: Sequence[FalseSum], *, is_report: bool) -> Selection:
    """Return the selection with the wrong totals that the fault profile sets for it."""
    account, level, breakdowns = selection.account, selection.query.level, selection.query.breakdowns
    wrong = [item for item in sums if item.falsifies(account, level, breakdowns, is_report=is_report)]
    if not wrong:
        return selection
    totals = selection.table.totals.astype(np.float64)
    for item in wrong:
        metric = slice(None) if item.metric is None else getattr(Metric, item.metric.upper())
        chosen = [item.group is None or item.group in names.values() for names in selection.table.names]
        totals[metric, :, chosen] *= item.factor
    table = replace(selection.table, totals=np.rint(totals).astype(np.int64))
    if all(item.group is None and item.breakdown is None for item in wrong):
        return replace(selection, table=table)
    windows, objects = delivered(table, selection.query.figures)  # what is lost has no row
    return replace(selection, table=table, windows=windows, objects=objects)


def delivered(table: LevelTotals, tests: Sequence[FigureTest] = ()) -> tuple[Days, Days]:
    """Return window and object indexes of the rows with impressions that pass the tests, oldest window first."""
    if not table.names:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    figures = Figures(table.totals, table.reach)
    windows, objects = np.nonzero(np.all([figures.impressions > 0, *(test(figures) for test in tests)], axis=0))
    return windows, objects


def page_body(
    selection: Selection, params: Mapping[str, str], url: str, *, empty_between: bool
) -> tuple[dict[str, Any], int]:
    """Return the body of the page that `params` ask for, and its number of rows.

    Raises:
        GraphError: the paging parameters are not valid.
    """
    query = selection.query
    page = requested_page(selection.rows, params, empty_between=empty_between)
    windows, objects = _sorted(selection)
    rows = windows[page.start : page.stop], objects[page.start : page.stop]
    rendered = render(selection.table, rows, query.fields, action_split(query))
    body: dict[str, Any] = {"data": rendered}
    if selection.rows:
        body["paging"] = paging(page, url, params)
    if query.summary is not None:
        body["summary"] = _totals(selection, query.summary, action_split(query, params))
    return body, len(rendered)


def render(
    table: LevelTotals, rows: tuple[Days, Days], fields: Sequence[str], split: ActionSplit = _PLAIN
) -> list[Row]:
    """Return rows as the platform prints them: numbers as strings, zeros left out but `ALWAYS` and `ctr`."""
    windows, objects = rows
    figures = Figures(table.totals[:, windows, objects], table.reach[windows, objects])
    days = [(str(window.since), str(window.until)) for window in table.ad_totals.windows]
    indexes = objects.tolist()
    names_by_object = {index: table.names[index] for index in dict.fromkeys(indexes)}

    def by_row(read: Callable[[Mapping[str, str]], str | None]) -> list[str | None]:
        texts = {index: read(names) for index, names in names_by_object.items()}
        return [texts[index] for index in indexes]

    columns: dict[str, Sequence[Any]] = {}
    for name in fields:
        if name in NAME_FIELDS:
            columns[name] = by_row(methodcaller("get", name))
        elif name in CONSTANTS:
            columns[name] = by_row(partial(_constant, *CONSTANTS[name], setting=split.setting))
        elif name in RESULT_FIELDS:
            columns[name] = results(name, figures, by_row(methodcaller("get", "goal")))
        elif name not in DATE_FIELDS | EMPTY:
            columns[name] = _column(name, figures, split)
    columns["date_start"] = [days[index][0] for index in windows.tolist()]
    columns["date_stop"] = [days[index][1] for index in windows.tolist()]
    for name in table.breakdowns:
        columns[name] = by_row(itemgetter(name))
    shown = tuple(columns)
    return [
        {name: value for name, value in zip(shown, values, strict=True) if value is not None}
        for values in zip(*columns.values(), strict=True)
    ]


def _constant(text: str | Mapping[str, str], owner: str, names: Mapping[str, str], setting: str) -> str | None:
    if owner not in names:
        return None
    if isinstance(text, str):
        return text
    return text.get(setting) or text.get(names.get("goal", ""))


def _column(name: str, figures: Figures, split: ActionSplit) -> Sequence[Any]:
    if name in COUNTS:
        return [str(value) if value or name in ALWAYS else None for value in COUNTS[name](figures).tolist()]
    if name == "spend":
        return [f"{cents / 100:.2f}" for cents in figures.totals[Metric.SPEND_CENTS].tolist()]
    if name in ACTION_LISTS:
        return action_lists(ACTION_LISTS[name], figures, split)
    return [write_ratio(value) if value or name == "ctr" else None for value in RATIOS[name](figures).tolist()]


def _sorted(selection: Selection) -> tuple[Days, Days]:
    windows, objects = selection.windows, selection.objects
    order = selection.query.order
    if not order or not selection.rows:
        return windows, objects
    rows = render(selection.table, (windows, objects), [name.partition(":")[0] for name, _ in order])
    indexes = list(range(len(rows)))
    # Python's sort is stable, so sorting by the last key first gives an order by all keys.
    for name, descending in reversed(order):
        values = [_sort_value(row, name) for row in rows]
        indexes.sort(key=values.__getitem__, reverse=descending)
    chosen = np.array(indexes, dtype=np.int64)
    return windows[chosen], objects[chosen]


def _sort_value(row: Mapping[str, Any], name: str) -> Any:
    """Return the value to sort a row by: text for names and days, else a number.

    `actions:link_click` is the value of that entry of the action list.
    """
    field, _, action_type = name.partition(":")
    value = row.get(field)
    if field in NAME_FIELDS | DATE_FIELDS | set(CONSTANTS):
        return value or ""
    if field in RESULT_FIELDS:
        return float(value[0]["values"][0]["value"]) if value and "values" in value[0] else 0.0
    if isinstance(value, list):
        values = [entry["value"] for entry in value if not action_type or entry["action_type"] == action_type]
        value = values[0] if values and isinstance(values[0], str) else None
    return float(value or 0)


def _totals(selection: Selection, fields: tuple[str, ...], split: ActionSplit) -> dict[str, Any]:
    """Return the totals of all rows, whatever the page. Reach is that of the account over all days, not a sum."""
    whole = selection.account_totals()
    if not selection.rows or not whole.names:
        return {}
    totals = selection.table.totals[:, selection.windows, selection.objects].sum(axis=1).reshape(-1, 1, 1)
    table = replace(whole, totals=totals)
    return render(table, delivered(table), fields, split)[0]


def cells(fields: Sequence[str], rows: int) -> int:
    """Return the weight of `rows` rows with these fields; an action list weighs as much as a dozen other fields."""
    return rows * sum(_HEAVY_WEIGHT if name in _HEAVY_FIELDS else 1 for name in fields)


def check_size(selection: Selection, setting: SizeSetting, poison: Sequence[Poison]) -> None:
    """Check a synchronous query against poison and size limits.

    Raises:
        GraphError: the query is poisoned (1, "reduce the amount") or too large (100/1487534, or 1).
    """
    if is_poisoned(selection, poison):
        raise reduce_the_amount()
    if setting.sync_rows is not None and selection.rows > setting.sync_rows:
        raise too_many_rows()
    check_page(selection, selection.query.limit, setting)


def check_page(selection: Selection, limit: int, setting: SizeSetting) -> None:
    """Check the weight of a page of up to `limit` rows, of a synchronous query or of a report.

    Raises:
        GraphError: the page is too heavy (1, "reduce the amount").
    """
    weight = cells(selection.query.fields, min(selection.rows, limit))
    if setting.page_cells is not None and weight > setting.page_cells:
        raise reduce_the_amount()


def is_poisoned(selection: Selection, poison: Sequence[Poison]) -> bool:
    """Whether the query includes a poisoned ad or field."""
    heavy = [item for item in poison if not item.refusal]
    return any(_touches(selection, item) for item in heavy if item.account in {None, selection.account})


def check_refused_fields(account: str, fields: Sequence[str], poison: Sequence[Poison]) -> None:
    """Check that no field is one that the platform refuses.

    Raises:
        GraphError: the first that is (100).
    """
    for item in poison:
        if item.refusal and item.field in fields and item.account in {None, account}:
            raise bad_parameter(item.refusal)


def _touches(selection: Selection, item: Poison) -> bool:
    if item.field is not None:
        return item.field in selection.query.fields
    return any(item.ad == ad.truth.ad_id or item.slot == ad.slot for ad in selection.ads())


def reduce_the_amount() -> GraphError:
    """Return the error for a page that cannot be computed. Retrying does not help."""
    return GraphError("Please reduce the amount of data you're asking for, then retry your request", code=1, status=500)


def too_many_rows() -> GraphError:
    """Return the error for a query with too many rows. It claims to be transient, as on the platform, and is not."""
    return GraphError(
        "(#100) There are too many rows to return; narrow the time range or the level",
        code=100,
        subcode=1487534,
        transient=True,
    )
