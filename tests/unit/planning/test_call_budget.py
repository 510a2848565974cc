"""Which warms get the calls that are left."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from adwarm.forecast.protocol import PROBABILITY_COLUMNS
from adwarm.model import ReportKey
from adwarm.planning.call_budget import HOURS, build_outlook, split_by_budget
from adwarm.planning.plan import SlotArrays
from adwarm.planning.recommendation import Recommendation, WarmPlan
from adwarm.settings import Settings
from adwarm.store.snapshots import PlanHour

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
SETTINGS = Settings(planning={"max_calls_per_hour": 10})


def _item(account: str, benefit: float, calls: float = 1.0) -> Recommendation:
    return Recommendation(ReportKey(account, "today"), NOW, benefit, NOW, benefit=benefit, calls=calls)


def test_best_benefit_per_call_first() -> None:
    """A cheap warm of little benefit can go before an expensive one of more; one that does not fit is skipped."""
    planned, cut = split_by_budget([_item("act_1", 0.9, 3.0), _item("act_2", 0.5), _item("act_3", 0.4)], 2)
    assert [item.key.account_id for item in planned] == ["act_2", "act_3"]
    assert [item.status for item in cut] == ["cut"]


def test_ties_are_broken_by_the_key() -> None:
    """Equal candidates are cut in the same way in every run."""
    items = [_item(f"act_{n}", 0.5) for n in (3, 1, 2)]
    planned, cut = split_by_budget(items, 1)
    assert [item.key.account_id for item in (*planned, *cut)] == ["act_1", "act_2", "act_3"]
    assert [item.explanation["cut"].split("it came ")[1][:3] for item in cut] == ["2nd", "3rd"]


def test_without_budget_everything_is_cut() -> None:
    """Zero and negative budgets cut everything, and the reason says 0 calls."""
    for calls in (0, -3):
        planned, cut = split_by_budget([_item("act_1", 1.0)], calls)
        assert planned == []
        assert "0 upstream calls" in cut[0].explanation["cut"]


START = datetime(2026, 3, 2, 8, 45, tzinfo=UTC)
HOUR = timedelta(hours=1)
KEY = ReportKey("act_1", "today")


def _outlook(
    chances: dict[ReportKey, dict[int, float]], fresh: dict[ReportKey, datetime] | None = None
) -> list[PlanHour]:
    """Return the outlook for chances by key and number of the hour."""
    first = START.replace(minute=0)
    rows = [
        (
            *(key.account_id, key.date_range, key.report),
            start,
            first + (hour + 1) * HOUR,
            chance,
            start,
            1,
            2,
            hour,
            "UTC",
        )
        for key, values in sorted(chances.items())
        for hour, chance in sorted(values.items())
        for start in [max(START, first + hour * HOUR)]
    ]
    frame = pd.DataFrame(rows, columns=PROBABILITY_COLUMNS)
    for name in ("slot_start", "slot_end", "predicted_open"):
        frame[name] = pd.to_datetime(frame[name], utc=True)
    slots = SlotArrays.from_frame(frame.astype({"probability": float}), START)
    return build_outlook(slots, START, WarmPlan(), fresh or {}, Settings())


def test_opens_and_warms_fall_into_their_hours() -> None:
    """Expected opens add up; a key falls due in its first likely hour, and again only after its entry's three hours."""
    hours = _outlook({KEY: {1: 0.9, 2: 0.9, 5: 0.9}, ReportKey("act_2", "today"): {1: 0.05}})
    assert len(hours) == HOURS
    assert [hour.hour for hour in hours][:2] == [START.replace(minute=0), START.replace(hour=9, minute=0)]
    assert {index: hour.due_warms for index, hour in enumerate(hours) if hour.due_warms} == {1: 1, 5: 1}
    assert hours[1].expected_opens == pytest.approx(0.95)
    assert (hours[1].expected_calls, hours[1].call_quota, hours[2].expected_calls) == (1.0, 600.0, 0.0)


def test_fresh_reports_and_unlikely_ones_are_not_due() -> None:
    """A key whose entry is fresh at the open is not due, nor is one that gains less than a call."""
    fresh = {KEY: START + 2 * HOUR, ReportKey("act_9", "today"): START + HOUR}
    assert not any(hour.due_warms for hour in _outlook({KEY: {1: 0.9}, ReportKey("act_2", "today"): {1: 0.11}}, fresh))


def test_nothing_expected_is_an_empty_outlook() -> None:
    """Without any probability each hour is stored with zeros."""
    hours = _outlook({})
    assert len(hours) == HOURS
    assert not any(hour.expected_opens or hour.due_warms or hour.expected_calls for hour in hours)
