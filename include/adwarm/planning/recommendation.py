"""A recommendation, and the plan that holds them. Both are plain values; equal inputs give equal plans."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from adwarm.model import Priority, ReportKey, WarmReason

RecommendationStatus = Literal["planned", "cut", "fresh"]


@dataclass(frozen=True)
class Recommendation:
    """One warm, proposed or turned down.

    Attributes:
        key: what to warm.
        predicted_open: UTC; an early guess of the moment somebody will wait for it.
        confidence: chance, 0 to 1, that it is opened before the fetched entry expires.
        warm_at: UTC; when the fetch should start.
        reason: why it was thought of.
        benefit: what it is worth, in upstream calls: the chance, times the worth of a first open that need not wait.
        price: what it costs, in upstream calls; more than `calls` when the quota is scarce.
        calls: its share of the upstream calls it takes.
        until: UTC; when an entry fetched at `warm_at` would stop answering the key; None when it would not.
        explanation: for people, as JSON values: `why` is a sentence; `cut` says why it was turned down.
        status: `planned`; `cut`, not done; or `fresh`, not needed.
        priority: urgency of the fetch.
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

    def with_status(self, status: RecommendationStatus, why: str) -> "Recommendation":
        """Return the same with another status and the sentence `why`."""
        return replace(self, status=status, explanation={**self.explanation, "cut": why})

    @property
    def sort_key(self) -> tuple[float, datetime, ReportKey]:
        """Sorts the best benefit per call first, then the earliest, then by key."""
        return (-self.benefit / max(self.calls, 1e-9), self.predicted_open, self.key)


@dataclass(frozen=True)
class WarmPlan:
    """What one run decided.

    Attributes:
        recommendations: planned, by warm time, then key.
        cut: worth it by their odds but not done, best first; each says why.
        fresh: due, but what is stored outlives the predicted session.
        considered: number of keys the forecast gave any chance.
        cut_total: number of those cut; `cut` holds the best of them.
        fresh_total: number of those fresh; `fresh` holds some of them.
    """

    recommendations: tuple[Recommendation, ...] = ()
    cut: tuple[Recommendation, ...] = ()
    fresh: tuple[Recommendation, ...] = ()
    considered: int = 0
    cut_total: int = 0
    fresh_total: int = 0
