"""An insights question answered from the world: which rows there are, and one page of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from adwarm.simulator.ads import Ad, Days, Metric
from adwarm.simulator.breakdowns import grouped
from adwarm.simulator.levels import Table, ad_names, at_level
from adwarm.simulator.paging import page_of, paging
from adwarm.simulator.query import Query
from adwarm.simulator.rows import delivered, render
from adwarm.simulator.world import World


@dataclass(frozen=True)
class Selection:
    """The rows that answer a question, not yet rendered: window and object indexes into a table."""

    account: str
    query: Query
    table: Table
    windows: Days
    objects: Days
    keep: Callable[[Ad], bool]

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

    table = at_level(block, query.level, keep)
    windows, objects = delivered(table, query.more_impressions_than)
    return Selection(account, query, table, windows, objects, keep)


def page_body(
    chosen: Selection, params: Mapping[str, str], url: str, *, limit: int, empty_between: bool
) -> tuple[dict[str, Any], int]:
    """Return the body of the page that `params` ask for, and how many rows it holds."""
    if not chosen.rows:
        return {"data": []}, 0
    page = page_of(chosen.rows, limit, params.get("after"), empty_between=empty_between)
    at = chosen.windows[page.start : page.stop], chosen.objects[page.start : page.stop]
    data = grouped(render(chosen.table, at, chosen.query.fields, chosen.query.attribution), chosen.query.group)
    return {"data": data, "paging": paging(page, url, params)}, len(data)
