"""Which accounts are held out in which weeks: drawn by a hash, so that nobody chooses and every process agrees.

A unit is one account in one ISO week of its readers' zone. Only warms with the reason `predicted_open` are withheld
from a held-out unit: strategies, requests, arrivals of data and the closing of days go on as ever.

A withheld warm keeps its place in the plan and in the hourly budget, as if it had been fetched. Otherwise the warmed
accounts would get calls that they would not get without the measurement, and would look better than warming is.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from adwarm.foundation.local_time import local_day, local_midnight
from adwarm.model import ImpactDesign, ReportKey, WarmReason
from adwarm.planning.plan import PlanningView
from adwarm.planning.recommendation import Recommendation, WarmPlan
from adwarm.fetch_plan.request_cost import RequestCost

_HASH_BYTES = 8
_WEEK = timedelta(days=7)


def get_week(moment: datetime, zone_name: str) -> date:
    """Return the Monday of the ISO week of `moment` in a zone."""
    day = local_day(moment, zone_name)
    return day - timedelta(days=day.weekday())


def get_week_bounds(week: date, zone_name: str) -> tuple[datetime, datetime]:
    """Return when the week that begins on the Monday `week` begins and ends in a zone, UTC."""
    return local_midnight(week, zone_name), local_midnight(week + _WEEK, zone_name)


def is_held_out(account_id: str, week: date, design: ImpactDesign) -> bool:
    """Return whether an account is held out in the week that begins on the Monday `week`.

    Depends on nothing else, so it is the same in every process, for every key and whatever is asked before.
    """
    year, number, _ = week.isocalendar()
    text = f"{design.salt}\n{account_id}\n{year}-W{number:02d}".encode()
    drawn = int.from_bytes(hashlib.sha256(text).digest()[:_HASH_BYTES], "big")
    return drawn < design.share * 2 ** (8 * _HASH_BYTES)


@dataclass(frozen=True)
class HoldOut:
    """The draw as a plan applies it.

    Attributes:
        design: the running measurement.
        get_zone: returns the zone of an account's readers.
        withheld_until: by key, when the entry of its latest withheld warm would have expired, UTC.
    """

    design: ImpactDesign
    get_zone: Callable[[str], str]
    withheld_until: dict[ReportKey, datetime]

    def withhold(self, plan: WarmPlan) -> WarmPlan:
        """Return the plan with the recommendations for held-out units apart, each with the reason."""
        kept: list[Recommendation] = []
        withheld: list[Recommendation] = []
        for item in plan.recommendations:
            week = get_week(item.predicted_open, self.get_zone(item.key.account_id))
            is_out = item.reason is WarmReason.PREDICTED_OPEN and is_held_out(item.key.account_id, week, self.design)
            (withheld if is_out else kept).append(self._explain(item, week) if is_out else item)
        return replace(plan, recommendations=tuple(kept), held_out=tuple(withheld))

    def _explain(self, item: Recommendation, week: date) -> Recommendation:
        year, number, _ = week.isocalendar()
        text = (
            f"held out to measure what warming gains: no predicted warm of this account in week {number} of {year}; "
            f"each account has a chance of {self.design.share:.0%} in each week"
        )
        return replace(item, status="held_out", explanation={**item.explanation, "held_out": text})


class HeldOutView:
    """A view of the store in which withheld warms were fetched, so that a plan withholds each of them once.

    Args:
        view: the view of what is really stored.
        withheld_until: by key, when the entry of its latest withheld warm would have expired, UTC.
    """

    def __init__(self, view: PlanningView, withheld_until: dict[ReportKey, datetime]) -> None:
        self._view = view
        self._withheld_until = withheld_until

    def get_expiries(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> Sequence[datetime]:
        """Return when an entry fetched then would stop answering its key, UTC."""
        return self._view.get_expiries(keys, moments)

    def get_fresh_until(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> list[datetime | None]:
        """Return when the entry of each key stops being fresh, stored or withheld, UTC; None when there is neither."""
        stored = self._view.get_fresh_until(keys, moments)
        pairs = ((end, self._withheld_until.get(key)) for key, end in zip(keys, stored, strict=True))
        return [max((end for end in pair if end is not None), default=None) for pair in pairs]

    def get_request_costs(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> Sequence[RequestCost]:
        """Return which requests a fetch of each key would take, given what is really stored."""
        return self._view.get_request_costs(keys, moments)
