"""A batch's accounts side by side: waiting ones hold no thread, and whatever happens gives back what they hold."""

from dataclasses import dataclass, field

import pytest
from tests.unit.conftest import NOW
from tests.unit.prefetch.conftest import OpenAdmission
from tests.unit.prefetch.test_polling import Desk, report

from adwarm.clock import VirtualClock
from adwarm.errors import AdwarmError, TokenDead, Transient
from adwarm.model import Priority, ReportKey
from adwarm.prefetch import KeyOutcome, KeyStatus, Wanted
from adwarm.prefetch.crew import Crew
from adwarm.prefetch.polling import ReportWatch, Watched
from adwarm.prefetch.reporting import RunningReport
from adwarm.settings import SourceSettings
from adwarm.sources.protocol import JobProgress, JobState


@dataclass
class Account:
    """An account that needs so many reports; keeps a diary."""

    number: int
    reports: int = 1
    trouble: Exception | None = None
    lost: bool = False
    connection: str = ""
    diary: list[str] = field(default_factory=list)

    def outcome(self, status: KeyStatus) -> list[KeyOutcome]:
        """The account's one outcome."""
        self.diary.append(str(status))
        return [KeyOutcome(Wanted(ReportKey(f"act_{self.number}", "today")), status)]

    def step(self) -> list[KeyOutcome] | RunningReport:
        """Need a report, or be done."""
        if self.trouble:
            raise self.trouble
        if self.reports:
            self.reports -= 1
            return report(self.number)
        return self.outcome(KeyStatus.FETCHED)

    def landed(self, progress: JobProgress) -> None:
        """Note it down."""
        self.diary.append(f"landed {progress.state}")

    def looked(self, times: int) -> None:
        """Note it down."""
        self.diary.append("looked")

    def beat(self) -> None:
        """Fail when the lease was lost."""
        if self.lost:
            raise Transient("the lease was lost")

    def fail(self, error: AdwarmError) -> list[KeyOutcome]:
        """End."""
        return self.outcome(KeyStatus.FAILED)

    def hand_back(self, seen: Watched | None) -> list[KeyOutcome]:
        """End for now."""
        return self.outcome(KeyStatus.PARKED)


def crew(patience: float = 100, seconds: float = 10) -> tuple[Crew, Desk]:
    """A crew of two threads over an upstream whose reports take so long."""
    clock = VirtualClock(NOW)
    desk = Desk(clock)
    desk.tell = lambda report, age: JobProgress(JobState.READY if age >= seconds else JobState.PENDING, min(age, 99))

    def watch() -> ReportWatch:
        return ReportWatch(OpenAdmission(clock), clock, Priority.LOW, SourceSettings())

    return Crew(2, patience, clock, watch, lambda connection: desk), desk  # type: ignore[arg-type]


def test_waiting_accounts_hold_no_thread() -> None:
    """Twenty accounts wait at the same time though there are two threads, and each goes on when its report landed."""
    team, desk = crew()
    runs = [Account(number, reports=1) for number in range(20)]
    assert len(team.carry(runs)) == 20
    assert max(len(asked) for asked in desk.asked) > 2
    assert all(run.diary[-2:] == ["landed ready", "fetched"] for run in runs)


def test_an_account_may_wait_more_than_once() -> None:
    """One report after the other."""
    team, _ = crew()
    run = Account(1, reports=3)
    team.carry([run])
    assert run.diary.count("landed ready") == 3


def test_patience_ends_when_nothing_moves() -> None:
    """Reports that take too long are handed back, also when the patience is none at all."""
    for patience in (20.0, 0.0):
        team, _ = crew(patience, seconds=1_000)
        runs = [Account(1), Account(2, reports=0)]
        assert sorted(str(outcome.status) for outcome in team.carry(runs)) == ["fetched", "parked"]


def test_a_lost_lease_ends_its_account_only() -> None:
    """The others go on waiting."""
    team, _ = crew()
    runs = [Account(1, lost=True), Account(2)]
    assert sorted(str(outcome.status) for outcome in team.carry(runs)) == ["failed", "fetched"]


def test_a_dead_token_ends_all_that_wait_for_it() -> None:
    """Nobody is left waiting."""
    team, desk = crew()
    desk.trouble = [TokenDead()]
    assert [str(outcome.status) for outcome in team.carry([Account(1), Account(2)])] == ["failed"] * 2


def test_a_bug_gives_back_what_waiting_accounts_hold() -> None:
    """What is no error of ours comes out as it is, after every waiting account was handed back."""
    team, _ = crew(seconds=1_000)
    waiting = Account(1)
    with pytest.raises(ZeroDivisionError):
        team.carry([waiting, Account(2, reports=0), Account(3, trouble=ZeroDivisionError())])
    assert waiting.diary[-1:] == ["parked"]
