"""Tests of healing."""

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import TokenDead, Transient
from adwarm.recovery.call import Call, Failure
from adwarm.recovery.healing import MemoryLedger, heal


class Renewal:
    """Renews the token, or fails to."""

    def __init__(self, name: str = "token_refresh", *, works: bool = True) -> None:
        self.action = name
        self.cooldown_seconds = 60.0
        self.works = works
        self.runs = 0

    def matches(self, failure: Failure) -> bool:
        return isinstance(failure.error, TokenDead)

    def scope(self, failure: Failure) -> str:
        return failure.call.connection

    def adopt(self, failure: Failure) -> bool:
        return self.works

    def heal(self, failure: Failure) -> str:
        self.runs += 1
        if not self.works:
            raise Transient("access_token=abcdefgh was not accepted")
        return "token renewed"


def _fail(error: Exception) -> Failure:
    return Failure(Call("meta", "default"), error)


def test_only_a_matching_healer_runs(clock: VirtualClock) -> None:
    """An error without a matching healer is left to the next step."""
    healer = Renewal()

    assert heal([healer], _fail(Transient("down")), MemoryLedger(clock), clock) is None
    assert healer.runs == 0


def test_matching_healers_run_until_one_succeeds(clock: VirtualClock) -> None:
    """The first that succeeds ends the search."""
    broken, working = Renewal("a", works=False), Renewal("b")

    assert heal([broken, working], _fail(TokenDead()), MemoryLedger(clock), clock) == ("b", "default")
    assert (broken.runs, working.runs) == (1, 1)


def test_within_the_cooldown_a_good_run_counts_and_a_bad_one_does_not(clock: VirtualClock) -> None:
    """The action is not repeated; its result decides whether another attempt is made."""
    ledger, good, bad = MemoryLedger(clock), Renewal("good"), Renewal("bad", works=False)
    for _ in range(5):
        assert heal([good], _fail(TokenDead()), ledger, clock) == ("good", "default")
        assert heal([bad], _fail(TokenDead()), ledger, clock) is None
    assert (good.runs, bad.runs) == (1, 1)

    clock.sleep(60)
    heal([good], _fail(TokenDead()), ledger, clock)
    assert good.runs == 2


def test_the_cooldown_is_not_waited_for(clock: VirtualClock) -> None:
    """It only prevents repetition."""
    before = clock.now()
    heal([Renewal()], _fail(TokenDead()), MemoryLedger(clock), clock)

    assert clock.now() == before
