"""Delivery of notices: in the background, by another process, and by maintenance."""

import logging
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import Transient
from adwarm.maintenance.runner import StepBudget
from adwarm.maintenance.steps import make_deliver_alerts
from adwarm.recovery import StoredAlerts, alert_delivery
from adwarm.recovery.alert_delivery import NoticeSender, flush_notices
from adwarm.recovery.messages import Message
from adwarm.settings import AlertSettings
from adwarm.settings.recovery_sections import AppriseChannel, NotifierChannel
from adwarm.store.alerts import alert_delivery as notices
from adwarm.store.alerts import claim_notices, list_alerts, list_deliveries
from adwarm.store.database import open_engine, write_transaction
from adwarm.store.error_events import ErrorEvent, ErrorLog

SETTINGS = AlertSettings(
    channels=(
        AppriseChannel(name="chat", url="json://127.0.0.1:1/"),
        NotifierChannel(name="mail", notifier="package.module:Class"),
    )
)


class FakeChannel:
    """Collects messages, fails while told to, and blocks while its gate is closed."""

    def __init__(self, name: str, *, is_thread_safe: bool = True) -> None:
        self.name, self.is_thread_safe = name, is_thread_safe
        self.titles: list[str] = []
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def check(self) -> str:
        return "a channel of a test"

    def send(self, message: Message) -> None:
        self.gate.wait(30)
        if self.error is not None:
            raise self.error
        self.titles.append(message.title)


class Process:
    """One process with its channels."""

    def __init__(self, engine: Engine, clock: VirtualClock, *channels: FakeChannel) -> None:
        self.clock = clock
        self.sender = NoticeSender(engine, SETTINGS, channels)
        self.errors = ErrorLog(engine)
        self.alerts = StoredAlerts(engine, SETTINGS, self.errors, self.sender, clock)

    def end(self, seconds: float = 30) -> None:
        """End as a process does."""
        self.sender.flush_at_exit()
        flush_notices(seconds)

    def raise_alert(self, kind: str = "OverlongPark") -> None:
        """Raise an alert about a single event."""
        self.alerts.raise_once(ErrorEvent(self.clock.now(), "meta", kind, "asked for years"))

    def fail_often(self) -> None:
        """Fail often enough for an alert."""
        for _ in range(10):
            event = ErrorEvent(self.clock.now(), "meta", "Transient", "down")
            self.errors.record(event)
            self.alerts.observe(event)


def make_due(engine: Engine) -> None:
    """Let every claim and every delay end."""
    with write_transaction(engine) as connection:
        connection.execute(notices.update().values(claimed_until=None))


@pytest.fixture
def chat() -> FakeChannel:
    """A channel that any thread may use."""
    return FakeChannel("chat")


def test_the_process_that_raised_it_delivers_at_once(engine: Engine, clock: VirtualClock, chat: FakeChannel) -> None:
    """Raising returns while the channel still works; the notice is delivered in the background."""
    chat.gate.clear()
    process = Process(engine, clock, chat)
    process.raise_alert()
    assert not process.sender.wait(0)
    chat.gate.set()
    assert process.sender.wait(30)
    assert len(chat.titles) == 1
    assert process.alerts.deliver() == (0, [])


def test_a_channel_that_fails_disturbs_nobody(engine: Engine, clock: VirtualClock, chat: FakeChannel) -> None:
    """The error is kept without secrets, and the notice is sent again after its delay."""
    chat.error = Transient("Authorization: Bearer abc123def456 was refused")
    process = Process(engine, clock, chat)
    process.raise_alert()
    assert process.sender.wait(30)
    (alert,) = list_alerts(engine)
    failed = next(item for item in list_deliveries(engine, [alert.id]) if item.channel == "chat")
    assert failed.error is not None
    assert "abc123def456" not in failed.error
    assert process.alerts.deliver() == (0, [])

    chat.error = None
    make_due(engine)
    assert process.alerts.deliver() == (1, [])
    assert len(chat.titles) == 1


def test_another_process_sends_what_a_killed_one_had_claimed(
    engine: Engine, clock: VirtualClock, chat: FakeChannel
) -> None:
    """While the claim lasts nobody sends the notice; after it one other process does."""
    Process(engine, clock).raise_alert()
    assert claim_notices(engine, {"chat"}, 60)  # and the process is gone
    other = Process(engine, clock, chat)
    assert other.alerts.deliver() == (0, [])
    make_due(engine)
    assert other.alerts.deliver() == (1, [])
    assert len(chat.titles) == 1


def test_a_process_outside_airflow_leaves_notifiers_to_the_dag(
    engine: Engine, clock: VirtualClock, chat: FakeChannel
) -> None:
    """It says so in its log, and the step of a process that has the notifier sends the notice."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("adwarm.recovery.alert_delivery")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        outside = Process(engine, clock, chat)
        outside.raise_alert()
        assert outside.sender.wait(30)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    assert any("adwarm_maintenance" in line and "mail" in line for line in lines)
    assert outside.sender.unusable == ["mail"]

    mail = FakeChannel("mail", is_thread_safe=False)
    task = Process(engine, clock, FakeChannel("chat"), mail)
    result = make_deliver_alerts(task.alerts)(None, StepBudget.of(clock, 60))
    assert result.counts == {"resolved": 0, "repeated": 0, "sent": 1}
    assert len(mail.titles) == 1


def test_a_background_thread_leaves_a_channel_of_airflow_alone(engine: Engine, clock: VirtualClock) -> None:
    """A task that still works must not call Airflow from another thread; the notice is sent at its end."""
    mail = FakeChannel("mail", is_thread_safe=False)
    task = Process(engine, clock, mail)
    task.raise_alert()
    assert task.sender.wait(30)
    assert mail.titles == []
    task.end()
    assert len(mail.titles) == 1


def test_the_end_of_a_process_waits_for_a_channel_for_a_limited_time(
    engine: Engine, clock: VirtualClock, chat: FakeChannel
) -> None:
    """What the channel has begun to send may still arrive; the next process sends the rest, also without an alert."""
    chat.gate.clear()
    process = Process(engine, clock, chat)
    process.raise_alert("First")
    process.raise_alert("Second")
    process.end(seconds=0)
    assert chat.titles == []
    chat.gate.set()
    assert process.sender.wait(30)

    Process(engine, clock).raise_alert("Third")  # left by a process that was killed
    Process(engine, clock, chat).end()
    assert sorted(title.partition(" of")[0] for title in chat.titles) == [
        "adwarm: First",
        "adwarm: Second",
        "adwarm: Third",
    ]


def test_a_process_sends_in_every_database_it_has_used(
    engine: Engine, clock: VirtualClock, chat: FakeChannel, tmp_path: Path
) -> None:
    """The newest sender of each replaces an idle one; a database that is gone stops nothing."""
    broken = Process(open_engine(f"sqlite:///{tmp_path / 'empty.db'}"), clock, chat)
    process, newest = Process(engine, clock, chat), Process(engine, clock, chat)
    process.raise_alert()
    assert process.sender.wait(30)
    chat.titles.clear()
    Process(engine, clock).raise_alert("Another")
    for sender in (broken.sender, process.sender, newest.sender):
        sender.flush_at_exit()
    assert alert_delivery._senders == [broken.sender, newest.sender]
    flush_notices(30)
    assert (chat.titles, alert_delivery._senders) == (["adwarm: Another of meta"], [])


def test_the_step_resolves_repeats_and_sends(engine: Engine, clock: VirtualClock, chat: FakeChannel) -> None:
    """Each run does what is due; a run without time sends nothing, and the next one goes on."""
    outside, other = Process(engine, clock), Process(engine, clock, chat)
    outside.fail_often()
    step = make_deliver_alerts(other.alerts)
    assert step(None, StepBudget.of(clock, 0)).counts["sent"] == 0
    assert step(None, StepBudget.of(clock, 60)).counts == {"resolved": 0, "repeated": 0, "sent": 1}

    clock.sleep(timedelta(hours=1).total_seconds())
    assert step(None, StepBudget.of(clock, 60)).counts["resolved"] == 1
    assert other.sender.wait(30)
    assert [title.partition(": ")[2] for title in chat.titles] == [
        "10 errors Transient of meta in 5 min",
        "resolved: 10 errors Transient of meta",
    ]


def test_nobody_is_told_that_a_single_event_has_ended(engine: Engine, clock: VirtualClock, chat: FakeChannel) -> None:
    """It makes one message, however long ago it was; a day later the same event is another alert."""
    process = Process(engine, clock, chat)
    for _ in range(2):
        process.raise_alert()
        assert process.sender.wait(30)
        clock.sleep(86_400)
    assert process.alerts.resolve_quiet() == 1
    assert process.sender.wait(30)
    assert chat.titles == ["adwarm: OverlongPark of meta"] * 2


def test_what_is_due_at_once_is_one_message_a_kind(engine: Engine, clock: VirtualClock, chat: FakeChannel) -> None:
    """Alerts that are still open after a day are repeated in one message for each kind, and so they end."""
    outside, other = Process(engine, clock), Process(engine, clock, chat)
    for number in range(55):
        outside.alerts.raise_once(ErrorEvent(clock.now(), f"connection:{number}", "TokenExpires", "soon"))
    outside.raise_alert()
    assert other.alerts.deliver() == (2, [])
    assert chat.titles == [
        "adwarm: 55 alerts, the first: TokenExpires of connection:0",
        "adwarm: OverlongPark of meta",
    ]
    clock.sleep(86_400)
    assert other.alerts.repeat_open() == 56
    assert other.alerts.deliver() == (2, [])
    assert chat.titles[2] == "adwarm: 55 alerts, the first: still open: TokenExpires of connection:0"


def test_the_step_reports_problems(engine: Engine, clock: VirtualClock, chat: FakeChannel) -> None:
    """A channel that fails is a sentence in the step's result."""
    chat.error = Transient("the service is down")
    Process(engine, clock).raise_alert()
    result = make_deliver_alerts(Process(engine, clock, chat).alerts)(None, StepBudget.of(clock, 60))
    assert (result.counts["sent"], result.problems) == (0, ["the service is down"])
