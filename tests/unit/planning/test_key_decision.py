"""What a run decides about one key agrees with the plan of the whole run."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.fetch_plan import RequestCost
from adwarm.forecast.protocol import PROBABILITY_COLUMNS
from adwarm.model import ReportKey
from adwarm.planning.key_decision import decide_key
from adwarm.planning.plan import PlanTiming
from adwarm.planning.price import CallQuota
from adwarm.settings import PlanningSettings
from tests.unit.planning.planned import plan_warms

NOW = datetime(2026, 3, 2, 8, 45, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
TIMING = PlanTiming(NOW, 16 * MINUTE, MINUTE)
PLANNING = PlanningSettings()
FLOOR = 0.01
KEY = ReportKey("act_1", "today")


@dataclass
class _View:
    """A store in which every fetch takes one request, unless a test says otherwise."""

    lifetime: timedelta = 3 * HOUR
    fresh: dict[ReportKey, datetime] = field(default_factory=dict)
    free: frozenset[ReportKey] = frozenset()

    def get_expiries(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> list[datetime]:
        return [moment + self.lifetime for moment in moments]

    def get_fresh_until(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> list[datetime | None]:
        return [self.fresh.get(key) for key in keys]

    def get_request_costs(
        self, keys: Sequence[ReportKey], moments: Sequence[datetime], until: Sequence[datetime] | None = None
    ) -> list[RequestCost]:
        return [RequestCost(key not in self.free, False) for key in keys]


def _frame(chances: dict[ReportKey, Sequence[float]]) -> pd.DataFrame:
    """Return a frame with one row per key and hour, from the hour of the decision on."""
    start = NOW.replace(minute=0)
    rows = [
        {
            "account_id": key.account_id,
            "date_range": key.date_range,
            "report": key.report,
            "slot_start": max(NOW, start + index * HOUR),
            "slot_end": start + (index + 1) * HOUR,
            "probability": chance,
            "predicted_open": max(NOW, start + index * HOUR) + 5 * MINUTE,
            "opens": 7,
            "weeks": 8,
            "hour_of_week": index,
            "time_zone": "UTC",
        }
        for key, values in sorted(chances.items())
        for index, chance in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=PROBABILITY_COLUMNS)


def _decide(every: pd.DataFrame, view: _View, key: ReportKey = KEY) -> Any:
    account = every[every["account_id"] == key.account_id].reset_index(drop=True)
    return decide_key(key, TIMING, account, view, PLANNING)


def test_each_rule_decides(subtests: pytest.Subtests) -> None:
    """Each rule is found for a key that only it leaves out, with the figures that it rests on."""
    for chances, view, rule in [
        ([], _View(), "unknown"),
        ([0.005, 0.006], _View(), "unlikely"),
        ([0.04, 0.02], _View(), "unlikely"),
        ([0.005, 0.006, 0.9], _View(), "not_due"),
        ([0.005, 0.006, 0.08], _View(), "unlikely"),
        ([0.005, 0.006, 0.006, 0.006, 0.9], _View(), "unlikely"),
        ([0.05, 0.05, 0.9], _View(), "later"),
        ([0.6, 0.6], _View(fresh={KEY: NOW + 2 * HOUR}), "fresh"),
        ([0.6, 0.6], _View(lifetime=20 * MINUTE), "too_short"),
        ([0.11], _View(), "not_worth"),
        ([0.6, 0.6], _View(), "worth"),
    ]:
        with subtests.test(chances=chances):
            decision = _decide(_frame({KEY: chances}), view)
            assert decision.rule == rule
            if rule != "unknown":
                assert decision.item.explanation["evidence"]["opens"] == 7
                assert decision.probability == pytest.approx(chances[0])
            if rule in {"later", "not_due"}:
                assert (decision.peak_probability, decision.peak_at) == (0.9, NOW.replace(hour=10, minute=5))


_chances = st.lists(st.sampled_from([0.0, 0.005, 0.02, 0.06, 0.12, 0.3, 0.7, 0.95]), min_size=1, max_size=5)
_keys = st.builds(ReportKey, st.sampled_from(["act_1", "act_2"]), st.sampled_from(["today", "yesterday", "last_7d"]))


@given(
    st.dictionaries(_keys, _chances, min_size=1, max_size=6),
    st.sets(_keys, max_size=3),
    st.sets(_keys, max_size=3),
    st.sampled_from([20 * MINUTE, 3 * HOUR, 20 * HOUR]),
    st.integers(0, 6),
)
def test_the_decision_about_a_key_agrees_with_the_plan(
    chances: dict[ReportKey, list[float]],
    fresh: set[ReportKey],
    free: set[ReportKey],
    lifetime: timedelta,
    spent: int,
) -> None:
    """A key in the plan of all keys is worth it, fresh or too short; any other is left out by another rule."""
    every = _frame(chances)
    view = _View(lifetime, dict.fromkeys(fresh, NOW + 2 * HOUR), frozenset(free))
    stated = every[every["probability"] > FLOOR].reset_index(drop=True)
    quota = CallQuota(PLANNING.open_value, 6, spent)
    plan = plan_warms(TIMING, stated, view, PLANNING, quota)
    rows = {item.key: item for item in (*plan.recommendations, *plan.cut, *plan.fresh)}
    for key in chances:
        decision, row = _decide(every, view, key), rows.get(key)
        if row is None:
            assert decision.rule not in {"worth", "fresh"}
            continue
        expected = {"planned": {"worth"}, "fresh": {"fresh"}, "cut": {"worth", "too_short"}}
        assert decision.rule in expected[row.status]
        assert decision.item.confidence == pytest.approx(row.confidence)
        assert (decision.item.predicted_open, decision.item.warm_at) == (row.predicted_open, row.warm_at)
