"""A recommendation as a value."""

from datetime import UTC, datetime, timedelta

from adwarm.model import ReportKey
from adwarm.planning.recommendation import Recommendation

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def test_turning_down_keeps_what_was_said() -> None:
    """The reason against is added to the reason for; the original is untouched."""
    item = Recommendation(ReportKey("act_1", "today"), NOW, 0.5, NOW, explanation={"why": "often"})
    down = item.with_status("cut", "no calls left")
    assert (down.status, down.explanation) == ("cut", {"why": "often", "cut": "no calls left"})
    assert (item.status, item.explanation) == ("planned", {"why": "often"})


def test_order_is_worth_then_time_then_key() -> None:
    """The best benefit per call first, then the earliest open, then the key."""
    key, other = ReportKey("act_1", "today"), ReportKey("act_2", "today")
    best = Recommendation(other, NOW + timedelta(hours=1), 0.9, NOW, benefit=0.9)
    soon = Recommendation(other, NOW, 0.5, NOW, benefit=0.5)
    first = Recommendation(key, NOW, 0.5, NOW, benefit=0.5)
    assert sorted([soon, first, best], key=lambda item: item.sort_key) == [best, first, soon]
