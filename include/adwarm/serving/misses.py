"""What happens on a miss and on a stale report: a request in the queue, and a reader that may wait for it.

| the token                                   | a miss                                         | a stale report |
|---------------------------------------------|------------------------------------------------|----------------|
| has the scope `read` only                   | nothing is requested                           | the same       |
| has `enqueue`, and its reader waits         | requested; the reader gets the report or an id | requested      |
| has `enqueue`, and does not or may not wait | requested; the reader gets the id              | requested      |

No method blocks the event loop, and no reader that waits holds a thread or a connection. See `adwarm.serving.flights`.

Before anything is written, the report, the range and the account are checked:

| the account is               | a token without a list    | a token with it on its list        |
|------------------------------|---------------------------|------------------------------------|
| stored and active            | requested                 | requested                          |
| stored, and closed or denied | 404, as if it was unknown | not requested; the reason is given |
| not stored                   | 404                       | requested                          |
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from math import ceil

from cachetools import TTLCache
from sqlalchemy import Engine

from adwarm.backpressure import RequestQueue, TokenLimits
from adwarm.backpressure.token_limits import FAILED_LATELY, TOKEN_LIMITS
from adwarm.foundation.clock import Clock, TimeLimit, limited
from adwarm.foundation.errors import AdwarmError, BadRequest, Refused, Transient, name_error
from adwarm.foundation.local_time import local_day
from adwarm.foundation.redaction import redact
from adwarm.foundation.telemetry import WAITING_READERS, report
from adwarm.model import AccessToken, Account, Priority, ReportKey, TokenScope
from adwarm.model.keys import check_served
from adwarm.serving.drainers import Drainer
from adwarm.serving.flights import Flights, Progress, ReportRequest, loop_time
from adwarm.serving.problems import ANSWER_SECONDS, Problem, retry_headers, too_many, unknown_report
from adwarm.settings import Settings
from adwarm.store import accounts
from adwarm.store.requests import RequestStatus
from adwarm_client.date_ranges import validate_date_range

_ACCOUNT_SECONDS = 1.0
_MAX_ACCOUNTS = 10_000


class RequestCheck:
    """Checks requests. It remembers for a second which accounts exist. Use it from one event loop."""

    def __init__(self, engine: Engine, settings: Settings, clock: Clock, executor: Executor) -> None:
        self._engine = engine
        self._settings = settings
        self._clock = clock
        self._executor = executor
        self._accounts: TTLCache[str, asyncio.Future[Account | None]] = TTLCache(
            _MAX_ACCOUNTS, _ACCOUNT_SECONDS, loop_time
        )

    async def find_refusal(self, key: ReportKey, token: AccessToken) -> str | None:
        """Return why the report is not requested although the token may read it; None when it may be requested.

        Raises:
            Problem: 404, the account or the report is unknown, or the token may not read it; 400, the range is not one
                that the platform serves.
        """
        if not token.may_read(key.account_id) or key.report not in self._settings.reports:
            raise unknown_report()
        account = await self._find_account(key.account_id)
        if not token.names(key.account_id) and (account is None or account.status != "active"):
            raise unknown_report()
        zone = self._settings.default_zone if account is None else account.data_zone
        try:
            check_served(validate_date_range(key.date_range), local_day(self._clock.now(), zone))
        except BadRequest as error:
            raise Problem(400, "Bad Request", str(error)) from None
        if account is not None and account.status != "active":
            return f"the account is {account.status}; what is stored can be read"
        return None

    async def _find_account(self, account_id: str) -> Account | None:
        """Return the account; concurrent readers share one query."""
        query = self._accounts.get(account_id)
        if query is None or (query.done() and (query.cancelled() or query.exception() is not None)):
            query = self._run(lambda: accounts.get_as_of(self._engine, account_id, self._clock.now()))
            self._accounts[account_id] = query
        return await asyncio.shield(query)

    def _run(self, work: Callable[[], Account | None]) -> asyncio.Future[Account | None]:
        return asyncio.get_running_loop().run_in_executor(self._executor, copy_context().run, work)


MAX_WAITERS = 256
"""Requests that wait at a time in one process, each with a connection; all of them together wait for few fetches."""
REVALIDATE_SECONDS = 5.0
"""How long a stale report is not requested again in this process."""
_MAX_REVALIDATED = 10_000
_MAX_REVALIDATIONS = 64
_SQL_THREADS = 2
"""Few: the process has only some connections, and hits need them more."""
_STOP_SECONDS = 5.0
_SPARE_SECONDS = 1.0
"""Behind the end of a wait: time in which it says by itself how it ended."""
_READ_ONLY = "this token reads what is stored only; one with the scope `enqueue` also requests what is missing"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FetchOutcome:
    """How a request for a missing report ended.

    Attributes:
        request_id: the open request in the queue, or the one that stored the report; None when there is none.
        retry_after: whole seconds after which to ask again.
        reason: why it is not stored, for the caller.
        error_kind: class of the error of the last attempt, such as `TokenDead`; None when no attempt has failed.
    """

    is_stored: bool
    request_id: int | None = None
    retry_after: int | None = None
    reason: str | None = None
    error_kind: str | None = None


class QueueMissHandler:
    """Requests what is missing or old through the queue. One per process; use it from one event loop.

    Args:
        executor: runs the transactions; threads of its own by default.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        clock: Clock,
        queue: RequestQueue,
        drainer: Drainer,
        executor: Executor | None = None,
    ) -> None:
        self._limits, self._longest_wait = settings.serving, settings.backpressure.timeout_seconds
        self._queue = queue
        self._drainer = drainer
        self._executor = executor or ThreadPoolExecutor(_SQL_THREADS, thread_name_prefix="misses")
        self._check = RequestCheck(engine, settings, clock, self._executor)
        self._flights = Flights(queue, self._executor, drainer.wake)
        self._slots: Counter[str] = Counter()
        self._revalidated: TTLCache[ReportKey, bool] = TTLCache(_MAX_REVALIDATED, REVALIDATE_SECONDS, loop_time)
        self._revalidations: set[asyncio.Task[None]] = set()

    @property
    def drainer(self) -> Drainer:
        """Gets what is enqueued fetched; its `mode` says how."""
        return self._drainer

    @property
    def waiting(self) -> int:
        """How many readers wait."""
        return self._slots.total()

    def start(self) -> None:
        """Start the drainer. Call it in the event loop."""
        loop = asyncio.get_running_loop()

        def on_progress() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._flights.poll_now)

        self._drainer.start(on_progress)

    async def close(self) -> None:
        """Let waiting readers go, and stop the drainer; unfinished requests stay in the queue."""
        await self._flights.close()
        await asyncio.gather(*self._revalidations, return_exceptions=True)
        await asyncio.to_thread(self._drainer.stop, _STOP_SECONDS)
        self._executor.shutdown(wait=False)

    async def fetch(self, key: ReportKey, token: AccessToken, priority: Priority, wait_seconds: float) -> FetchOutcome:
        """Request a report and wait up to `wait_seconds` for it; waiting holds no thread and no connection.

        A busy database is waited for as long, or `ANSWER_SECONDS` where that is more. An outcome without `request_id`
        means that nothing is queued: it was not requested, or its fetch has failed.

        Raises:
            Problem: 404, the account or the report is unknown; 400, the range is not served; 429, the token has
                reached a limit; 503, the queue is full or the database cannot be reached.
        """
        if not token.allows(TokenScope.ENQUEUE):
            return FetchOutcome(False, reason=_READ_ONLY)
        seconds = min(wait_seconds, self._longest_wait)
        longest = max(seconds, ANSWER_SECONDS)
        try:
            with limited(TimeLimit(longest, "the answer")):
                async with asyncio.timeout(longest + _SPARE_SECONDS):
                    refusal = await self._check.find_refusal(key, token)
                    if refusal is not None:
                        return FetchOutcome(False, reason=refusal)
                    return await self._fetch(self._make_request(key, token, priority), seconds)
        except TimeoutError:
            raise _unavailable("the database is busy; the report could not be requested in time", None) from None
        except Refused as error:
            if error.code == FAILED_LATELY:
                kind = None if error.__cause__ is None else name_error(error.__cause__)
                return FetchOutcome(False, None, ceil(error.retry_after), _failure(str(error)), kind)
            raise _problem(error) from None
        except Transient as error:
            raise _unavailable(str(error), error.retry_after) from None

    def revalidate(self, key: ReportKey, token: AccessToken, priority: Priority) -> None:
        """Request a fresh copy of a stale report without waiting. Call it in the event loop.

        Reads of the same report within `REVALIDATE_SECONDS` cause one request. Errors are logged.
        """
        if not token.allows(TokenScope.ENQUEUE) or key in self._revalidated:
            return
        if len(self._revalidations) >= _MAX_REVALIDATIONS:
            return  # the next read of the report tries again
        self._revalidated[key] = True
        task = asyncio.get_running_loop().create_task(self._revalidate(key, token, priority))
        self._revalidations.add(task)
        task.add_done_callback(self._revalidations.discard)

    async def _revalidate(self, key: ReportKey, token: AccessToken, priority: Priority) -> None:
        try:
            if await self._check.find_refusal(key, token) is None:
                await self._flights.enqueue(self._make_request(key, token, priority))
        except (Problem, Refused) as error:
            log.info("%s is stale and was not requested: %s", key, error)
        except Exception as error:
            message = redact(str(error)) if isinstance(error, AdwarmError) else type(error).__name__
            log.warning("%s is stale and could not be requested: %s", key, message)

    def admit_call(self, key: ReportKey, token: AccessToken) -> None:
        """Count a call of a platform for a report that no request makes. Call it in a thread, before the call.

        Raises:
            Refused: no call is left of the token's day.
        """
        self._queue.admit_call(key, TokenLimits.of(token, self._limits.max_queued_per_token))

    def _make_request(self, key: ReportKey, token: AccessToken, priority: Priority) -> ReportRequest:
        limits = TokenLimits.of(token, self._limits.max_queued_per_token)
        return ReportRequest(key, max(priority, token.highest_priority), limits)

    async def _fetch(self, request: ReportRequest, seconds: float) -> FetchOutcome:
        with self._waiter_slot(request.limits.token_id, seconds) as may_wait:
            if may_wait:
                return self._outcome(await self._flights.wait(request, seconds))
        ticket = await self._flights.enqueue(request)
        return self._outcome(Progress(ticket.id))

    @contextmanager
    def _waiter_slot(self, token_id: str, seconds: float) -> Iterator[bool]:
        """Hold one of the slots of waiting readers while the block runs, if one is free; say whether there was one."""
        is_full = self._slots.total() >= MAX_WAITERS or self._slots[token_id] >= self._limits.max_waiters_per_token
        if not seconds > 0 or is_full:
            yield False
            return
        self._slots[token_id] += 1
        report(WAITING_READERS, self.waiting)
        try:
            yield True
        finally:
            self._slots[token_id] -= 1
            if not self._slots[token_id]:
                del self._slots[token_id]
            report(WAITING_READERS, self.waiting)

    def _outcome(self, progress: Progress) -> FetchOutcome:
        """Return what a reader gets for a request as it was read last."""
        number, state = progress.request_id, progress.state
        if state is None or not state.status.is_final:
            return self._still_open(progress)
        if state.status is RequestStatus.COMPLETED or state.result is not None:
            return FetchOutcome(True, number)  # a result that came after the deadline is stored too
        reason = _failure(state.error or str(state.status))
        return FetchOutcome(False, None, ceil(self._drainer.retry_after()), reason, state.error_kind)

    def _still_open(self, progress: Progress) -> FetchOutcome:
        state, hint = progress.state, self._drainer.retry_after()
        if state is None or state.error is None:
            doing = state is not None and state.status is RequestStatus.PROCESSING
            reason = "it is being fetched" if doing else self._drainer.describe()
            return FetchOutcome(False, progress.request_id, ceil(hint), f"it is queued; {reason}")
        retry_after = ceil(max(hint, progress.pause_seconds))
        reason = f"it is queued for another try; the last: {redact(state.error)}"
        return FetchOutcome(False, progress.request_id, retry_after, reason, state.error_kind)


def _failure(error: str) -> str:
    return f"it could not be fetched: {redact(error)}"


def _problem(error: Refused) -> Problem:
    """Return the answer to a refused request; it says which limit is reached."""
    if error.code not in TOKEN_LIMITS:
        return _unavailable(str(error), error.retry_after)
    return too_many(error)


def _unavailable(detail: str, retry_after: float | None) -> Problem:
    return Problem(503, "Service Unavailable", redact(detail), retry_headers(retry_after))
