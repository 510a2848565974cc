"""Connects the parts of the read API to one ASGI application, and starts and ends them with it."""

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adwarm.serving.api.app import create_app
from adwarm.serving.api.dashboard import mount_dashboard
from adwarm.serving.api.hit_route import HitRoute
from adwarm.serving.hit_parts import HitParts
from adwarm.serving.services import ServingServices
from adwarm.settings import ServingSettings

ALLOWED_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    "If-None-Match",
    "Prefer",
    "Adwarm-Actor",
    "Adwarm-Client",
    "Adwarm-Priority",
    "Adwarm-Request",
    "Adwarm-Trigger",
)
EXPOSED_HEADERS: Final = (
    "ETag",
    "Age",
    "Cache-Status",
    "Retry-After",
    "Location",
    "Preference-Applied",
    "Adwarm-Actions",
    "Adwarm-Degraded",
    "Adwarm-Reason",
    "Adwarm-Request",
    "Adwarm-Source",
    "Adwarm-Window",
)
_PREFLIGHT_SECONDS = 600


def with_cors(app: ASGIApp, settings: ServingSettings) -> ASGIApp:
    """Return `app`, which pages on the origins of `serving.cors_origins` may call; unchanged when there are none.

    A preflight is answered without a token, and grants nothing to an origin that is not listed. Put it around every
    other part, so that pages can read errors too.
    """
    if not settings.cors_origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=settings.cors_origins,
        allow_methods=("GET", "HEAD", "POST"),
        allow_headers=ALLOWED_HEADERS,
        expose_headers=EXPOSED_HEADERS,
        max_age=_PREFLIGHT_SECONDS,
    )


class Startable(Protocol):
    """Something that runs beside the application."""

    def start(self) -> None:
        """Begin."""


def build_application(
    services: ServingServices, parts: HitParts, startables: list[Startable], close: Callable[[], Awaitable[None]]
) -> ASGIApp:
    """Return the read API: reports first, then the other routes, and around both the rules for pages of other origins.

    Args:
        services: what the routes work with.
        parts: what hits are made of.
        startables: started when the application starts, in the process and event loop that serve.
        close: called when it ends, after the last answer.
    """

    async def start() -> None:
        for item in startables:
            item.start()

    settings = services.context.settings.serving
    app = create_app(services)
    if settings.dashboard is not None:
        mount_dashboard(app, settings.dashboard)
    return with_cors(HitRoute(Lifespan(app, start, close), services, parts), settings)


class Lifespan:
    """Calls `start` and `stop` when an application has started and has ended."""

    def __init__(self, app: ASGIApp, start: Callable[[], Awaitable[None]], stop: Callable[[], Awaitable[None]]) -> None:
        self._app = app
        self._start = start
        self._stop = stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; messages of the lifespan call `start` or `stop` first."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return

        async def send_after(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                await self._start()
            elif message["type"].startswith("lifespan.shutdown"):
                await self._stop()
            await send(message)

        await self._app(scope, receive, send_after)
