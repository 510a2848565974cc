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

from adwarm.fetch_plan.request_cost import RequestCost
from adwarm.foundation.local_time import local_day
from adwarm.model import ImpactDesign, ReportKey, WarmReason
from adwarm.planning.plan import PlanningView
from adwarm.planning.recommendation import Recommendation, WarmPlan

_HASH_BYTES = 8
_HASHES = 1 << 8 * _HASH_BYTES


def get_week(moment: datetime, zone_name: str) -> date:
    """Return the Monday of the ISO week of `moment` in a zone."""
    day = local_day(moment, zone_name)
    return day - timedelta(days=day.weekday())


def is_held_out(account_id: str, week: date, design: ImpactDesign) -> bool:
    """Return whether an account is held out in the week that begins on the Monday `week`.

    Depends on nothing else, so it is the same in every process, for every key and whatever is asked before.
    """
    year, number, _ = week.isocalendar()
    text = f"{design.salt}\n{account_id}\n{year}-W{number:02d}".encode()
    drawn = int.from_bytes(hashlib.sha256(text).digest()[:_HASH_BYTES], "big")
    return drawn < design.share * _HASHES


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

    def is_withheld(self, key: ReportKey, moment: datetime) -> bool:
        """Return whether a predicted warm of `key` for an open at `moment` is withheld."""
        return is_held_out(key.account_id, get_week(moment, self.get_zone(key.account_id)), self.design)

    def withhold(self, plan: WarmPlan) -> WarmPlan:
        """Return the plan with the recommendations for held-out units apart, each with the reason."""
        kept: list[Recommendation] = []
        withheld: list[Recommendation] = []
        for item in plan.recommendations:
            if item.reason is WarmReason.PREDICTED_OPEN and self.is_withheld(item.key, item.predicted_open):
                withheld.append(self._explain(item))
            else:
                kept.append(item)
        return replace(plan, recommendations=tuple(kept), held_out=tuple(withheld))

    def _explain(self, item: Recommendation) -> Recommendation:
        week = get_week(item.predicted_open, self.get_zone(item.key.account_id))
        year, number, _ = week.isocalendar()
        text = (
            f"held out to measure what warming gains: no predicted warm of this account in week {number} of {year}; "
            f"each account has a chance of {self.design.share:.0%} in each week"
        )
        return replace(item, status="held_out", explanation={**item.explanation, "held_out": text})


class HoldOutView:
    """A view of the store in which withheld warms were fetched, so that a plan withholds each of them once.

    When an account is warmed again, in a later week, what was withheld before counts no longer.
    """

    def __init__(self, view: PlanningView, hold_out: HoldOut) -> None:
        self._view = view
        self._hold_out = hold_out

    def get_expiries(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> Sequence[datetime]:
        """Return when an entry fetched then would stop answering its key, UTC."""
        return self._view.get_expiries(keys, moments)

    def get_fresh_until(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> list[datetime | None]:
        """Return when the entry of each key stops being fresh, stored or withheld, UTC; None when there is neither."""
        stored = self._view.get_fresh_until(keys, moments)
        return [self._extend(*each) for each in zip(keys, moments, stored, strict=True)]

    def get_request_costs(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> Sequence[RequestCost]:
        """Return which requests a fetch of each key would take, given what is really stored."""
        return self._view.get_request_costs(keys, moments)

    def _extend(self, key: ReportKey, moment: datetime, stored: datetime | None) -> datetime | None:
        withheld = self._hold_out.withheld_until.get(key)
        if withheld is None or not self._hold_out.is_withheld(key, moment):
            return stored
        return withheld if stored is None else max(stored, withheld)
