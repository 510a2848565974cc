"""What is too much to answer: pages over a weight, questions over a number of rows, and poison at any size."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from graph_simulator.ads import Ad, Days, Metric
from graph_simulator.cursors import asked_page, paging
from graph_simulator.dataset import Dataset
from graph_simulator.date_ranges import DateRange
from graph_simulator.fault_profile import Poison, SizeSetting
from graph_simulator.fields import ALWAYS, CONSTANTS, DATE_FIELDS, EMPTY, NAME_FIELDS
from graph_simulator.figures import COUNTS, LISTINGS, RATIOS, Figures, Row, Split, listed
from graph_simulator.graph_errors import GraphError
from graph_simulator.levels import Table, ad_names, at_level
from graph_simulator.query import Query, grouped, sort_value, sorted_rows, split_of

_PLAIN = Split()


def delivered(table: Table, more_than: int = 0) -> tuple[Days, Days]:
    """Return window and object indexes of the rows there are, oldest window first."""
    if not table.names:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    windows, objects = np.nonzero(table.totals[Metric.IMPRESSIONS] > more_than)
    return windows, objects


def render(table: Table, at: tuple[Days, Days], fields: Sequence[str], split: Split = _PLAIN) -> list[Row]:
    """Return the rows at the given window and object indexes, with the wanted fields that are not zero."""
    windows, objects = at
    figures = Figures(table.totals[:, windows, objects], table.reach[windows, objects])
    spans = [(str(window.since), str(window.until)) for window in table.block.windows]
    named = [table.names[index] for index in objects.tolist()]
    columns: dict[str, Sequence[Any]] = {}
    for name in fields:
        if name in NAME_FIELDS:
            columns[name] = [names.get(name) for names in named]
        elif name in CONSTANTS:
            text, owner = CONSTANTS[name]
            columns[name] = [text if owner in names else None for names in named]
        elif name not in DATE_FIELDS | EMPTY:
            columns[name] = _column(name, figures, split)
    columns["date_start"] = [spans[index][0] for index in windows.tolist()]
    columns["date_stop"] = [spans[index][1] for index in windows.tolist()]
    names = tuple(columns)
    return [
        {name: value for name, value in zip(names, values, strict=True) if value is not None}
        for values in zip(*columns.values(), strict=True)
    ]


def _column(name: str, figures: Figures, split: Split) -> Sequence[Any]:
    if name in COUNTS:
        return [str(value) if value or name in ALWAYS else None for value in COUNTS[name](figures).tolist()]
    if name == "spend":
        return [f"{cents / 100:.2f}" for cents in figures.totals[Metric.SPEND_CENTS].tolist()]
    if name in LISTINGS:
        return listed(LISTINGS[name], figures, split)
    return [None if value == 0 else f"{value:.6f}" for value in RATIOS[name](figures).tolist()]


@dataclass(frozen=True)
class Selection:
    """The rows that answer a question, not yet rendered: window and object indexes into a table.

    Attributes:
        whole: gathers the account over all of the question's days, for totals.
    """

    account: str
    query: Query
    table: Table
    windows: Days
    objects: Days
    keep: Callable[[Ad], bool]
    whole: Callable[[], Table]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.windows)

    def ads(self) -> list[Ad]:
        """Return the ads with delivery that the rows are made of, whatever their level."""
        block = self.table.block
        shown = block.totals[Metric.IMPRESSIONS].any(axis=0)
        return [ad for index, ad in enumerate(block.ads) if shown[index] and self.keep(ad)]


def select(dataset: Dataset, account: str, query: Query, now: datetime) -> Selection:
    """Return the rows that answer `query` about `account`, as they stand at `now`."""
    block, today = dataset.block(account, query.windows, now), dataset.today(account, now)

    def keep(ad: Ad) -> bool:
        return query.keeps(ad_names(block, ad), has_ended=ad.truth.ended < today)

    def whole() -> Table:
        span = DateRange(min(w.since for w in query.windows), max(w.until for w in query.windows))
        return at_level(dataset.block(account, [span], now), "account", keep)

    table = at_level(block, query.level, keep)
    windows, objects = delivered(table, query.more_impressions_than)
    return Selection(account, query, table, windows, objects, keep, whole)


def page_body(
    chosen: Selection, params: Mapping[str, str], url: str, *, empty_between: bool
) -> tuple[dict[str, Any], int]:
    """Return the body of the page that `params` ask for, and how many rows it holds.

    Raises:
        GraphError: the parameters of the page are not valid.
    """
    query = chosen.query
    page = asked_page(chosen.rows, params, empty_between=empty_between)
    windows, objects = _in_order(chosen, query)
    at = windows[page.start : page.stop], objects[page.start : page.stop]
    data = grouped(render(chosen.table, at, query.fields, split_of(query)), query.group)
    body: dict[str, Any] = {"data": data}
    if chosen.rows:
        body["paging"] = paging(page, url, params)
    if query.summary is not None:
        body["summary"] = _totals(chosen, query.summary, split_of(query, params))
    return body, len(data)


def _in_order(chosen: Selection, query: Query) -> tuple[Days, Days]:
    at = chosen.windows, chosen.objects
    if not query.order or not chosen.rows:
        return at
    rows = render(chosen.table, at, [name.partition(":")[0] for name, _ in query.order])
    return sorted_rows(at, [([sort_value(row, name) for row in rows], most) for name, most in query.order])


def _totals(chosen: Selection, fields: tuple[str, ...], split: Split) -> dict[str, Any]:
    """Return the totals of all rows, whatever the page; people are counted once for all of the days."""
    whole = chosen.whole()
    if not chosen.rows or not whole.names:
        return {}
    totals = chosen.table.totals[:, chosen.windows, chosen.objects].sum(axis=1).reshape(-1, 1, 1)
    table = replace(whole, totals=totals)
    return render(table, delivered(table), fields, split)[0]


_HEAVY = dict.fromkeys(("actions", "cost_per_action_type", "unique_actions", "cost_per_unique_action_type"), 12)


def cells(fields: Sequence[str], rows: int) -> int:
    """Return the weight of so many rows with these fields; lists of actions weigh as much as a dozen figures."""
    return rows * sum(_HEAVY.get(name, 1) for name in fields)


def reduce_the_amount() -> GraphError:
    """Return the refusal of a page that cannot be computed: waiting does not help."""
    return GraphError("Please reduce the amount of data you're asking for, then retry your request", code=1, status=500)


def too_many_rows() -> GraphError:
    """Return the refusal of a question with too many rows; it says transient, and is not."""
    return GraphError(
        "(#100) There are too many rows to return; narrow the time range or the level",
        code=100,
        subcode=1487534,
        transient=True,
    )


def check_size(chosen: Selection, setting: SizeSetting, poison: Sequence[Poison]) -> None:
    """Check a synchronous question, poison first.

    Raises:
        GraphError: it is too large, or poisoned.
    """
    if is_poisoned(chosen, poison):
        raise reduce_the_amount()
    if setting.sync_rows is not None and chosen.rows > setting.sync_rows:
        raise too_many_rows()
    check_page(chosen, chosen.query.limit, setting)


def check_page(chosen: Selection, limit: int, setting: SizeSetting) -> None:
    """Check one page of up to `limit` rows, of a synchronous question or of a report.

    Raises:
        GraphError: the page is too heavy.
    """
    weight = cells(chosen.query.fields, min(chosen.rows, limit))
    if setting.page_cells is not None and weight > setting.page_cells:
        raise reduce_the_amount()


def is_poisoned(chosen: Selection, poison: Sequence[Poison]) -> bool:
    """Whether the question touches a poisoned ad or field."""
    return any(_touches(chosen, drop) for drop in poison if drop.account in {None, chosen.account})


def _touches(chosen: Selection, drop: Poison) -> bool:
    if drop.field is not None:
        return drop.field in chosen.query.fields
    return any(drop.ad == ad.truth.ad_id or drop.slot == ad.slot for ad in chosen.ads())
