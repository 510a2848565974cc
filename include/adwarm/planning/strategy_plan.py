"""The plan of the standing orders: what they name, less what is fresh, within their own budgets."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from adwarm.model import Mode, Strategy
from adwarm.planning.call_budget import split_by_budget
from adwarm.planning.decide import StoreView, get_calls_left_this_hour, save_plan
from adwarm.planning.recommendation import Recommendation
from adwarm.planning.strategies import DEFAULT_STRATEGIES, recommend_strategy
from adwarm.settings import Settings
from adwarm.store import write_transaction
from adwarm.store.strategies import list_strategies, seed_strategies


@dataclass
class StrategyPlanSummary:
    """The stored plan of the strategies in numbers."""

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


def list_enabled_strategies(engine: Engine) -> list[Strategy]:
    """Return the enabled rows of the table `strategy`, which an empty installation gets its defaults into first.

    Raises:
        BadRequest: a row holds a value that is not valid.
    """
    with write_transaction(engine) as connection:
        seed_strategies(connection, DEFAULT_STRATEGIES)
        return list_strategies(connection, enabled_only=True)


def decide_strategies(
    engine: Engine,
    settings: Settings,
    strategies: Sequence[Strategy],
    decided_at: datetime,
    run_id: str,
    *,
    dry_run: bool = False,
    is_manual: bool = False,
) -> StrategyPlanSummary:
    """Plan every strategy in `strategies` and store the plan; a dry run stores it as a shadow plan.

    A strategy may make `max_calls_per_hour` less what strategies have used in this hour; one described `by_hand` has
    that number to itself.

    Raises:
        BadRequest: a strategy names an account or a range that is not valid.
    """
    view = StoreView(engine, settings, decided_at)

    def calls(strategy: Strategy) -> int:
        limit = strategy.max_calls_per_hour
        return limit if is_manual else get_calls_left_this_hour(engine, settings, decided_at, run_id, limit)

    chosen: dict[object, Recommendation] = {}
    decision = StrategyPlanSummary(run_id, [strategy.name for strategy in strategies])
    turned_down: list[Recommendation] = []
    for strategy in strategies:
        wanted = [
            item for item in recommend_strategy(strategy, view.list_accounts(), decided_at) if item.key not in chosen
        ]
        fresh_until = view.get_fresh_until([item.key for item in wanted], [decided_at] * len(wanted))
        stale = [item for item, end in zip(wanted, fresh_until, strict=True) if end is None or end <= decided_at]
        kept, cut = split_by_budget(stale, calls(strategy))
        chosen.update({item.key: item for item in kept})
        turned_down.extend(cut)
        decision.fresh += len(wanted) - len(stale)
        decision.cut += len(cut)
    mode = Mode.SHADOW if dry_run else Mode.LIVE
    decision.planned = len(chosen)
    decision.batches = save_plan(engine, settings, run_id, decided_at, mode, list(chosen.values()), turned_down[:200])
    decision.examples = [str(item.key) for item in list(chosen.values())[:5]]
    return decision
