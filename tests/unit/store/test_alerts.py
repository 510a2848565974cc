"""Alerts and the outbox of their notices."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from adwarm.store.alerts import (
    MAX_ATTEMPTS,
    OPENED,
    RESOLVED,
    Changes,
    Channels,
    NewAlert,
    claim_notices,
    delete_resolved,
    finish_notice,
    list_alerts,
    list_deliveries,
    open_or_extend,
    repeat_open,
    resolve_quiet,
)
from adwarm.store.error_events import ErrorEvent, ErrorLog

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
CHANNELS = Channels(("log",), ("chat", "mail"))
QUIET = timedelta(minutes=15)


def new(minutes: float = 0, **values: Any) -> NewAlert:
    """Ten throttled calls of a source."""
    defaults: dict[str, Any] = {
        "kind": "Throttled",
        "scope": "meta",
        "errors": 10,
        "window_seconds": 300.0,
        "example": "act_1 last_7d",
        "reason": "slow down",
        "next_step": "wait",
    }
    return NewAlert(at=NOON + timedelta(minutes=minutes), **{**defaults, **values})


def write(engine: Engine, alert: NewAlert, channels: Channels = CHANNELS) -> Changes:
    """Open or extend an alert; one without an error for a quarter of an hour ends."""
    return open_or_extend(engine, alert, channels, alert.at - QUIET)


def notices(engine: Engine) -> list[tuple[int, str, str, bool]]:
    """Alert, notice, channel, and whether it was delivered."""
    ids = [alert.id for alert in list_alerts(engine)]
    found = list_deliveries(engine, ids)
    return sorted((item.alert_id, item.notice, item.channel, item.delivered_at is not None) for item in found)


def record(engine: Engine, minutes: float, account: str | None = None, kind: str = "Throttled") -> None:
    """Add an error to the history."""
    at = NOON + timedelta(minutes=minutes)
    ErrorLog(engine).record(ErrorEvent(at, "meta", kind, "slow down", account_id=account))


def at_second(second: float) -> Any:
    """The database's clock, some seconds after noon."""
    return lambda _connection: NOON.timestamp() + second


def test_an_alert_opens_once_with_a_notice_for_each_channel(engine: Engine) -> None:
    """Further errors change no notice; the log's notice is delivered by the caller."""
    (opened,) = write(engine, new()).opened
    record(engine, -1)
    for minute in (1, 2):
        record(engine, minute)
        assert write(engine, new(minute)) == Changes()

    (stored,) = list_alerts(engine)
    assert (stored.id, stored.opened_at, stored.last_at) == (opened.id, NOON, NOON + timedelta(minutes=2))
    assert (stored.errors, stored.resolved_at) == (10, None)
    assert notices(engine) == [
        (opened.id, OPENED, "chat", False),
        (opened.id, OPENED, "log", True),
        (opened.id, OPENED, "mail", False),
    ]


def test_the_count_comes_from_the_history_of_all_workers(engine: Engine) -> None:
    """Errors that no process has reported count when the alert is next looked at, and keep it open."""
    write(engine, new())
    for second in range(50):
        record(engine, second / 60)
    record(engine, 14)

    assert resolve_quiet(engine, NOON + timedelta(minutes=1), NOON + timedelta(minutes=16), CHANNELS) == ()
    (stored,) = list_alerts(engine)
    assert (stored.errors, stored.last_at) == (51, NOON + timedelta(minutes=14))


def test_an_account_joins_the_alert_of_its_source(engine: Engine) -> None:
    """While the source has an open alert, errors of one account raise no second one."""
    write(engine, new())
    changes = write(engine, new(1, scope="account:act_1", wider_scope="meta"))
    assert changes == Changes()
    assert [alert.scope for alert in list_alerts(engine)] == ["meta"]


def test_an_alert_of_an_account_widens(engine: Engine) -> None:
    """When errors of other accounts join, the alert becomes one of the source, without another notice."""
    record(engine, 0, "act_1")
    write(engine, new(scope="account:act_1", wider_scope="meta"))
    record(engine, 1, "act_2")
    assert write(engine, new(1)) == Changes()
    (stored,) = list_alerts(engine)
    assert stored.scope == "meta"
    assert len(notices(engine)) == 3


def test_an_old_alert_of_an_account_does_not_widen(engine: Engine) -> None:
    """Errors among which the account is not are an alert of their own."""
    record(engine, 0, "act_1")
    write(engine, new(scope="account:act_1", wider_scope="meta"))
    record(engine, 9, "act_2")
    assert [alert.scope for alert in write(engine, new(10)).opened] == ["meta"]
    assert [alert.scope for alert in list_alerts(engine, open_only=True)] == ["meta", "account:act_1"]


def test_a_quiet_alert_is_resolved_and_may_open_again(engine: Engine) -> None:
    """Channels that got the opening notice get one that it is resolved; the next errors open another alert."""
    (first,) = write(engine, new(), Channels(("log",), ("chat",))).opened
    changes = write(engine, new(20))
    (second,) = changes.opened
    assert [alert.id for alert in changes.resolved] == [first.id]
    assert (first.id, RESOLVED, "chat", False) in notices(engine)
    assert (first.id, RESOLVED, "mail", False) not in notices(engine)

    assert [alert.id for alert in resolve_quiet(engine, NOON + timedelta(hours=1), NOON, CHANNELS)] == [second.id]
    assert list_alerts(engine, open_only=True) == []
    assert resolve_quiet(engine, NOON + timedelta(hours=2), NOON, CHANNELS) == ()


def test_a_notice_is_sent_by_one_process_at_a_time(engine: Engine) -> None:
    """A claimed notice is not claimed again until the claim ends; a late sender learns that it lost it."""
    write(engine, new(), Channels(queued=("chat",)))
    [first] = claim_notices(engine, {"chat"}, 60, time=at_second(0))
    assert claim_notices(engine, {"chat"}, 60, time=at_second(59)) == []
    [second] = claim_notices(engine, {"chat"}, 60, time=at_second(61))

    assert not finish_notice(engine, first, time=at_second(62))
    assert finish_notice(engine, second, time=at_second(62))
    assert claim_notices(engine, {"chat"}, 60, time=at_second(10_000)) == []
    (delivery,) = list_deliveries(engine, [second.alert.id])
    assert (delivery.attempts, delivery.error) == (2, None)


def test_only_the_channels_of_the_process_are_claimed(engine: Engine) -> None:
    """Notices of other channels stay for a process that can send them."""
    write(engine, new())
    [claimed] = claim_notices(engine, {"mail"}, 60)
    assert claimed.delivery.channel == "mail"
    assert claim_notices(engine, {"mail"}, 60) == []
    assert claim_notices(engine, set(), 60) == []


def test_a_failed_notice_waits_longer_each_time_and_is_given_up(engine: Engine) -> None:
    """The delay doubles up to an hour; the error is kept; after the last attempt nothing claims it."""
    write(engine, new(), Channels(queued=("chat",)))
    now, delays = 0.0, list[float]()
    for _ in range(MAX_ATTEMPTS):
        [claimed] = claim_notices(engine, {"chat"}, 60, time=at_second(now))
        assert finish_notice(engine, claimed, "the channel is down", time=at_second(now))
        (delivery,) = list_deliveries(engine, [claimed.alert.id])
        assert delivery.claimed_until is not None
        delays.append(delivery.claimed_until.timestamp() - NOON.timestamp() - now)
        now += delays[-1]

    assert [round(delay) for delay in delays[:4]] == [30, 60, 120, 240]
    assert max(delays) <= 3_601
    assert delivery.error == "the channel is down"
    assert delivery.is_given_up
    assert claim_notices(engine, {"chat"}, 60, time=at_second(now * 2)) == []


def test_a_channel_learns_of_the_end_only_after_the_beginning(engine: Engine) -> None:
    """The notice that an alert is resolved waits until the opening one has been delivered."""
    write(engine, new(), Channels(queued=("chat",)))
    resolve_quiet(engine, NOON + timedelta(hours=1), NOON + timedelta(hours=1), Channels(queued=("chat",)))
    [opening] = claim_notices(engine, {"chat"}, 60)
    assert claim_notices(engine, {"chat"}, 60) == []
    finish_notice(engine, opening)
    [ending] = claim_notices(engine, {"chat"}, 60)
    assert (opening.delivery.notice, ending.delivery.notice) == (OPENED, RESOLVED)


def test_an_open_alert_is_repeated_once_per_period(engine: Engine) -> None:
    """Whoever asks first adds the notice; a resolved alert is not repeated."""
    write(engine, new())
    day = timedelta(hours=24)
    assert repeat_open(engine, NOON + timedelta(hours=23), day, CHANNELS) == 0
    assert repeat_open(engine, NOON + timedelta(hours=25), day, CHANNELS) == 1
    assert repeat_open(engine, NOON + timedelta(hours=47), day, CHANNELS) == 0
    assert repeat_open(engine, NOON + timedelta(hours=49), day, CHANNELS) == 1
    assert {notice for _, notice, _, _ in notices(engine)} == {OPENED, "repeated 1", "repeated 2"}
    resolve_quiet(engine, NOON + timedelta(hours=50), NOON + timedelta(hours=50), CHANNELS)
    assert repeat_open(engine, NOON + timedelta(hours=99), day, CHANNELS) == 0


def test_alerts_are_listed(engine: Engine) -> None:
    """The newest come first, as many as asked for; resolved ones can be left out."""
    ids = [write(engine, new(kind=f"Kind{number}")).opened[0].id for number in range(5)]
    assert [alert.id for alert in list_alerts(engine, limit=2)] == ids[:2:-1]
    resolve_quiet(engine, NOON + timedelta(hours=1), NOON + timedelta(hours=1), CHANNELS)
    assert (list_alerts(engine, open_only=True), len(list_alerts(engine))) == ([], 5)


def test_old_resolved_alerts_are_deleted_with_their_notices(engine: Engine) -> None:
    """Open alerts stay, however old."""
    write(engine, new())
    resolve_quiet(engine, NOON + timedelta(hours=1), NOON + timedelta(hours=1), CHANNELS)
    write(engine, new(120, kind="Denied"))
    assert delete_resolved(engine, NOON) == 0
    assert delete_resolved(engine, NOON + timedelta(days=90)) == 1
    assert [alert.kind for alert in list_alerts(engine)] == ["Denied"]
    assert len(notices(engine)) == 3
