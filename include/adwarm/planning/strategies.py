"""Strategies: standing orders to keep ranges of accounts warm, and how their keys are cut into batches."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from adwarm.foundation.errors import BadRequest
from adwarm.model import Account, ReportKey, Strategy, WarmReason, normalize_account_id
from adwarm.planning.recommendation import Recommendation

Item = TypeVar("Item")

DEFAULT_STRATEGIES = (Strategy("default_dashboards", ("yesterday", "last_7d", "last_30d")),)
"""Put into an empty installation."""


def expand_keys(strategy: Strategy, accounts: Iterable[Account]) -> list[ReportKey]:
    """Return the keys the strategy keeps warm, account by account, ranges in the strategy's order.

    Accounts it names are taken even when they are not among `accounts`; those known to be denied or closed are not.

    Raises:
        BadRequest: an account id or a date range is not valid, or every named account is excluded.
    """
    known = {account.id: account for account in accounts}
    excluded = {normalize_account_id(text) for text in strategy.excluded_accounts}
    named = known if strategy.accounts is None else {normalize_account_id(text) for text in strategy.accounts}
    chosen = sorted(name for name in named if name not in excluded)
    if strategy.accounts is not None and not chosen:
        raise BadRequest(f"strategy {strategy.name!r} names no account that it does not also exclude")
    active = [name for name in chosen if name not in known or known[name].status == "active"]
    ranges = dict.fromkeys(strategy.date_ranges)
    return [ReportKey.parse(name, date_range, strategy.report) for name in active for date_range in ranges]


def recommend_strategy(strategy: Strategy, accounts: Iterable[Account], at: datetime) -> list[Recommendation]:
    """Return a recommendation for each key of the strategy, due at once."""
    why = f"kept warm by the strategy {strategy.name!r}"
    return [
        Recommendation(key, at, 1.0, at, WarmReason.STRATEGY, 1.0, 1.0, {"why": why}, "planned", strategy.urgency)
        for key in expand_keys(strategy, accounts)
    ]


def split_into_batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Yield `items` in slices of `size`.

    Raises:
        BadRequest: `size` is below 1.
    """
    if size < 1:
        raise BadRequest(f"a batch size of {size} is not possible; use at least 1")
    for start in range(0, len(items), size):
        yield items[start : start + size]


def batch_by_account(
    recommendations: Sequence[Recommendation], batch_size: int, max_batches: int
) -> list[list[Recommendation]]:
    """Return batches of about equal size in which all keys of an account are together, at most `max_batches` of them.

    Batches hold about `batch_size` keys as long as `max_batches` allows it. Inside a batch the given order is kept.
    """
    by_account: dict[str, list[int]] = {}
    for place, item in enumerate(recommendations):
        by_account.setdefault(item.key.account_id, []).append(place)
    wanted = -(-len(recommendations) // max(1, batch_size))
    count = min(wanted, max(1, max_batches), len(by_account))
    shards: list[list[int]] = [[] for _ in range(count)]
    for _, places in sorted(by_account.items(), key=lambda group: (-len(group[1]), group[0])):
        min(shards, key=len).extend(places)
    return [[recommendations[place] for place in sorted(shard)] for shard in shards if shard]
