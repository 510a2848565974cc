"""One request of the report route: what it has sent, who reads, and how it is answered."""

import asyncio
from collections.abc import Awaitable, MutableMapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from starlette.types import Receive, Scope, Send

from adwarm.model import AccessToken, Actor, Window
from adwarm.serving.api.insights_request import InsightsQuery
from adwarm.serving.api.problem_response import SECURITY_HEADERS, Header, describe_problem
from adwarm.serving.problems import Problem

T = TypeVar("T")


@dataclass(slots=True)
class Visit:
    """One request."""

    scope: Scope
    receive: Receive
    send: Send
    started: float
    headers: dict[bytes, bytes]
    is_sent: bool = False
    refused_window: Window | None = None
    """Days of a stored answer that the request does not allow; None without one."""

    @property
    def is_head(self) -> bool:
        """Whether the answer has no body."""
        return bool(self.scope["method"] == "HEAD")

    @property
    def stored_window(self) -> dict[str, str]:
        """The member of a refusal that names the days of a stored answer that was not allowed, if there is one."""
        return {} if self.refused_window is None else {"stored_window": str(self.refused_window)}


@dataclass(slots=True)
class Reading:
    """A request whose token may read its key.

    Attributes:
        visit: the request.
        token: whose it is.
        query: what it names.
        actor: who reads.
        at: when it came, UTC.
        applied: the preferences that the answer has followed.
    """

    visit: Visit
    token: AccessToken
    query: InsightsQuery
    actor: Actor
    at: datetime
    applied: tuple[str, ...] = ()

    @property
    def prefer(self) -> str:
        """The header `Prefer`."""
        return self.visit.headers.get(b"prefer", b"").decode("latin-1")


def collect_headers(pairs: list[Header]) -> dict[bytes, bytes]:
    """Return headers by lower-case name; the values of a repeated one are joined to a list."""
    headers = dict(pairs)
    if len(headers) != len(pairs):
        joined: MutableMapping[bytes, bytes] = {}
        for name, value in pairs:
            joined[name] = joined[name] + b", " + value if name in joined else value
        return dict(joined)
    return headers


async def send(visit: Visit, status: int, headers: list[Header], body: bytes) -> None:
    """Send an answer; HEAD gets no body."""
    visit.is_sent = True
    await visit.send({"type": "http.response.start", "status": status, "headers": headers})
    await visit.send({"type": "http.response.body", "body": b"" if visit.is_head else body})


async def send_problem(visit: Visit, problem: Problem) -> None:
    """Send a problem."""
    if visit.refused_window is not None:
        problem = replace(problem, fields={**problem.fields, **visit.stored_window})
    headers, body = describe_problem(problem)
    await send(visit, problem.status, [*headers, *SECURITY_HEADERS], body)


async def unless_gone(receive: Receive, work: Awaitable[T]) -> T | None:
    """Return the result of `work`, or None when the client disconnects first, and then `work` is canceled."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_wait_for_disconnect(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        return await task if task.done() else None
    finally:
        for item in (task, gone):
            item.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _wait_for_disconnect(receive: Receive) -> None:
    message: Any = await receive()
    while message["type"] != "http.disconnect":
        message = await receive()
