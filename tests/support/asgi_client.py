"""Calls an ASGI application in the thread of a test."""

import asyncio
from typing import Any

import httpx


class AsgiClient(httpx.Client):
    """A client of an application in this process.

    The client of Starlette hands each request to another thread and back eight times, which takes most of a test.

    Args:
        app: the application; its lifespan does not run.
        base_url: what relative paths begin with.
        client: host and port from which the requests seem to come.
        options: those of `httpx.Client`.
    """

    def __init__(
        self,
        app: Any,
        base_url: str = "http://testserver",
        client: tuple[str, int] = ("testclient", 50_000),
        **options: Any,
    ) -> None:
        super().__init__(transport=_InThisThread(app, client), base_url=base_url, **options)
        self.app = app


class _InThisThread(httpx.BaseTransport):
    def __init__(self, app: Any, client: tuple[str, int]) -> None:
        self._transport = httpx.ASGITransport(app, client=client)
        self._loop = asyncio.new_event_loop()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._loop.run_until_complete(self._answer(request))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        response = await self._transport.handle_async_request(
            httpx.Request(request.method, request.url, headers=request.headers.raw, content=request.read())
        )
        return httpx.Response(response.status_code, headers=response.headers.raw, content=await response.aread())

    def close(self) -> None:
        self._loop.close()
