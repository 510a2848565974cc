"""An insights question answered from the world: which rows there are, in which order, one page of them, and totals."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from graph_simulator.actions import Split
from graph_simulator.ads import Ad, Days, Metric
from graph_simulator.breakdowns import grouped
from graph_simulator.dataset import World
from graph_simulator.date_ranges import DateRange
from graph_simulator.levels import Table, ad_names, at_level
from graph_simulator.paging import asked_page, paging
from graph_simulator.query import Query
from graph_simulator.row_view import sort_value, sorted_rows, split_of
from graph_simulator.rows import delivered, render


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


def select(world: World, account: str, query: Query, now: datetime) -> Selection:
    """Return the rows that answer `query` about `account`, as they stand at `now`."""
    block, today = world.block(account, query.windows, now), world.today(account, now)

    def keep(ad: Ad) -> bool:
        return query.keeps(ad_names(block, ad), has_ended=ad.truth.ended < today)

    def whole() -> Table:
        span = DateRange(min(w.since for w in query.windows), max(w.until for w in query.windows))
        return at_level(world.block(account, [span], now), "account", keep)

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
