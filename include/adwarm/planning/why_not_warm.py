"""Why a report was not warm at a moment: the chain of decisions that led there. Pure: facts in, steps out.

Each step says what it checked, in a sentence, with the facts. The first that explains the moment is decisive, and those
after it are not reached. What is not recorded is said to be so; nothing is guessed.
`adwarm.planning.key_facts` reads the facts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from adwarm.model import ReportKey, Warm
from adwarm.planning.key_decision import KeyDecision
from adwarm.store.error_events import ErrorEvent
from adwarm.store.key_history import AccountHistory, Obstacle, StoredEntry
from adwarm.store.switches import SwitchState


class StepStatus(StrEnum):
    """What a step means for the moment."""

    OK = "ok"
    DECISIVE = "decisive"
    NOT_REACHED = "not reached"


@dataclass(frozen=True, slots=True)
class Step:
    """One decision.

    Attributes:
        name: what was decided, such as `account`.
        title: the same for people.
        because: for a decisive step, a clause that starts with `because`.
    """

    name: str
    title: str
    status: StepStatus
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    because: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True)
class FreshSpan:
    """A time in which an entry answered the key, as far as it is recorded.

    Attributes:
        fetched_at: from when it answered the key, UTC; its days may have been fetched before.
        until: when it stopped being fresh, UTC; None: its data is final.
        origin: where this is recorded, in words.
        run_id: the run that fetched it; empty when no run did.
        restated_at: when data of its days arrived again while it was fresh, which ended it; None when none did.
    """

    fetched_at: datetime
    until: datetime | None
    origin: str
    run_id: str = ""
    restated_at: datetime | None = None

    def covers(self, at: datetime) -> bool:
        """Whether the entry was fresh at `at`."""
        ends = [end for end in (self.until, self.restated_at) if end is not None]
        return self.fetched_at <= at and all(at < end for end in ends)


@dataclass(frozen=True, slots=True)
class RunState:
    """The run of the forecast whose decision belongs to the moment.

    Attributes:
        run_id: its id; empty for a run that is still to come.
        started_at: when it started, UTC; None for a run that is still to come.
        is_missed: whether a later run should have decided before the moment and did not.
        next_at: the next decision after the question, UTC; None when later runs have decided since this one.
        row: its newest row of the key; None when its plan has none.
    """

    decided_at: datetime
    run_id: str
    started_at: datetime | None
    is_missed: bool
    step_seconds: float
    next_at: datetime | None = None
    row: Warm | None = None


@dataclass(frozen=True, slots=True)
class ForecastState:
    """What the forecast said at the decision.

    Attributes:
        decision: what it leads to; None when it cannot be recomputed.
        problem: why it cannot be, and which setting keeps what is missing longer; empty when it can.
        is_assumed: whether another forecast may have been live then; which one was is not recorded.
        known_until: end of the opens that the decision could use, UTC; None when it uses none.
    """

    decision: KeyDecision | None = None
    problem: str = ""
    snapshot_id: str = ""
    kind: str = ""
    trained_from: datetime | None = None
    trained_until: datetime | None = None
    is_assumed: bool = False
    known_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class StrategyState:
    """Whether a strategy keeps the key warm.

    Attributes:
        excluded_because: why it leaves the key out; empty when it includes it.
        last_due: its latest due time up to the moment, UTC; None when its row is not valid.
    """

    name: str
    excluded_because: str
    last_due: datetime | None
    cron: str


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """Everything that is recorded about a key at a moment.

    Attributes:
        account: the account; None when it is not stored.
        report_problem: why the report is not configured; empty when it is.
        switches: the switches that were ever changed.
        entry: the entry stored now for the days that the key covered at the moment; None without one.
        spans: when an entry answered the key, newest first.
        plan_row: the newest row of a plan whose warm would have answered the key at the moment; None without one.
        warms_from: older warms are deleted.
        run: the run whose decision belongs to the moment; None when none is recorded nearby.
        forecast: what the forecast said; None when that was not needed.
        obstacles: scopes that were parked in that time, and when the moment is now, sources whose breaker is open.
        open_value: value of a first open that finds a fresh entry, in calls.
    """

    key: ReportKey
    at: datetime
    now: datetime
    account: AccountHistory | None = None
    report_problem: str = ""
    switches: tuple[SwitchState, ...] = ()
    entry: StoredEntry | None = None
    spans: tuple[FreshSpan, ...] = ()
    plan_row: Warm | None = None
    strategies: tuple[StrategyState, ...] = ()
    warms_from: datetime | None = None
    run: RunState | None = None
    forecast: ForecastState | None = None
    errors: tuple[ErrorEvent, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()
    min_confidence: float = 0.1
    open_value: float = 8.0

    @property
    def is_future(self) -> bool:
        """Whether the moment is still to come."""
        return self.at > self.now

    @property
    def fresh_span(self) -> FreshSpan | None:
        """The entry that was fresh at the moment; None without one."""
        return next((span for span in self.spans if span.covers(self.at)), None)

    @property
    def is_gone(self) -> bool:
        """Whether that entry, which would still be fresh, has been deleted or damaged by now."""
        span = self.fresh_span
        return span is not None and span.covers(self.now) and (self.entry is None or self.entry.degraded)

    @property
    def was_warm(self) -> bool:
        """Whether a fresh entry answered the key at the moment."""
        return self.fresh_span is not None and not self.is_gone


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer to "why was this not warm?".

    Attributes:
        because: the answer in one clause.
    """

    key: ReportKey
    at: datetime
    is_warm: bool
    is_future: bool
    steps: tuple[Step, ...]
    because: str
    advice: str

    @property
    def headline(self) -> str:
        """The answer in one sentence, without the reason."""
        verb = (
            ("will be" if self.is_warm else "will not be") if self.is_future else "was" if self.is_warm else "was not"
        )
        return f"{self.key} {verb} warm at {self.at:%Y-%m-%d %H:%M} UTC"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values and datetimes."""
        return {
            "account_id": self.key.account_id,
            "date_range": self.key.date_range,
            "report": self.key.report,
            "at": self.at,
            "is_warm": self.is_warm,
            "is_future": self.is_future,
            "answer": f"{self.headline} {self.because}",
            "advice": self.advice,
            "steps": [
                {
                    "name": step.name,
                    "status": str(step.status),
                    "text": step.text,
                    "facts": {name: value for name, value in step.facts.items() if value is not None},
                }
                for step in self.steps
            ],
        }


Check = Callable[[KeyFacts], Step]
"""Returns one step of the chain."""
UNEXPLAINED: Final = "because nothing that is recorded explains it"


def explain_chain(facts: KeyFacts, checks: Mapping[str, Check]) -> Explanation:
    """Return the chain of `checks`, which are named by their titles; the first decisive one ends it."""
    steps: list[Step] = []
    decisive: Step | None = None
    for title, check in checks.items():
        if decisive is not None:
            text = "Not looked at: an earlier step explains it."
            steps.append(Step(title.lower().replace(" ", "_"), title, StepStatus.NOT_REACHED, text))
            continue
        step = check(facts)
        steps.append(step)
        decisive = step if step.status is StepStatus.DECISIVE else None
    because, advice = (decisive.because, decisive.advice) if decisive else (UNEXPLAINED, "Look at the log of the run.")
    is_warm = facts.was_warm or bool(decisive and decisive.facts.get("will_be_warm"))
    return Explanation(
        key=facts.key,
        at=facts.at,
        is_warm=is_warm,
        is_future=facts.is_future,
        steps=tuple(steps),
        because=because,
        advice=advice,
    )
