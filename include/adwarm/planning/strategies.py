"""Strategies: standing orders to keep ranges of accounts warm, and how their keys are cut into batches."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from adwarm.foundation.errors import BadRequest
from adwarm.model import Account, Priority, ReportKey, WarmReason, normalize_account_id
from adwarm.planning.recommendation import Recommendation

Item = TypeVar("Item")
_ALSO_CALLED = {"medium": "normal"}


def _priority(text: str) -> Priority:
    try:
        return Priority.parse(_ALSO_CALLED.get(text.strip().lower(), text))
    except ValueError as error:
        raise BadRequest(str(error)) from None


@dataclass(frozen=True)
class Strategy:
    """A standing order.

    Attributes:
        name: what people call it.
        date_ranges: presets or `YYYY-MM-DD..YYYY-MM-DD`.
        accounts: account ids; None means all known accounts.
        excluded_accounts: account ids left out.
        priority: one of critical, high, normal (or medium), low.
        batch_size: keys fetched before the next pause.
        delay_seconds: the pause between batches.
        max_parallel_batches: batches in work at once.
        max_calls_per_hour: upstream calls it may make in an hour.
    """

    name: str
    date_ranges: tuple[str, ...]
    report: str = "default"
    enabled: bool = True
    priority: str = "low"
    accounts: tuple[str, ...] | None = None
    excluded_accounts: tuple[str, ...] = field(default=())
    batch_size: int = 5
    delay_seconds: float = 5.0
    max_parallel_batches: int = 2
    max_calls_per_hour: int = 100

    def __post_init__(self) -> None:
        if not self.date_ranges:
            raise BadRequest(f"strategy {self.name!r} names no date range; give at least one, such as yesterday")
        least = {"batch_size": 1, "delay_seconds": 0, "max_parallel_batches": 1, "max_calls_per_hour": 1}
        for name, limit in least.items():
            if getattr(self, name) < limit:
                raise BadRequest(f"strategy {self.name!r}: {name} must be at least {limit}")
        _priority(self.priority)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Strategy":
        """Return the strategy a row of the table `strategy` describes.

        Raises:
            BadRequest: a value of the row is not valid.
        """
        values = dict(row)
        for name in ("date_ranges", "accounts", "excluded_accounts"):
            values[name] = None if values.get(name) is None else tuple(values[name])
        return cls(**{**values, "excluded_accounts": values["excluded_accounts"] or ()})

    def to_row(self) -> dict[str, Any]:
        """Return the row of the table `strategy`."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @property
    def urgency(self) -> Priority:
        """The priority of its fetches."""
        return _priority(self.priority)


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
