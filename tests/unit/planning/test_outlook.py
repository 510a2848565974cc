"""The outlook of a run on the next 24 hours."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from adwarm.forecast.protocol import PROBABILITY_COLUMNS
from adwarm.model import ReportKey
from adwarm.planning.outlook import HOURS, build_outlook
from adwarm.planning.plan import SlotArrays
from adwarm.planning.recommendation import WarmPlan
from adwarm.settings import Settings
from adwarm.store.snapshots import PlanHour

NOW = datetime(2026, 3, 2, 8, 45, tzinfo=UTC)
HOUR = timedelta(hours=1)
KEY = ReportKey("act_1", "today")


def _outlook(
    chances: dict[ReportKey, dict[int, float]], fresh: dict[ReportKey, datetime] | None = None
) -> list[PlanHour]:
    """Return the outlook for chances by key and number of the hour."""
    first = NOW.replace(minute=0)
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
        for start in [max(NOW, first + hour * HOUR)]
    ]
    frame = pd.DataFrame(rows, columns=PROBABILITY_COLUMNS)
    for name in ("slot_start", "slot_end", "predicted_open"):
        frame[name] = pd.to_datetime(frame[name], utc=True)
    slots = SlotArrays.from_frame(frame.astype({"probability": float}), NOW)
    return build_outlook(slots, NOW, WarmPlan(), fresh or {}, Settings())


def test_opens_and_warms_fall_into_their_hours() -> None:
    """Expected opens add up; a key falls due in its first likely hour, and again only after its entry's three hours."""
    hours = _outlook({KEY: {1: 0.9, 2: 0.9, 5: 0.9}, ReportKey("act_2", "today"): {1: 0.05}})
    assert len(hours) == HOURS
    assert [hour.hour for hour in hours][:2] == [NOW.replace(minute=0), NOW.replace(hour=9, minute=0)]
    assert {index: hour.due_warms for index, hour in enumerate(hours) if hour.due_warms} == {1: 1, 5: 1}
    assert hours[1].expected_opens == pytest.approx(0.95)
    assert (hours[1].expected_calls, hours[1].call_quota, hours[2].expected_calls) == (1.0, 600.0, 0.0)


def test_fresh_reports_and_unlikely_ones_are_not_due() -> None:
    """A key whose entry is fresh at the open is not due, nor is one that gains less than a call."""
    fresh = {KEY: NOW + 2 * HOUR, ReportKey("act_9", "today"): NOW + HOUR}
    assert not any(hour.due_warms for hour in _outlook({KEY: {1: 0.9}, ReportKey("act_2", "today"): {1: 0.11}}, fresh))


def test_nothing_expected_is_an_empty_outlook() -> None:
    """Without any probability each hour is stored with zeros."""
    hours = _outlook({})
    assert len(hours) == HOURS
    assert not any(hour.expected_opens or hour.due_warms or hour.expected_calls for hour in hours)
