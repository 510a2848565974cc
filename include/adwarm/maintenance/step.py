"""What a step of maintenance is: bounded work that a later run continues where this one stopped."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from adwarm.foundation.clock import Clock


@dataclass(frozen=True, slots=True)
class StepBudget:
    """The time that one run of a step may take.

    Attributes:
        clock: measures it.
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
        problems: sentences for a human, without secrets.
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
