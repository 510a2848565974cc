"""Which strategies a run plans: those that are due, those that a human has named, or all enabled ones.

| strategy                                                       | due                                           |
|----------------------------------------------------------------|-----------------------------------------------|
| never planned                                                  | at once                                       |
| its cron has an occurrence between the last planned one and now | once, however many occurrences were missed   |
| planned by this run before                                     | again, so that a retry plans the same         |
| its latest planning failed                                     | at its next occurrence, or once it is changed |

A due time stays open for some hours, at most until the next one. Reports that were fresh at the due time and expire
while it is open, and reports that the budget cut, still get their turn: a plan says when the strategy is planned again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine

from adwarm.foundation.cron import find_latest, list_next
from adwarm.foundation.errors import NotFound
from adwarm.foundation.local_time import zone
from adwarm.model import ReportKey, StoredStrategy, Strategy, normalize_account_id
from adwarm.planning.store_view import StoreView
from adwarm.store import strategy_warms, write_transaction
from adwarm.store.strategies import (
    claim_recheck,
    claim_slot,
    list_strategies,
    record_problem,
    request_recheck,
    seed_strategies,
)

DEFAULT_STRATEGIES = (
    Strategy("default_dashboards", ("yesterday", "last_7d", "last_30d"), retire_unused=True, opened_only=True),
)
"""Stored in a new database, once: a default that is removed stays removed."""
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class StrategySelection:
    """The strategies of one run.

    Attributes:
        strategies: what to plan, sorted by name, or in the order in which a human has named them.
        problems: by name of a strategy whose row is not valid, why.
        rechecks: by name of a strategy that was planned since its latest due time, and is planned again for the reports
            that were not tried since, that due time.
    """

    strategies: list[Strategy] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    rechecks: dict[str, datetime] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to plan and nothing to report."""
        return not self.strategies and not self.problems


def load_strategies(engine: Engine, at: datetime) -> list[StoredStrategy]:
    """Return every strategy with its state; a new database gets the default strategies first."""
    with write_transaction(engine) as connection:
        seed_strategies(connection, DEFAULT_STRATEGIES, at)
        return list_strategies(connection)


def select_due(engine: Engine, run_id: str, at: datetime) -> StrategySelection:
    """Claim the enabled strategies that are due at `at`, or to be planned again then, for a run, and return them.

    Such a strategy belongs to one run: a second one that selects at the same time does not get it.

    Args:
        at: the decision time of the run, UTC; the same for each of its retries.
    """
    enabled = [stored for stored in load_strategies(engine, at) if stored.enabled]
    repeated = strategy_warms.list_strategies_of_run(engine, run_id)
    due, rechecks = [], {}
    with write_transaction(engine) as connection:
        for stored in enabled:
            if _claim_one(connection, stored, run_id, at):
                due.append(stored)
            elif (slot := _claim_recheck(connection, stored, run_id, at)) is not None:
                due.append(stored)
                rechecks[stored.name] = slot
            elif stored.name in repeated:
                due.append(stored)
    return _selection(due, rechecks)


def select_enabled(engine: Engine, run_id: str, at: datetime) -> StrategySelection:
    """Return every enabled strategy, due or not; the schedule takes their due times up to `at` as planned."""
    enabled = [stored for stored in load_strategies(engine, at) if stored.enabled]
    with write_transaction(engine) as connection:
        for stored in enabled:
            _claim_one(connection, stored, run_id, at)
    return _selection(enabled)


def list_enabled_names(engine: Engine, at: datetime) -> list[str]:
    """Return the names of the enabled strategies."""
    return [stored.name for stored in load_strategies(engine, at) if stored.enabled]


def select_named(engine: Engine, names: Sequence[str], at: datetime) -> StrategySelection:
    """Return the strategies with these names, also disabled ones; their schedule does not change.

    Raises:
        NotFound: there is no strategy of one of the names; the message lists those that there are.
    """
    stored = {item.name: item for item in load_strategies(engine, at)}
    check_names(names, stored)
    return _selection([stored[name] for name in dict.fromkeys(names)])


def check_names(names: Iterable[str], stored: Iterable[str]) -> None:
    """Check that each name is of a stored strategy.

    Raises:
        NotFound: one is of none; the message lists those that there are.
    """
    for name in names:
        if name not in stored:
            strategies = ", ".join(sorted(stored)) or "none yet; `adwarm strategy set --file` makes some"
            raise NotFound(f"there is no strategy {name[:90]!r}; the strategies are {strategies}")


def record_problems(engine: Engine, problems: dict[str, str]) -> None:
    """Record why strategies could not be planned, for `adwarm strategy list`."""
    with write_transaction(engine) as connection:
        for name, problem in problems.items():
            record_problem(connection, name, problem)


def record_rechecks(engine: Engine, run_id: str, rechecks: Mapping[str, datetime]) -> dict[str, datetime]:
    """Record when strategies are to be planned again, and return those for which that was recorded.

    A run that has not claimed a strategy, or after which another run did, changes nothing.
    """
    with write_transaction(engine) as connection:
        return {name: at for name, at in rechecks.items() if request_recheck(connection, name, run_id, at)}


def get_closing_time(strategy: Strategy, slot: datetime) -> datetime:
    """Return when the due time `slot` closes: `open_hours` after it, or at the next due time.

    It stays open no longer than the interval before it either: the last due time of `*/30 9-17 * * *`, 17:30, closes at
    18:00, so that a schedule of office hours makes no calls in the evening.
    """
    [following] = list_next(strategy.cron, strategy.time_zone, slot)
    interval = slot - find_latest(strategy.cron, strategy.time_zone, slot - _TICK)
    return min(following, slot + interval, slot + timedelta(hours=strategy.open_hours))


def list_due_times(strategy: Strategy, at: datetime, count: int) -> list[datetime]:
    """Return the next `count` due times after `at`, in the zone of the strategy; none when it is disabled."""
    if not strategy.enabled:
        return []
    times = list_next(strategy.cron, strategy.time_zone, at, count)
    return [moment.astimezone(zone(strategy.time_zone)) for moment in times]


def _claim_one(connection: Connection, stored: StoredStrategy, run_id: str, at: datetime) -> bool:
    if stored.strategy is None:
        # No schedule can be read from such a row: it is reported once, when its problem is new.
        return stored.problem != stored.state.problem
    return claim_slot(connection, stored.name, find_latest(stored.strategy.cron, stored.strategy.time_zone, at), run_id)


def _claim_recheck(connection: Connection, stored: StoredStrategy, run_id: str, at: datetime) -> datetime | None:
    """Claim that a strategy is planned again, and return the open due time; None when it is not to be planned."""
    strategy, slot = stored.strategy, stored.state.planned_slot
    if strategy is None or slot is None or at >= get_closing_time(strategy, slot):
        return None
    return slot if claim_recheck(connection, stored.name, at, run_id) else None


def _selection(chosen: Sequence[StoredStrategy], rechecks: dict[str, datetime] | None = None) -> StrategySelection:
    return StrategySelection(
        [item.strategy for item in chosen if item.strategy is not None],
        {item.name: item.problem or "" for item in chosen if item.strategy is None},
        rechecks or {},
    )


def expand_keys(strategy: Strategy, view: StoreView) -> list[ReportKey]:
    """Return the keys that the strategy keeps warm, account by account, ranges in the strategy's order.

    Accounts that it names are included even when they are not stored; denied and closed ones are left out.

    Raises:
        BadRequest: what was opened lately cannot be read.
    """
    by_id = {account.id: account for account in view.list_accounts()}
    excluded = {normalize_account_id(text, by_id) for text in strategy.excluded_accounts}
    named = by_id if strategy.accounts is None else {normalize_account_id(text, by_id) for text in strategy.accounts}
    chosen = sorted(name for name in named if name not in excluded)
    active = [name for name in chosen if name not in by_id or by_id[name].status == "active"]
    ranges = dict.fromkeys(strategy.date_ranges)
    keys = [ReportKey.parse(name, date_range, strategy.report) for name in active for date_range in ranges]
    if not keys or not strategy.opened_only:
        return keys
    opened = view.list_opened(strategy.date_ranges, strategy.report)
    return [key for key in keys if key in opened]
