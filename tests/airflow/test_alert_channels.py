"""Alerts through a real notifier of Airflow, to a local mail server."""

import json
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import Message as Mail
from email.policy import default
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from urllib.parse import unquote_plus

import pytest
import requests
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from airflow.sdk import BaseNotifier
from airflow.sdk.listener import get_listener_manager

from adwarm.foundation.errors import BadRequest, Transient
from adwarm.model import Priority, ReportKey
from adwarm.recovery.channels import AppriseSender, LogSender
from adwarm.recovery.messages import AD_FATIGUE, WEEKLY_DIGEST, Message, build_message
from adwarm.runtime import Runtime
from adwarm.settings.recovery_sections import AppriseChannel, NotifierChannel
from adwarm.store.alerts import OPENED, Channels, NewAlert, StoredAlert, list_alerts, list_deliveries, open_event
from adwarm.store.error_events import ErrorEvent
from adwarm_airflow.alert_channels import NotifierSender
from adwarm_airflow.task_context import open_runtime
from graph_simulator.server import SimulatorServer
from tests.support.alert_sink import run_sink

SMTP_NOTIFIER = "airflow.providers.smtp.notifications.smtp:SmtpNotifier"
CONNECTION = "AIRFLOW_CONN_FACEBOOK_DEFAULT"
MESSAGE = Message("adwarm: 10 errors", "Reason: a & {{ 7 }} {kind}", "Transient", "act_1 last_7d")
ARGUMENTS = {
    "smtp_conn_id": "alerts_smtp",
    "from_email": "adwarm@example.com",
    "to": "team@example.com",
    "subject": "{title} [{kind}] {key}",
    "html_content": "{html}",
}


class Mailbox:
    """Collects the mails of a local server."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name
        """Accept a mail."""
        content = envelope.original_content or b""
        self.mails.append(message_from_bytes(content, policy=default))  # type: ignore[arg-type]
        return "250 OK"


@pytest.fixture
def mailbox(airflow_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    """A mail server on the loopback, and the connection that leads to it."""
    import_module(SMTP_NOTIFIER.partition(":")[0])  # takes longer than any test here
    box = Mailbox()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    extra = {"disable_ssl": True, "disable_tls": True, "retry_limit": 1, "timeout": 5}
    connection = {"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_ALERTS_SMTP", json.dumps(connection))
    yield box
    controller.stop()


def channel(**values: object) -> NotifierSender:
    """The mail channel, with other values."""
    fields = {"name": "mail", "notifier": SMTP_NOTIFIER, "arguments": ARGUMENTS, **values}
    return NotifierSender(NotifierChannel.model_validate(fields))


def test_a_notifier_sends_one_mail(mailbox: Mailbox) -> None:
    """Placeholders are replaced once; the text of an error is neither a template nor markup."""
    sender = channel()
    assert sender.check() == f"notifier {SMTP_NOTIFIER}"
    assert mailbox.mails == []
    sender.send(MESSAGE)

    (mail,) = mailbox.mails
    assert mail["Subject"] == "adwarm: 10 errors [Transient] act_1 last_7d"
    assert mail["To"] == "team@example.com"
    body = "".join(str(part.get_content()) for part in mail.walk() if part.get_content_maintype() == "text")
    assert "a &amp; {{ 7 }} {kind}" in body


def test_a_notifier_that_cannot_be_used_says_why(mailbox: Mailbox) -> None:
    """A wrong class, wrong arguments and a connection that is missing are errors that name the channel."""
    with pytest.raises(BadRequest, match="cannot be imported"):
        channel(notifier="no_such_package.module:Class").check()
    with pytest.raises(BadRequest, match="is not a notifier"):
        channel(notifier="json:JSONDecoder").check()
    with pytest.raises(BadRequest, match="does not take the arguments"):
        channel(arguments={"no_such_argument": "x"}).send(MESSAGE)
    with pytest.raises(Transient, match=r"'mail' failed: .*check its connection"):
        channel(arguments={**ARGUMENTS, "smtp_conn_id": "missing"}).send(MESSAGE)
    assert mailbox.mails == []


def test_a_task_sends_its_mails_at_its_end(mailbox: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it works nothing is sent; Airflow's hook at the end of the process sends one mail for many events."""
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path / "home"))
    channels = [{"type": "notifier", "name": "mail", "notifier": SMTP_NOTIFIER, "arguments": ARGUMENTS}]
    monkeypatch.setenv("ADWARM_ALERTS__CHANNELS", json.dumps(channels))
    runtime = open_runtime()
    for _ in range(100):
        event = ErrorEvent(runtime.clock.now(), "meta", "Transient", "down", "act_1 last_7d")
        runtime.errors.record(event)
        runtime.alerts.observe(event)
    assert runtime.notice_sender.wait(30)
    assert mailbox.mails == []

    for _ in range(2):
        get_listener_manager().hook.before_stopping(component=object())
    (mail,) = mailbox.mails
    assert "Transient of meta" in str(mail["Subject"])
    (alert,) = list_alerts(runtime.engine)
    assert all(item.delivered_at for item in list_deliveries(runtime.engine, [alert.id]))


@pytest.mark.slow
def test_a_failing_task_sends_its_alert_and_what_an_earlier_process_left(
    airflow_home: Path,
    dags: dict[str, Any],
    simulator: SimulatorServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A webhook has both when the task has failed: the dead token's alert, and one that was only stored."""
    extra = {"app_id": "100000", "access_token": "expired", "graph_url": simulator.url}
    monkeypatch.setenv(CONNECTION, json.dumps({"conn_type": "facebook_social", "extra": extra}))
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path / "home"))
    runtime = Runtime()
    event = NewAlert(at=runtime.clock.now(), kind="OverlongPark", scope="meta", reason="long", next_step="Look.")
    open_event(runtime.engine, lambda _: event, Channels(queued=("hook",)))
    runtime.queue.enqueue(ReportKey("act_511", "yesterday"), Priority.HIGH)
    with run_sink() as sink:
        monkeypatch.setenv(
            "ADWARM_ALERTS__CHANNELS", json.dumps([{"type": "apprise", "name": "hook", "url": sink.url}])
        )
        for task in dags["adwarm_request_queue"].tasks:
            task.retries = 0
        assert dags["adwarm_request_queue"].test(logical_date=None).state == "failed"
    assert sorted(title.partition(" of ")[0] for title in sink.titles) == [
        "adwarm: 1 error TokenDead",
        "adwarm: OverlongPark",
    ]


def test_a_mail_server_that_is_down_fails_no_task(
    mailbox: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hook raises nothing; the notice stays for the maintenance, with the reason."""
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path / "home"))
    arguments = {**ARGUMENTS, "smtp_conn_id": "missing"}
    channels = [{"type": "notifier", "name": "mail", "notifier": SMTP_NOTIFIER, "arguments": arguments}]
    monkeypatch.setenv("ADWARM_ALERTS__CHANNELS", json.dumps(channels))
    runtime = open_runtime()
    runtime.alerts.raise_once(ErrorEvent(runtime.clock.now(), "meta", "OverlongPark", "asked for years"))
    get_listener_manager().hook.before_stopping(component=object())
    (alert,) = list_alerts(runtime.engine)
    (delivery,) = [item for item in list_deliveries(runtime.engine, [alert.id]) if item.channel == "mail"]
    assert delivery.delivered_at is None
    assert "check its connection" in (delivery.error or "")


HOSTILE = (
    "@everyone @here <@123456789> <@&1> <#2> <!channel> <!here|now> <t:0> @all",
    "[free](https://evil.example/a) ![x](http://evil.example) <https://evil.example|free> <http://evil.example>",
    "evil.example www.evil.example https://evil.example/?q=1 ftp://evil.example mail@evil.example",
    "**bold** __under__ _it_ *it* ~~gone~~ ||spoiler|| `code` # head > quote | cell | \\[x\\](y)",
    "<b>b</b> <script>alert(1)</script> <a href='x'>x</a> <img src=x onerror=y> &lt;b&gt;",
    "a\u202eb\u2066c\u200ed\x00\x07\x1b[31me\r\u2028f",
)
LIVE = re.compile(
    r"[@*~|`]|<[!@#a-z/]|\]\(|://|\w\.example|\b_+\w|\w_+\b|[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u2028-\u202e\u2066-\u2069]"
)
SERVICES = (
    "discord://123456789012345678/abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz/",
    "discord://123456789012345678/abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz/?format=markdown",
    "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#ads",
    "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#ads?format=text",
    "tgram://123456789:abcdefg_hijklmnop/12315544/",
    "tgram://123456789:abcdefg_hijklmnop/12315544/?format=markdown",
    "gchat://workspace/key/token",
    "workflows://prod.example:443/workflow/signature",
    "mmost://localhost:9/3ccdd113474722377935511fc85d3dd4",
    "ntfy://localhost:9/ads",
    "pover://uuuuuuuuuuuuuuuuuuuuuuuuuuuuuu@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa?format=html",
    *(f"{schema}://localhost:9/?format={kind}" for schema in ("json", "form") for kind in ("text", "html", "markdown")),
)


class Collector(BaseNotifier):
    """A notifier that keeps what it is given."""

    received: ClassVar[list[str]] = []

    def __init__(self, **arguments: str) -> None:
        super().__init__()
        self.received.extend(arguments.values())

    def notify(self, context: Any) -> None:
        """Do nothing."""


def _hostile_messages(kind: str) -> Iterator[Message]:
    """Yield messages with a hostile name at each place where a name may be."""
    now = datetime(2026, 11, 25, 12, tzinfo=UTC)
    for name in HOSTILE:
        text = f"begin {name} end"
        alert = StoredAlert(
            id=1, kind=kind, scope=text, opened_at=now, last_at=now, errors=1, window_seconds=0.0, example=text,
            reason=text, next_step="Look.", resolved_at=None,
        )  # fmt: skip
        yield build_message(alert, OPENED)


def _iter_channels(services: Sequence[str], sent: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Yield every channel; what they send to the network or a notifier is added to `sent`."""

    def request(_session: requests.Session, method: str, url: str, **options: Any) -> requests.Response:
        del method, url
        body = options.get("json") or options.get("data") or ""
        sent.append(body.decode() if isinstance(body, bytes) else body if isinstance(body, str) else json.dumps(body))
        response = requests.Response()
        response.status_code, response._content = 200, b'{"ok": true}'
        return response

    monkeypatch.setattr(requests.Session, "request", request)
    monkeypatch.setattr(Collector, "received", sent)
    logger = SimpleNamespace(log=lambda _level, text, *values: sent.append(text % values))
    monkeypatch.setattr("adwarm.recovery.channels.log", logger)
    yield LogSender()
    for url in services:
        yield AppriseSender(AppriseChannel(name="chat", url=url))
    fields = {name: f"{{{name}}}" for name in ("title", "text", "html", "kind", "key")}
    yield NotifierSender(NotifierChannel(name="notes", notifier=f"{__name__}:Collector", arguments=fields))


def _read_texts(sent: str) -> list[str]:
    """Return what a receiver makes of the parts of a body that hold a name."""
    try:
        document = json.loads(sent)
    except ValueError:
        document = unquote_plus(sent)
    texts, todo = list[str](), [document]
    while todo:
        item = todo.pop()
        todo += item.values() if isinstance(item, dict) else item if isinstance(item, list) else []
        texts += re.findall("begin (.*?) end", item, re.DOTALL) if isinstance(item, str) else []
    return texts


@pytest.fixture(scope="module")
def services() -> tuple[str, ...]:
    """URLs of services; Apprise has loaded its modules for them, which takes longer than any test here."""
    assert all(import_module("apprise").Apprise.instantiate(url) for url in SERVICES)
    return SERVICES


@pytest.mark.parametrize("kind", [AD_FATIGUE, WEEKLY_DIGEST, "Transient"])
def test_no_channel_gets_markup_or_mentions_from_data(
    kind: str, services: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever an ad is called, each service gets text: nobody is mentioned, nothing is a link, markup or invisible."""
    sent: list[str] = []
    for channel in _iter_channels(services, sent, monkeypatch):
        before = len(sent)
        for message in _hostile_messages(kind):
            with suppress(Transient):  # not every service takes the answer for its own
                channel.send(message)
        texts = [text for body in sent[before:] for text in _read_texts(body)]
        assert len(texts) >= len(HOSTILE), channel.check()
        assert [text for text in texts if LIVE.search(text)] == [], channel.check()
