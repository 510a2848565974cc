"""Makes and checks the bearer tokens of the read API.

A token is `adwarm_<id>_<secret>`. The id is public; the secret is 256 random bits, shown once and stored as its
SHA-256. A slow hash protects passwords that can be guessed. Nobody can try 2^256 secrets, and a slow hash would cost
every request tens of milliseconds.

| the token                             | result                                                              |
|---------------------------------------|---------------------------------------------------------------------|
| was read from SQL less than 0.5 s ago | checked in memory, without waiting                                  |
| 0.5 to 1 s ago                        | the same, and a thread reads it again meanwhile                     |
| longer ago, or never                  | the request waits for a thread that reads it; requests share a read |
| longer ago, and the database is lost  | checked in memory, for `OUTAGE_SECONDS` since that                  |
| has an id that is not stored          | 401, by the list of all ids, which a few requests a second read     |

So a token stops within a second of being revoked while the database can be reached, and always at its expiry. An
invented token has no statement of its own and uses up nothing that a valid one needs: see `StoredIds`.
"""

import asyncio
import logging
import math
import secrets
import string
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Final, ParamSpec, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import AdwarmError, DatabaseBusy, Transient
from adwarm.foundation.redaction import redact, register_secret
from adwarm.model import AccessToken, Priority, ReportKey, TokenScope
from adwarm.serving.problems import ANSWER_SECONDS, Problem, forbidden, unauthorized, unknown_report
from adwarm.store import Context, access_tokens, accounts

USUAL_RATE = 1_000.0
"""Requests per second and process of a token that has no rate of its own: a fifth of what a core answers."""
OUTAGE_SECONDS = 900.0
"""How long a token that this process has read is accepted for the reports in its memory while the database cannot be
reached. A revocation is seen only afterwards; a failover or a restart of the database takes less."""
P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger(__name__)
_PREFIX: Final = "adwarm"
_ID_CHARACTERS: Final = 12
_SECRET_BYTES: Final = 32
_MAX_HEADER_BYTES: Final = 200
_REFRESH_SECONDS: Final = 0.5
_LIFE_SECONDS: Final = 1.0
_OUTAGE_WAIT_SECONDS: Final = 1.0
"""How long a request waits for the database when the token that is in memory may still be used."""
_USED_SECONDS: Final = 60.0
_BURST_SECONDS: Final = 1.0
_TOLERANCE_SECONDS: Final = 1e-5
"""Seconds since the epoch are precise to about a quarter of a microsecond; a burst adds many of them."""
ID_READS_PER_SECOND: Final = 20.0
"""The most statements a second that read the list of ids, whatever is sent."""
_THREADS: Final = 2
_NO_HASH: Final = "0" * 64
Credentials = tuple[str, str]
"""Id of a token, and the hash of the secret that came with it."""


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token's id, its whole text, which nobody can show again, and the hash to store."""

    id: str
    text: str
    secret_hash: str

    def __repr__(self) -> str:
        return f"NewToken({self.id})"


def make_token() -> NewToken:
    """Return a new random token."""
    token_id = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(_ID_CHARACTERS))
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    register_secret(secret)
    return NewToken(token_id, f"{_PREFIX}_{token_id}_{secret}", hash_secret(secret))


def hash_secret(secret: str) -> str:
    """Return the SHA-256 of a secret in hex, as it is stored."""
    return sha256(secret.encode()).hexdigest()


@dataclass(slots=True)
class RateLimit:
    """At most `rate` requests per second, and a burst of some seconds' worth at once.

    Keeps the time at which the last admitted request was due at that rate (the generic cell rate algorithm).
    """

    due_at: float = 0.0
    burst_seconds: float = _BURST_SECONDS

    def take(self, rate: float, now: float) -> float:
        """Take one request at `now`, in seconds; return 0, or the seconds to wait, and then nothing was taken."""
        step = 1 / rate
        burst = max(self.burst_seconds, step)
        due_at = max(self.due_at, now)
        if due_at - now > burst + _TOLERANCE_SECONDS:  # the clock was set back
            due_at = now
        if due_at + step - now > burst + _TOLERANCE_SECONDS:
            return due_at + step - now - burst
        self.due_at = due_at + step
        return 0.0


class StoredIds:
    """The ids in one table. Belongs to one event loop.

    One statement reads all of them, for every request that waits, at most `ID_READS_PER_SECOND` times a second. So no
    request is refused because of others: one with a stored id waits for a read that begins after it came.
    """

    def __init__(
        self, read: Callable[[], Awaitable[set[str]]], clock: Clock, sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._read = read
        self._clock = clock
        self._sleep = sleep
        self._limit = RateLimit()
        self._ids: set[str] = set()
        self._begun = 0
        self._ended = 0
        self._task: asyncio.Task[None] | None = None

    async def contains(self, name: str) -> bool:
        """Return whether an id is stored; one that was deleted since the last read may still count as stored."""
        begun = self._begun
        while name not in self._ids and self._ended <= begun:
            if self._task is None:
                self._task = asyncio.get_running_loop().create_task(self._refresh())
                self._task.add_done_callback(_log_failure)
            # A request that is canceled must not cancel the read that others wait for.
            await asyncio.shield(self._task)
        return name in self._ids

    def discard(self, name: str) -> None:
        """Forget an id that was found to be deleted."""
        self._ids.discard(name)

    async def _refresh(self) -> None:
        try:
            if wait := self._limit.take(ID_READS_PER_SECOND, self._clock.now().timestamp()):
                await self._sleep(wait)
                self._limit.take(ID_READS_PER_SECOND, self._clock.now().timestamp())
            self._begun += 1
            number = self._begun
            self._ids = await self._read()
            self._ended = number
        finally:
            self._task = None


@dataclass(slots=True)
class _Cached:
    """A token in memory; `read_at` is when the read that found it started."""

    token: AccessToken
    secret_hash: str
    read_at: float
    limit: RateLimit
    used_at: datetime | None = None


class TokenAuthenticator:
    """Finds and checks the token of a request. Belongs to one event loop."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._lost_at = -math.inf
        self._cached: dict[str, _Cached] = {}
        self._ids = StoredIds(lambda: self._run(access_tokens.list_ids, engine), clock, sleep)
        self._reads: dict[str, asyncio.Task[_Cached | None]] = {}
        # Threads of its own, so that slow work of other parts holds no token up.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="adwarm-tokens")
        self._saved_at = clock.now()
        self._save: asyncio.Task[None] | None = None

    async def authenticate(
        self, authorization: bytes | None, on_valid: Callable[[], None] | None = None
    ) -> AccessToken:
        """Return the valid token in an Authorization header; waits for nothing while the token is in memory.

        Args:
            on_valid: called once the token is found valid, also when it is used too often.

        Raises:
            Problem: 401, there is no valid token; 429, the token is used too often.
        """
        token_id, secret_hash = parse_credentials(authorization)
        now = self._clock.now()
        seconds = now.timestamp()
        cached = self._recall(token_id, seconds)
        if cached is None:
            cached = await self._read_or_keep(token_id, self._cached.get(token_id), seconds)
        matches = compare_digest(secret_hash, cached.secret_hash if cached is not None else _NO_HASH)
        if cached is None or not matches or not cached.token.is_valid(now):
            raise unauthorized()
        if on_valid is not None:
            on_valid()
        wait = self._take(cached, now)
        if wait:
            raise _too_many(wait, cached.token.rate_per_second or USUAL_RATE)
        return cached.token

    def find(self, credentials: Credentials, now: datetime) -> AccessToken | None:
        """Return the valid token of credentials if nothing has to be awaited for it."""
        token_id, secret_hash = credentials
        cached = self._recall(token_id, now.timestamp())
        matches = cached is not None and compare_digest(secret_hash, cached.secret_hash)
        return cached.token if cached is not None and matches and cached.token.is_valid(now) else None

    def take(self, token: AccessToken, now: datetime) -> bool:
        """Count a request of a token that `find` returned; False, and nothing is counted, when it is used too often."""
        return not self._take(self._cached[token.id], now)

    def _take(self, cached: _Cached, now: datetime) -> float:
        """Count a request at `now`; return 0, or the seconds to wait, and then it was not counted."""
        wait = cached.limit.take(cached.token.rate_per_second or USUAL_RATE, now.timestamp())
        if not wait:
            cached.used_at = now
            if (now - self._saved_at).total_seconds() >= _USED_SECONDS:
                self._start_save(now)
        return wait

    async def close(self) -> None:
        """Store when tokens were last used, and wait for what runs."""
        self._start_save(self._clock.now())
        await asyncio.gather(*self._reads.values(), *([self._save] if self._save else []), return_exceptions=True)
        self._threads.shutdown(wait=False)

    async def _run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *args, **kwargs))

    def _recall(self, token_id: str, now: float) -> _Cached | None:
        """Return a token that was read less than `_LIFE_SECONDS` ago; from `_REFRESH_SECONDS` on it is read again."""
        cached = self._cached.get(token_id)
        if cached is None or not 0 <= now - cached.read_at < _LIFE_SECONDS:  # below 0 when the clock was set back
            return None
        if now - cached.read_at >= _REFRESH_SECONDS:
            self._start_read(token_id, now)
        return cached

    async def _read_or_keep(self, token_id: str, cached: _Cached | None, now: float) -> _Cached | None:
        """Read a token; return the one in memory while the database cannot be reached."""
        if cached is None or not 0 <= now - cached.read_at < OUTAGE_SECONDS:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    return await self._read(token_id, now)
            except TimeoutError:
                raise DatabaseBusy("the database did not answer in time") from None
        if 0 <= now - self._lost_at < _REFRESH_SECONDS:
            return cached
        try:
            async with asyncio.timeout(_OUTAGE_WAIT_SECONDS):
                return await self._read(token_id, now)
        except (Transient, OSError, SQLAlchemyError):
            self._lost_at = now
            return cached

    async def _read(self, token_id: str, now: float) -> _Cached | None:
        """Read a token in a thread, together with every other request that waits for it."""
        if token_id not in self._cached and not await self._ids.contains(token_id):
            return None
        while True:
            # A request that is canceled must not cancel the read that others wait for.
            cached = await asyncio.shield(self._start_read(token_id, now))
            if cached is None or now - cached.read_at < _LIFE_SECONDS:
                return cached
            # The shared read started too long before this request; the next one starts now.

    def _start_read(self, token_id: str, now: float) -> "asyncio.Task[_Cached | None]":
        task = self._reads.get(token_id)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._load(token_id, now))
            self._reads[token_id] = task
            task.add_done_callback(_log_failure)
        return task

    async def _load(self, token_id: str, started: float) -> _Cached | None:
        try:
            stored = await self._run(access_tokens.find, self._engine, token_id)
        finally:
            self._reads.pop(token_id, None)
        if stored is None or stored.token.revoked_at is not None:
            self._cached.pop(token_id, None)
            self._ids.discard(token_id)
            return None
        before = self._cached.get(token_id)
        cached = _Cached(stored.token, stored.secret_hash, started, before.limit if before else RateLimit())
        cached.used_at = before.used_at if before else None
        self._cached[token_id] = cached
        return cached

    def _start_save(self, now: datetime) -> None:
        if self._save is not None and not self._save.done():
            return
        used = {name: item.used_at for name, item in self._cached.items() if item.used_at is not None}
        self._saved_at = now
        if used:
            for item in self._cached.values():
                item.used_at = None
            self._save = asyncio.get_running_loop().create_task(self._store_used(used))

    async def _store_used(self, used: dict[str, datetime]) -> None:
        try:
            await self._run(access_tokens.save_last_used, self._engine, used)
        except AdwarmError as error:
            log.warning("when tokens were last used is not stored: %s", redact(str(error)))


def parse_credentials(authorization: bytes | None) -> Credentials:
    """Return id and hash of the secret in an Authorization header; the id is empty when there is none.

    Raises:
        Problem: 401, the header holds no token.
    """
    if authorization is None or len(authorization) > _MAX_HEADER_BYTES or authorization[:7].lower() != b"bearer ":
        raise unauthorized()
    prefix, _, rest = authorization[7:].strip().partition(b"_")
    token_id, _, secret = rest.partition(b"_")
    if prefix != _PREFIX.encode() or not token_id.isalnum() or len(token_id) > _ID_CHARACTERS or not secret:
        raise unauthorized()
    return token_id.decode(), sha256(secret).hexdigest()


def _too_many(wait: float, rate: float) -> Problem:
    seconds = max(1, math.ceil(wait))
    quota, window = (int(rate), 1) if rate >= 1 else (1, math.ceil(1 / rate))
    headers = {
        "Retry-After": str(seconds),
        "RateLimit-Policy": f'"token";q={quota};w={window}',
        "RateLimit": f'"token";r=0;t={seconds}',
    }
    return Problem(429, "Too Many Requests", f"this token is used too often; ask again in {seconds} s", headers)


def _log_failure(task: "asyncio.Task[Any]") -> None:
    """Read the error of a finished task; a request that waits for it raises it, a refresh in advance does not."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.warning("a token could not be read: %s", redact(str(error)))


def require_scope(token: AccessToken, scope: TokenScope) -> None:
    """Check that a token has a scope.

    Raises:
        Problem: 403, it has not.
    """
    if not token.allows(scope):
        raise forbidden(
            f"this token lacks the scope `{scope}`; an administrator makes one with it: adwarm token create"
        )


def check_account(context: Context, token: AccessToken, account: str) -> str:
    """Return the canonical id of an account that the token may read.

    The answer says nothing about accounts outside the token's list.

    Raises:
        BadRequest: the id is not valid.
        Problem: 404, the token may not read it; the same as for an unknown account.
    """
    account_id = accounts.find_id(context, account)
    if not token.may_read(account_id):
        raise unknown_report()
    return account_id


def check_key(context: Context, token: AccessToken, account: str, date_range: str, report: str) -> ReportKey:
    """Return the report key of external input that the token may read.

    Raises:
        BadRequest: a part is not valid; the message says which one and what to write.
        Problem: 404, there is no such report, or the token may not read the account.
    """
    key = ReportKey.parse(accounts.find_id(context, account), date_range, report)
    if key.report not in context.settings.reports or not token.may_read(key.account_id):
        raise unknown_report()
    return key


def cut_priority(token: AccessToken, priority: Priority) -> Priority:
    """Return `priority`, or the token's highest when it is more urgent than that."""
    return max(priority, token.highest_priority)
