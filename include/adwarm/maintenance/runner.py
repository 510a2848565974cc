"""Runs one step of maintenance: under its lease, from its cursor, within its time, with its result stored.

| event                                   | stored                                                          |
|-----------------------------------------|-----------------------------------------------------------------|
| the step returns a cursor               | the cursor; the next run goes on from it                        |
| it has looked at everything             | the end of the pass; the next run starts a new one              |
| it has nothing to do                    | the reason                                                      |
| it raises an error                      | the error; the next run starts from the same cursor             |
| its process is killed                   | nothing; after its lease another run starts from the same cursor|
| another process runs it                 | nothing; the report says who                                    |
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from adwarm.foundation import telemetry
from adwarm.foundation.clock import Clock, TimeLimit, limited
from adwarm.foundation.redaction import log_unexpected, redact
from adwarm.store import maintenance_steps
from adwarm.store.maintenance_steps import StepOutcome, StepState

log = logging.getLogger(__name__)
GRACE_SECONDS = 60.0
"""How long a step may exceed its time before another process may take it over."""
_MAX_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class StepBudget:
    """The time that one run of a step may take.

    Attributes:
        ends_at: seconds since the epoch after which the step returns its cursor.
    """

    clock: Clock
    ends_at: float

    @classmethod
    def of(cls, clock: Clock, seconds: float) -> "StepBudget":
        """Return a budget of `seconds` from now."""
        return cls(clock, clock.now().timestamp() + seconds)

    @property
    def is_used_up(self) -> bool:
        """Whether the step has to return."""
        return self.clock.now().timestamp() >= self.ends_at


@dataclass(slots=True)
class StepResult:
    """What one run of a step did.

    Attributes:
        counts: figures by name, for the log, the CLI and the table.
        cursor: JSON that the next run continues from; None when everything was looked at.
        keeps_state: whether everything was looked at although there is a cursor, which then holds what the next pass
            has to know.
        skipped: why there was nothing to do; None when something was done.
    """

    counts: dict[str, Any] = field(default_factory=dict)
    cursor: Any = None
    problems: list[str] = field(default_factory=list)
    skipped: str | None = None
    keeps_state: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether everything was looked at."""
        return self.cursor is None or self.keeps_state


Step = Callable[[Any, StepBudget], StepResult]
"""Runs from a cursor (None: from the start) within a budget. It may be killed at any moment and run again."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """How one run of a step ended.

    Attributes:
        status: `done` (everything was looked at), `more` (work is left), `skipped`, `failed`, or `held` (another
            process runs it).
        reason: why it was skipped, held or failed.
        held_seconds: for how long at most another process may still run it; 0 unless it is `held`.
    """

    name: str
    status: str
    counts: dict[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    seconds: float = 0.0
    reason: str | None = None
    error: Exception | None = None
    held_seconds: float = 0.0

    @property
    def has_more(self) -> bool:
        """Whether another run would go on where this one stopped."""
        return self.status == "more"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "step": self.name,
            "status": self.status,
            "counts": self.counts,
            "problems": list(self.problems),
            "seconds": round(self.seconds, 3),
            "reason": self.reason,
        }

    def __str__(self) -> str:
        if self.reason is not None:
            return f"{self.status}: {self.reason}"
        return describe_counts(self.counts)


def run_step(engine: Engine, name: str, step: Step, clock: Clock, seconds: float, owner: str) -> StepReport:
    """Run one step and store what it did.

    Returns:
        How it ended; an error of the step is in the report, not raised.
    """
    started = clock.now()
    state = maintenance_steps.acquire(engine, name, owner, started, seconds + GRACE_SECONDS)
    if state is None:
        other = maintenance_steps.find_state(engine, name)
        until = None if other is None else other.lease_until
        held_seconds = 0.0 if until is None else max(0.0, (until - started).total_seconds())
        return StepReport(name, "held", reason=_describe_holder(other), held_seconds=held_seconds)
    result, error = StepResult(cursor=state.cursor), None
    try:
        with limited(TimeLimit(seconds + GRACE_SECONDS, f"the step {name}")):
            result = step(state.cursor, StepBudget.of(clock, seconds))
    except Exception as failure:
        error = failure
        log_unexpected(log, failure, "step %s failed", name)
    except BaseException:  # the process is being stopped: the lease ends at once, the cursor stays
        _save(engine, name, owner, started, StepOutcome(state.cursor, clock.now(), 0.0, error="interrupted"))
        raise
    report = _describe(name, result, error, (clock.now() - started).total_seconds())
    _save(engine, name, owner, started, _outcome(report, result, clock.now()))
    telemetry.report(telemetry.STEP_SECONDS, report.seconds, step=name, status=report.status)
    for problem in report.problems:
        log.warning("%s: %s", name, problem)
    return report


def find_pause(state: StepState | None, every: timedelta, now: datetime) -> str | None:
    """Return why a step need not run yet; None when it is due.

    A step is due while a pass is under way, and once its last complete pass is `every` old.
    """
    if state is None or state.round_finished_at is None or state.round_started_at is not None:
        return None
    again_at = state.round_finished_at + every
    if now >= again_at:
        return None
    return f"complete since {state.round_finished_at:%Y-%m-%d %H:%M} UTC; due again at {again_at:%Y-%m-%d %H:%M} UTC"


def add_reports(first: StepReport, then: StepReport) -> StepReport:
    """Return two runs of one step as one: the numbers added up, and the end of the second."""
    numbers = {
        name: first.counts[name] + value if isinstance(value, int | float) and name in first.counts else value
        for name, value in then.counts.items()
    }
    return replace(
        then,
        counts={**first.counts, **numbers},
        problems=(*first.problems, *then.problems),
        seconds=first.seconds + then.seconds,
    )


def describe_counts(counts: dict[str, Any]) -> str:
    """Return counts as text without those that are 0, such as `deleted 3, kept 1`."""
    parts = [f"{name.replace('_', ' ')} {_number(value)}" for name, value in counts.items() if value]
    return ", ".join(parts) or "nothing to do"


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}" if isinstance(value, float) else str(value)


def _describe(name: str, result: StepResult, error: Exception | None, seconds: float) -> StepReport:
    problems = tuple(redact(text) for text in result.problems[:_MAX_PROBLEMS])
    if error is not None:
        reason = redact(f"{type(error).__name__}: {error}")
        return StepReport(name, "failed", seconds=seconds, reason=reason, error=error)
    if result.skipped is not None:
        return StepReport(
            name=name,
            status="skipped",
            counts=result.counts,
            problems=problems,
            seconds=seconds,
            reason=redact(result.skipped),
        )
    status = "done" if result.is_complete else "more"
    return StepReport(name, status, result.counts, problems, seconds)


def _outcome(report: StepReport, result: StepResult, at: datetime) -> StepOutcome:
    stored = {
        "counts": report.counts,
        "problems": list(report.problems),
        "skipped": report.reason if report.status == "skipped" else None,
    }
    failed = report.status == "failed"
    return StepOutcome(
        cursor=result.cursor,
        finished_at=at,
        seconds=report.seconds,
        result=None if failed else stored,
        error=report.reason if failed else None,
        is_complete=report.status == "done",
    )


def _save(engine: Engine, name: str, owner: str, started: datetime, outcome: StepOutcome) -> None:
    if not maintenance_steps.save(engine, name, owner, started, outcome):
        log.warning("step %s took longer than its lease, and another process has taken it over", name)


def _describe_holder(state: StepState | None) -> str:
    if state is None or state.lease_until is None:
        return "another process has just run it"
    until = f"{state.lease_until:%Y-%m-%d %H:%M:%S} UTC"
    return f"{state.owner} runs it since {state.started_at:%H:%M:%S} UTC; free at {until} at the latest"
