"""Tests of alerts: when they open, what they say, and when they end."""

import multiprocessing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy import event as engine_event

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import (
    AdwarmError,
    Blocked,
    Denied,
    Refused,
    Throttled,
    TokenDead,
    TooMuchData,
    Transient,
    VersionEnded,
)
from adwarm.model import Account
from adwarm.recovery import StoredAlerts
from adwarm.recovery.alert_delivery import NoticeSender
from adwarm.recovery.call import Call, build_error_event
from adwarm.settings import AlertSettings
from adwarm.settings.recovery_sections import AlertRule
from adwarm.store import accounts, partitions, write_transaction
from adwarm.store.alerts import StoredAlert, list_alerts, list_deliveries
from adwarm.store.error_events import ErrorEvent, ErrorLog
from adwarm.store.partitions import PartitionState
from tests.support.alert_sink import fail_many_times, run_sink

LATER = datetime(2027, 1, 1, tzinfo=UTC)


class Worker:
    """A process that fails: it records errors and reports them."""

    def __init__(self, engine: Engine, clock: VirtualClock, settings: AlertSettings | None = None) -> None:
        self.engine, self.clock = engine, clock
        self.settings = settings or AlertSettings()
        self.errors = ErrorLog(engine)
        self.alerts = StoredAlerts(engine, self.settings, self.errors, NoticeSender(engine, self.settings), clock)

    def fail(self, error: Exception, times: int = 1, seconds: float = 1.0, **call: Any) -> None:
        """Fail some times, with a pause after each."""
        for _ in range(times):
            event = build_error_event(error, Call(**{"source": "meta", **call}), self.clock.now())
            self.errors.record(event)
            self.alerts.observe(event)
            self.clock.sleep(seconds)

    def listed(self) -> list[StoredAlert]:
        """The alerts, the oldest first."""
        return list_alerts(self.engine)[::-1]


@pytest.fixture
def worker(engine: Engine, clock: VirtualClock) -> Worker:
    """A worker with the settings' defaults."""
    return Worker(engine, clock)


def test_the_threshold_in_the_window_makes_one_alert(worker: Worker) -> None:
    """Ten errors in five minutes are one alert, and the next ninety change only its figures."""
    start = worker.clock.now()
    worker.fail(Transient("down"), 9, account_id="act_1", subject="act_1 last_7d")
    assert worker.listed() == []
    worker.fail(Transient("access_token=EAAB1234567890123456 is down"), 91, subject="act_2 last_7d")

    (alert,) = worker.listed()
    assert (alert.kind, alert.scope, alert.resolved_at) == ("Transient", "meta", None)
    assert alert.opened_at == start + timedelta(seconds=9)
    assert 90 <= alert.errors <= 100
    assert alert.example == "act_2 last_7d"
    assert "EAAB" not in alert.reason
    assert "network" in alert.next_step


def test_slow_errors_do_not_alert(worker: Worker) -> None:
    """One error a minute never makes ten in five minutes."""
    worker.fail(Transient("down"), 60, seconds=60)
    assert worker.listed() == []


@pytest.mark.parametrize("error", [TokenDead(), VersionEnded(), Blocked(scope="app:7", until=LATER)])
def test_errors_that_need_a_human_alert_at_once_and_once(worker: Worker, error: AdwarmError) -> None:
    """A dead token or a blocked app alerts at the first error, for each connection."""
    worker.fail(error, 3, connection="default", account_id="act_1")
    worker.fail(error, 2, connection="agency", account_id="act_2")
    worker.fail(error, 2, source="callable")
    scopes = ["connection:default", "connection:agency", "connection:callable"]
    assert [alert.scope for alert in worker.listed()] == scopes
    assert "agency" in worker.listed()[1].next_step


def test_errors_of_one_account_alert_for_the_account(worker: Worker) -> None:
    """The scope is the account while all errors concern it, and becomes the source when others join."""
    worker.fail(Denied(account_id="act_1"), 12, account_id="act_1")
    assert [alert.scope for alert in worker.listed()] == ["account:act_1"]
    worker.fail(Denied(account_id="act_2"), 12, account_id="act_2")
    (alert,) = worker.listed()
    assert alert.scope == "meta"
    assert 22 <= alert.errors <= 24


def test_kinds_are_counted_apart(worker: Worker) -> None:
    """Nine errors of each of two kinds are no alert."""
    worker.fail(Transient("down"), 9)
    worker.fail(Throttled("slow down", scope="app:7", until=LATER), 9)
    assert worker.listed() == []


def test_split_and_refused_requests_count_for_no_alert(worker: Worker) -> None:
    """Requests that were too large, and refusals, are no outage; failures among them are."""
    worker.fail(TooMuchData("too large"), 100, seconds=0)
    worker.fail(Refused("later", retry_after=1.0), 100, seconds=0)
    assert worker.listed() == []
    worker.fail(Transient("down"), 10)
    assert [alert.errors for alert in worker.listed()] == [10]


def test_rules_by_kind(engine: Engine, clock: VirtualClock) -> None:
    """A kind has its own threshold and window, `*` is for every other one, and alerts can be switched off."""
    rules = (AlertRule(kind="Denied", threshold=2), AlertRule(kind="*", threshold=4, window_seconds=3_600))
    worker = Worker(engine, clock, AlertSettings(rules=rules))
    worker.fail(Denied(account_id="act_1"), 2, account_id="act_1")
    worker.fail(Transient("down"), 4, seconds=800)
    worker.fail(TokenDead())
    assert [(alert.kind, alert.errors) for alert in worker.listed()] == [
        ("Denied", 2),
        ("Transient", 4),
        ("TokenDead", 1),
    ]
    silent = Worker(engine, clock, AlertSettings(enabled=False))
    silent.fail(TokenDead(), connection="other")
    assert len(worker.listed()) == 3


def test_an_alert_ends_when_errors_stop(worker: Worker) -> None:
    """After a quarter of an hour without an error it is resolved, by whoever looks next; new errors open another."""
    worker.fail(Transient("down"), 20)
    worker.clock.sleep(600)
    worker.fail(Transient("down"))
    worker.clock.sleep(600)
    assert worker.alerts.resolve_quiet() == 0
    worker.clock.sleep(400)
    assert worker.alerts.resolve_quiet() == 1
    worker.fail(Transient("down"), 10)
    assert [alert.resolved_at is None for alert in worker.listed()] == [False, True]


@pytest.mark.parametrize("error", [TokenDead("dead"), VersionEnded("ended"), Blocked(scope="app:1", until=LATER)])
def test_an_alert_about_a_connection_lasts_until_it_works(worker: Worker, error: Exception) -> None:
    """A run that fails each quarter of an hour, and an isolation of an hour, are one alert until a fetch succeeds."""
    accounts.save(worker.engine, [Account("act_1", "UTC", "UTC", connection="shop")], worker.clock.now())
    for minutes in (15, 16, 60, 14):
        worker.fail(error, seconds=60 * minutes, connection="shop", account_id="act_1")
        worker.alerts.resolve_quiet()
    assert [(alert.errors, alert.resolved_at) for alert in worker.listed()] == [(4, None)]
    now = worker.clock.now()
    day = PartitionState(
        now.date(), "0" * 64, 1, "", now, complete=False, settled=False, data_version=1, api_version=""
    )
    with write_transaction(worker.engine) as connection:
        partitions.publish(connection, "act_1", "hash", [day], 1)
    assert worker.alerts.resolve_quiet() == 0
    worker.clock.sleep(61)
    assert worker.alerts.resolve_quiet() == 1


def test_an_alert_about_a_connection_that_is_no_longer_called_ends(worker: Worker) -> None:
    """One that was removed never works again: a day without an error ends its alert."""
    worker.fail(TokenDead("dead"), connection="gone")
    worker.clock.sleep(86_000)
    assert worker.alerts.resolve_quiet() == 0
    worker.clock.sleep(1_000)
    assert worker.alerts.resolve_quiet() == 1


def test_the_next_error_ends_an_old_alert(worker: Worker) -> None:
    """A single error long after an alert resolves it, although it opens none."""
    worker.fail(Transient("down"), 10)
    worker.clock.sleep(86_400)
    worker.fail(Denied(account_id="act_1"))
    assert [alert.resolved_at is None for alert in worker.listed()] == [False]


def test_a_single_event_is_one_alert_while_it_is_open(worker: Worker) -> None:
    """Further events of its kind and source are counted; another source is another alert."""

    def raise_event(source: str) -> None:
        event = ErrorEvent(worker.clock.now(), source, "OverlongPark", "asked for years")
        worker.alerts.raise_once(event)
        worker.clock.sleep(10)

    for source in ("account:act_1", "account:act_1", "account:act_2"):
        raise_event(source)
    assert [(alert.scope, alert.errors) for alert in worker.listed()] == [("account:act_1", 2), ("account:act_2", 1)]


def test_an_open_alert_is_not_written_for_each_error(worker: Worker) -> None:
    """A hundred errors within a second change the row a few times at most."""
    worker.fail(Transient("down"), 10)
    updates: list[str] = []

    def count(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("UPDATE alert "):
            updates.append(statement)

    engine_event.listen(worker.engine, "before_cursor_execute", count)
    try:
        worker.fail(Transient("down"), 100, seconds=0.01)
    finally:
        engine_event.remove(worker.engine, "before_cursor_execute", count)
    assert len(updates) <= 3


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_burst_of_failures_is_one_message(engine: Engine, processes: int) -> None:
    """Many failures in threads and processes raise one alert, and the channel receives one message."""
    with run_sink() as sink:
        url = engine.url.render_as_string(hide_password=False)
        share = 250
        if processes == 1:
            fail_many_times(url, sink.url, 50)
        else:
            context = multiprocessing.get_context("spawn")
            workers = [context.Process(target=fail_many_times, args=(url, sink.url, share)) for _ in range(processes)]
            for item in workers:
                item.start()
            for item in workers:
                item.join(120)
            assert [item.exitcode for item in workers] == [0] * processes

    assert len(sink.received) == 1
    (alert,) = list_alerts(engine)
    assert alert.scope == "meta"
    deliveries = list_deliveries(engine, [alert.id])
    assert {item.channel: (item.attempts, item.delivered_at is not None) for item in deliveries} == {
        "log": (1, True),
        "hook": (1, True),
    }
    assert "Transient of meta" in sink.titles[0]
