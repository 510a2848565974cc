"""Why a report was or was not warm at a moment: what is recorded about it, and the answer. Values only.

`adwarm.planning.key_facts` reads the facts, and `adwarm.planning.rules` says what follows from them.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from adwarm.foundation.local_time import zone
from adwarm.model import Account, ReportKey, Snapshot, Warm
from adwarm.planning.explanations import Evidence, explain_opens
from adwarm.planning.recommendation import Recommendation
from adwarm.store.entries import Entry
from adwarm.store.error_events import ErrorEvent
from adwarm.store.key_history import Obstacle
from adwarm.store.switches import Switch, SwitchState


@dataclass(frozen=True, slots=True)
class FreshSpan:
    """A time in which an entry answered the key, as far as it is recorded.

    Attributes:
        fetched_at: from when it answered the key, UTC; its days may have been fetched before.
        until: when it stopped being fresh, UTC; None: its data is final.
        origin: where this is recorded, in words.
        restated_at: when data of its days arrived again while it was fresh, which ended it; None when none did.
    """

    fetched_at: datetime
    until: datetime | None
    origin: str
    restated_at: datetime | None = None

    @property
    def ended_at(self) -> datetime | None:
        """When it stopped being fresh, UTC; None: it has not."""
        return self.restated_at or self.until

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
    run_id: str = ""
    started_at: datetime | None = None
    is_missed: bool = False
    next_at: datetime | None = None
    row: Warm | None = None


@dataclass(frozen=True, slots=True)
class KeyDecision:
    """What a run decides about one key.

    Attributes:
        rule: the name of the rule that decides, one of the step `forecast`.
        item: the key as a plan would list it; None for one that the forecast does not know.
        fresh_until: until when the stored entry is fresh, UTC; of the rule `fresh`, None for good.
        peak_probability: probability of the likeliest hour before the expiry; of `later` and `not_due`.
        peak_at: predicted open of that hour, UTC.
    """

    rule: str
    item: Recommendation | None = None
    fresh_until: datetime | None = None
    peak_probability: float = 0.0
    peak_at: datetime | None = None

    @property
    def probability(self) -> float:
        """Probability of an open in the hour that the key is considered for, or its part that is left."""
        return float(self.item.explanation["probability"]) if self.item else 0.0

    @property
    def opens(self) -> str:
        """How often the key was opened in that hour of its readers' week, as a clause; empty for an unknown key."""
        return explain_opens(Evidence(**self.item.explanation["evidence"])) if self.item else ""


@dataclass(frozen=True, slots=True)
class ForecastState:
    """What the forecast said at the decision.

    Attributes:
        decision: what it leads to; None when it cannot be recomputed.
        problem: why it cannot be, and which setting keeps what is missing longer; empty when it can.
        snapshot: the forecast; None when none is stored.
        is_assumed: whether another forecast may have been live then; which one was is not recorded.
        known_until: end of the opens that the decision could use, UTC; None when it uses none.
    """

    decision: KeyDecision | None = None
    problem: str = "the forecast was not read"
    snapshot: Snapshot | None = None
    is_assumed: bool = False
    known_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class StrategyState:
    """Whether a strategy keeps the key warm.

    Attributes:
        excluded_because: why it leaves the key out; empty when it includes it.
        schedule: when it is due, and its latest due time up to the moment; empty when its row is not valid.
    """

    name: str
    excluded_because: str
    schedule: str


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """Everything that is recorded about a key at a moment.

    Attributes:
        account: the account as it is used now; None when it is not stored.
        denied_at: when access to it was denied by every connection, UTC; None when it is not.
        report_problem: why the report is not configured; empty when it is.
        switches: the switches that were ever changed.
        entry: the entry stored now for the days that the key covered at the moment; None without one.
        spans: when an entry answered the key, newest first.
        row: the newest row of a plan whose warm would have answered the key at the moment; None without one.
        warms_from: older warms are deleted.
        run: the run whose decision belongs to the moment; None when none is recorded nearby, or a plan
            has a row.
        forecast: what the forecast said; not read where that was not needed.
        obstacles: scopes that were parked in that time, and when the moment is now, sources whose breaker is open.
        open_value: value of a first open that finds a fresh entry, in calls.
    """

    key: ReportKey
    at: datetime
    now: datetime
    account: Account | None = None
    denied_at: datetime | None = None
    report_problem: str = ""
    switches: tuple[SwitchState, ...] = ()
    entry: Entry | None = None
    spans: tuple[FreshSpan, ...] = ()
    row: Warm | None = None
    strategies: tuple[StrategyState, ...] = ()
    warms_from: datetime | None = None
    run: RunState | None = None
    forecast: ForecastState = field(default_factory=ForecastState)
    errors: tuple[ErrorEvent, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()
    min_confidence: float = 0.1
    open_value: float = 8.0

    @property
    def is_future(self) -> bool:
        """Whether the moment is still to come."""
        return self.at > self.now

    @property
    def status(self) -> str:
        """The status of the account; empty when it is not stored."""
        return self.account.status if self.account else ""

    @property
    def was_denied(self) -> bool:
        """Whether access to the account was denied by the moment, or at a time that is not recorded."""
        return self.status == "denied" and not (self.denied_at and self.denied_at > self.at)

    @property
    def stop(self) -> SwitchState | None:
        """A switch that stopped warming at the moment; None without one."""
        changed = ((switch, switch.changed_at) for switch in self.switches if switch.is_turned)
        return next((switch for switch, at in changed if at is not None and at <= self.at), None)

    @property
    def turned_later(self) -> list[tuple[Switch, datetime]]:
        """The switches that were changed after the moment, and when."""
        return [(switch.name, at) for switch in self.switches if (at := switch.changed_at) and at > self.at]

    @property
    def span(self) -> FreshSpan | None:
        """The entry that was fresh at the moment; None without one."""
        return next((span for span in self.spans if span.covers(self.at)), None)

    @property
    def is_gone(self) -> bool:
        """Whether that entry, which would still be fresh, has been deleted or damaged by now."""
        span = self.span
        return span is not None and span.covers(self.now) and (self.entry is None or self.entry.degraded)

    @property
    def was_warm(self) -> bool:
        """Whether a fresh entry answered the key at the moment."""
        return self.span is not None and not self.is_gone

    @property
    def is_degraded(self) -> bool:
        """Whether the entry of the moment is stored, and degraded."""
        entry = self.entry
        return (
            entry is not None and entry.degraded and (self.is_gone or (not self.span and entry.fetched_at <= self.at))
        )

    @property
    def restated(self) -> FreshSpan | None:
        """The entry that would have been fresh at the moment without data that arrived again; None without one."""
        ended = (span for span in self.spans if span.restated_at and span.restated_at <= self.at)
        span = next(ended, None)
        return span if span and (span.until is None or span.until > self.at) else None

    @property
    def last_span(self) -> FreshSpan | None:
        """The newest entry that was fetched before the moment; None without one."""
        return next((span for span in self.spans if span.fetched_at <= self.at), None)

    @property
    def is_deleted(self) -> bool:
        """Whether what was planned at the moment is deleted."""
        return self.warms_from is not None and self.at < self.warms_from

    @property
    def row_status(self) -> str:
        """The status of the plan's row; empty without one."""
        return str(self.row.status) if self.row else ""

    @property
    def due(self) -> datetime:
        """When the warm of the plan's row was due, UTC; without a row the moment."""
        return (self.row.warm_at or self.row.decided_at) if self.row else self.at

    @property
    def decision(self) -> KeyDecision | None:
        """What the forecast leads to."""
        return self.forecast.decision

    @property
    def decided_by(self) -> str:
        """The rule of that decision; empty without one."""
        return self.decision.rule if self.decision else ""


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
        rule: the name of the rule that holds; empty for a step that is not reached.
    """

    name: str
    title: str
    status: StepStatus
    text: str
    rule: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer to "why was this not warm?".

    Attributes:
        zone: IANA zone of the account's readers.
        because: the answer in one clause, which starts with `because`.
    """

    key: ReportKey
    at: datetime
    zone: str
    is_warm: bool
    is_future: bool
    steps: tuple[Step, ...]
    because: str
    advice: str

    @property
    def headline(self) -> str:
        """The answer in one sentence, without the reason."""
        verb = "will" if self.is_future else "was"
        verb += ("" if self.is_warm else " not") + (" be" if self.is_future else "")
        local = self.at.astimezone(zone(self.zone))
        place = f"{local:%Y-%m-%d %H:%M} in {self.zone} ({self.at:%H:%M} UTC)"
        return f"{self.key} {verb} warm at {f'{self.at:%Y-%m-%d %H:%M} UTC' if self.zone == 'UTC' else place}"

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
            "steps": [asdict(step) for step in self.steps],
        }
