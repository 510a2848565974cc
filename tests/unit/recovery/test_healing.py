"""Tests of healing."""

import multiprocessing
import threading
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from sqlalchemy import Engine

from adwarm.foundation.clock import SystemClock, VirtualClock
from adwarm.foundation.errors import TokenDead, Transient
from adwarm.recovery.call import Call, Failure
from adwarm.recovery.healing import heal
from adwarm.store import open_engine
from adwarm.store.healing_runs import HealingRun, HealingStore
from tests.support.memory_recovery import MemoryLedger


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


def test_each_run_of_an_action_is_recorded(clock: VirtualClock) -> None:
    """With what it healed, why, the result and the process, without secrets; a run that was not made is not."""
    ledger = MemoryLedger(clock)
    failure = _fail(TokenDead("expired"))
    for healer in (Renewal("good"), Renewal("good"), Renewal("bad", works=False)):
        heal([healer], failure, ledger, clock, "worker:1")
    bad, good = ledger.list_recent(10)

    made = HealingRun(clock.now(), "good", "default", "meta", "TokenDead", True, "token renewed", 0.0, "worker:1")
    assert good == made
    assert (bad.action, bad.succeeded) == ("bad", False)
    assert "abcdefgh" not in bad.detail


class SlowRenewal(Renewal):
    """Renews the token while the others wait; the token works only after that."""

    def __init__(self, is_renewed: threading.Event) -> None:
        super().__init__()
        self.is_renewed = is_renewed
        self.release = threading.Event()

    def heal(self, failure: Failure) -> str:
        self.runs += 1
        self.release.wait(5)
        self.is_renewed.set()
        return "token renewed"

    def adopt(self, failure: Failure) -> bool:
        return self.is_renewed.is_set()


class ReleasingClock(SystemClock):
    """Lets the slow renewal end as soon as somebody waits for it."""

    def __init__(self, healer: SlowRenewal) -> None:
        self.healer = healer
        self.sleeps = 0

    def sleep(self, seconds: float) -> None:
        self.sleeps += 1
        self.healer.release.set()
        super().sleep(0.001)


def test_others_wait_for_the_one_that_heals(engine: Engine) -> None:
    """Of a hundred failing tasks one renews the token, the others wait for it, and all of them may try again."""
    healer = SlowRenewal(threading.Event())
    clock, ledger = ReleasingClock(healer), HealingStore(engine)
    healed: list[object] = []
    threads = [
        threading.Thread(target=lambda: healed.append(heal([healer], _fail(TokenDead()), ledger, clock)))
        for _ in range(100)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert healer.runs == 1
    assert healed == [("token_refresh", "default")] * 100
    assert clock.sleeps > 0
    assert len(ledger.list_recent(10)) == 1


def test_nobody_waits_long_for_a_worker_that_died(clock: VirtualClock) -> None:
    """The wait ends after ten seconds, and later callers of the same cool-down do not wait at all."""
    ledger, healer = MemoryLedger(clock), Renewal()
    assert ledger.acquire("token_refresh:default", 60)
    began = clock.now()
    assert heal([healer], _fail(TokenDead()), ledger, clock) is not None
    waited = (clock.now() - began).total_seconds()
    assert 9 < waited < 11
    began = clock.now()
    heal([healer], _fail(TokenDead()), ledger, clock)

    assert (clock.now(), healer.runs) == (began, 0)


class FileRenewal(Renewal):
    """Counts its runs in a file, for several processes; the token works once there is a line."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def heal(self, failure: Failure) -> str:
        with self.path.open("a") as file:
            file.write("renewed\n")
        return "token renewed"

    def adopt(self, failure: Failure) -> bool:
        return self.path.exists()


def _heal_in_process(url: str, path: Path, barrier: Barrier, results: "multiprocessing.Queue[bool]") -> None:
    """Meet a dead token in five threads of one process."""
    ledger = HealingStore(open_engine(url))
    barrier.wait()

    def fail() -> None:
        results.put(heal([FileRenewal(path)], _fail(TokenDead()), ledger, SystemClock()) is not None)

    threads = [threading.Thread(target=fail) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.slow
def test_several_processes_heal_once(engine: Engine, tmp_path: Path) -> None:
    """Fifteen failing tasks in three processes renew the token once, and all of them may try again."""
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(3), context.Queue()
    url, path = engine.url.render_as_string(hide_password=False), tmp_path / "renewals"
    processes = [context.Process(target=_heal_in_process, args=(url, path, barrier, results)) for _ in range(3)]
    for process in processes:
        process.start()
    healed = [results.get(timeout=60) for _ in range(15)]
    for process in processes:
        process.join()

    assert healed == [True] * 15
    assert path.read_text() == "renewed\n"
