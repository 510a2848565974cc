"""What a strategy would do now, and what that costs: the plan of its next run, which is not stored."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from adwarm.model import Strategy
from adwarm.planning.recommendation import Recommendation
from adwarm.planning.strategies import StrategyPlanner
from adwarm.planning.strategy_schedule import list_due_times
from adwarm.store import Context, warms

STRATEGY_DAG = "adwarm_strategy_warming"
MAX_LISTED_KEYS = 50
_MOST_DUE_TIMES = 288
"""Due times that are looked at; the DAG runs every 15 minutes, so a finer schedule has no more turns than 96."""
_DAY = timedelta(days=1)
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class StrategyPreview:
    """The plan of a strategy in numbers.

    Attributes:
        keys: the first planned keys, in the order of their turn.
        counts: keys that are planned, fresh, cut by the budget, and being fetched by another run.
        calls: upstream calls that the planned keys take.
        calls_left: calls that the strategy may still make in this hour.
        cut_calls: calls that the cut keys would take.
        hours: hours until every key had its turn, this one included, at the strategy's calls an hour.
        seconds: how long the run takes, pauses included; None before the first fetch of any run.
        pause_seconds: the pauses in it.
        due_times: due times in the next 24 hours, in the zone of the strategy.
    """

    keys: list[str]
    counts: dict[str, int]
    calls: int
    calls_left: int
    cut_calls: int
    hours: int
    seconds: float | None
    pause_seconds: float
    due_times: list[datetime]

    @property
    def total(self) -> int:
        """All keys of the strategy."""
        return sum(self.counts[name] for name in ("planned", "fresh", "cut", "in_flight"))


def preview_strategy(context: Context, strategy: Strategy, at: datetime) -> StrategyPreview:
    """Return what the planner would plan if the strategy was due at `at`. Nothing is stored.

    Reports that another strategy names, too, are counted here, although only one of the two would fetch them.

    Args:
        context: database, objects and settings.
        strategy: a stored one, or one that a form describes.
        at: the decision time, UTC.

    Raises:
        BadRequest: its report is not configured.
    """
    planner = StrategyPlanner(context, at, STRATEGY_DAG)
    plan = planner.plan(strategy, None, is_form=False)
    per_call = warms.get_seconds_per_request(context.engine)
    pauses, lane_seconds = 0.0, []
    for lane in plan.lanes:
        pause = _get_pause_seconds(strategy, lane)
        pauses = max(pauses, pause)
        lane_seconds.append(pause + (per_call or 0.0) * sum(item.calls for item in lane))
    later_hours = math.ceil(plan.cut_calls / strategy.max_calls_per_hour - _ROUNDING)
    times = list_due_times(strategy, at, _MOST_DUE_TIMES)
    return StrategyPreview(
        keys=[str(item.key) for lane in plan.lanes for item in lane][:MAX_LISTED_KEYS],
        counts={name: plan.counts[name] for name in ("planned", "fresh", "cut", "in_flight")},
        calls=math.ceil(plan.calls - _ROUNDING),
        calls_left=planner.get_calls_left(strategy),
        cut_calls=math.ceil(plan.cut_calls - _ROUNDING),
        hours=later_hours + (1 if plan.lanes else 0),
        seconds=None if per_call is None else max(lane_seconds, default=0.0),
        pause_seconds=pauses,
        due_times=[moment for moment in times if moment < at + _DAY],
    )


def _get_pause_seconds(strategy: Strategy, lane: Sequence[Recommendation]) -> float:
    """Return the pauses of a lane: one between two batches."""
    return strategy.delay_seconds * max(0, math.ceil(len(lane) / strategy.batch_size) - 1)
