"""The clients of the read API, over httpx."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, Unpack

import httpx

from adwarm_client.errors import BadRequest, TooMuchData, Transient
from adwarm_client.exchange import MAX_DOCUMENT_BYTES, ApiRequest, ApiResponse, Pause, Steps, T
from adwarm_client.keys import Actor, Priority, ReportKey
from adwarm_client.known_secrets import register_secret
from adwarm_client.operations import Operations, ReadOptions, check_base_url, find_token_id
from adwarm_client.report_answer import ReportAnswer, TableName
from adwarm_client.report_cache import ReportCache

if TYPE_CHECKING:
    import pandas as pd

PriorityName = Literal["critical", "high", "normal", "low"]
CacheFolder = Path | str | Literal[False] | None
_WAIT_SECONDS = 30.0
_CONNECT_SECONDS = 5.0
_READ_SECONDS = 30.0


class ReadArguments(TypedDict, total=False):
    """How a report is read: the keyword arguments of `report()` and `frame()`.

    Attributes:
        priority: class of the request for a report that is missing or old; `normal` by default.
        wait: seconds to wait for a report that is missing or old, 30 by default; 0 for not at all.
        request_id: the `request_id` of an earlier `NotReady`, so that both calls are one open.
        allow_partial: whether an answer of other days is welcome: yesterday's while today's is not there, or a shorter
            range. Such an answer names its days in `other_window`. Without it, it is `NotReady`.
    """

    priority: PriorityName
    wait: float
    request_id: int | None
    allow_partial: bool


class _BaseClient:
    """What both clients have: the operations, and the token, which is only ever sent as a header."""

    def __init__(self, base_url: str, token: str, cache_folder: CacheFolder, actor: str | None) -> None:
        url = check_base_url(base_url)
        cache = None if cache_folder is False else ReportCache(cache_folder, url, find_token_id(token))
        self._operations = Operations(url, cache, _check_actor(actor))
        register_secret(token)
        self._authorization = f"Bearer {token}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._operations.base_url!r})"

    def _arguments(self, request: ApiRequest) -> dict[str, Any]:
        """Return the arguments of httpx for a request. A redirect is not followed: it would take the token along."""
        seconds = _READ_SECONDS + request.wait_seconds
        return {
            "method": request.method,
            "url": f"{self._operations.base_url}{request.target}",
            "headers": {**request.headers, "Authorization": self._authorization},
            "content": request.content,
            "timeout": httpx.Timeout(seconds, connect=_CONNECT_SECONDS),
            "follow_redirects": False,
        }


class Client(_BaseClient):
    """Reads reports, scores and the state of the system from adwarm's read API.

    Keeps reports on disk, so that a later call transfers nothing when a report is unchanged. Every method raises the
    errors of `adwarm.AdwarmError`: `TokenDead` for a token that is not valid, `Denied`, `NotFound`, `BadRequest`,
    `Refused` and `Transient` with `retry_after`, `NotReady` for a report that is still to come. Safe to share between
    threads.

    Args:
        base_url: URL of the API, such as `https://adwarm.example.com`.
        token: a token of `adwarm token create`.
        cache_folder: where reports are kept; None for the user's cache folder, False for nowhere.
        actor: who opens the reports, `human`, `embedded` or `api`; only a trusted token may say the first two.
        http: used instead of a client of its own, for proxies and certificates; it is not closed.
        sleep: waits for some seconds; None for a real wait.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        cache_folder: CacheFolder = None,
        *,
        actor: str | None = None,
        http: httpx.Client | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        super().__init__(base_url, token, cache_folder, actor)
        self._http = httpx.Client() if http is None else http
        self._is_owner = http is None
        self._sleep = sleep or time.sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._is_owner:
            self._http.close()

    def report(
        self,
        account: str,
        date_range: str,
        report: str = "default",
        **options: Unpack[ReadArguments],
    ) -> ReportAnswer:
        """Read a report.

        Args:
            account: account id.
            date_range: a preset such as `last_7d`, or `YYYY-MM-DD..YYYY-MM-DD`.
            report: name of the report in the settings.
            options: see `ReadArguments`: `priority`, `wait`, `request_id`, `allow_partial`.

        Raises:
            NotReady: the report is not stored yet for the days asked for.
            AdwarmError: see the class.
        """
        key = ReportKey.parse(account, date_range, report)
        return self._run(self._operations.read_report(key, _options(**options)))

    def frame(
        self,
        account: str,
        date_range: str,
        report: str = "default",
        *,
        table: TableName = "daily",
        **options: Unpack[ReadArguments],
    ) -> "pd.DataFrame":
        """Read a report as a DataFrame; see `ReportAnswer.frame` and, for the options, `ReadArguments`.

        Raises:
            NotReady: the report is not stored yet for the days asked for.
            AdwarmError: see the class.
        """
        return self.report(account, date_range, report, **options).frame(table)

    def scores(self, account: str, as_of: date | None = None, ad_id: str | None = None) -> list[dict[str, Any]]:
        """Return the fatigue scores of an account's creatives with their `ads`, most spend times loss first.

        Args:
            account: account id.
            as_of: the newest scores up to this day; None for the newest.
            ad_id: only this ad or creative.

        Raises:
            AdwarmError: see the class.
        """
        return self._run(self._operations.list_scores(account, as_of, ad_id))

    def score_changes(self, account: str, since: date | None = None, as_of: date | None = None) -> dict[str, Any]:
        """Return what changed in an account's scores: new alarms, other statuses, what began or ended.

        Args:
            account: account id.
            since: compare with the newest scores up to this day; None for the scored day before.
            as_of: the later day; None for the newest.

        Raises:
            AdwarmError: see the class.
        """
        return self._run(self._operations.list_score_changes(account, since, as_of))

    def score_summary(self, account: str, as_of: date | None = None) -> dict[str, Any]:
        """Return an account's score weighted by spend, its creatives by status, and its alarms.

        Args:
            account: account id.
            as_of: the newest scores up to this day; None for the newest.

        Raises:
            AdwarmError: see the class.
        """
        return self._run(self._operations.get_score_summary(account, as_of))

    def batch(
        self, keys: Iterable[ReportKey], priority: PriorityName = "normal", *, allow_partial: bool = False
    ) -> list[dict[str, Any]]:
        """Return what is stored for several keys, at most 50, in their order.

        Args:
            priority: class of the requests for reports that are missing or old.
            allow_partial: whether entries of other days are welcome; such an item names its days in `window`.

        Raises:
            AdwarmError: see the class.
        """
        return self._run(self._operations.read_batch(keys, _parse_priority(priority), allow_partial=allow_partial))

    def enqueue(
        self, account: str, date_range: str, report: str = "default", *, priority: PriorityName = "normal"
    ) -> dict[str, Any]:
        """Request a report without waiting; return whether it is fresh or queued, and the request.

        Raises:
            AdwarmError: see the class.
        """
        key = ReportKey.parse(account, date_range, report)
        return self._run(self._operations.enqueue(key, _parse_priority(priority)))

    def request(self, request_id: int) -> dict[str, Any]:
        """Return the state of a queued request.

        Raises:
            AdwarmError: see the class.
        """
        return self._get(f"/v1/requests/{request_id:d}")

    def accounts(self) -> dict[str, Any]:
        """Return the accounts that the token may read, and the reports and presets to ask for.

        Raises:
            AdwarmError: see the class.
        """
        return self._get("/v1/accounts")

    def queue(self) -> dict[str, Any]:
        """Return the state of the request queue, by class.

        Raises:
            AdwarmError: see the class.
        """
        return self._get("/v1/queue")

    def gates(self) -> dict[str, Any]:
        """Return what is not called now: until when, why, and what opens it.

        Raises:
            AdwarmError: see the class.
        """
        return self._get("/v1/gates")

    def _get(self, target: str) -> dict[str, Any]:
        return self._run(self._operations.get_json(target))

    def _run(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                try:
                    result = self._perform(step)
                except Exception as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as done:
            value: T = done.value
            return value

    def _perform(self, step: Any) -> Any:
        if isinstance(step, ApiRequest):
            return self._exchange(step)
        return self._sleep(step.seconds) if isinstance(step, Pause) else step.call()

    def _exchange(self, request: ApiRequest) -> ApiResponse:
        started = time.monotonic()
        try:
            with self._http.stream(**self._arguments(request)) as response:
                body = _read_bounded(response.iter_raw())
        except httpx.HTTPError as error:
            raise _unreachable(self._operations.base_url, error) from None
        return ApiResponse(response.status_code, _by_name(response), body, time.monotonic() - started)


class AsyncClient(_BaseClient):
    """The same as `Client` for asyncio; its methods are coroutines.

    Args:
        base_url: URL of the API, such as `https://adwarm.example.com`.
        token: a token of `adwarm token create`.
        cache_folder: where reports are kept; None for the user's cache folder, False for nowhere.
        actor: who opens the reports, `human`, `embedded` or `api`; only a trusted token may say the first two.
        http: used instead of a client of its own, for proxies and certificates; it is not closed.
        sleep: waits for some seconds; None for a real wait.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        cache_folder: CacheFolder = None,
        *,
        actor: str | None = None,
        http: httpx.AsyncClient | None = None,
        sleep: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(base_url, token, cache_folder, actor)
        self._http = httpx.AsyncClient() if http is None else http
        self._is_owner = http is None
        self._sleep = sleep or asyncio.sleep

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._is_owner:
            await self._http.aclose()

    async def report(
        self,
        account: str,
        date_range: str,
        report: str = "default",
        **options: Unpack[ReadArguments],
    ) -> ReportAnswer:
        """Read a report; see `Client.report`."""
        key = ReportKey.parse(account, date_range, report)
        return await self._run(self._operations.read_report(key, _options(**options)))

    async def frame(
        self,
        account: str,
        date_range: str,
        report: str = "default",
        *,
        table: TableName = "daily",
        **options: Unpack[ReadArguments],
    ) -> "pd.DataFrame":
        """Read a report as a DataFrame; see `Client.frame`."""
        answer = await self.report(account, date_range, report, **options)
        return await asyncio.to_thread(answer.frame, table)

    async def scores(self, account: str, as_of: date | None = None, ad_id: str | None = None) -> list[dict[str, Any]]:
        """Return the fatigue scores of an account's creatives; see `Client.scores`."""
        return await self._run(self._operations.list_scores(account, as_of, ad_id))

    async def score_changes(self, account: str, since: date | None = None, as_of: date | None = None) -> dict[str, Any]:
        """Return what changed in an account's scores; see `Client.score_changes`."""
        return await self._run(self._operations.list_score_changes(account, since, as_of))

    async def score_summary(self, account: str, as_of: date | None = None) -> dict[str, Any]:
        """Return the summary of an account's scores; see `Client.score_summary`."""
        return await self._run(self._operations.get_score_summary(account, as_of))

    async def batch(
        self, keys: Iterable[ReportKey], priority: PriorityName = "normal", *, allow_partial: bool = False
    ) -> list[dict[str, Any]]:
        """Return what is stored for several keys; see `Client.batch`."""
        return await self._run(
            self._operations.read_batch(keys, _parse_priority(priority), allow_partial=allow_partial)
        )

    async def enqueue(
        self, account: str, date_range: str, report: str = "default", *, priority: PriorityName = "normal"
    ) -> dict[str, Any]:
        """Request a report without waiting; see `Client.enqueue`."""
        key = ReportKey.parse(account, date_range, report)
        return await self._run(self._operations.enqueue(key, _parse_priority(priority)))

    async def request(self, request_id: int) -> dict[str, Any]:
        """Return the state of a queued request."""
        return await self._get(f"/v1/requests/{request_id:d}")

    async def accounts(self) -> dict[str, Any]:
        """Return the accounts that the token may read; see `Client.accounts`."""
        return await self._get("/v1/accounts")

    async def queue(self) -> dict[str, Any]:
        """Return the state of the request queue, by class."""
        return await self._get("/v1/queue")

    async def gates(self) -> dict[str, Any]:
        """Return what is not called now: until when, why, and what opens it."""
        return await self._get("/v1/gates")

    async def _get(self, target: str) -> dict[str, Any]:
        return await self._run(self._operations.get_json(target))

    async def _run(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                try:
                    result = await self._perform(step)
                except Exception as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as done:
            value: T = done.value
            return value

    async def _perform(self, step: Any) -> Any:
        if isinstance(step, ApiRequest):
            return await self._exchange(step)
        if isinstance(step, Pause):
            return await self._sleep(step.seconds)
        return await asyncio.to_thread(step.call)

    async def _exchange(self, request: ApiRequest) -> ApiResponse:
        started = time.monotonic()
        try:
            async with self._http.stream(**self._arguments(request)) as response:
                body = await _read_bounded_async(response.aiter_raw())
        except httpx.HTTPError as error:
            raise _unreachable(self._operations.base_url, error) from None
        return ApiResponse(response.status_code, _by_name(response), body, time.monotonic() - started)


def _check_actor(name: str | None) -> str | None:
    allowed = [actor.value for actor in Actor if actor is not Actor.WARMER]
    if name is not None and name not in allowed:
        raise BadRequest(f"actor {name[:40]!r} is not one of {', '.join(allowed)}")
    return name


def _options(
    *,
    priority: PriorityName = "normal",
    wait: float = _WAIT_SECONDS,
    request_id: int | None = None,
    allow_partial: bool = False,
) -> ReadOptions:
    return ReadOptions(_parse_priority(priority), max(0.0, wait), request_id, allow_partial)


def _parse_priority(name: str) -> Priority:
    try:
        return Priority.parse(name)
    except ValueError as error:
        raise BadRequest(str(error)) from None


def _by_name(response: httpx.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _unreachable(base_url: str, error: httpx.HTTPError) -> Transient:
    reason = type(error).__name__
    return Transient(f"{base_url} cannot be reached ({reason}); check the URL and that `adwarm serve` runs")


def _read_bounded(parts: Iterator[bytes]) -> bytes:
    body = bytearray()
    for part in parts:
        body += part
        _check_size(len(body))
    return bytes(body)


async def _read_bounded_async(parts: AsyncIterator[bytes]) -> bytes:
    body = bytearray()
    async for part in parts:
        body += part
        _check_size(len(body))
    return bytes(body)


def _check_size(size: int) -> None:
    if size > MAX_DOCUMENT_BYTES:
        raise TooMuchData(f"the answer has more than {MAX_DOCUMENT_BYTES:,} bytes; ask for a shorter range")
