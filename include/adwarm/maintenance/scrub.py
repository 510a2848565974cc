"""Reads everything that is stored once in `maintenance.scrub_days`, slowly, and sets aside what is damaged.

A pass goes on where the last run stopped. A run does what is due: the share of the pass that the time since its begin
stands for, and one day's share more, so that a run a day is enough. Marked entries and deleted days are fetched again
by the step that repairs, or by the next warm.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final

from adwarm.foundation.clock import Clock
from adwarm.maintenance.integrity import Recorder, count_by_kind
from adwarm.maintenance.integrity_checks import KINDS, count_items, list_items, run_check
from adwarm.maintenance.runner import Step, StepBudget, StepResult
from adwarm.store import Context, integrity_days
from adwarm.store.objects import OnDamage, ignore_damage

BYTES_PER_SECOND = 20e6
"""Rate at which stored bytes are read: slow enough to leave a disk to readers, and a terabyte takes 14 hours."""
_AHEAD: Final = timedelta(days=1)
_SLEEP_SECONDS: Final = 0.05
"""Shorter waits are collected."""
_SHOWN: Final = 20


def make_scrub(context: Context, clock: Clock, on_damage: OnDamage = ignore_damage) -> Step:
    """Return the step that verifies what is stored.

    Args:
        context: database, objects and the setting `maintenance.scrub_days`.
        on_damage: called with each damaged or unreadable thing.
    """

    def scrub(cursor: Any, budget: StepBudget) -> StepResult:
        return _Scrub(context, clock, on_damage).run(cursor, budget)

    return scrub


@dataclass(slots=True)
class _Position:
    """Where a pass goes on.

    Attributes:
        started: when the pass began.
        total: things that there were then.
        done: things that were checked so far.
        kind: position in `KINDS`.
        after: cursor within the kind; None at its begin.
    """

    started: datetime
    total: int
    done: int = 0
    kind: int = 0
    after: Any = None

    @classmethod
    def from_json(cls, cursor: Any) -> "_Position":
        started = datetime.fromisoformat(cursor["started"])
        return cls(started, cursor["total"], cursor["done"], cursor["kind"], cursor["after"])

    def to_json(self) -> dict[str, Any]:
        return {
            "started": self.started.isoformat(),
            "total": self.total,
            "done": self.done,
            "kind": self.kind,
            "after": self.after,
        }


@dataclass(slots=True)
class _Scrub:
    context: Context
    clock: Clock
    on_damage: OnDamage

    def run(self, cursor: Any, budget: StepBudget) -> StepResult:
        now = self.clock.now()
        if cursor is None:
            if (waits := self._find_wait(now)) is not None:
                return StepResult(skipped=waits)
            position = _Position(now, count_items(self.context))
            integrity_days.record_pass(self.context.engine, now, ended=False)
        else:
            position = _Position.from_json(cursor)
        recorder = Recorder(self.context, now, repair=True, on_damage=self.on_damage)
        try:
            is_over = self._check_due(position, recorder, budget)
        finally:
            recorder.save()
        if is_over:
            integrity_days.record_pass(self.context.engine, self.clock.now(), ended=True)
        return self._result(recorder, None if is_over else position)

    def _find_wait(self, now: datetime) -> str | None:
        """Return why no pass begins yet; a pass that was killed before its first result begins again."""
        totals = integrity_days.get_totals(self.context.engine, now)
        if totals.pass_started is None or totals.pass_ended is None or totals.pass_ended < totals.pass_started:
            return None
        begins = datetime.combine(totals.pass_started, time(), UTC) + self._pass_time
        if now >= begins:
            return None
        return f"the last pass ended on {totals.pass_ended}; the next begins on {begins:%Y-%m-%d}"

    @property
    def _pass_time(self) -> timedelta:
        return timedelta(days=self.context.settings.maintenance.scrub_days)

    def _check_due(self, position: _Position, recorder: Recorder, budget: StepBudget) -> bool:
        """Check what is due; return whether the pass is over."""
        pace = _Pace(self.clock, BYTES_PER_SECOND)
        due = self._count_due(position)
        while position.kind < len(KINDS):
            kind = KINDS[position.kind]
            items = list_items(self.context, kind, position.after)
            if position.done >= due:
                return False
            chosen = items if due == math.inf else items[: math.ceil(due - position.done)]
            checks = map(run_check, chosen) if kind == "entry" else self.context.objects.map(run_check, chosen)
            for item in chosen:
                if budget.is_used_up:
                    return False
                checked = next(checks)
                recorder.add(kind, checked)
                pace.wait(checked.bytes)
                position.after, position.done = item.cursor, position.done + 1
            if not items:
                position.kind, position.after = position.kind + 1, None
        return True

    def _count_due(self, position: _Position) -> float:
        """Return how many things should be checked by now; all once the time of the pass is over."""
        share = (self.clock.now() - position.started + _AHEAD) / self._pass_time
        return math.inf if share >= 1 else max(1, math.ceil(position.total * share))

    def _result(self, recorder: Recorder, position: _Position | None) -> StepResult:
        counts: dict[str, Any] = count_by_kind(recorder.result)
        lines = [f"{what}: {why}" for what, why in recorder.result.corrupt[:_SHOWN]]
        return StepResult(counts, None if position is None else position.to_json(), lines)


class _Pace:
    """Waits so that no more than `bytes_per_second` are read."""

    def __init__(self, clock: Clock, bytes_per_second: float) -> None:
        self._clock = clock
        self._rate = bytes_per_second
        self._free_at = clock.now().timestamp()

    def wait(self, size: int) -> None:
        """Wait for as long as reading `size` bytes should have taken."""
        now = self._clock.now().timestamp()
        self._free_at = max(self._free_at, now - _SLEEP_SECONDS) + size / self._rate
        if self._free_at - now > _SLEEP_SECONDS:
            self._clock.sleep(self._free_at - now)
