"""Warms: a fetch that a run plans, its stored row, and what is recorded about it later; jobs; why calls are made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final

from adwarm.foundation.wording import format_count, format_part
from adwarm.model.policy import Mode, WarmReason
from adwarm_client.keys import Priority, ReportKey

LONGEST_RUN: Final = timedelta(hours=6)
"""After this time a run of a warming DAG is stopped."""
_BACKFILL_RUN = "backfill__"


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
    """A fetch of one key as a run plans it."""

    key: ReportKey
    reason: Annotated[WarmReason, 24, "Why it was planned."]
    mode: Annotated[Mode, "What is planned as `shadow` is never fetched."] = Mode.LIVE
    status: Annotated[WarmStatus, "How far it has come."] = WarmStatus.PLANNED
    batch: Annotated[int, "Number of the mapped task of the run that fetches the key."] = 0
    priority: Annotated[Priority, "Priority class of its calls."] = Priority.LOW
    decided_at: Annotated[datetime, "Decision time of the run."]
    predicted_open: Annotated[datetime | None, "When the first open is expected, if a forecast says so."] = None
    warm_at: Annotated[datetime | None, "When the fetch should start."] = None
    confidence: Annotated[float, "0 to 1, chance that the key is opened before the fetched entry expires."] = 0.0
    benefit: Annotated[float, "Chance times the value of an open, in calls."] = 0.0
    price: Annotated[float, "Price of its calls, in calls; higher when the quota is scarce."] = 0.0
    explanation: Annotated[Mapping[str, Any], "For humans: `why`, and `cut` without a fetch."] = field(
        default_factory=dict
    )
    expires_at: Annotated[datetime | None, "When the fetched entry expires; None when it is final."] = None
    strategy: Annotated[str | None, 80, "Stored strategy that keeps the key warm, if it is one."] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Warm(PlannedWarm):
    """A planned warm: when, why, what it cost and whether it was used."""

    id: int
    run_id: Annotated[str, 250, "Airflow run that planned it."]
    error: Annotated[str | None, "Why it is not served; None when it is."] = None
    fetched_at: Annotated[datetime | None, "From when readers got its entry, whose data may be older."] = None
    requests: Annotated[int, "Upstream calls it took."] = 0
    seconds: Annotated[float | None, "How long the fetch took, waiting included."] = None
    used: Annotated[bool | None, "Whether it was opened while fresh; None until known, or superseded."] = None
    first_use: Annotated[datetime | None, "The first such open."] = None
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


@dataclass(frozen=True, slots=True)
class Job:
    """The progress of one run."""

    run_id: Annotated[str, 250, "DAG id and Airflow's run id, separated by `/`, or id of a command."]
    dag_id: Annotated[str, 250, "DAG, or name of the command."]
    status: Annotated[str, 16, "`running`, `completed`, or `failed` when every key failed."]
    total: Annotated[int, "Keys to fetch."]
    done: Annotated[int, "Keys served."]
    failed: Annotated[int, "Keys that failed."]
    requests: Annotated[int, "Upstream calls so far."]
    started_at: Annotated[datetime, "When it started."]
    finished_at: Annotated[datetime | None, "When it ended."]
    errors: Annotated[tuple[str, ...], "The first 50 errors, one line each."]

    def __str__(self) -> str:
        if not self.total:
            return "nothing was planned, so nothing was fetched"
        reports = f"{format_part(self.done, self.total, 'report')} fresh, {self.failed:,} failed"
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
