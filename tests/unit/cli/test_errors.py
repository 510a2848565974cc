"""`adwarm errors`: the error history, filtered and counted."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adwarm.runtime import Runtime
from adwarm.store.alerts import alert_delivery, list_alerts
from adwarm.store.database import write_transaction
from adwarm.store.error_events import ErrorEvent
from tests.support.alert_sink import run_sink

from .conftest import Adwarm

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
def history(home: Path) -> Runtime:
    """Three errors within an hour, and one a day later."""
    runtime = Runtime()
    at = runtime.clock.now().replace(minute=0, second=0, microsecond=0) - timedelta(days=2)
    for number, (kind, account) in enumerate([("Transient", "act_1"), ("Transient", "act_2"), ("Denied", "act_2")]):
        runtime.errors.record(
            ErrorEvent(at + timedelta(minutes=number), "meta", kind, f"message {number}", "a key", account_id=account)
        )
    runtime.errors.record(ErrorEvent(at + timedelta(days=1), "store", "Corrupt", "message 3"))
    return runtime


def test_errors_are_listed_newest_first(adwarm: Adwarm, history: Runtime) -> None:
    """Filters select; the document holds every field."""

    def messages(*words: str) -> list[str]:
        return [item["message"] for item in adwarm("errors", *words, "--json").json]

    assert messages() == ["message 3", "message 2", "message 1", "message 0"]
    assert messages("--limit", "2") == ["message 3", "message 2"]
    assert messages("--account", "2", "--kind", "Transient") == ["message 1"]
    newest = adwarm("errors", "--json").json[0]["at"]
    assert messages("--since", newest) == ["message 3"]
    shown = adwarm("errors", "--kind", "Denied")
    assert shown.exit_code == 0
    assert all(word in shown.stdout for word in ("Denied", "act_2", "a key", "message 2"))
    assert "message 1" not in shown.stdout


def test_the_digest_is_previewed(adwarm: Adwarm, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command prints the message and sends nothing; it says where it would go, or how to switch it on."""
    shown = adwarm("status", "--digest")
    assert shown.stdout.startswith("adwarm: no opens")
    assert "ADWARM_ALERTS__WEEKLY_DIGEST=true" in shown.stderr
    monkeypatch.setenv("ADWARM_ALERTS__WEEKLY_DIGEST", "true")
    assert "on Mondays through: log" in adwarm("status", "--digest").stderr
    document = adwarm("status", "--digest", "--json").json
    assert (document["is_on"], document["channels"]) == (True, ["log"])
    assert document["title"] == shown.stdout.splitlines()[0]
    assert list_alerts(Runtime().engine) == []


def test_errors_are_counted_over_time(adwarm: Adwarm, history: Runtime) -> None:
    """Counts by hour and day name source and class; another period is refused."""
    counts = adwarm("errors", "--counts", "hour", "--json").json
    assert [(item["source"], item["kind"], item["errors"]) for item in counts] == [
        ("store", "Corrupt", 1),
        ("meta", "Denied", 1),
        ("meta", "Transient", 2),
    ]
    assert "Errors by day" in adwarm("errors", "--counts", "day").stdout
    refused = adwarm("errors", "--counts", "week", "--json")
    assert (refused.exit_code, refused.json["kind"]) == (1, "BadRequest")


def use_channels(monkeypatch: pytest.MonkeyPatch, *channels: dict[str, object]) -> None:
    """Set the channels of the environment."""
    monkeypatch.setenv("ADWARM_ALERTS__CHANNELS", json.dumps(channels))


MAIL = {"type": "notifier", "name": "mail", "notifier": "package.module:Class"}


def raise_alert(runtime: Runtime, source: str, minutes: float = 0) -> None:
    """Raise an alert about ten failures some minutes ago."""
    at = runtime.clock.now() - timedelta(minutes=minutes)
    for _ in range(10):
        event = ErrorEvent(at, source, "Transient", "down", "act_1 last_7d")
        runtime.errors.record(event)
        runtime.alerts.observe(event)


def test_alerts_are_listed_and_old_ones_resolved(adwarm: Adwarm, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list resolves what is quiet, tells the channels, and shows who got which notice."""
    with run_sink() as sink:
        use_channels(monkeypatch, {"type": "apprise", "name": "hook", "url": sink.url}, MAIL)
        runtime = Runtime()
        raise_alert(runtime, "warehouse", minutes=20)
        raise_alert(runtime, "meta")
        assert runtime.notice_sender.wait(30)
        found = adwarm("errors", "--alerts", "--json").json
    assert [(item["scope"], item["errors"], item["resolved_at"] is None) for item in found] == [
        ("meta", 10, True),
        ("warehouse", 10, False),
    ]
    assert {item["channel"]: item["delivered_at"] is not None for item in found[0]["notices"]} == {
        "log": True,
        "hook": True,
        "mail": False,
    }
    assert sorted(title.partition(" ")[2] for title in sink.titles) == [
        "10 errors Transient of meta in 5 min",
        "10 errors Transient of warehouse in 5 min",
        "resolved: 10 errors Transient of warehouse",
    ]
    shown = adwarm("errors", "--alerts", "--open").stdout
    assert "meta" in shown
    assert "warehouse" not in shown
    assert "mail (not yet: queued)" in " ".join(shown.split())


def test_a_command_sends_what_is_due_before_it_ends(
    adwarm: Adwarm, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead token makes one message; when the receiver refuses it, the next command sends it, whatever it does."""
    monkeypatch.setenv("ADWARM_SOURCE__ACCESS_TOKEN", "expired")
    with run_sink() as sink:
        use_channels(monkeypatch, {"type": "apprise", "name": "hook", "url": sink.url})
        sink.status = 500
        assert adwarm("warm", "act_1", "--range", "yesterday").exit_code == 1
        assert sink.titles == []
        sink.status = 200
        with write_transaction(Runtime().engine) as connection:
            connection.execute(alert_delivery.update().values(claimed_until=None))
        assert adwarm("patterns").exit_code == 1
        assert [title.partition(" of ")[0] for title in sink.titles] == ["adwarm: 1 error TokenDead"]


def test_each_channel_is_tested(adwarm: Adwarm, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One message each: delivered, failed with its reason, or queued for the DAG; a failure ends with 1."""
    with run_sink() as sink:
        use_channels(monkeypatch, {"type": "apprise", "name": "hook", "url": sink.url}, MAIL)
        good = adwarm("doctor", "--send-alert", "--json")
        sink.status = 500
        bad = adwarm("doctor", "--send-alert", "--json")
    assert {item["channel"]: item["result"] for item in good.json} == {
        "log": "delivered",
        "hook": "delivered",
        "mail": "sent by the DAG",
    }
    assert good.exit_code == 0
    assert sink.titles == ["adwarm: test of alerts"]
    assert [alert.kind for alert in list_alerts(Runtime().engine)] == ["Test", "Test"]
    (failed,) = [item for item in bad.json if item["channel"] == "hook"]
    assert (failed["result"], bad.exit_code) == ("failed", 1)
    assert "500" in failed["reason"]
    assert "top-secret" not in bad.stdout + bad.stderr


def test_the_doctor_checks_channels(adwarm: Adwarm, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each channel is a check; one whose URL is not one of Apprise fails, without the URL; nothing is sent."""

    def checks() -> dict[str, tuple[bool, str]]:
        found = adwarm("doctor", "--json").json
        return {item["name"]: (item["ok"], item["detail"]) for item in found if item["name"].startswith("alert")}

    assert checks() == {
        "alerts": (True, "none is open"),
        "alert channels": (True, "only the log, where nobody may look; ADWARM_ALERTS__CHANNELS adds channels"),
    }
    assert "note  alert channels: only the log" in adwarm("doctor", "--only", "alert channels").stdout
    with run_sink() as sink:
        use_channels(
            monkeypatch,
            {"type": "apprise", "name": "hook", "url": sink.url},
            {"type": "apprise", "name": "pager", "url": "nonsense://top-secret"},
            MAIL,
        )
        found = checks()
    assert sink.received == []
    assert {name: ok for name, (ok, _) in found.items()} == {
        "alerts": True,
        "alert channel hook": True,
        "alert channel pager": False,
        "alert channel mail": True,
    }
    assert not any("top-secret" in detail for _, detail in found.values())
