"""The routes that the ad platform calls: the setup of its webhook, and its notices of creative fatigue.

They answer without a token, and only when a verify token and an app secret are set. What the platform sends and adwarm
does not use is accepted and ignored, because the platform repeats what is refused for days. Notices of accounts that
adwarm does not have yet are stored, since nobody can ask the platform for them again.
"""

import asyncio
import logging
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse

from adwarm.fatigue.notice_formats import parse_webhook
from adwarm.foundation.wording import format_count
from adwarm.serving.api.dependencies import SINGLE_VALUES, Services
from adwarm.serving.api.guard import WEBHOOK_PATH
from adwarm.serving.api.models import WebhookResult
from adwarm.serving.problems import Problem
from adwarm.serving.services import ServingServices
from adwarm.serving.webhook_gate import WebhookGate
from adwarm.store import platform_fatigue

router = APIRouter(tags=["webhooks"])
BODY_SECONDS: Final = 10.0
log = logging.getLogger(__name__)


async def _find_gate(request: Request) -> WebhookGate:
    gate: WebhookGate = request.app.state.webhook_gate
    return gate


Gate = Annotated[WebhookGate, Depends(_find_gate)]


@router.get(WEBHOOK_PATH, dependencies=[SINGLE_VALUES])
async def set_up_webhook(
    gate: Gate,
    mode: Annotated[str, Query(alias="hub.mode")] = "",
    verify_token: Annotated[str, Query(alias="hub.verify_token")] = "",
    challenge: Annotated[str, Query(alias="hub.challenge")] = "",
) -> PlainTextResponse:
    """Answer the platform's question at the setup of its webhook."""
    return PlainTextResponse(gate.answer_challenge(mode, verify_token, challenge))


@router.post(WEBHOOK_PATH)
async def receive_webhook(request: Request, services: Services, gate: Gate) -> WebhookResult:
    """Store the notices of a signed webhook; the same webhook again changes nothing."""
    gate.take()
    signature = gate.parse_signature(request.headers.get("x-hub-signature-256"))
    with gate.receiving():
        body = await _receive(request)
    gate.check(body, signature)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Problem(415, "Unsupported Media Type", "the body of a webhook is application/json")
    return await run_in_threadpool(_store, services, body)


async def _receive(request: Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.body()
    except TimeoutError:
        raise Problem(408, "Request Timeout", f"the body took longer than {BODY_SECONDS:.0f} s") from None


def _store(services: ServingServices, body: bytes) -> WebhookResult:
    now = services.clock.now()
    webhook = parse_webhook(body, now)
    if webhook.unreadable:
        count = format_count(len(webhook.unreadable), "notice")
        log.warning("%s of the platform could not be read; the first: %s", count, webhook.unreadable[0])
    stored = platform_fatigue.insert_notices(services.context.engine, webhook.notices, now)
    return WebhookResult(
        stored=stored,
        known=len(webhook.notices) - stored,
        ignored=webhook.ignored,
        unreadable=len(webhook.unreadable),
    )
