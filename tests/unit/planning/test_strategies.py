"""Standing orders, their keys and their batches."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.errors import BadRequest
from adwarm.model import Account, Priority, ReportKey, Strategy, WarmReason
from adwarm.planning.recommendation import Recommendation
from adwarm.planning.strategies import (
    DEFAULT_STRATEGIES,
    batch_by_account,
    expand_keys,
    recommend_strategy,
    split_into_batches,
)

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
KNOWN = [Account("act_2"), Account("act_1"), Account("act_3", status="denied")]


def _items(accounts: list[int]) -> list[Recommendation]:
    return [
        Recommendation(ReportKey(f"act_{account}", f"last_{n}d"), NOW, 1.0, NOW) for n, account in enumerate(accounts)
    ]


def test_the_default_covers_the_usual_dashboard() -> None:
    """An empty installation keeps three ranges of every active account warm, gently."""
    (strategy,) = DEFAULT_STRATEGIES
    assert (strategy.urgency, strategy.batch_size, strategy.delay_seconds, strategy.max_calls_per_hour) == (
        Priority.LOW,
        5,
        5.0,
        100,
    )
    assert expand_keys(strategy, KNOWN) == [
        ReportKey(account, name) for account in ("act_1", "act_2") for name in ("yesterday", "last_7d", "last_30d")
    ]


def test_includes_and_excludes() -> None:
    """Named accounts are taken in any spelling, known or not; excluded and denied ones are not."""
    strategy = Strategy("s", ("today", "today"), accounts=("9", "act_1", "act_3"), excluded_accounts=("1",))
    assert expand_keys(strategy, KNOWN) == [ReportKey("act_9", "today")]
    assert expand_keys(Strategy("s", ("today",), excluded_accounts=("act_1",)), KNOWN) == [ReportKey("act_2", "today")]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"accounts": ("act_x",)}, "account id 'act_x' is not valid"),
        ({"excluded_accounts": ("act_1; drop",)}, "is not valid"),
        ({"accounts": ("act_1",), "excluded_accounts": ("act_1",)}, "names no account"),
        ({"accounts": ()}, "names no account"),
        ({"date_ranges": ("next_week",)}, "next_week"),
        ({"date_ranges": ()}, "names no date range"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"delay_seconds": -1.0}, "delay_seconds"),
        ({"priority": "urgent"}, "critical, high, normal, low"),
        ({"report": "No Such"}, "report"),
    ],
)
def test_wrong_words_are_refused(values: dict[str, Any], message: str) -> None:
    """What cannot be meant is refused with the reason."""
    with pytest.raises(BadRequest, match=message):
        expand_keys(Strategy(**{"name": "s", "date_ranges": ("today",), **values}), KNOWN)


def test_medium_is_another_word_for_normal() -> None:
    """Both vocabularies of priority are understood."""
    assert Strategy("s", ("today",), priority="Medium").urgency is Priority.NORMAL


def test_recommendations_of_a_strategy() -> None:
    """Each key is due at once, with the strategy's urgency and name."""
    found = recommend_strategy(Strategy("mornings", ("today",), priority="high"), KNOWN, NOW)
    assert [(item.key.account_id, item.warm_at, item.priority, item.reason) for item in found] == [
        (account, NOW, Priority.HIGH, WarmReason.STRATEGY) for account in ("act_1", "act_2")
    ]
    assert "mornings" in found[0].explanation["why"]


@given(st.lists(st.integers()), st.integers(1, 20))
def test_batches_are_slices(items: list[int], size: int) -> None:
    """Batches hold all items in order, none more than its size, none empty."""
    found = list(split_into_batches(items, size))
    assert [item for batch in found for item in batch] == items
    assert all(1 <= len(batch) <= size for batch in found)


def test_a_batch_of_nothing_is_refused() -> None:
    """A size of zero would never end."""
    with pytest.raises(BadRequest, match="at least 1"):
        list(split_into_batches([1], 0))


@given(st.lists(st.integers(0, 30), max_size=200), st.integers(1, 50), st.integers(1, 16))
def test_shards_keep_accounts_together(accounts: list[int], size: int, most: int) -> None:
    """Nothing is lost or doubled, no account is in two shards, and there are no more than allowed, of like size."""
    items = _items(accounts)
    shards = batch_by_account(items, size, most)
    assert Counter(item.key for shard in shards for item in shard) == Counter(item.key for item in items)
    homes = [{item.key.account_id for item in shard} for shard in shards]
    assert sum(map(len, homes)) == len(set(accounts))
    assert len(shards) <= most
    assert all(shards)
    if shards:
        largest = max(Counter(accounts).values())
        assert max(map(len, shards)) <= len(items) / len(shards) + largest
    order = {id(item): place for place, item in enumerate(items)}
    assert all([order[id(item)] for item in shard] == sorted(order[id(item)] for item in shard) for shard in shards)
