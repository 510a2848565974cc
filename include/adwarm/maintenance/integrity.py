"""Checks everything that is stored, and sets aside what is damaged, so that it is fetched again.

`verify_store` does it at once. The scrub reads everything once in seven days, slowly. A pass goes on
where the last run stopped. A run does what is due: the share of the pass that the time since its begin stands for, and
one day's share more, so that a run a day is enough. Marked entries and deleted days are fetched again by the step that
repairs, or by the next warm.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final

from adwarm.foundation.clock import Clock, SystemClock
from adwarm.foundation.errors import AdwarmError, Corrupt, StorageError
from adwarm.maintenance.integrity_checks import KINDS, Checked, Problem, count_items, list_items, run_check
from adwarm.maintenance.runner import Step, StepBudget, StepResult
from adwarm.recovery import RecoveryPipeline
from adwarm.recovery.call import STORED_DATA, Call
from adwarm.store import Context, integrity_days, quarantine
from adwarm.store.integrity_days import IntegrityCounts
from adwarm.store.objects import OnDamage, ignore_damage
from adwarm.store.quarantine import DamagedItem, DamagedKind

PASS_TIME: Final = timedelta(days=7)
"""The time in which the scrub checks everything once."""
BYTES_PER_SECOND = 20e6
"""Rate at which stored bytes are read: slow enough to leave a disk to readers, and a terabyte takes 14 hours."""
_AHEAD: Final = timedelta(days=1)
_SLEEP_SECONDS: Final = 0.05
"""Shorter waits are collected."""
_SHOWN: Final = 20


@dataclass(slots=True)
class KindCounts:
    """What was checked of one kind of data.

    Attributes:
        repaired: those that were set aside, so that whole data replaces them.
    """

    checked: int = 0
    damaged: int = 0
    repaired: int = 0
    bytes: int = 0


@dataclass
class IntegrityResult:
    """The result of a check."""

    kinds: dict[DamagedKind, KindCounts] = field(default_factory=lambda: {kind: KindCounts() for kind in KINDS})
    problems: list[Problem] = field(default_factory=list)

    @property
    def entries(self) -> int:
        """Entries that were checked."""
        return self.kinds["entry"].checked

    @property
    def objects(self) -> int:
        """Objects that were checked."""
        return sum(counts.checked for kind, counts in self.kinds.items() if kind != "entry")

    @property
    def corrupt(self) -> list[tuple[str, str]]:
        """What has a problem, and why."""
        return [(f"{problem.kind} {problem.subject}", problem.reason) for problem in self.problems]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        corrupt = [
            {
                "kind": problem.kind,
                "name": problem.name,
                "what": what,
                "why": why,
                "account_id": problem.account_id,
                "is_damaged": problem.is_damaged,
            }
            for problem, (what, why) in zip(self.problems, self.corrupt, strict=True)
        ]
        kinds = [{"kind": kind, **asdict(counts)} for kind, counts in self.kinds.items()]
        return {"entries": self.entries, "objects": self.objects, "kinds": kinds, "corrupt": corrupt}


def recording_damage(pipeline: RecoveryPipeline) -> OnDamage:
    """Return what records damaged data in the error history, so that an alert is raised about it.

    Nothing is healed: whoever checks sets damaged data aside by itself.
    """

    def record(error: Exception, account_id: str | None, subject: str | None) -> None:
        pipeline.record(error, call=Call(STORED_DATA, account_id=account_id, subject=subject))

    return record


def verify_store(
    context: Context, *, repair: bool = False, at: datetime | None = None, on_damage: OnDamage = ignore_damage
) -> IntegrityResult:
    """Verify and decode each entry, each object that a row refers to, and each forecast snapshot.

    Nothing that is stored can make it fail: each damaged or unreadable thing is a problem in the result. With `repair`,
    what is damaged is set aside: entries are marked degraded and the days of damaged objects are deleted, so that the
    next warm fetches them. A damaged object of the access log comes back when its hours are read again.

    Args:
        at: the time of the check, UTC; now by default.
        on_damage: called with each damaged or unreadable thing.
    """
    recorder = Recorder(context, at or SystemClock().now(), repair=repair, on_damage=on_damage)
    for kind in KINDS:
        for checked in _check_all(context, kind):
            recorder.add(kind, checked)
    recorder.save()
    return recorder.result


def _check_all(context: Context, kind: DamagedKind) -> Iterator[Checked]:
    cursor: Any = None
    while items := list_items(context, kind, cursor):
        # Entries are in the database; the other kinds are objects, which are read several at once behind a URL.
        yield from map(run_check, items) if kind == "entry" else context.objects.map(run_check, items)
        cursor = items[-1].cursor


class Recorder:
    """Collects the results of checks, sets aside what is damaged, and closes what was found whole again.

    Args:
        on_damage: called with each damaged or unreadable thing.
    """

    def __init__(self, context: Context, at: datetime, *, repair: bool, on_damage: OnDamage) -> None:
        self.result = IntegrityResult()
        self._context = context
        self._at = at
        self._repair = repair
        self._on_damage = on_damage
        self._open = quarantine.list_open_names(context.engine)

    def add(self, kind: DamagedKind, checked: Checked) -> None:
        """Count a check, and act on its result."""
        counts = self.result.kinds[kind]
        counts.checked += 1
        counts.bytes += checked.bytes
        if checked.problem is None:
            if kind != "entry" and (kind, checked.name) in self._open:
                quarantine.mark_healed(self._context.engine, kind, checked.name, self._at, "it is whole again")
            return
        counts.damaged += 1
        self.result.problems.append(checked.problem)
        self._report(checked.problem)
        if self._repair and checked.problem.is_damaged:
            counts.repaired += self._set_aside(checked.problem)

    def save(self) -> None:
        """Add the counts to the statistics of the day, and close the rows of entries that were fetched again."""
        totals = self.result.kinds.items()
        counts: dict[str, IntegrityCounts] = {
            kind: IntegrityCounts(n.checked, n.damaged, 0, n.bytes) for kind, n in totals if n.checked
        }
        integrity_days.add(self._context.engine, self._at, counts)
        accounts = quarantine.list_open_accounts(self._context.engine)
        if accounts:
            quarantine.mark_entries_healed(self._context.engine, accounts, self._at)

    def _report(self, problem: Problem) -> None:
        error = Corrupt(problem.reason) if problem.is_damaged else StorageError(problem.reason)
        self._on_damage(error, problem.account_id, str(problem.key or f"{problem.kind} {problem.subject}"))

    def _set_aside(self, problem: Problem) -> int:
        item = DamagedItem(problem.kind, problem.name, problem.account_id, problem.reason, self._at)
        try:
            quarantine.set_aside(self._context, item)
        except AdwarmError as error:  # a full disk: the damage stays and is found again
            self.result.problems[-1] = replace(problem, reason=f"{problem.reason}; it is not set aside: {error}")
            return 0
        return 1


def count_by_kind(result: IntegrityResult) -> dict[str, int]:
    """Return the sums over all kinds, for the result of a step."""
    sums: dict[str, int] = defaultdict(int)
    for counts in result.kinds.values():
        for name, value in asdict(counts).items():
            sums[name] += value
    return dict(sums)


def make_scrub(
    context: Context, clock: Clock, on_damage: OnDamage = ignore_damage, pass_time: timedelta = PASS_TIME
) -> Step:
    """Return the step that verifies what is stored.

    Args:
        on_damage: called with each damaged or unreadable thing.
    """

    def scrub(cursor: Any, budget: StepBudget) -> StepResult:
        return _Scrub(context, clock, on_damage, pass_time).run(cursor, budget)

    return scrub


@dataclass(slots=True)
class _Position:
    """Where a pass goes on."""

    started: datetime
    total: int
    done: int = 0
    kind: int = 0  # position in `KINDS`
    after: Any = None  # cursor within the kind

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
    pass_time: timedelta

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
        begins = datetime.combine(totals.pass_started, time(), UTC) + self.pass_time
        if now >= begins:
            return None
        return f"the last pass ended on {totals.pass_ended}; the next begins on {begins:%Y-%m-%d}"

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
        share = (self.clock.now() - position.started + _AHEAD) / self.pass_time
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
