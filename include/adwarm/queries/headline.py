"""The verdict: one state of the whole installation, why, and what to do next; the page and `adwarm status` show it.

The first rule that applies decides:

| state     | when                                                                                        |
|-----------|---------------------------------------------------------------------------------------------|
| `stopped` | calls or warming are switched off                                                           |
| `stuck`   | a source is not called because its calls fail, or calls of a shared scope are paused        |
| `stuck`   | no run has planned anything for `LATE_AFTER`, although one did before                       |
| `stuck`   | a request has waited in the queue for `LONG_WAIT`                                           |
| `partly`  | shadow mode: warms are planned and not fetched                                              |
| `partly`  | alerts are open                                                                             |
| `partly`  | nothing is stored                                                                           |
| `unknown` | there were fewer than `FEWEST_OPENS` first opens in the last 24 hours                       |
| `cold`    | no first open of the last 24 hours found a fresh report                                     |
| `partly`  | fewer than `GOOD_RATIO` of the first opens of the last 24 hours found a fresh report        |
| `warm`    | otherwise                                                                                   |

Only `warm`, `cold` and "partly warm" say how warm the cache is, and only of enough first opens. The other sentences say
what is wrong and leave that to the figures.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import Engine

from adwarm.backpressure.request_queue import QueueStatus
from adwarm.foundation.gate import Rule, to_datetime
from adwarm.foundation.wording import (
    describe_scope,
    format_ago,
    format_count,
    format_duration,
    format_sentence,
    format_utc,
    format_visible,
)
from adwarm.model import Mode
from adwarm.planning.explanations import format_percent
from adwarm.queries.operation import get_situation
from adwarm.store.gates import list_closed
from adwarm.store.read_traffic import get_day_totals
from adwarm.store.switches import SwitchState, to_switches

LATE_AFTER: Final = timedelta(hours=3)
LONG_WAIT: Final = timedelta(minutes=30)
GOOD_RATIO: Final = 0.8
FEWEST_OPENS: Final = 20


class State(StrEnum):
    """Whether reports are warm."""

    WARM = "warm"
    PARTLY = "partly"
    STUCK = "stuck"
    STOPPED = "stopped"
    COLD = "cold"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """The figures that the headline rests on; see `load_situation`.

    Attributes:
        first_opens: of the last 24 hours.
        first_hits: those of them that found a fresh report.
        mode: of the deployed policy; None without one.
        newest_run: when the last warming run started.
        parked_scope: the shared capacity scope that is parked the longest; None without one.
        parked_until: when it is called again.
        broken_source: a source whose breaker is not closed, the one that is tested last; None without one.
        probe_at: when it is tested next.
        waiting: pending requests.
        oldest_seconds: since when the oldest of them waits.
        switches: those that were ever turned, by name.
    """

    first_opens: int = 0
    first_hits: int = 0
    has_entries: bool = False
    mode: str | None = None
    newest_run: datetime | None = None
    open_alerts: int = 0
    parked_scope: str | None = None
    parked_until: datetime | None = None
    parked_why: str | None = None
    broken_source: str | None = None
    probe_at: datetime | None = None
    waiting: int = 0
    oldest_seconds: float = 0.0
    switches: dict[str, SwitchState]

    @property
    def first_hit_ratio(self) -> float | None:
        """The share of first opens that found a fresh report; None without a first open."""
        return self.first_hits / self.first_opens if self.first_opens else None

    @property
    def is_warming_on(self) -> bool:
        """Whether calls and warming are on; they are until somebody switches one off."""
        return all(name not in self.switches or self.switches[name].is_on for name in ("calls", "warming"))

    @property
    def is_shadow(self) -> bool:
        """Whether warms are planned and not fetched."""
        return ("shadow" in self.switches and self.switches["shadow"].is_on) or self.mode == Mode.SHADOW


@dataclass(frozen=True, slots=True)
class Headline:
    """What an operator reads first.

    Attributes:
        state: see the table above.
        reason: what it rests on.
        next_step: what to do; empty when there is nothing to do.
        link: tab that shows more, as a relative URL.
    """

    state: State
    sentence: str
    reason: str
    next_step: str
    link: str


def load_situation(engine: Engine, queue: QueueStatus, now: datetime) -> Situation:
    """Return the figures of now: of shared scopes the one parked longest, of sources the one tested last."""
    figures, day = get_situation(engine), get_day_totals(engine, now)
    gates = list_closed(engine, now.timestamp(), also=Rule.SWITCH)
    shared = [gate for gate in gates if gate.account_id is None]
    parked = next((gate for gate in shared if gate.rule is Rule.PARK), None)
    broken = next((gate for gate in shared if gate.rule is Rule.BREAKER), None)
    names = ("mode", "newest_run", "open_alerts")
    return Situation(
        first_opens=int(day["first_opens"]),
        first_hits=int(day["first_hits"]),
        has_entries=figures.any_entry is not None,
        waiting=queue.pending,
        oldest_seconds=queue.oldest_seconds or 0.0,
        switches={str(name): state for name, state in to_switches(gates).items() if state.changed_at is not None},
        parked_scope=parked.scope if parked else None,
        parked_until=to_datetime(parked.closed_until) if parked else None,
        parked_why=parked.why if parked else None,
        broken_source=broken.scope.removeprefix("source:") if broken else None,
        probe_at=to_datetime(broken.closed_until) if broken else None,
        **{name: figures._mapping[name] for name in names},
    )


def evaluate_situation(situation: Situation, now: datetime) -> Headline:
    """Return the headline of a situation."""
    situations = (rule(situation, now) for rule in _RULES)
    return next((headline for headline in situations if headline is not None), _warm(situation))


def _stopped(situation: Situation, now: datetime) -> Headline | None:
    if situation.is_warming_on:
        return None
    switch = next(item for name, item in situation.switches.items() if name != "shadow" and not item.is_on)
    why = f": {format_visible(switch.why)}" if switch.why else ""
    reason = f"{format_visible(switch.changed_by)} switched it off {format_ago(switch.changed_at or now, now)}{why}."
    step = f"Switch {switch.name} on, in the tab Actions, when the reason no longer applies."
    sentence = "Warming is switched off: nothing is fetched ahead."
    if switch.name == "calls":
        sentence = "Calls are switched off: nothing is fetched, also not for readers."
    return Headline(State.STOPPED, sentence, reason, step, "actions")


def _broken(situation: Situation, now: datetime) -> Headline | None:
    if situation.broken_source is None:
        return None
    name, probe = situation.broken_source, situation.probe_at
    test = (
        f"the next test is {format_ago(probe, now)}" if probe is not None and probe > now else "the next call is a test"
    )
    reason = f"Calls to {name} kept failing, so they are paused; {test}."
    step = "Read the newest errors in the tab Flow. Stored reports are served; calls go on after a good test."
    return Headline(State.STUCK, f"Stuck: {name} does not answer.", reason, step, "flow")


def _parked(situation: Situation, now: datetime) -> Headline | None:
    until = situation.parked_until
    if situation.parked_scope is None or until is None or until <= now:
        return None
    name = describe_scope(situation.parked_scope)
    why = format_visible(situation.parked_why or "The platform asked for a pause")
    reason = f"{why}; calls pause until {format_utc(until)}."
    step = "Wait, which needs no action. If this returns daily, lower the budgets of the strategies."
    return Headline(State.STUCK, f"Stuck: calls of {name} are paused.", reason, step, "flow")


def _late(situation: Situation, now: datetime) -> Headline | None:
    if situation.newest_run is None or now - situation.newest_run < LATE_AFTER:
        return None
    reason = f"The last warming run started {format_ago(situation.newest_run, now)}; one is due every 15 minutes."
    step = (
        "Look in Airflow whether the DAG adwarm_intelligent_warming is paused or fails, and whether the scheduler runs."
    )
    return Headline(State.STUCK, "Stuck: no run plans warms any more.", reason, step, "flow")


def _waiting(situation: Situation, now: datetime) -> Headline | None:
    del now
    if not situation.waiting or situation.oldest_seconds < LONG_WAIT.total_seconds():
        return None
    waits = format_count(situation.waiting, "request waits", "requests wait")
    reason = f"{waits} in the queue, the oldest was made {format_duration(situation.oldest_seconds)} ago."
    step = "See in the tab Flow what limits the calls, and in Airflow whether the DAG adwarm_request_queue runs."
    return Headline(State.STUCK, "Stuck: requested reports are not fetched in time.", reason, step, "flow")


def _shadow(situation: Situation, now: datetime) -> Headline | None:
    del now
    if not situation.is_shadow:
        return None
    step = "Compare what it would have warmed, in the tab Evidence, then switch shadow mode off in the tab Actions."
    return Headline(
        State.PARTLY,
        "Shadow mode plans warms and fetches none of them.",
        "Only strategies, requests and finished days are fetched.",
        step,
        "evidence",
    )


def _empty(situation: Situation, now: datetime) -> Headline | None:
    del now
    if situation.has_entries:
        return None
    step = "Run the DAG adwarm_intelligent_warming in Airflow, or warm one report now in the tab Actions."
    reason = f"No report is stored now. {_describe_hits(situation)}"
    return Headline(State.PARTLY, "Nothing is stored.", reason, step, "actions")


def _alerted(situation: Situation, now: datetime) -> Headline | None:
    del now
    if not situation.open_alerts:
        return None
    alerts = format_count(situation.open_alerts, "alert is open", "alerts are open")
    step = "Follow the next step of each open alert."
    return Headline(State.PARTLY, f"{alerts}.", _describe_hits(situation), step, "now#alerts")


def _unmeasured(situation: Situation, now: datetime) -> Headline | None:
    del now
    if situation.first_opens >= FEWEST_OPENS:
        return None
    reason = f"{_describe_hits(situation)} It takes {FEWEST_OPENS} to tell."
    step = "Let dashboards read the read API (`adwarm serve`), and look again after a day."
    return Headline(State.UNKNOWN, "Too few opens to tell how warm the cache is.", reason, step, "plan")


def _cold(situation: Situation, now: datetime) -> Headline | None:
    del now
    ratio = situation.first_hit_ratio
    if ratio is None or ratio >= GOOD_RATIO:
        return None
    step = "See in the tab Plan which reports were cut and why; a larger call budget warms more of them."
    if not situation.first_hits:
        return Headline(State.COLD, "Cold: every reader has to wait.", _describe_hits(situation), step, "plan")
    return Headline(State.PARTLY, "Partly warm: many readers have to wait.", _describe_hits(situation), step, "plan")


def _warm(situation: Situation) -> Headline:
    return Headline(State.WARM, "The cache is warm.", _describe_hits(situation), "", "plan")


def _describe_hits(situation: Situation) -> str:
    ratio = situation.first_hit_ratio
    if ratio is None:
        return "Nobody opened a report through adwarm in the last 24 hours."
    opens = format_count(situation.first_opens, "first open", "first opens")
    share = format_percent(ratio)
    return f"{format_sentence(share)} of {opens} in the last 24 hours found a fresh report."


_RULES: Final[tuple[Callable[[Situation, datetime], Headline | None], ...]] = (
    _stopped,
    _broken,
    _parked,
    _late,
    _waiting,
    _shadow,
    _alerted,
    _empty,
    _unmeasured,
    _cold,
)
