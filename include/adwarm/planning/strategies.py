"""Strategies: keys that are kept warm on a schedule, whatever the forecast says, each with its own budget and pace.

Of the keys that are not fresh, those that were never tried come first, then those that were tried longest ago. So a
budget that is smaller than the number of keys rotates over all of them. A key that several strategies name is planned
by the first. A strategy that cannot be planned stops no other.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from adwarm.fetch_plan import RequestCost
from adwarm.foundation.clock import floor_to
from adwarm.foundation.cron import find_latest
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.wording import format_count, format_part
from adwarm.model import Mode, ReportKey, Strategy, WarmReason
from adwarm.planning.recommendation import MAX_LISTED_CUTS, Recommendation, batch_by_account, save_batches
from adwarm.planning.rule_sentences import leave_out
from adwarm.planning.store_view import StoreView, find_range_change
from adwarm.planning.strategy_changes import add_accounts
from adwarm.planning.strategy_schedule import (
    StrategySelection,
    expand_keys,
    get_closing_time,
    record_problems,
    record_rechecks,
)
from adwarm.store import Context, strategy_warms
from adwarm.store.switches import find_stop

ATTEMPT_PERIOD = timedelta(days=60)
"""A key that was tried before that counts as never tried."""
_RATIO_PERIOD = timedelta(days=7)
_HOUR = timedelta(hours=1)
_TICK = timedelta(microseconds=1)
_NEVER = datetime.min.replace(tzinfo=UTC)


def recommend_strategy(
    strategy: Strategy, keys: Iterable[ReportKey], at: datetime, attempts: Mapping[ReportKey, datetime] | None = None
) -> list[Recommendation]:
    """Return a recommendation for each key of the strategy, due at `at`, in the order of their turn.

    Args:
        attempts: when each key was tried last; a key that is not in it comes first.
    """
    tried = attempts or {}
    order = sorted(enumerate(keys), key=lambda item: (tried.get(item[1], _NEVER), item[1].account_id, item[0]))
    return [
        Recommendation(
            key,
            predicted_open=at,
            confidence=1.0,
            warm_at=at,
            reason=WarmReason.STRATEGY,
            benefit=1.0,
            price=1.0,
            explanation={"why": f"kept warm by the strategy {strategy.name!r}; {_describe_attempt(tried.get(key))}"},
            priority=strategy.urgency,
            strategy=strategy.name,
        )
        for _, key in order
    ]


@dataclass(frozen=True, slots=True)
class MappedTask:
    """The keys of a strategy that one mapped task fetches, batch by batch. Its tasks run at the same time.

    Attributes:
        batch: number of the task in the plan of the run.
        slice_size: keys of a batch.
        pause_seconds: pause between two batches.
        max_calls: upstream calls that the strategy may make in an hour, or the run in all when a form describes it.
    """

    batch: int
    slice_size: int
    pause_seconds: float
    max_calls: int


@dataclass
class StrategyPlanSummary:
    """The stored plan of the strategies in numbers; small enough for an XCom.

    Attributes:
        strategies: by name of a planned strategy how many of its keys are planned, fresh, cut by the budget, being
            fetched by another run, and not fresh though tried since the due time, and the number of its tasks; and how
            many are left out because warming is switched off, when it is.
        problems: by name of a strategy that could not be planned, why.
        rechecks: by name of a strategy that may have to be planned again before its next due time, when.
        tasks: what there is to carry out; none in a dry run.
        examples: the first planned keys.
        stopped: why nothing is fetched; empty while warming is switched on.
    """

    run_id: str
    strategies: dict[str, dict[str, int]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    rechecks: dict[str, datetime] = field(default_factory=dict)
    tasks: list[MappedTask] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)
    stopped: str = ""

    def total(self, name: str) -> int:
        """Return the sum of one count, such as `planned`, over the strategies."""
        return sum(counts[name] for counts in self.strategies.values())

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        rechecks = {name: at.isoformat() for name, at in self.rechecks.items()}
        return {**vars(self), "rechecks": rechecks, "tasks": len(self.tasks)}

    def __str__(self) -> str:
        parts = [_describe_counts(name, counts, self.rechecks.get(name)) for name, counts in self.strategies.items()]
        parts += [f"nothing is fetched: {self.stopped}"] if self.stopped else []
        return "; ".join(parts) or "nothing is planned"


def _describe_counts(name: str, counts: Mapping[str, int], recheck_at: datetime | None) -> str:
    total = sum(counts[what] for what in ("planned", "fresh", "cut", "in_flight", "tried")) + counts.get("stopped", 0)
    reports = format_part(counts["planned"], total, "report")
    tasks = f" in {format_count(counts['tasks'], 'task')}" if counts["tasks"] else ""
    elsewhere = f", {counts['in_flight']:,} being fetched by another run" if counts["in_flight"] else ""
    elsewhere += f", {counts['stopped']:,} left out while it is stopped" if counts.get("stopped") else ""
    elsewhere += f", {counts['tried']:,} tried since the due time" if counts["tried"] else ""
    left_out = f"{counts['fresh']:,} fresh already, {counts['cut']:,} cut by the hourly budget{elsewhere}"
    again = f"; planned again after {recheck_at:%H:%M} UTC" if recheck_at else ""
    return f"strategy {name}: planned {reports}{tasks}; {left_out}{again}"


@dataclass(frozen=True, slots=True)
class StrategyPlan:
    """The plan of one strategy, before it is stored.

    Attributes:
        cut: some of the keys that the budget cut; each says why.
        counts: as in `StrategyPlanSummary.strategies`.
        recheck_at: when it is to be planned again before its next due time; None when it is not.
    """

    tasks: list[list[Recommendation]]
    cut: list[Recommendation]
    counts: dict[str, int]
    recheck_at: datetime | None


def decide_strategies(
    context: Context,
    selection: StrategySelection,
    decided_at: datetime,
    run_id: str,
    *,
    form: Strategy | None = None,
    dry_run: bool = False,
) -> StrategyPlanSummary:
    """Plan the selected strategies and store the plan; a dry run stores it as a shadow plan.

    Why a strategy could not be planned is stored with it. While warming is switched off, every key of a live plan is
    cut, and the strategies are planned again by the first run after that.

    Args:
        selection: what to plan; each strategy may make its `max_calls_per_hour` less what it has used in this hour.
        form: what a human has described for this run alone; planned first, and may make its whole `max_calls_per_hour`.
        dry_run: store the plan as a shadow plan, which no batch carries out.

    Raises:
        BadRequest: no strategy could be planned; the message says why for each. No plan is stored then.
    """
    stop = None if dry_run else find_stop(context.engine)
    chosen = [form, *selection.strategies] if form else selection.strategies
    add_accounts(context, chosen, decided_at)
    planner = StrategyPlanner(context, decided_at, run_id)
    summary = StrategyPlanSummary(run_id, problems=dict(selection.problems))
    tasks: list[list[Recommendation]] = []
    cut: list[Recommendation] = []
    for strategy in chosen:
        try:
            plan = planner.plan(strategy, selection.rechecks.get(strategy.name), is_form=strategy is form)
        except BadRequest as error:
            summary.problems[strategy.name] = str(error)
            continue
        summary.strategies[strategy.name] = plan.counts
        if plan.recheck_at is not None:
            summary.rechecks[strategy.name] = plan.recheck_at
        pace = (strategy.batch_size, strategy.delay_seconds, strategy.max_calls_per_hour)
        summary.tasks += [MappedTask(len(tasks) + number, *pace) for number in range(len(plan.tasks))]
        tasks += plan.tasks
        cut += plan.cut
    problems = {name: why for name, why in summary.problems.items() if not form or name != form.name}
    record_problems(context.engine, problems)
    if summary.problems and not summary.strategies:
        raise BadRequest(describe_problems(summary.problems))
    if stop:
        cut = [*(leave_out(item, "stopped", why=stop) for task in tasks for item in task), *cut]
        tasks, summary.tasks, summary.stopped = [], [], stop
        for counts in summary.strategies.values():
            counts.update(planned=0, tasks=0, stopped=counts["planned"])
        summary.rechecks = dict.fromkeys(summary.strategies, decided_at)
    save_batches(context.engine, run_id, decided_at, Mode.SHADOW if dry_run else Mode.LIVE, tasks, left_out=cut)
    summary.tasks = [] if dry_run else summary.tasks
    summary.rechecks = {} if dry_run else record_rechecks(context.engine, run_id, summary.rechecks)
    summary.examples = [str(item.key) for task in tasks for item in task][:5]
    return summary


def describe_problems(problems: Mapping[str, str]) -> str:
    """Return one line that says why strategies could not be planned, and how to mend them."""
    reasons = " | ".join(f"{name}: {why}" for name, why in problems.items())
    return f"no strategy could be planned; mend or disable them with `adwarm strategy set --file`: {reasons}"


class StrategyPlanner:
    """Plans strategies one after the other; a key belongs to the first that names it. It stores nothing."""

    def __init__(self, context: Context, decided_at: datetime, run_id: str) -> None:
        self._engine = context.engine
        self._at = decided_at
        self._run_id = run_id
        self._view = StoreView(context, decided_at)
        self._in_flight = strategy_warms.list_in_flight(context.engine, run_id, decided_at - _HOUR, decided_at)
        self._taken: set[ReportKey] = set()

    def plan(self, strategy: Strategy, planned_slot: datetime | None, *, is_form: bool) -> StrategyPlan:
        """Return the plan of one strategy.

        Args:
            planned_slot: its latest due time when that was planned before, so that only keys that were not tried since
                are planned; None when every key that is not fresh is.
            is_form: whether a human has described it for this run alone.

        Raises:
            BadRequest: its report is not configured, or what was opened lately cannot be read.
        """
        slot = planned_slot or find_latest(strategy.cron, strategy.time_zone, self._at)
        keys = [key for key in expand_keys(strategy, self._view) if key not in self._taken]
        moments = [self._at] * len(keys)
        fresh_until = self._view.get_fresh_until(keys, moments)
        stale = [key for key, end in zip(keys, fresh_until, strict=True) if end is None or end <= self._at]
        attempts = strategy_warms.get_last_attempts(
            self._engine, {key.account_id for key in keys}, self._at - ATTEMPT_PERIOD, self._at
        )
        tried = {key for key in keys if self._is_tried(key, attempts.get(key), slot)}
        open_keys = [key for key in stale if planned_slot is None or key not in tried]
        free = [key for key in open_keys if key not in self._in_flight]
        candidates = self._price(recommend_strategy(strategy, free, self._at, attempts))
        if is_form:
            candidates = [replace(item, strategy=None) for item in candidates]
        ratio = strategy_warms.get_call_ratio(self._engine, strategy.name, self._at - _RATIO_PERIOD, self._at)
        candidates = [replace(item, calls=item.calls * ratio) for item in candidates]
        limit = strategy.max_calls_per_hour
        planned, cut = _split(candidates, limit if is_form else self.get_calls_left(strategy), limit)
        self._taken.update(item.key for item in planned)
        tasks = batch_by_account(planned, strategy.batch_size, strategy.max_parallel_batches)
        counts = {
            "planned": len(planned),
            "fresh": len(keys) - len(stale),
            "cut": len(cut),
            "in_flight": len(open_keys) - len(free),
            "tried": len(stale) - len(open_keys),
            "tasks": len(tasks),
        }
        expiries = {key: end for key, end in zip(keys, fresh_until, strict=True) if key not in tried}
        recheck_at = None if is_form else self._find_recheck(strategy, slot, keys, expiries, is_cut=bool(cut))
        return StrategyPlan(tasks, cut[:MAX_LISTED_CUTS], counts, recheck_at)

    def _is_tried(self, key: ReportKey, tried_at: datetime | None, slot: datetime) -> bool:
        """Whether the days that the key covers now were tried since the due time `slot`."""
        if tried_at is None or tried_at < slot:
            return False
        account = self._view.get_account(key.account_id)
        return find_range_change(key, account, tried_at, self._at + _TICK) is None

    def _find_recheck(
        self,
        strategy: Strategy,
        slot: datetime,
        keys: Iterable[ReportKey],
        expiries: Mapping[ReportKey, datetime | None],
        *,
        is_cut: bool,
    ) -> datetime | None:
        """Return when the next key gets its turn while the due time `slot` is open; None when none does."""
        # A key gets its turn when the entry expires that it had before its turn, when its range covers other days, and,
        # when the budget has cut it, in the next hour.
        closes = get_closing_time(strategy, slot)
        moments = [end for end in expiries.values() if end is not None]
        moments += [floor_to(self._at, _HOUR) + _HOUR] if is_cut else []
        owners = {key: self._view.get_account(key.account_id) for key in keys}
        changes = (find_range_change(key, account, self._at, closes) for key, account in owners.items())
        moments += [moment for moment in changes if moment is not None]
        return min((moment for moment in moments if self._at < moment < closes), default=None)

    def get_calls_left(self, strategy: Strategy) -> int:
        """Return the calls that the strategy may still make in this hour; each key in flight counts as one."""
        hour = floor_to(self._at, _HOUR)
        spent = strategy_warms.get_calls(
            self._engine, strategy.name, hour, hour + _HOUR, before=(self._at, self._run_id)
        )
        promised = sum(name == strategy.name for name in self._in_flight.values())
        return max(0, strategy.max_calls_per_hour - spent - promised)

    def _price(self, candidates: Sequence[Recommendation]) -> list[Recommendation]:
        """Set the calls of each candidate: those that the candidates of its account before it do not make already."""
        keys = [item.key for item in candidates]
        costs = self._view.get_request_costs(keys, [self._at] * len(keys))
        paid: set[tuple[str | int, ...]] = set()
        priced = []
        for item, cost in zip(candidates, costs, strict=True):
            parts = self._list_requests(item.key, cost)
            priced.append(replace(item, calls=float(len(parts - paid)), price=float(len(parts - paid))))
            paid |= parts
        return priced

    def _list_requests(self, key: ReportKey, cost: RequestCost) -> set[tuple[str | int, ...]]:
        """Return the calls of a key; keys of an account share the look-up, those of a report the others."""
        requests: set[tuple[str | int, ...]] = {(key.account_id, key.report, *call) for call in cost.calls}
        return requests if self._view.is_verified(key.account_id) else requests | {(key.account_id,)}


def _split(
    candidates: Sequence[Recommendation], calls: int, limit: int
) -> tuple[list[Recommendation], list[Recommendation]]:
    """Return the candidates that get their turn within `calls` upstream calls, and the others, which say why."""
    # The first that does not fit ends the turn, so that nothing overtakes it. One that takes more than the whole hourly
    # `limit` gets its turn when all of that is left.
    left, number = float(calls), 0
    while number < len(candidates) and min(candidates[number].calls, limit) <= left:
        left -= candidates[number].calls
        number += 1
    why = "{} upstream calls were left this hour, and {} reports that waited longer came before it"
    return list(candidates[:number]), [
        leave_out(item, "budget", why=why.format(calls, number + rank)) for rank, item in enumerate(candidates[number:])
    ]


def _describe_attempt(at: datetime | None) -> str:
    return f"tried last at {at:%Y-%m-%d %H:%M} UTC" if at else "never tried before"
