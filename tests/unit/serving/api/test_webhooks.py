"""The webhook route: signed notices are stored, everything else is refused or ignored, and no secret is shown."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import orjson
import pytest
from fastapi.testclient import TestClient

from adwarm.model import PlatformNotice
from adwarm.serving.api.application import build_application
from adwarm.serving.api.guard import MAX_BODY_BYTES, MAX_WEBHOOK_BYTES, WEBHOOK_PATH
from adwarm.serving.api.routes import webhooks
from adwarm.serving.hit_parts import HitParts
from adwarm.serving.services import ServingServices
from adwarm.serving.webhook_gate import UNVERIFIED_PER_SECOND, sign
from adwarm.store import platform_fatigue
from tests.unit.conftest import NOW, SQLITE_ONLY

SECRET = "an-app-secret-1234"
TOKEN = "a-verify-token-1234"
AT = NOW.replace(microsecond=0)


@pytest.fixture
def webhook(services: ServingServices, parts: HitParts) -> Iterator[TestClient]:
    """The whole application with a verify token and an app secret."""
    settings = services.context.settings
    serving = settings.serving.model_validate({**settings.serving.model_dump(), "webhook_verify_token": TOKEN})
    source = settings.source.model_validate({**settings.source.model_dump(), "app_secret": SECRET})
    settings = settings.model_copy(update={"serving": serving, "source": source})

    async def close() -> None:
        """Leave the parts to their fixture."""

    services = replace(services, context=replace(services.context, settings=settings))
    with TestClient(build_application(services, parts, [], close), raise_server_exceptions=False) as client:
        yield client


def make_body(*ads: str, level: str = "HIGH", **fields: Any) -> bytes:
    """The body of a webhook with a notice for each ad."""
    changes = [
        {
            "field": "creative_fatigue",
            "value": {"ad_account_id": "1", "adgroup_id": ad, "creative_fatigue_level": level},
        }
        for ad in ads
    ]
    entry = {"id": "1", "time": int(AT.timestamp()), "changes": changes}
    return orjson.dumps({"object": "ad_account", "entry": [entry], **fields})


def send(client: TestClient, body: bytes, **headers: str) -> httpx.Response:
    """Send a signed webhook; headers replace those that the platform sends."""
    signed = {"X-Hub-Signature-256": f"sha256={sign(body, SECRET.encode())}", "Content-Type": "application/json"}
    return client.post(WEBHOOK_PATH, content=body, headers={**signed, **headers})


def test_a_signed_notice_is_stored_once(webhook: TestClient, services: ServingServices) -> None:
    """A webhook is stored; its replay, and the same notice in another webhook, change nothing."""
    answer = send(webhook, make_body("7", "8"))
    assert (answer.status_code, answer.json()) == (200, {"stored": 2, "known": 0, "ignored": 0, "unreadable": 0})
    assert send(webhook, make_body("7", "8")).json()["known"] == 2
    assert send(webhook, make_body("7", level="LOW")).json() == {"stored": 0, "known": 1, "ignored": 0, "unreadable": 0}
    expected = {ad: PlatformNotice("act_1", ad, AT, "high", None, "webhook") for ad in ("7", "8")}
    assert platform_fatigue.list_newest(services.context.engine, "act_1") == expected


def test_what_is_not_used_is_accepted(webhook: TestClient) -> None:
    """Other objects and unreadable notices get 200 and are counted, so that nobody sends them again."""
    assert send(webhook, make_body("7", object="page")).json()["ignored"] == 1
    answer = send(webhook, make_body("7", level="EXTREME"))
    assert (answer.status_code, answer.json()["unreadable"]) == (200, 1)


def test_a_forged_webhook_is_refused(webhook: TestClient, services: ServingServices) -> None:
    """A missing, foreign or stale signature is 403 whatever the body is, and nothing is stored."""
    body = make_body("7")
    forged = {
        "unsigned": {"X-Hub-Signature-256": ""},
        "another secret": {"X-Hub-Signature-256": f"sha256={sign(body, b'guess')}"},
        "another body": {"X-Hub-Signature-256": f"sha256={sign(body + b' ', SECRET.encode())}"},
        "the old kind": {"X-Hub-Signature-256": "sha1=" + "0" * 40},
        "no key": {"X-Hub-Signature-256": f"sha256={sign(body, b'')}"},
        "a token instead": {"X-Hub-Signature-256": "", "Authorization": "Bearer adwarm_abcdefghijkl_" + "A" * 43},
    }
    for name, headers in forged.items():
        assert send(webhook, body, **headers).status_code == 403, name
    assert webhook.post(WEBHOOK_PATH, content=body).status_code == 403
    assert platform_fatigue.list_newest(services.context.engine, "act_1") == {}


@SQLITE_ONLY
def test_malformed_bodies(webhook: TestClient, subtests: pytest.Subtests) -> None:
    """Signed nonsense is a problem with a status, never an unexpected error."""
    for body, headers, status in [
        (b"not json", {}, 400),
        (b"[" * 200_000, {}, 400),
        (b"{}", {}, 400),
        (b"", {}, 400),
        (b'{"object": "ad_account", "entry": ["\xff"]}', {}, 400),
        (make_body("7"), {"Content-Type": "text/plain"}, 415),
        (make_body("7"), {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (make_body("7"), {"Content-Type": "application/json; charset=UTF-8"}, 200),
    ]:
        with subtests.test(body=body, headers=headers, status=status):
            answer = send(webhook, body, **headers)
            assert answer.status_code == status
            if status != 200:
                assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_may_hold_a_thousand_notices(webhook: TestClient) -> None:
    """More than other routes accept is allowed here, up to a limit that holds whatever length is declared."""
    body = make_body(*(str(number) for number in range(1_000)))
    assert len(body) > MAX_BODY_BYTES
    assert send(webhook, body).json()["stored"] == 1_000
    huge = b'{"entry": "' + b"x" * MAX_WEBHOOK_BYTES + b'"}'
    assert send(webhook, huge).status_code == 413
    signature = {"X-Hub-Signature-256": f"sha256={sign(huge, SECRET.encode())}", "Content-Type": "application/json"}
    pieces = (huge[start : start + 65_536] for start in range(0, len(huge), 65_536))
    assert webhook.post(WEBHOOK_PATH, content=pieces, headers=signature).status_code == 413


def test_a_slow_body_ends(webhook: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that does not come in time is 408."""
    monkeypatch.setattr(webhooks, "BODY_SECONDS", 0.0)

    async def never(self: Any) -> bytes:
        await webhooks.asyncio.sleep(60)
        return b""

    monkeypatch.setattr(webhooks.Request, "body", never)
    assert send(webhook, make_body("7")).status_code == 408


def test_a_flood_of_forgeries_is_limited(webhook: TestClient) -> None:
    """Forged webhooks reach a limit and then get 429 with Retry-After."""
    body = make_body("7")
    answers = [send(webhook, body, **{"X-Hub-Signature-256": "sha256=" + "0" * 64}) for _ in range(30)]
    assert [answer.status_code for answer in answers].count(403) == UNVERIFIED_PER_SECOND
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_the_setup(webhook: TestClient) -> None:
    """The setup of the webhook gets its challenge back as plain text; a wrong or repeated token does not."""
    question = {"hub.mode": "subscribe", "hub.challenge": "1158201444", "hub.verify_token": TOKEN}
    answer = webhook.get(WEBHOOK_PATH, params=question)
    assert (answer.status_code, answer.text) == (200, "1158201444")
    assert answer.headers["content-type"].startswith("text/plain")
    assert webhook.get(WEBHOOK_PATH, params={**question, "hub.verify_token": "another"}).status_code == 403
    assert webhook.get(WEBHOOK_PATH).status_code == 403
    assert webhook.get(WEBHOOK_PATH, params={**question, "hub.challenge": "<b>"}).status_code == 400
    twice = [*question.items(), ("hub.verify_token", "another")]
    assert webhook.get(WEBHOOK_PATH, params=twice).status_code == 400
    assert webhook.put(WEBHOOK_PATH).status_code == 405


def test_it_is_off_by_default(api: Any) -> None:
    """Without the settings the path is unknown, also with a token, and nothing is stored."""
    body = make_body("7")
    assert send(api.client, body).status_code == 404
    assert api.client.get(WEBHOOK_PATH, params={"hub.verify_token": ""}).status_code == 404
    assert api.get(WEBHOOK_PATH, api.token()).status_code == 404
    assert api.client.post(WEBHOOK_PATH + "/").status_code == 401


def test_no_answer_and_no_log_holds_a_secret(webhook: TestClient, lines: list[str]) -> None:
    """Neither secret is in an answer or a log, whatever is sent, also when both are echoed by the caller."""
    answers = [
        send(webhook, make_body("7")),
        send(webhook, make_body("7"), **{"X-Hub-Signature-256": SECRET}),
        send(webhook, orjson.dumps({"object": SECRET, "entry": TOKEN})),
        send(webhook, make_body(SECRET + TOKEN)),
        webhook.get(WEBHOOK_PATH, params={"hub.verify_token": SECRET, "hub.mode": TOKEN}),
    ]
    logged = [line for line in lines if not line.startswith("httpx ")]  # the test's own client logs its URLs
    assert any("could not be read" in line for line in logged)
    for text in [*(answer.text + str(answer.headers) for answer in answers), *logged]:
        assert SECRET not in text
        assert TOKEN not in text
