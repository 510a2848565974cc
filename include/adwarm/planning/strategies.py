"""Strategies: keys that are kept warm on a schedule, whatever the forecast says, within hourly budgets of their own."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from adwarm.foundation.errors import BadRequest
from adwarm.foundation.wording import format_count, format_some
from adwarm.model import Account, Mode, ReportKey, Strategy, WarmReason, normalize_account_id
from adwarm.planning.call_budget import split_by_budget
from adwarm.planning.decide import StoreView, get_calls_left_this_hour, save_plan
from adwarm.planning.plan import MAX_LISTED_CUTS
from adwarm.planning.recommendation import Recommendation
from adwarm.store import Context, write_transaction
from adwarm.store.strategies import list_strategies, seed_strategies

DEFAULT_STRATEGIES = (Strategy("default_dashboards", ("yesterday", "last_7d", "last_30d")),)
"""Stored when the table of strategies is empty."""


def expand_keys(strategy: Strategy, accounts: Iterable[Account]) -> list[ReportKey]:
    """Return the keys that the strategy keeps warm, account by account, ranges in the strategy's order.

    Accounts that it names are included even when they are not among `accounts`; denied and closed ones are left out.

    Args:
        strategy: the strategy.
        accounts: the stored accounts.

    Raises:
        BadRequest: an account id or a date range is not valid, or every named account is excluded.
    """
    by_id = {account.id: account for account in accounts}
    excluded = {normalize_account_id(text) for text in strategy.excluded_accounts}
    named = by_id if strategy.accounts is None else {normalize_account_id(text) for text in strategy.accounts}
    chosen = sorted(name for name in named if name not in excluded)
    if strategy.accounts is not None and not chosen:
        raise BadRequest(f"strategy {strategy.name!r} names no account that it does not also exclude")
    active = [name for name in chosen if name not in by_id or by_id[name].status == "active"]
    ranges = dict.fromkeys(strategy.date_ranges)
    return [ReportKey.parse(name, date_range, strategy.report) for name in active for date_range in ranges]


def recommend_strategy(strategy: Strategy, accounts: Iterable[Account], at: datetime) -> list[Recommendation]:
    """Return a recommendation for each key of the strategy, due at `at`."""
    why = f"kept warm by the strategy {strategy.name!r}"
    return [
        Recommendation(
            key,
            predicted_open=at,
            confidence=1.0,
            warm_at=at,
            reason=WarmReason.STRATEGY,
            benefit=1.0,
            price=1.0,
            explanation={"why": why},
            priority=strategy.urgency,
        )
        for key in expand_keys(strategy, accounts)
    ]


@dataclass
class StrategyPlanSummary:
    """The stored plan of the strategies in numbers; small enough for an XCom.

    Attributes:
        run_id: the run whose plan it is.
        strategies: names of the planned strategies.
        planned: keys to fetch.
        fresh: keys left out because their entry is fresh.
        cut: keys left out because of the hourly budgets.
        batches: batches to carry out.
        examples: the first planned keys.
    """

    run_id: str
    strategies: list[str]
    planned: int = 0
    fresh: int = 0
    cut: int = 0
    batches: int = 0
    examples: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return dict(vars(self))

    def __str__(self) -> str:
        reports = f"{self.planned:,} of {format_count(self.planned + self.fresh + self.cut, 'report')}"
        where = f" in {format_count(self.batches, 'batch', 'batches')}" if self.batches else ""
        names = format_some(self.strategies, 5)
        left_out = f"{self.fresh:,} fresh already, {self.cut:,} cut by the hourly budget"
        first = f"; first {format_some(self.examples, 3)}" if self.examples else ""
        return f"planned {reports} ({names}){where}; {left_out}{first}"


def list_enabled_strategies(engine: Engine) -> list[Strategy]:
    """Return the enabled strategies; an empty table gets the default strategies first.

    Raises:
        BadRequest: a row holds a value that is not valid.
    """
    with write_transaction(engine) as connection:
        seed_strategies(connection, DEFAULT_STRATEGIES)
        return list_strategies(connection, enabled_only=True)


def decide_strategies(
    context: Context,
    strategies: Sequence[Strategy],
    decided_at: datetime,
    run_id: str,
    *,
    dry_run: bool = False,
    is_manual: bool = False,
) -> StrategyPlanSummary:
    """Plan every strategy in `strategies` and store the plan; a dry run stores it as a shadow plan.

    Args:
        context: database, objects and settings.
        strategies: what to plan; a key that several of them name is planned by the first.
        decided_at: the decision time, UTC.
        run_id: the run whose plan it is.
        dry_run: store the plan as a shadow plan, which no batch carries out.
        is_manual: whether a human described the strategies. A manual strategy may make its whole `max_calls_per_hour`;
            any other may make that less what strategies have used in this hour.

    Raises:
        BadRequest: a strategy names an account or a range that is not valid.
    """
    view = StoreView(context, decided_at)

    def calls(strategy: Strategy) -> int:
        limit = strategy.max_calls_per_hour
        return limit if is_manual else get_calls_left_this_hour(context, decided_at, run_id, limit)

    chosen: dict[ReportKey, Recommendation] = {}
    summary = StrategyPlanSummary(run_id, [strategy.name for strategy in strategies])
    rejected: list[Recommendation] = []
    for strategy in strategies:
        candidates = [
            item for item in recommend_strategy(strategy, view.list_accounts(), decided_at) if item.key not in chosen
        ]
        fresh_until = view.get_fresh_until([item.key for item in candidates], [decided_at] * len(candidates))
        stale = [item for item, end in zip(candidates, fresh_until, strict=True) if end is None or end <= decided_at]
        planned, cut = split_by_budget(stale, calls(strategy))
        chosen.update({item.key: item for item in planned})
        rejected.extend(cut)
        summary.fresh += len(candidates) - len(stale)
        summary.cut += len(cut)
    mode = Mode.SHADOW if dry_run else Mode.LIVE
    summary.planned = len(chosen)
    summary.batches = save_plan(context, run_id, decided_at, mode, list(chosen.values()), rejected[:MAX_LISTED_CUTS])
    summary.examples = [str(item.key) for item in list(chosen.values())[:5]]
    return summary
