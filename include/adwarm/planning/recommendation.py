"""A recommendation, and the plan that holds them. Both are plain values; equal inputs give equal plans.

Whether a run makes calls: the one place that combines its parameters, its kind and the switches.

| run                                                          | mode      | planned warms                            |
|--------------------------------------------------------------|-----------|------------------------------------------|
| a backfilled run that names no decision time                 | `shadow`  | stored as a shadow plan                  |
| any, while the switch `shadow` is on                         | `shadow`  | stored as a shadow plan                  |
| any other                                                    | as asked  | carried out                              |
| a live run while the switch `warming` is off                 | `live`    | stored as cut, with the switch as reason |
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Engine

from adwarm.foundation.errors import Refused
from adwarm.model import Mode, PlannedWarm, Priority, ReportKey, WarmReason, WarmStatus
from adwarm.store import warms
from adwarm.store.switches import Switch, find_stop, list_switches

MAX_LISTED_CUTS = 200
"""How many rejected keys a plan lists, best first."""
ROUNDING = 1e-6
"""How far a sum of shares of calls may be above a whole number."""
RecommendationStatus = Literal["planned", "cut", "fresh"]
RETRY_SECONDS = 900.0
"""When a run that warming refused tries again."""


@dataclass(frozen=True)
class Recommendation:
    """One warm, planned or rejected.

    Attributes:
        predicted_open: UTC; an early estimate of the moment a reader will wait for it.
        confidence: probability, 0 to 1, that it is opened before the fetched entry expires.
        warm_at: UTC; when the fetch should start.
        reason: what made it a candidate.
        benefit: what it is worth, in upstream calls: the probability times the value of a first open without a wait.
        price: what it costs, in upstream calls; more than `calls` when the quota is scarce.
        explanation: JSON values for users: `why` is a sentence; `cut` says why it is left out, by which `rule`.
        status: `planned`; `cut`, rejected; or `fresh`, not needed.
        calls: its share of the upstream calls that the fetch takes.
        expires_at: UTC; when an entry fetched at `warm_at` would stop answering the key; None when it would not.
        strategy: the stored strategy that keeps the key warm; None for any other reason.
    """

    key: ReportKey
    predicted_open: datetime
    confidence: float
    warm_at: datetime
    reason: WarmReason = WarmReason.PREDICTED_OPEN
    benefit: float = 0.0
    price: float = 1.0
    explanation: dict[str, Any] = field(default_factory=dict)
    status: RecommendationStatus = "planned"
    priority: Priority = Priority.NORMAL
    calls: float = 1.0
    expires_at: datetime | None = None
    strategy: str | None = None

    @property
    def sort_key(self) -> tuple[float, datetime, ReportKey]:
        """Sorts the best benefit per call first, then the earliest open, then by key."""
        return (-self.benefit / max(self.calls, 1e-9), self.predicted_open, self.key)


@dataclass(frozen=True)
class WarmPlan:
    """The decision of one run.

    Attributes:
        recommendations: planned, by warm time, then key.
        cut: likely enough but rejected, best first; each says why.
        fresh: due, but the stored entry outlives the predicted session.
        considered: number of keys with any probability in the forecast.
        cut_total: number of keys that the budget rejects; `cut` lists the best of them, then some of the next.
        expiring_total: number of keys rejected because a fetched entry would expire before the predicted session ends.
        fresh_total: number of fresh keys; `fresh` lists some of them.
    """

    recommendations: tuple[Recommendation, ...] = ()
    cut: tuple[Recommendation, ...] = ()
    fresh: tuple[Recommendation, ...] = ()
    considered: int = 0
    cut_total: int = 0
    expiring_total: int = 0
    fresh_total: int = 0


def batch_by_account(
    recommendations: Sequence[Recommendation], batch_size: int, max_batches: int
) -> list[list[Recommendation]]:
    """Return at most `max_batches` batches of about equal size, with all keys of an account in the same batch.

    A batch holds about `batch_size` keys as long as `max_batches` allows it, in the order of `recommendations`.
    """
    by_account: dict[str, list[int]] = {}
    for index, item in enumerate(recommendations):
        by_account.setdefault(item.key.account_id, []).append(index)
    ideal = -(-len(recommendations) // max(1, batch_size))
    count = min(ideal, max(1, max_batches), len(by_account))
    batches: list[list[int]] = [[] for _ in range(count)]
    # Greedy: the largest account goes into the smallest batch, which keeps the sizes close.
    for _, indexes in sorted(by_account.items(), key=lambda group: (-len(group[1]), group[0])):
        min(batches, key=len).extend(indexes)
    return [[recommendations[index] for index in sorted(batch)] for batch in batches if batch]


def resolve_mode(engine: Engine, requested: Mode, *, is_backfill: bool = False) -> Mode:
    """Return the mode of a run.

    Args:
        requested: what its parameters ask for.
        is_backfill: whether it replays the past, where a plan is only compared with what happened.
    """
    is_shadow = is_backfill or list_switches(engine)[Switch.SHADOW].is_on
    return Mode.SHADOW if is_shadow else requested


def require_warming(engine: Engine) -> None:
    """Check that planned warms may be fetched.

    Raises:
        Refused: warming is switched off; the message says since when, by whom and why.
    """
    if why := find_stop(engine):
        name = why.partition(" ")[0]
        raise Refused(f"{why}; `adwarm gate switch {name} on` turns it on", retry_after=RETRY_SECONDS)


def save_batches(
    engine: Engine,
    run_id: str,
    decided_at: datetime,
    mode: Mode,
    batches: Sequence[Sequence[Recommendation]],
    left_out: Sequence[Recommendation] = (),
) -> int:
    """Store a run's plan, whose batches are numbered from 0, and return how many of them are to be carried out."""
    status = WarmStatus.SHADOW if mode is Mode.SHADOW else WarmStatus.PLANNED
    planned = [
        _planned_warm(item, decided_at, mode, status, number) for number, batch in enumerate(batches) for item in batch
    ]
    planned += [_planned_warm(item, decided_at, mode, WarmStatus(item.status), 0) for item in left_out]
    warms.replace_plan(engine, run_id, planned)
    return 0 if mode is Mode.SHADOW else len(batches)


def _planned_warm(
    item: Recommendation, decided_at: datetime, mode: Mode, status: WarmStatus, batch: int
) -> PlannedWarm:
    return PlannedWarm(
        key=item.key,
        reason=item.reason,
        mode=mode,
        status=status,
        batch=batch,
        priority=item.priority,
        decided_at=decided_at,
        predicted_open=item.predicted_open if item.reason is WarmReason.PREDICTED_OPEN else None,
        warm_at=item.warm_at,
        confidence=item.confidence,
        benefit=item.benefit,
        price=item.price,
        explanation=item.explanation,
        expires_at=item.expires_at,
        strategy=item.strategy,
    )
