"""Warms: a fetch that a run plans, its stored row, and what is recorded about it later; jobs; why calls are made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from adwarm.foundation.wording import format_count
from adwarm.model.policy import Mode, WarmReason
from adwarm_client.keys import Priority, ReportKey


class WarmStatus(StrEnum):
    """The state of a warm.

    ```
    planned ──> fetched | fresh | stale | failed | denied     the batch has dealt with the key
    stale | failed | denied ──> planned                       another attempt tries it again
    shadow ──> fresh                                          an earlier shadow warm would have covered it
    cut                                                       over budget, recorded and never carried out
    ```
    """

    PLANNED = "planned"
    CUT = "cut"
    SHADOW = "shadow"
    FETCHED = "fetched"
    FRESH = "fresh"
    STALE = "stale"
    FAILED = "failed"
    DENIED = "denied"

    @property
    def is_served(self) -> bool:
        """Whether a fresh entry was in the store when the batch was done with the key."""
        return self in {WarmStatus.FETCHED, WarmStatus.FRESH}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedWarm:
    """A fetch of one key as a run plans it.

    Attributes:
        mode: `shadow` warms are recorded and never fetched.
        status: `planned`, `shadow` or `cut`.
        batch: number of the mapped task that fetches the key.
        decided_at: decision time of the run.
        predicted_open: the expected first open; None unless a forecast predicts one.
        warm_at: when the fetch should start.
        confidence: 0 to 1, chance that the key is opened before the fetched entry expires.
        benefit: value of the warm in upstream calls.
        price: cost of the warm in upstream calls, higher when the quota is scarce.
        explanation: JSON values for humans: `why`, and `cut` when the warm is not carried out.
        expires_at: when an entry fetched at `warm_at` would expire; None when it is final.
        strategy: the stored strategy that keeps the key warm; None when it is planned for another reason.
    """

    key: ReportKey
    reason: WarmReason
    mode: Mode = Mode.LIVE
    status: WarmStatus = WarmStatus.PLANNED
    batch: int = 0
    priority: Priority = Priority.LOW
    decided_at: datetime
    predicted_open: datetime | None = None
    warm_at: datetime | None = None
    confidence: float = 0.0
    benefit: float = 0.0
    price: float = 0.0
    explanation: Mapping[str, Any] = field(default_factory=dict)
    expires_at: datetime | None = None
    strategy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Warm(PlannedWarm):
    """A stored warm: the plan and what has happened to it since.

    Attributes:
        error: why it is not served; None when it is.
        fetched_at: from when readers got its entry; `expires_at` is then the expiry of its data, which may be older.
        requests: upstream calls it took.
        seconds: how long the fetch took, waiting included.
        used: whether it was opened while fresh; None until that is known, and for a superseded warm.
        first_use: the first such open.
        superseded_by: id of the newer warm of its key that replaced it before anybody opened it; None for all others.
    """

    id: int
    run_id: str
    error: str | None = None
    fetched_at: datetime | None = None
    requests: int = 0
    seconds: float | None = None
    used: bool | None = None
    first_use: datetime | None = None
    superseded_by: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmResult:
    """The result of a batch for one of its warms. A warm whose status stays `planned` is tried again."""

    warm_id: int
    status: WarmStatus
    error: str | None = None
    fetched_at: datetime | None = None
    expires_at: datetime | None = None
    requests: int = 0
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class WarmUse:
    """Whether a warm was opened while fresh, and when first, or which newer warm replaced it unopened.

    Attributes:
        used: None for a warm that was superseded.
        first_use: None when it was not used.
    """

    warm_id: int
    used: bool | None
    first_use: datetime | None = None
    superseded_by: int | None = None


LONGEST_RUN: Final = timedelta(hours=6)
"""After this time a run of a warming DAG is stopped."""


@dataclass(frozen=True, slots=True)
class Job:
    """The progress of one run.

    Attributes:
        run_id: DAG id and Airflow's run id, separated by `/`.
        status: `running`, `completed`, or `failed` when every key failed.
        total: number of keys to fetch.
        done: keys served.
        failed: keys that failed.
        requests: upstream calls so far.
        errors: the first errors, one line each.
    """

    run_id: str
    dag_id: str
    status: str
    total: int
    done: int
    failed: int
    requests: int
    started_at: datetime
    finished_at: datetime | None
    errors: tuple[str, ...]

    def __str__(self) -> str:
        if not self.total:
            return "nothing was planned, so nothing was fetched"
        reports = f"{self.done:,} of {format_count(self.total, 'report')} are fresh, {self.failed:,} failed"
        return f"{reports}; {format_count(self.requests, 'request')}"

    def is_over(self, now: datetime) -> bool:
        """Return whether nothing more comes: the run has ended, or it failed or was stopped without closing its job."""
        return self.finished_at is not None or now - self.started_at > LONGEST_RUN

    def get_state(self, now: datetime) -> str:
        """Return the status, or `stopped` for a run that is over and did not close its job."""
        return "stopped" if self.finished_at is None and self.is_over(now) else self.status

    def remaining_seconds(self, now: datetime) -> float | None:
        """Return how long the job still takes at its average pace; None before its first key, 0 when it is over."""
        if self.is_over(now):
            return 0.0
        processed = self.done + self.failed
        if not processed:
            return None
        elapsed = (now - self.started_at).total_seconds()
        return max(0.0, elapsed / processed * (self.total - processed))


class CauseKind(StrEnum):
    """What makes adwarm call the platform."""

    FORECAST = "forecast"
    STRATEGY = "strategy"
    DAY_CLOSE = "day_close"
    DATA_ARRIVAL = "data_arrival"
    NEW_QUERY = "new_query"
    READER = "reader"
    MANUAL = "manual"
    BACKFILL = "backfill"
    CHECK = "check"
    UNKNOWN = "unknown"

    @property
    def is_planned(self) -> bool:
        """Whether the calls are those of planned warms, which have a budget."""
        return self in _PLANNED


_TEXTS = {
    CauseKind.FORECAST: "forecast: a reader is expected",
    CauseKind.DAY_CLOSE: "day closing: a day has ended",
    CauseKind.DATA_ARRIVAL: "arrived data",
    CauseKind.NEW_QUERY: "a changed query of a report",
    CauseKind.READER: "readers who opened a missing or old report",
    CauseKind.MANUAL: "somebody: a command, a form or a DAG of yours",
    CauseKind.BACKFILL: "backfill",
    CauseKind.CHECK: "checks: accounts, health, capacity and reconciliation",
    CauseKind.UNKNOWN: "not recorded: before this version",
}
_BY_REASON = {
    WarmReason.PREDICTED_OPEN: CauseKind.FORECAST,
    WarmReason.DAY_CLOSED: CauseKind.DAY_CLOSE,
    WarmReason.DATA_ARRIVAL: CauseKind.DATA_ARRIVAL,
    WarmReason.SPEC_CHANGED: CauseKind.NEW_QUERY,
}
_PLANNED = {*_BY_REASON.values(), CauseKind.STRATEGY}
_BACKFILL_RUN = "backfill__"


@dataclass(frozen=True, slots=True, order=True)
class CallCause:
    """What makes a call."""

    kind: CauseKind
    strategy: str = ""

    def __str__(self) -> str:
        return f"strategy {self.strategy}" if self.kind is CauseKind.STRATEGY else _TEXTS[self.kind]


MANUAL_CAUSE = CallCause(CauseKind.MANUAL)


def find_cause(reason: WarmReason, strategy: str | None, run_id: str) -> CallCause:
    """Return what makes the calls of a planned warm; what a trigger form describes is of no strategy.

    Args:
        run_id: the run that planned it: DAG, a slash, and the run's id in Airflow.
    """
    if strategy is not None:
        return CallCause(CauseKind.STRATEGY, strategy)
    if run_id.partition("/")[2].startswith(_BACKFILL_RUN):
        return CallCause(CauseKind.BACKFILL)
    return CallCause(_BY_REASON.get(reason, CauseKind.MANUAL))
