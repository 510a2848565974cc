"""`GET /v1/insights/{account}/{range}`: a plain ASGI application in front of the others, which get everything else.

| the entry of the key                        | answer                                                              |
|---------------------------------------------|---------------------------------------------------------------------|
| fresh                                       | 200 or 304, `Cache-Status: adwarm; hit; ttl=N`                      |
| old or degraded                             | the same with a negative `ttl`; a fetch is requested meanwhile      |
| the same, with `Prefer: wait=N`             | fetched, or after the wait or a failure the stored one, stale       |
| too old, absent, lost or damaged            | 200, degraded, from the fallback chain; a fetch is requested too    |
| the same, with `Prefer: wait=N`             | fetched: 200 with `fwd=miss`; after a failure from the chain        |
| the same, and the chain has nothing         | 202 when a fetch is requested; 404 when the token may not           |
| cannot be read: the database is lost        | 200, degraded, with the copy that this process has; 503 without one |

A range such as `last_7d` stands for the days that it means now. The days that it meant yesterday are served in their
place only by the chain (`adwarm.serving.read_chain`), for a request with `Prefer: allow-partial`; the answer says which
days it has. Without it they are a miss, which names these days in `stored_window`.

A hit from memory decodes nothing, waits for nothing and raises nothing. `adwarm serve` makes no task for it, and parses
an equal request once: `answer_at_once`. Budgets in microseconds, where 25 lines of ASGI take 23: token 2, pointer 1,
head and body 2, writing 3, open with counts and metrics 5; a request that is new to the process 12 more.

A parsed request holds what its headers negotiate; what answers an equal request also holds its actor, request id,
conditions and hashed secret. The router of the application behind it would take more time than the rest of a hit.
"""

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final

import orjson
from cachetools import TTLCache
from starlette.types import ASGIApp, Receive, Scope, Send

from adwarm.foundation import tracing
from adwarm.foundation.clock import TimeLimit, limited
from adwarm.foundation.errors import AdwarmError, Corrupt, restore_error
from adwarm.foundation.local_time import local_day
from adwarm.model import AccessToken, Actor, Priority, ReportKey, TokenScope, normalize_account_id
from adwarm.model.keys import check_served
from adwarm.recovery.retry import matches_errors
from adwarm.serving import http_headers
from adwarm.serving.api.anonymous import recognize_client
from adwarm.serving.api.connections import AT_ONCE, RepeatedAnswer, Write
from adwarm.serving.api.errors import NO_STORE, SECURITY_HEADERS, describe_error
from adwarm.serving.api.exchange import (
    ACTOR_HEADER,
    TRIGGER_HEADER,
    HttpExchange,
    Reading,
    choose_actor,
    collect_headers,
    describe_fallback,
    is_read,
    is_reload,
    receive_nothing,
    send,
    send_nothing,
    send_problem,
    unless_gone,
)
from adwarm.serving.api.heads import VARY, Described, ParsedRequest, parse_request
from adwarm.serving.api.insights_request import (
    PREFIX,
    allows_partial,
    find_bare_account,
    find_request_id,
    parse_priority,
    parse_wait,
)
from adwarm.serving.chain_steps import ChainRequest, StoreUnreachable
from adwarm.serving.flights import loop_time
from adwarm.serving.hit_parts import HitParts
from adwarm.serving.misses import FetchOutcome
from adwarm.serving.open_log import Open
from adwarm.serving.pointers import Pointer
from adwarm.serving.problems import ANSWER_SECONDS, Problem, retry_headers, unknown_report
from adwarm.serving.read_chain import STORE_ERRORS
from adwarm.serving.reader import ReadResult, ReadStatus
from adwarm.serving.services import ServingServices
from adwarm.serving.shared_runs import SharedRuns
from adwarm.serving.tokens import Credentials, parse_credentials
from adwarm.settings.recovery_sections import FallbackSettings
from adwarm.store import accounts
from adwarm.store.entries import Entry
from adwarm_client import api_headers

_LOST_SECONDS: Final = 0.5
"""How long reports in memory are sent without another try, after the database could not be reached."""
_JSON: Final = b"application/json"
_USED_AT_ONCE: Final = frozenset({
    ACTOR_HEADER,
    TRIGGER_HEADER,
    b"if-none-match",
    b"adwarm-request",
    b"x-request-id",
})
log = logging.getLogger(__name__)
Answer = tuple[int, Described, bytes]
"""Status, headers and body of an answer with a stored document."""


class _NotTried(StoreUnreachable):
    """The database could not be reached a moment ago, and this request did not try it."""

    # It says nothing new about the database, so it does not put off the next try.


class HitRoute:
    """Answers requests for a report and passes everything else to `inner`."""

    def __init__(self, inner: ASGIApp, services: ServingServices, parts: HitParts) -> None:
        self._inner = inner
        self._services = services
        self._parts = parts
        self._clock = services.clock
        self._misses = services.misses
        self._chain = services.chain
        self._runs = SharedRuns(services.chain, parts)
        self._ids: TTLCache[str, str] = TTLCache(10_000, 1, lambda: services.clock.now().timestamp())
        self._store_lost_at = -math.inf
        self._reports = frozenset(services.context.settings.reports)
        self._max_wait = services.context.settings.backpressure.timeout_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        if scope["type"] == "lifespan" and not tracing.is_recording():  # else each request has a span
            scope.get("state", {})[AT_ONCE] = self.answer_at_once
        if scope["type"] != "http" or not is_read(scope):
            with limited(*[TimeLimit(ANSWER_SECONDS, "the answer")] * (scope["type"] == "http")):
                await self._inner(scope, receive, send)
            return
        exchange = HttpExchange(scope, receive, send, time.perf_counter(), collect_headers(scope["headers"]))
        exchange.seconds = max(ANSWER_SECONDS, min(float(parse_wait(exchange.prefer)), self._max_wait))
        try:
            await self._answer(exchange)
        except Exception as error:
            if exchange.is_sent:
                raise  # the server closes the connection, so that a cut answer is not taken for a whole one
            await send_problem(exchange, describe_error(error))

    def answer_at_once(self, scope: Scope, write: Write) -> RepeatedAnswer | None:
        """Write a hit that is in memory, and return what answers an equal request; else None, and nothing happened."""
        if not is_read(scope):
            return None
        headers = collect_headers(scope["headers"])
        try:
            if b"origin" in headers:
                return None
            credentials = parse_credentials(headers.get(b"authorization"))
            number = find_bare_account(scope["path"])
            if number and number not in self._ids:
                return None
            parsed = parse_request(self._name_account(scope, number), headers)
        except (AdwarmError, Problem, ValueError):
            return None  # the application describes it
        used = {name: value for name, value in headers.items() if name in _USED_AT_ONCE}
        repeated = partial(self._answer_repeated, {"method": scope["method"]}, used, credentials, parsed)
        return repeated if repeated(write) else None

    def _answer_repeated(
        self, scope: Scope, headers: dict[bytes, bytes], credentials: Credentials, parsed: ParsedRequest, write: Write
    ) -> bool:
        exchange = HttpExchange(scope, receive_nothing, send_nothing, time.perf_counter(), headers)
        authenticator, now = self._services.authenticator, self._clock.now()
        token = authenticator.find(credentials, now)
        pointer = None if token is None else self._parts.pointers.get(parsed.query.key, now)
        entry = None if pointer is None else pointer.entry
        if token is None or pointer is None or entry is None or not entry.is_fresh(now):
            return False
        try:
            reading = self._read(exchange, token, parsed, now)
            answer = self._find_answer(reading, pointer, entry, "hit", now)
        except Exception as error:
            log.debug("the application describes what is not a hit: %s", type(error).__name__)
            answer = None
        if answer is None or not authenticator.take(token, now):
            return False
        status, (_, lines), body = answer
        sent = b"" if exchange.is_head else body
        write(status, lines, sent)
        self._record(reading, entry, "hit", len(sent))
        return True

    def _read(self, exchange: HttpExchange, token: AccessToken, parsed: ParsedRequest, now: datetime) -> Reading:
        """Return what a request reads."""
        key = parsed.query.key
        if key.report not in self._reports or not token.may_read(key.account_id):
            raise unknown_report()
        get = exchange.headers.get
        actor = choose_actor(token, get(ACTOR_HEADER), is_hook_poll=is_reload(get(TRIGGER_HEADER)))
        return Reading(exchange, token, parsed, actor, now)

    async def _answer(self, exchange: HttpExchange) -> None:
        token = await self._services.authenticator.authenticate(
            exchange.headers.get(b"authorization"), partial(recognize_client, exchange.scope)
        )
        now = self._clock.now()
        number = find_bare_account(exchange.scope["path"])
        if number and number not in self._ids:
            await self._find_account(number, exchange.seconds)
        parsed = parse_request(self._name_account(exchange.scope, number), exchange.headers)
        reading = self._read(exchange, token, parsed, now)
        key = reading.query.key
        try:
            pointer = self._parts.pointers.get(key, now)
            if pointer is None:
                pointer = await self._load_pointer(exchange, key)
                now = self._clock.now()
            entry = pointer.entry
            if entry is not None and await self._send_stored(reading, pointer, entry, now):
                return
        except STORE_ERRORS as error:
            if exchange.is_sent:
                raise
            if not isinstance(error, _NotTried):
                self._store_lost_at = loop_time()
            await self._answer_without_store(reading, error)
            return
        await self._answer_miss(reading, pointer)

    async def _find_account(self, number: str, seconds: float) -> None:
        """Find out which account bare digits mean; while the database is lost, the source decides."""
        try:
            async with asyncio.timeout(seconds):
                self._ids[number] = await asyncio.to_thread(accounts.find_id, self._services.context, number)
        except STORE_ERRORS as error:
            log.debug("accounts cannot be read, the source decides whose %s is: %s", number, type(error).__name__)
            is_meta = self._services.context.settings.source.has_meta_ids
            self._ids[number] = normalize_account_id(number, is_meta=is_meta)

    def _name_account(self, scope: Scope, number: str) -> Scope:
        """Return a request with the account that its bare digits mean."""
        path = f"{PREFIX}{self._ids.get(number, number)}"
        return {**scope, "path": scope["path"].replace(f"{PREFIX}{number}", path)} if number else scope

    async def _load_pointer(self, exchange: HttpExchange, key: ReportKey) -> Pointer:
        """Read a pointer; where the process has an older one, no longer than the step `entry` of the chain allows."""
        seconds = exchange.seconds
        step = self._chain.entry_step
        if step is not None and self._parts.pointers.get_last(key) is not None:
            if loop_time() - self._store_lost_at < _LOST_SECONDS:
                raise _NotTried
            seconds = step.timeout_seconds
        async with asyncio.timeout(seconds):
            return await self._parts.pointers.load(key)

    async def _send_stored(self, reading: Reading, pointer: Pointer, entry: Entry, now: datetime) -> bool:
        """Send the stored entry; False when it is lost, damaged or too old, or old and the reader waits."""
        if entry.is_fresh(now):
            return await self._send_entry(reading, pointer, entry, "hit", now)
        if self._is_too_old(entry, now) or self._find_wait(reading):
            return False
        return await self._send_stale(reading, pointer, entry, now)

    def _is_too_old(self, entry: Entry, now: datetime) -> bool:
        """Whether an entry is older than the chain serves old entries."""
        step = self._chain.entry_step
        if entry.is_fresh(now):
            return False
        if step is None:
            return True
        return step.max_age_seconds is not None and (now - entry.fetched_at).total_seconds() > step.max_age_seconds

    def _find_wait(self, reading: Reading) -> float:
        """Return how many seconds the reader waits for a fresh report; 0 when it does not, or its token may not."""
        may_fetch = reading.token.allows(TokenScope.ENQUEUE)
        return min(float(parse_wait(reading.exchange.prefer)), self._max_wait) if may_fetch else 0.0

    async def _send_stale(self, reading: Reading, pointer: Pointer, entry: Entry, now: datetime) -> bool:
        """Send an old entry and request a fresh one, unless the token may not, or adwarm itself reads."""
        token, key = reading.token, reading.query.key
        revalidates = token.allows(TokenScope.ENQUEUE) and reading.actor is not Actor.WARMER
        priority = _find_priority(reading) if revalidates else Priority.NORMAL
        is_sent = await self._send_entry(reading, pointer, entry, "stale", now)
        if is_sent and revalidates:
            self._misses.revalidate(key, token, priority)
        return is_sent

    async def _send_entry(self, reading: Reading, pointer: Pointer, entry: Entry, status: str, now: datetime) -> bool:
        """Send an entry; False when its bytes are lost or damaged, and then nothing was sent."""
        answer = self._find_answer(reading, pointer, entry, status, now)
        if answer is None:
            async with asyncio.timeout(reading.exchange.seconds):
                answer = await self._load_answer(reading, pointer, entry, status, now)
        if answer is None:
            return False
        code, (headers, _), body = answer
        await send(reading.exchange, code, headers + http_headers.preference_applied(reading.applied), body)
        self._record(reading, entry, status, 0 if reading.exchange.is_head else len(body))
        return True

    def _find_answer(
        self, reading: Reading, pointer: Pointer, entry: Entry, status: str, now: datetime
    ) -> Answer | None:
        """Return a 304, or the document that is in memory; None when it is not."""
        headers, head = reading.exchange.headers, reading.parsed.find_head(pointer, entry, status, now)
        condition = headers.get(b"if-none-match")
        unchanged = None if condition is None else head.match(condition)
        if unchanged is not None:
            return 304, unchanged, b""
        stored = self._parts.representations.get(entry, head.selection)
        return None if stored is None else (200, head.describe(stored.content_type, len(stored.body)), stored.body)

    async def _load_answer(
        self, reading: Reading, pointer: Pointer, entry: Entry, status: str, now: datetime
    ) -> Answer | None:
        """Return a document; None when the stored bytes are lost or damaged."""
        head = reading.parsed.find_head(pointer, entry, status, now)
        representation = await self._parts.representations.load(entry, head.selection)
        if representation is None:
            return None
        body, content_type = representation
        return 200, head.describe(content_type, len(body)), body

    async def _answer_without_store(self, reading: Reading, error: Exception) -> None:
        """Send what this process knows of a report whose entry cannot be read."""
        first = self._chain.describe_lost_store(reading.query.key, error)
        before, _, after = self._chain.split_steps(wants_fresh=False)
        request = ChainRequest(first, priority=Priority.NORMAL, allow_partial=allows_partial(reading.exchange.prefer))
        if not await self._send_found(reading, request, [*before, *after]):
            if self._parts.pointers.is_stored(reading.query.key.account_id):
                self._record(reading, None, "miss", 0)
            raise first.error or error

    async def _answer_miss(self, reading: Reading, pointer: Pointer) -> None:
        token, key = reading.token, reading.query.key
        may_fetch = token.allows(TokenScope.ENQUEUE)
        priority = _find_priority(reading) if may_fetch else Priority.NORMAL
        wait = self._find_wait(reading)
        before, upstream, after = self._chain.split_steps(wants_fresh=wait > 0)
        first = ReadResult(key, ReadStatus.MISS, self._clock.now(), reason=f"nothing is stored for {pointer.window}")
        is_awaited = wait > 0 and pointer.entry is not None and not pointer.entry.is_fresh(reading.at)
        if pointer.entry is not None and not is_awaited and not self._is_too_old(pointer.entry, reading.at):
            first = replace(first, error=Corrupt("the stored bytes are lost or damaged"))
        request = ChainRequest(
            first,
            may_fetch,
            priority,
            is_outdated=pointer.entry is not None,
            admit_call=partial(self._misses.admit_call, key, token),
            caller=token.id,
            allow_partial=allows_partial(reading.exchange.prefer),
        )
        if pointer.is_known and await self._send_found(reading, request, before):
            if may_fetch and reading.actor is not Actor.WARMER:
                self._misses.revalidate(key, token, priority)
            return
        if not may_fetch or upstream is None or not matches_errors(upstream.errors, first.error):
            if not pointer.is_known or not await self._send_found(reading, request, after):
                self._refuse(reading, pointer)
            return
        await self._fetch(reading, pointer, request, min(wait, upstream.timeout_seconds), after)

    def _refuse(self, reading: Reading, pointer: Pointer) -> None:
        """Say that a report is not stored and is not requested; what does not exist was not opened."""
        token, key = reading.token, reading.query.key
        if not pointer.is_known and not token.names(key.account_id):
            raise unknown_report()
        check_served(key.date_range, local_day(reading.at, pointer.data_zone))
        if pointer.is_known:
            self._record(reading, None, "miss", 0)
        todo = "nothing fetches it when it is read, by ADWARM_RECOVERY__FALLBACKS; warm it"
        if not token.allows(TokenScope.ENQUEUE):
            todo = "this token cannot request it; warm it, or use a token with the scope `enqueue`"
        raise Problem(404, "Not Stored", f"{key} is not stored for {pointer.window}, and {todo}")

    async def _fetch(
        self,
        reading: Reading,
        pointer: Pointer,
        request: ChainRequest,
        wait: float,
        after: Sequence[FallbackSettings],
    ) -> None:
        """Request a report and wait for it; when that gives none, send what the rest of the chain has."""
        exchange, key = reading.exchange, reading.query.key
        fetch = self._misses.fetch(key, reading.token, request.priority, wait)
        problem: Problem | None = None
        try:
            outcome = await (unless_gone(exchange.receive, fetch) if wait else fetch)
        except Problem as refusal:
            if refusal.status not in {429, 503}:
                raise
            problem, outcome = refusal, FetchOutcome(False, reason=refusal.detail)
        if outcome is None:  # the reader is gone
            self._record(reading, None, "miss", 0)
            return
        if wait:
            reading.applied = (f"wait={int(wait)}",)
        if outcome.is_stored and await self._send_fetched(reading):
            return
        # The chain goes on after the error of the attempt, as it does where the fetch runs in the same process.
        if outcome.error_kind is None and outcome.request_id is not None:
            error: Exception = TimeoutError(outcome.reason)
        else:
            error = restore_error(outcome.error_kind, outcome.reason, key.account_id)
        if pointer.is_known and await self._send_found(reading, replace(request, is_outdated=True), after, error):
            return
        if problem is not None:
            if pointer.is_known or problem.status == 503:  # what does not exist was not opened
                self._record(reading, None, "miss", 0)
            raise problem
        await self._send_pending(reading, outcome)

    async def _send_fetched(self, reading: Reading) -> bool:
        """Send the report that a fetch has stored; False when it is not there."""
        pointer, now = await self._parts.pointers.load(reading.query.key, max_age=0), self._clock.now()
        if pointer.entry is None:
            return False
        status = "fetched" if pointer.entry.is_fresh(now) else "stale"
        return await self._send_entry(reading, pointer, pointer.entry, status, now)

    async def _send_found(
        self,
        reading: Reading,
        request: ChainRequest,
        steps: Sequence[FallbackSettings],
        error: Exception | None = None,
    ) -> bool:
        """Send the answer of the first step that has one; False when none has, and then nothing was sent."""
        exchange, result = reading.exchange, await self._runs.find(request, steps, error)
        if result.entry is None:
            exchange.refused_window = exchange.refused_window or result.refused_window
            return False
        described = await describe_fallback(
            result, exchange.headers, reading.query, self._parts.representations, self._clock.now()
        )
        if described is None:
            return False
        status, headers, body = described
        applied = (*reading.applied, api_headers.ALLOW_PARTIAL) if result.other_window else reading.applied
        await send(exchange, status, headers + http_headers.preference_applied(applied), body)
        size = 0 if exchange.is_head else len(body)
        self._record(reading, result.entry, str(result.status), size)
        return True

    async def _send_pending(self, reading: Reading, outcome: FetchOutcome) -> None:
        """Say that a report is requested and where its request is, or why it is not."""
        key, exchange = reading.query.key, reading.exchange
        if outcome.request_id is None:
            self._record(reading, None, "miss", 0)
            detail = outcome.reason or f"{key} cannot be fetched now"
            fields = {"error_kind": outcome.error_kind} if outcome.error_kind else {}
            raise Problem(503, "Service Unavailable", detail, retry_headers(outcome.retry_after), fields)
        location = f"/v1/requests/{outcome.request_id}"
        retry_after = max(1, math.ceil(outcome.retry_after or 1))
        body = orjson.dumps({
            "status": "queued",
            "request_id": outcome.request_id,
            "location": location,
            "retry_after": retry_after,
            "reason": outcome.reason,
            "error_kind": outcome.error_kind,
            **exchange.stored_window,
        })
        cache_status = http_headers.cache_status(str(key), None, is_miss=True)
        sent = [
            (b"content-type", _JSON),
            (b"content-length", b"%d" % len(body)),
            (b"location", location.encode()),
            (b"retry-after", b"%d" % retry_after),
            (b"cache-status", cache_status.encode()),
            VARY,
            NO_STORE,
            *http_headers.preference_applied(reading.applied),
            *SECURITY_HEADERS,
        ]
        await send(exchange, 202, sent, body)
        self._record(reading, None, "miss", 0 if exchange.is_head else len(body), str(outcome.request_id))

    def _record(
        self, reading: Reading, entry: Entry | None, status: str, sent_bytes: int, request_id: str | None = None
    ) -> None:
        """Count one read and record it as an open."""
        exchange, key = reading.exchange, reading.query.key
        latency_ms = round((time.perf_counter() - exchange.started) * 1000, 3)
        own_id = find_request_id(exchange.headers)
        # A queued request is named by its number, so that the client that comes back for it is the same open.
        name = own_id if b"adwarm-request" in exchange.headers else request_id or own_id
        item = Open(
            at=reading.at,
            key=key,
            actor=reading.actor,
            status=status,
            latency_ms=latency_ms,
            sent_bytes=sent_bytes,
            request_id=name,
        )
        self._services.record(item, entry)


def _find_priority(reading: Reading) -> Priority:
    """Return the class of a fetch."""
    named = reading.exchange.headers.get(b"adwarm-priority")
    return Priority.NORMAL if named is None else parse_priority(named.decode("latin-1"))
