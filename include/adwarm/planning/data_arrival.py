"""Plans the warms of reports whose data has arrived at the source.

After a notice (`arrival_notice`), the next plan warms, once, the reports of the account that contain the days and are
likely to be opened before they would expire again.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd

from adwarm.foundation.wording import format_some
from adwarm.model import Priority, ReportKey, WarmReason, resolve_window
from adwarm.planning.plan import PlanningView, find_expected_keys, select_expected_keys
from adwarm.planning.price import CallQuota
from adwarm.planning.recommendation import Recommendation
from adwarm.store.data_arrivals import DataArrival

KEEP_TRYING = timedelta(hours=24)
"""How long an arrival whose warms the budget cuts is planned again; readers fetch what is left."""


@dataclass(frozen=True, slots=True)
class ArrivalPlan:
    """The warms of arrived data.

    Attributes:
        done: the arrivals that need no further plan.
    """

    planned: tuple[Recommendation, ...] = ()
    cut: tuple[Recommendation, ...] = ()
    done: tuple[DataArrival, ...] = ()


@dataclass
class ArrivalPlanner:
    """Plans the warms of arrived data.

    Attributes:
        taken: keys that the plan warms for another reason.
    """

    arrivals: Sequence[DataArrival]
    at: datetime
    view: PlanningView
    get_zone: Callable[[str], str]
    taken: frozenset[ReportKey] = frozenset()
    _by_account: dict[str, list[DataArrival]] = field(init=False)

    def __post_init__(self) -> None:
        """Group the arrivals by account."""
        self._by_account = defaultdict(list)
        for item in self.arrivals:
            self._by_account[item.account_id].append(item)

    def plan(self, probabilities: pd.DataFrame, quota: CallQuota, min_confidence: float) -> ArrivalPlan:
        """Return the warms that are worth their price; what the budget cuts stays pending for `KEEP_TRYING`."""
        some = probabilities[probabilities["account_id"].isin(list(self._by_account))].reset_index(drop=True)
        expected = find_expected_keys(some, self.at, self.view, self._accept)
        likely = expected.take((expected.chance >= min_confidence).nonzero()[0])
        stored = self.view.get_fresh_until(likely.keys, likely.warm_at)
        stale = [index for index, end in enumerate(stored) if not self._is_fresh(likely.keys[index], end)]
        chosen, rejected = select_expected_keys(likely.take(np.array(stale, np.int64)), self.view, quota)
        cut = {item.key.account_id for item in rejected}
        done = [item for item in self.arrivals if item.account_id not in cut]
        return ArrivalPlan(tuple(map(self._explain, chosen)), tuple(map(self._explain, rejected)), tuple(done))

    def _accept(self, key: ReportKey) -> ReportKey | None:
        arrivals = self._by_account.get(key.account_id)
        if not arrivals or key in self.taken:
            return None
        return key if self._find_days(key) else None

    def _find_days(self, key: ReportKey) -> list[date]:
        window = resolve_window(key.date_range, self.get_zone(key.account_id), self.at)
        return [item.day for item in self._by_account[key.account_id] if item.day in window]

    def _is_fresh(self, key: ReportKey, end: datetime | None) -> bool:
        arrived_at = max(item.arrived_at for item in self._by_account[key.account_id])
        return end is not None and end > max(self.at, arrived_at)

    def _explain(self, item: Recommendation) -> Recommendation:
        days = format_some([str(day) for day in self._find_days(item.key)], 3)
        why = f"data of {days} has arrived; {item.explanation['why']}"
        return replace(
            item,
            reason=WarmReason.DATA_ARRIVAL,
            priority=Priority.NORMAL,
            explanation={**item.explanation, "why": why},
        )
