"""Tests of alerts."""

import logging
from datetime import UTC, datetime, timedelta

import pytest

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import AdwarmError, Blocked, Refused, TokenDead, TooMuchData, Transient
from adwarm.recovery.alerts import Alert, AlertPolicy, LogSink
from adwarm.recovery.call import Call
from adwarm.recovery.healing import MemoryLedger
from adwarm.recovery.journal import build_error_event
from adwarm.settings import RecoverySettings

from .conftest import MemoryJournal


class Inbox:
    """Collects alerts."""

    def __init__(self) -> None:
        self.alerts: list[Alert] = []

    def alert(self, alert: Alert) -> None:
        self.alerts.append(alert)


def fail(policy: AlertPolicy, journal: MemoryJournal, clock: VirtualClock, error: Exception) -> bool:
    """Record one failure and check the threshold."""
    event = build_error_event(error, Call("meta"), clock.now())
    journal.record(event)
    return policy.alert_if_over_threshold(event)


def test_the_threshold_in_the_window_makes_one_alert(clock: VirtualClock) -> None:
    """Ten errors in five minutes are one alert, and so are the next ninety."""
    inbox, journal = Inbox(), MemoryJournal()
    policy = AlertPolicy(RecoverySettings(), journal, MemoryLedger(clock), inbox)
    for _ in range(100):
        fail(policy, journal, clock, Transient("down"))
        clock.sleep(1)

    (alert,) = inbox.alerts
    assert (alert.source, alert.errors, alert.message) == ("meta", 10, "down")
    clock.sleep(300)
    assert [fail(policy, journal, clock, Transient("down")) for _ in range(12)].count(True) == 1


def test_slow_errors_do_not_alert(clock: VirtualClock) -> None:
    """One error a minute never makes ten in five minutes."""
    inbox, journal = Inbox(), MemoryJournal()
    policy = AlertPolicy(RecoverySettings(), journal, MemoryLedger(clock), inbox)
    for _ in range(60):
        fail(policy, journal, clock, Transient("down"))
        clock.sleep(timedelta(minutes=1).total_seconds())

    assert inbox.alerts == []


@pytest.mark.parametrize("error", [TokenDead(), Blocked(scope="app:7", until=datetime(2026, 11, 25, tzinfo=UTC))])
def test_errors_that_need_a_human_alert_at_once_and_once(clock: VirtualClock, error: AdwarmError) -> None:
    """A dead token or a blocked app alerts at the first error."""
    inbox, journal = Inbox(), MemoryJournal()
    policy = AlertPolicy(RecoverySettings(), journal, MemoryLedger(clock), inbox)

    assert [fail(policy, journal, clock, error) for _ in range(2)] == [True, False]


def test_alerts_go_to_the_log_by_default(clock: VirtualClock) -> None:
    """The default sink needs no configuration."""
    written: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: written.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("adwarm.recovery.alerts")
    logger.addHandler(handler)
    try:
        LogSink().alert(Alert(clock.now(), "meta", "Transient", 10, 300.0, "down"))
    finally:
        logger.removeHandler(handler)

    assert written == ["ALERT meta: 10 errors in 300 s, last Transient: down"]


def test_split_and_refused_requests_count_for_no_alert(clock: VirtualClock) -> None:
    """Requests that were too large, and refusals, are no outage; failures among them are."""
    inbox, journal = Inbox(), MemoryJournal()
    policy = AlertPolicy(RecoverySettings(alert_threshold=3), journal, MemoryLedger(clock), inbox)
    for _ in range(100):
        fail(policy, journal, clock, TooMuchData("too large"))
        fail(policy, journal, clock, Refused("later", retry_after=1.0))
    assert inbox.alerts == []

    assert [fail(policy, journal, clock, Transient("down")) for _ in range(3)] == [False, False, True]
    assert inbox.alerts[0].errors == 3
