"""Which warms get the calls that are left."""

from datetime import UTC, datetime

import pytest

from adwarm.model import ReportKey
from adwarm.planning.call_budget import get_calls_left, split_by_budget
from adwarm.planning.recommendation import Recommendation
from adwarm.settings import Settings

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
SETTINGS = Settings(planning={"max_calls_per_hour": 10})


def _item(account: str, benefit: float, calls: float = 1.0) -> Recommendation:
    return Recommendation(ReportKey(account, "today"), NOW, benefit, NOW, benefit=benefit, calls=calls)


def test_calls_left_of_the_hour(subtests: pytest.Subtests) -> None:
    """The limit, or a lower cap, less what was spent; never negative."""
    for spent, cap, left in [(0, None, 10), (4, None, 6), (12, None, 0), (4, 5, 1), (0, 50, 10)]:
        with subtests.test(spent=spent):
            assert get_calls_left(SETTINGS, spent, cap=cap) == left


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
