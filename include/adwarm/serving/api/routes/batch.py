"""The route that reads several reports at once."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Response
from fastapi.concurrency import run_in_threadpool

from adwarm.compression import CONTENT_TYPE, choose_encoding, content_coding
from adwarm.compression.envelope import encode
from adwarm.foundation.errors import BadRequest, Corrupt, TooMuchData
from adwarm.foundation.local_time import local_day
from adwarm.foundation.redaction import redact
from adwarm.model import AccessToken, Actor, Priority, ReportKey, TokenScope, Window
from adwarm.model.keys import check_served
from adwarm.serving.api.errors import problems
from adwarm.serving.api.exchange import choose_actor
from adwarm.serving.api.guard import PARTIAL_TEXT, ActorHeader, ReadToken, Services
from adwarm.serving.api.insights_request import allows_partial
from adwarm.serving.api.models import BatchAnswer, BatchBody, BatchItem, KeyBody, OpenRequest
from adwarm.serving.api.routes.requests import request_path
from adwarm.serving.chain_steps import StoreUnreachable
from adwarm.serving.open_log import Open
from adwarm.serving.problems import Problem, unknown_report
from adwarm.serving.reader import ReadResult, ReadStatus
from adwarm.serving.services import ServingServices
from adwarm.serving.tokens import check_key, cut_priority
from adwarm.store import accounts
from adwarm.store.entries import Entry
from adwarm_client.api_headers import ALLOW_PARTIAL

router = APIRouter(tags=["reports"])
MAX_DECODED_BYTES = 16 * 2**20
"""The most bytes of documents in one answer; reports beyond it are read by themselves."""
_FAST_LEVELS = {"zstd": 3, "gzip": 1, "brotli": 4}


@dataclass(frozen=True, slots=True)
class _Read:
    """What was found for one key of a batch."""

    item: BatchItem  # the answer
    key: ReportKey | None = None  # the report; None when it is malformed or unknown to the token
    is_open: bool = False  # whether it was opened: it is answered, or its account is stored
    entry: Entry | None = None
    document: bytes | None = None
    latency_ms: float = 0.0


@router.post(
    "/batch",
    summary="Read several reports",
    operation_id="read_batch",
    response_model=BatchAnswer,
    responses=problems(400, 413),
)
async def read_batch(
    token: ReadToken,
    services: Services,
    body: BatchBody,
    accept_encoding: Annotated[str, Header(max_length=1_000, include_in_schema=False)] = "",
    adwarm_actor: ActorHeader = None,
    prefer: Annotated[str, Header(max_length=200, description=PARTIAL_TEXT)] = "",
) -> Response:
    """Answer what is stored for each key, at once. Only with the scope `enqueue` are missing reports requested."""
    actor, is_partial_allowed = choose_actor(token, adwarm_actor and adwarm_actor.encode()), allows_partial(prefer)
    reads = await run_in_threadpool(_read_all, services, token, body.items, allow_partial=is_partial_allowed)
    priority = cut_priority(token, Priority.parse(body.priority))
    reads = [await _request_missing(services, token, priority, read) for read in reads]
    for read in reads:
        _record(services, actor, read)
    content, coding = await run_in_threadpool(_encode, services, reads, accept_encoding)
    headers = {"Vary": "Accept-Encoding, Authorization"}
    if coding != "identity":
        headers["Content-Encoding"] = coding
    if any(read.item.window is not None for read in reads):
        headers["Preference-Applied"] = ALLOW_PARTIAL
    return Response(content, media_type="application/json", headers=headers)


def _read_all(
    services: ServingServices, token: AccessToken, keys: Sequence[KeyBody], *, allow_partial: bool
) -> list[_Read]:
    reads: list[_Read] = []
    left = MAX_DECODED_BYTES
    for key in keys:
        read = _read(services, token, key, left, allow_partial=allow_partial)
        left -= len(read.document or b"")
        reads.append(read)
    return reads


def _read(
    services: ServingServices, token: AccessToken, body: KeyBody, max_bytes: int, *, allow_partial: bool
) -> _Read:
    started = time.perf_counter()
    named = {"account": body.account, "range": body.range, "report": body.report}
    try:
        key = check_key(services.context, token, body.account, body.range, body.report)
        result = services.chain.read(key, record_traffic=False, allow_partial=allow_partial)
        is_open = result.entry is not None or _is_of_stored_account(services, token, result)
    except Problem as problem:
        return _Read(BatchItem(**named, status="not_found", reason=problem.detail))
    except BadRequest as error:
        return _Read(BatchItem(**named, status="invalid", reason=redact(str(error))))
    try:
        read = _describe(services, named, result, max_bytes)
    except (Corrupt, TooMuchData) as error:
        read = _Read(BatchItem(**named, status="miss", reason=str(error)))
    return replace(read, key=key, is_open=is_open, latency_ms=(time.perf_counter() - started) * 1000)


def _is_of_stored_account(services: ServingServices, token: AccessToken, miss: ReadResult) -> bool:
    """Return whether the account of a miss is stored; false while the database cannot be reached."""
    if isinstance(miss.error, StoreUnreachable):
        return False
    key, context = miss.key, services.context
    account = accounts.get(context.engine, key.account_id)
    if account is None and not token.names(key.account_id):
        raise unknown_report()
    zone = context.settings.default_zone if account is None else account.data_zone
    check_served(key.date_range, local_day(services.clock.now(), zone))
    return account is not None


def _describe(services: ServingServices, named: dict[str, str], result: ReadResult, max_bytes: int) -> _Read:
    entry, blob = result.entry, result.blob
    if entry is None or blob is None:
        stored_window = _name(result.refused_window)
        return _Read(BatchItem(**named, status="miss", reason=result.reason, stored_window=stored_window))
    item = BatchItem(
        **named,
        status="hit" if result.status is ReadStatus.HIT else "stale",
        reason=result.reason,
        fetched_at=entry.fetched_at,
        fresh_until=entry.expires_at,
        age_seconds=result.age_seconds,
        source=entry.source,
        complete=entry.complete,
        served_from=result.source,
        degraded=result.is_degraded,
        window=_name(result.other_window),
        actions=list(result.actions),
        content_type=CONTENT_TYPE,
    )
    if entry.raw_bytes > max_bytes:
        reason = "the answer is full; read this report by itself"
        return _Read(item.model_copy(update={"reason": reason}), entry=entry)
    return _Read(item, entry=entry, document=services.reader.get_body(result))


def _name(window: Window | None) -> str | None:
    return None if window is None else str(window)


async def _request_missing(services: ServingServices, token: AccessToken, priority: Priority, read: _Read) -> _Read:
    """Request a missing or stale report, if the token may; a refusal becomes the item's reason."""
    if read.key is None or not token.allows(TokenScope.ENQUEUE):
        return read
    if read.item.status == "stale":
        services.misses.revalidate(read.key, token, priority)
    if read.item.status != "miss":
        return read
    try:
        outcome = await services.misses.fetch(read.key, token, priority, 0.0)
    except Problem as problem:
        item = read.item.model_copy(update={"reason": problem.detail})
        return replace(read, item=item, is_open=read.is_open and problem.status != 404)
    update: dict[str, Any] = {"reason": outcome.reason or read.item.reason}
    if outcome.request_id is not None:
        number = outcome.request_id
        update["request"] = OpenRequest(
            request_id=number, location=request_path(number), retry_after=outcome.retry_after
        )
    return replace(read, item=read.item.model_copy(update=update))


def _record(services: ServingServices, actor: Actor, read: _Read) -> None:
    if read.key is not None and read.is_open:
        at, size = services.clock.now(), len(read.document or b"")
        services.record(
            Open(
                at=at, key=read.key, actor=actor, status=read.item.status, latency_ms=read.latency_ms, sent_bytes=size
            ),
            read.entry,
        )


def _encode(services: ServingServices, reads: Sequence[_Read], accept_encoding: str) -> tuple[bytes, str]:
    """Return the answer in a coding that the client accepts; documents are inserted as they are stored."""
    items = [
        {**read.item.model_dump(mode="json", exclude={"document"}), "document": _fragment(read.document)}
        for read in reads
    ]
    content = orjson.dumps({"items": items})
    codec = choose_encoding(accept_encoding, "zstd")
    settings = services.context.settings.compression
    if len(content) < settings.threshold_bytes:
        codec = "identity"
    return encode(content, codec, settings.with_codec(codec, _FAST_LEVELS.get(codec, 0))), content_coding(codec)


def _fragment(document: bytes | None) -> Any:
    return None if document is None else orjson.Fragment(document)
