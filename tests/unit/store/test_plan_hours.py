"""The stored outlook."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from adwarm.store.plan_hours import PlanHour, list_hours, replace_outlook

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)


def _outlook(planned_at: datetime, opens: float) -> list[PlanHour]:
    return [PlanHour(planned_at + n * HOUR, opens, 1, 2.0, 600.0, planned_at) for n in range(24)]


def test_a_later_outlook_replaces_an_earlier_one(engine: Engine) -> None:
    """Coming hours are those of the newest decision; past hours stay; an earlier decision changes nothing."""
    assert not replace_outlook(engine, [])
    assert replace_outlook(engine, _outlook(NOW, 1.0))
    assert replace_outlook(engine, _outlook(NOW + 2 * HOUR, 2.0))
    assert not replace_outlook(engine, _outlook(NOW + HOUR, 3.0))
    stored = list_hours(engine, NOW, NOW + 100 * HOUR)
    assert [hour.expected_opens for hour in stored] == [1.0] * 2 + [2.0] * 24
    assert list_hours(engine, NOW + 2 * HOUR, NOW + 3 * HOUR) == _outlook(NOW + 2 * HOUR, 2.0)[:1]
