"""Tests of healing."""

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import TokenDead, Transient
from adwarm.recovery.healing import MemoryLedger, heal


class Renewal:
    """Renews the token, or fails to."""

    def __init__(self, name: str = "token_refresh", *, works: bool = True) -> None:
        self.name = name
        self.cooldown_seconds = 60.0
        self.works = works
        self.runs = 0

    def matches(self, error: BaseException) -> bool:
        return isinstance(error, TokenDead)

    def heal(self) -> str:
        self.runs += 1
        if not self.works:
            raise Transient("access_token=abcdefgh was not accepted")
        return "token renewed"


def test_only_a_matching_healer_runs(clock: VirtualClock) -> None:
    """An error nobody can cure is left to the next step."""
    healer = Renewal()

    assert heal([healer], Transient("down"), MemoryLedger(clock)) is None
    assert healer.runs == 0


def test_every_matching_healer_gets_its_turn(clock: VirtualClock) -> None:
    """The first that works ends the search (ER-14)."""
    broken, working = Renewal("a", works=False), Renewal("b")

    assert heal([broken, working], TokenDead(), MemoryLedger(clock)) == "b"
    assert (broken.runs, working.runs) == (1, 1)


def test_within_the_cooldown_a_good_run_counts_and_a_bad_one_does_not(clock: VirtualClock) -> None:
    """The action is not repeated: its result decides whether one more try is worth it (ER-11)."""
    ledger, good, bad = MemoryLedger(clock), Renewal("good"), Renewal("bad", works=False)
    for _ in range(5):
        assert heal([good], TokenDead(), ledger) == "good"
        assert heal([bad], TokenDead(), ledger) is None
    assert (good.runs, bad.runs) == (1, 1)

    clock.sleep(60)
    heal([good], TokenDead(), ledger)
    assert good.runs == 2


def test_nobody_sleeps_through_the_cooldown(clock: VirtualClock) -> None:
    """It guards against repetition; it is not a wait (ER-11)."""
    before = clock.now()
    heal([Renewal()], TokenDead(), MemoryLedger(clock))

    assert clock.now() == before
