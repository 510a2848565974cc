"""Tests of the recovery pipeline: every step is reached, in order, and none hides another."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import (
    AdwarmError,
    Corrupt,
    Isolated,
    NotAdmitted,
    NotFound,
    Refused,
    Throttled,
    TokenDead,
    Transient,
)
from adwarm.foundation.gate import Gate, Rule
from adwarm.recovery import Call, ErrorEvent, Failure, Fallback, RecoveryPipeline, RunOptions
from adwarm.recovery.retry import RETRY_BUDGET
from adwarm.settings import RecoverySettings
from adwarm.store.gates import Change
from adwarm.store.healing_runs import HealingRun
from tests.support.memory_recovery import MemoryGates, memory_options

from .conftest import MemoryJournal

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


class Inbox:
    """Collects what the pipeline reports, or fails."""

    def __init__(self, *, broken: bool = False) -> None:
        self.observed: list[ErrorEvent] = []
        self.raised: list[ErrorEvent] = []
        self.broken = broken

    def observe(self, event: ErrorEvent) -> None:
        self._add(self.observed, event)

    def raise_once(self, event: ErrorEvent) -> None:
        self._add(self.raised, event)

    def _add(self, events: list[ErrorEvent], event: ErrorEvent) -> None:
        if self.broken:
            raise OSError("the inbox is gone")
        events.append(event)


def test_an_error_met_elsewhere_is_recorded_and_may_raise_an_alert(journal: MemoryJournal, clock: VirtualClock) -> None:
    """It gets the kind of its class and the names of the call; no healer runs."""
    inbox, healer = Inbox(), Renewal()
    options = memory_options(clock, alerts=inbox, healers=[healer])
    pipeline = RecoveryPipeline(RecoverySettings(), journal, clock, Random(1), **options)
    pipeline.record(Corrupt("damaged"), call=Call("store", account_id="act_1", subject="act_1 last_7d"))
    (event,) = inbox.observed
    assert journal.events == [event]
    assert (event.kind, event.source, event.account_id, event.subject) == ("Corrupt", "store", "act_1", "act_1 last_7d")
    assert healer.runs == 0


class Renewal:
    """A healer that makes the operation work again."""

    action = "token_refresh"
    cooldown_seconds = 60.0

    def __init__(self) -> None:
        self.runs = 0
        self.refused: list[str] = []

    def matches(self, failure: Failure) -> bool:
        return isinstance(failure.error, TokenDead | Corrupt)

    def scope(self, failure: Failure) -> str:
        return failure.call.connection

    def adopt(self, failure: Failure) -> bool:
        return True

    def heal(self, failure: Failure) -> str:
        self.runs += 1
        self.refused.append(getattr(failure.error, "credential", ""))
        return "renewed"


class Script:
    """An operation with scripted outcomes; the last one repeats."""

    def __init__(self, *outcomes: Exception | str) -> None:
        self.outcomes = list(outcomes)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


Make = Callable[..., RecoveryPipeline]


@pytest.fixture
def make(clock: VirtualClock, journal: MemoryJournal, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes pipelines on the test's clock, with a retry for each first attempt."""
    monkeypatch.setattr("adwarm.recovery.pipeline.RETRY_BUDGET", 1.0)

    def _make(*, settings: dict[str, Any] | None = None, **parts: Any) -> RecoveryPipeline:
        chosen = RecoverySettings(**(settings or {}))
        journal_used = parts.pop("journal", journal)
        return RecoveryPipeline(chosen, journal_used, clock, Random(1), **memory_options(clock, **parts))

    return _make


def stale(value: str = "stale rows", name: str = "store") -> Fallback[str]:
    """A fallback that returns old data at once."""
    return Fallback(name, lambda: value, 1.0, as_of=lambda _: NOON)


def failing(error: Exception, name: str) -> Fallback[str]:
    """A fallback without a result."""
    return Fallback(name, Script(error), 1.0)


def test_a_successful_operation_is_returned(make: Make, journal: MemoryJournal) -> None:
    """The result comes from the operation's source, at the first attempt, and nothing is recorded."""
    answer = make().run(Script("rows"), call=Call("meta", subject="act_1"), fallbacks=[stale()])

    assert (answer.value, answer.source, answer.is_degraded, answer.attempts) == ("rows", "meta", False, 1)
    assert (answer.reason, len(journal.events)) == (None, 0)


def test_a_transient_error_is_retried(make: Make, journal: MemoryJournal, clock: VirtualClock) -> None:
    """It is retried after a wait, and the failed attempt is recorded with its subject."""
    before = clock.now()
    answer = make().run(Script(Transient("down"), "rows"), call=Call("meta", subject="act_1"))

    assert (answer.value, answer.is_degraded, answer.attempts) == ("rows", False, 2)
    assert [(e.source, e.kind, e.subject) for e in journal.events] == [("meta", "Transient", "act_1")]
    assert clock.now() > before


def test_exhausted_retries_fall_back_and_alert(make: Make, journal: MemoryJournal) -> None:
    """After the retries the fallback is used, then the last failed attempt is reported for alerts."""
    inbox = Inbox()
    pipeline = make(alerts=inbox)
    answer = pipeline.run(Script(Transient("down")), call=Call("meta"), fallbacks=[stale()])

    assert (answer.value, answer.source, answer.is_degraded, answer.attempts) == ("stale rows", "store", True, 3)
    assert (answer.reason, answer.as_of) == ("Transient: down", NOON)
    assert isinstance(answer.error, Transient)
    assert inbox.observed == journal.events[-1:]
    assert len(journal.events) == 3


def test_a_dead_token_is_healed_and_tried_once_more(make: Make) -> None:
    """Healing comes before the fallback, and the operation returns its result."""
    healer = Renewal()
    answer = make(healers=[healer]).run(Script(TokenDead(), "rows"), call=Call("meta"), fallbacks=[stale()])

    assert (answer.value, answer.is_degraded, answer.attempts, healer.runs) == ("rows", False, 2, 1)
    assert answer.reason == "healed by token_refresh"


def test_after_healing_there_is_one_attempt(make: Make) -> None:
    """A healer that did not help leads to the fallback, not to another round."""
    operation = Script(TokenDead())
    answer = make(healers=[Renewal()]).run(operation, call=Call("meta"), fallbacks=[stale()])

    assert (answer.source, operation.calls) == ("store", 2)


def test_the_error_after_healing_names_the_first_as_its_cause(make: Make) -> None:
    """Both errors are visible."""
    first, second = TokenDead("expired"), Transient("down")
    with pytest.raises(Transient) as caught:
        make(healers=[Renewal()]).run(Script(first, second), call=Call("meta"))

    assert caught.value is second
    assert caught.value.__cause__ is first


def test_an_existing_cause_is_kept(make: Make) -> None:
    """The first error is appended to the end of the chain."""
    first, second, socket = TokenDead("expired"), Transient("down"), OSError("reset")
    second.__cause__ = socket
    with pytest.raises(Transient) as caught:
        make(healers=[Renewal()]).run(Script(first, second), call=Call("meta"))

    assert caught.value.__cause__ is socket
    assert socket.__cause__ is first


def test_the_same_error_raised_twice_makes_no_cycle(make: Make) -> None:
    """An operation may raise the same object again."""
    with pytest.raises(TokenDead) as caught:
        make(healers=[Renewal()]).run(Script(TokenDead("expired")), call=Call("meta"))

    assert caught.value.__cause__ is None


def test_many_failures_heal_once(make: Make) -> None:
    """Eight callers meet a dead token: one healer runs."""
    healer = Renewal()
    pipeline = make(healers=[healer])
    for _ in range(8):
        assert pipeline.run(Script(TokenDead(), "rows"), call=Call("meta")).value == "rows"

    assert healer.runs == 1


def test_when_all_fails_the_original_error_is_raised_with_notes(make: Make) -> None:
    """Its type is kept, and its notes say how each fallback failed, without secrets."""
    error = Transient("down")
    with pytest.raises(Transient) as caught:
        make().run(
            Script(error),
            call=Call("meta"),
            fallbacks=[failing(NotFound("no entry"), "store"), failing(OSError("password=hunter22"), "disk")],
        )

    assert caught.value is error
    notes = caught.value.__notes__
    assert notes[:2] == ["retried 2 times", "fallback store failed: NotFound: no entry"]
    assert "hunter22" not in notes[2]


def test_a_slow_fallback_is_skipped(make: Make) -> None:
    """Each fallback has its own timeout, and the next one is used."""
    release = threading.Event()
    slow = Fallback("slow", lambda: str(release.wait(5)), 0.01)
    answer = make().run(Script(Transient("down")), call=Call("meta"), fallbacks=[slow, stale()])
    release.set()

    assert answer.source == "store"


def test_an_isolated_fallback_is_skipped_and_comes_back(make: Make, clock: VirtualClock) -> None:
    """A failing fallback is not called for five minutes; then it is tried again."""
    warehouse = Script(Transient("down"))
    places = [Fallback("warehouse", warehouse, 1.0), stale()]
    pipeline = make(settings={"max_attempts": 1})
    for _ in range(8):
        pipeline.run(Script(Transient("down")), call=Call("meta"), fallbacks=places)
    assert warehouse.calls == 5

    clock.sleep(300)
    warehouse.outcomes = ["rows"]
    answer = pipeline.run(Script(Transient("down")), call=Call("meta"), fallbacks=places)
    assert (answer.value, answer.source) == ("rows", "warehouse")


def test_a_fallback_without_a_result_is_not_isolated(make: Make) -> None:
    """`NotFound` is a regular response."""
    empty = Script(NotFound("no entry"))
    pipeline = make(settings={"max_attempts": 1})
    for _ in range(10):
        pipeline.run(Script(Transient("x")), call=Call("meta"), fallbacks=[Fallback("s", empty, 1.0), stale()])

    assert empty.calls == 10


def test_a_throttle_is_raised_at_once(make: Make, clock: VirtualClock, journal: MemoryJournal) -> None:
    """A quota is not waited for here; the error is recorded, and a fallback is still used."""
    before = clock.now()
    throttle = Throttled("enough", scope="account:act_1", until=NOON)
    with pytest.raises(Throttled):
        make().run(Script(throttle), call=Call("meta"))

    assert (clock.now(), len(journal.events)) == (before, 1)
    answer = make().run(Script(throttle), call=Call("meta"), fallbacks=[stale()])
    assert (answer.is_degraded, answer.error) == (True, throttle)


def test_foreign_errors_are_recorded_and_raised(make: Make, journal: MemoryJournal) -> None:
    """A bug in the operation is recorded and raised unchanged."""
    with pytest.raises(KeyError):
        make().run(Script(KeyError("spend")), call=Call("meta"))

    assert [e.kind for e in journal.events] == ["KeyError"]


def test_an_interrupt_is_not_recovered_from(make: Make, journal: MemoryJournal) -> None:
    """Stopping a task stops it."""

    def interrupted() -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make().run(interrupted, call=Call("meta"), fallbacks=[stale()])
    assert len(journal.events) == 0


def test_success_after_retries_still_checks_the_threshold(make: Make) -> None:
    """An upstream that fails every other time causes an alert too."""
    inbox = Inbox()
    pipeline = make(alerts=inbox)
    for _ in range(5):
        pipeline.run(Script(Transient("down"), "rows"), call=Call("meta"))

    assert len(inbox.observed) == 5


class BrokenJournal:
    """A journal whose database is gone."""

    def record(self, event: ErrorEvent) -> None:
        raise OSError("the database is gone")


class BrokenLedger:
    """A ledger whose database is gone."""

    def acquire(self, name: str, cooldown_seconds: float) -> bool:
        raise OSError("the database is gone")

    def finish(self, name: str, *, succeeded: bool, detail: str, run: HealingRun | None = None) -> None:
        raise OSError("the database is gone")

    def is_running(self, name: str, seconds: float) -> bool:
        raise OSError("the database is gone")


class BrokenStore:
    """Gates whose database is gone."""

    def list_gates(self, now: float, *rules: Rule) -> list[Gate]:
        raise OSError("the database is gone")

    def change(self, scope: str, rule: Rule, change: Change) -> Gate:
        raise OSError("the database is gone")


@pytest.mark.parametrize(
    "parts",
    [
        {"journal": BrokenJournal()},
        {"ledger": BrokenLedger()},
        {"gates": BrokenStore()},
        {"alerts": Inbox(broken=True)},
    ],
)
def test_broken_bookkeeping_never_replaces_the_outcome(make: Make, parts: dict[str, Any]) -> None:
    """The operation's own result or error is returned, whatever else fails."""
    pipeline = make(healers=[Renewal()], **parts)

    assert pipeline.run(Script(Transient("down"), "rows"), call=Call("meta")).value == "rows"
    assert pipeline.run(Script(TokenDead()), call=Call("meta"), fallbacks=[stale()]).source == "store"
    with pytest.raises(TokenDead):
        pipeline.run(Script(TokenDead()), call=Call("meta"))


OWN = [
    Refused("the breaker is open", retry_after=30.0, scope="source:meta"),
    NotAdmitted("the account is parked", scope="account:act_1", until=NOON),
]


@pytest.mark.parametrize("error", OWN, ids=["refused", "not admitted"])
def test_a_call_that_was_not_admitted_is_neither_recorded_nor_alerted(
    make: Make, journal: MemoryJournal, error: AdwarmError
) -> None:
    """A batch of fifty rejected keys writes nothing and alerts nobody; a fallback is still used."""
    inbox = Inbox()
    pipeline = make(alerts=inbox)
    for _ in range(50):
        with pytest.raises(type(error)):
            pipeline.run(Script(error), call=Call("meta"))

    assert (len(journal.events), inbox.observed) == (0, [])
    assert pipeline.run(Script(error), call=Call("meta"), fallbacks=[stale()]).is_degraded


@pytest.mark.parametrize("error", OWN, ids=["refused", "not admitted"])
def test_a_fallback_that_was_not_admitted_is_not_isolated(make: Make, error: AdwarmError) -> None:
    """It was not called, so the refusal does not count against it."""
    place = Script(error)
    pipeline = make(settings={"max_attempts": 1})
    for _ in range(10):
        pipeline.run(Script(Transient("x")), call=Call("meta"), fallbacks=[Fallback("s", place, 1.0), stale()])

    assert place.calls == 10


def test_a_refused_retry_raises_the_first_error(make: Make, journal: MemoryJournal) -> None:
    """The first failure is recorded and raised; the refusal of the retry is its cause."""
    first, refusal = Transient("down"), Refused("open", retry_after=30.0)
    with pytest.raises(Transient) as caught:
        make().run(Script(first, refusal), call=Call("meta"))

    assert caught.value is first
    assert first.__cause__ is refusal
    assert [event.kind for event in journal.events] == ["Transient"]


def test_a_direct_alert_is_raised_without_secrets(make: Make, clock: VirtualClock) -> None:
    """It concerns no failed attempt, and secrets are redacted."""
    inbox = Inbox()
    make(alerts=inbox).alert("account:act_1", "OverlongPark", "access_token=EAAB1234567890123456 asked for years")

    (event,) = inbox.raised
    assert (event.source, event.kind, event.at) == ("account:act_1", "OverlongPark", clock.now())
    assert "EAAB" not in event.message
    assert inbox.observed == []


def test_the_actions_say_what_was_done_in_order(make: Make) -> None:
    """Retries, healing and fallbacks, each in plain words."""
    pipeline = make(healers=[Renewal()])
    call = Call("meta", "main")
    places = [failing(NotFound("no entry"), "cache"), stale(name="entry")]
    assert pipeline.run(Script("rows"), call=call).actions == ()
    assert pipeline.run(Script(Transient("down"), "rows"), call=call).actions == ("retried once",)
    assert pipeline.run(Script(TokenDead(), "rows"), call=call).actions == ("token_refresh of main",)
    degraded = pipeline.run(Script(Transient("down")), call=call, fallbacks=places)
    assert degraded.actions == ("retried 2 times", "fallback cache failed: NotFound: no entry", "fallback entry")


def test_an_isolated_fallback_is_named(make: Make) -> None:
    """The actions say for how long it is skipped."""
    places = [failing(Transient("down"), "warehouse"), stale(name="entry")]
    pipeline = make(settings={"max_attempts": 1})
    for _ in range(6):
        outcome = pipeline.run(Script(Transient("down")), call=Call("meta"), fallbacks=places)

    assert outcome.actions == ("skipped fallback warehouse: isolated for another 300 s", "fallback entry")


def test_a_run_may_have_its_own_policy_and_healers(make: Make) -> None:
    """Attempts and healers of the options replace those of the process for this run only."""
    own, other = Renewal(), Renewal()
    pipeline = make(healers=[own])
    patient = RunOptions(policy=RecoverySettings(max_attempts=5, initial_delay_seconds=0))
    operation = Script(*[Transient("down")] * 4, "rows")
    assert pipeline.run(operation, call=Call("meta"), options=patient).attempts == 5
    pipeline.run(Script(TokenDead(), "rows"), call=Call("meta", "main"), options=RunOptions(healers=[other]))
    with pytest.raises(TokenDead):
        pipeline.run(Script(TokenDead()), call=Call("meta"), options=RunOptions(healers=[]))

    assert (own.runs, other.runs) == (0, 1)
    with pytest.raises(Transient):
        pipeline.run(Script(*[Transient("down")] * 4, "rows"), call=Call("meta"))


def test_a_later_process_uses_the_renewed_token_of_an_isolated_connection(make: Make) -> None:
    """The healer compares the token with the one that was refused, which this process may never have used."""
    dead = TokenDead("expired")
    dead.credential = "old"
    store, healer, call = MemoryGates(), Renewal(), Call("meta", "main")
    for number in range(5):
        with pytest.raises(TokenDead):
            make(gates=store).run(Script(dead), call=replace(call, account_id=f"act_{number}"))
    with pytest.raises(Isolated):
        make(gates=store).run(Script("rows"), call=call)

    assert make(gates=store, healers=[healer]).run(Script("rows"), call=call).value == "rows"
    assert healer.refused == ["old"]


def test_healing_can_be_switched_off(make: Make) -> None:
    """`heal` of the settings, or of a run's policy."""
    healer = Renewal()
    off = RecoverySettings(heal=False)
    with pytest.raises(TokenDead):
        make(healers=[healer], settings={"heal": False}).run(Script(TokenDead()), call=Call("meta"))
    with pytest.raises(TokenDead):
        make(healers=[healer]).run(Script(TokenDead()), call=Call("meta"), options=RunOptions(policy=off))

    assert healer.runs == 0


def test_policies_share_the_budget(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy of its own does not give a failing upstream more retries than the ratio allows."""
    monkeypatch.setattr("adwarm.recovery.pipeline.RETRY_BUDGET", RETRY_BUDGET)
    pipeline = make()
    policy = RunOptions(policy=RecoverySettings(isolate=False))
    operation = Script(Transient("down"))
    for _ in range(50):
        for options in (None, policy):
            with pytest.raises(AdwarmError):
                pipeline.run(operation, call=Call("meta"), options=options)

    assert operation.calls <= 100 + 10 + 10
