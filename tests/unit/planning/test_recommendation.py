"""Recommendations as values, and their batches."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from adwarm.model import ReportKey
from adwarm.planning.recommendation import Recommendation, batch_by_account

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def _items(accounts: list[int]) -> list[Recommendation]:
    return [
        Recommendation(ReportKey(f"act_{account}", f"last_{n}d"), NOW, 1.0, NOW) for n, account in enumerate(accounts)
    ]


def test_a_rejection_keeps_the_explanation() -> None:
    """The reason against is added to the reason for; the original is unchanged."""
    item = Recommendation(ReportKey("act_1", "today"), NOW, 0.5, NOW, explanation={"why": "often"})
    down = item.with_status("cut", "no calls left")
    assert (down.status, down.explanation) == ("cut", {"why": "often", "cut": "no calls left"})
    assert (item.status, item.explanation) == ("planned", {"why": "often"})


def test_order_is_benefit_then_time_then_key() -> None:
    """The best benefit per call first, then the earliest open, then the key."""
    key, other = ReportKey("act_1", "today"), ReportKey("act_2", "today")
    best = Recommendation(other, NOW + timedelta(hours=1), 0.9, NOW, benefit=0.9)
    soon = Recommendation(other, NOW, 0.5, NOW, benefit=0.5)
    first = Recommendation(key, NOW, 0.5, NOW, benefit=0.5)
    assert sorted([soon, first, best], key=lambda item: item.sort_key) == [best, first, soon]


@given(st.lists(st.integers(0, 30), max_size=200), st.integers(1, 50), st.integers(1, 16))
def test_batches_keep_accounts_together(accounts: list[int], size: int, limit: int) -> None:
    """No item is lost or duplicated, no account is in two batches, and there are at most `limit` of similar size."""
    items = _items(accounts)
    batches = batch_by_account(items, size, limit)
    assert Counter(item.key for batch in batches for item in batch) == Counter(item.key for item in items)
    accounts_of = [{item.key.account_id for item in batch} for batch in batches]
    assert sum(map(len, accounts_of)) == len(set(accounts))
    assert len(batches) <= limit
    assert all(batches)
    if batches:
        largest = max(Counter(accounts).values())
        assert max(map(len, batches)) <= len(items) / len(batches) + largest
    order = {id(item): index for index, item in enumerate(items)}
    assert all([order[id(item)] for item in batch] == sorted(order[id(item)] for item in batch) for batch in batches)
