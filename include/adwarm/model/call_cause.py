"""Why calls to the platform are made."""

from dataclasses import dataclass
from enum import StrEnum

from adwarm.model.enums import WarmReason


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
_BACKFILL_RUN = "backfill__"


@dataclass(frozen=True, slots=True, order=True)
class CallCause:
    """What makes a call.

    Attributes:
        kind: what it is.
        strategy: the strategy, when that is what it is.
    """

    kind: CauseKind
    strategy: str = ""

    def __str__(self) -> str:
        return f"strategy {self.strategy}" if self.kind is CauseKind.STRATEGY else _TEXTS[self.kind]


MANUAL_CAUSE = CallCause(CauseKind.MANUAL)


def find_cause(reason: WarmReason, strategy: str | None, run_id: str) -> CallCause:
    """Return what makes the calls of a planned warm; what a trigger form describes is of no strategy.

    Args:
        reason: why it was planned.
        strategy: the strategy that planned it.
        run_id: the run that planned it: DAG, a slash, and the run's id in Airflow.
    """
    if strategy is not None:
        return CallCause(CauseKind.STRATEGY, strategy)
    if run_id.partition("/")[2].startswith(_BACKFILL_RUN):
        return CallCause(CauseKind.BACKFILL)
    return CallCause(_BY_REASON.get(reason, CauseKind.MANUAL))
