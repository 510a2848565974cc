"""Which requests a fetch of one report key takes, computed by the fetch planner from the stored days."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import NamedTuple

from adwarm.fetch_plan.planner import plan_fetch
from adwarm.fetch_plan.refetch_schedule import RefetchSchedule
from adwarm.model import Window
from adwarm.store.partitions import PartitionState


class RequestCost(NamedTuple):
    """The requests of one key; keys of the same account and report share both.

    Attributes:
        days: one request for the days that are missing or due.
        summary: one request for the range summary.
        pages: calls of a request: one for each page of its result, by the day stored last.
    """

    days: bool
    summary: bool
    pages: int = 1

    @property
    def calls(self) -> set[tuple[str, int]]:
        """The calls, by their request and page, so that keys which share them are counted once."""
        needed = {"days": self.days, "summary": self.summary}
        return {(name, page) for name, is_due in needed.items() if is_due for page in range(self.pages)}


def get_request_cost(
    window: Window, stored: Mapping[date, PartitionState], schedule: RefetchSchedule, at: datetime
) -> RequestCost:
    """Return the requests that a fetch of `window` at `at` takes.

    Args:
        window: the days that the key covers at that moment.
        stored: the account's stored partitions by day; empty when nothing is stored.
        schedule: the account's refetch schedule.
        at: the moment of the fetch, UTC.
    """
    if not stored:  # most keys of a new installation; the planner gives the same answer more slowly
        return RequestCost(True, len(window) > 1)
    plan = plan_fetch([window], stored, schedule, at)
    return RequestCost(bool(plan.spans), bool(plan.summary_windows))
