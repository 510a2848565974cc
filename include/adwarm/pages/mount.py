"""Mounts the page beside the read API, at `/adwarm/`."""

from typing import Final

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

PAGE_PATH: Final = "/adwarm"


class PageMount:
    """ASGI application that answers requests below `/adwarm/` with the page, and passes on every other one.

    It is around everything else, so that neither the tokens nor the rules for other origins of the API apply to it.

    Args:
        app: what answers the others, and gets the messages of the lifespan.
        page: the page.
    """

    def __init__(self, app: ASGIApp, page: ASGIApp) -> None:
        self._app = app
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        if scope["type"] != "http" or not f"{scope['path']}/".startswith(f"{PAGE_PATH}/"):
            await self._app(scope, receive, send)
        elif scope["path"] == PAGE_PATH:
            # Relative, so that it holds behind a proxy with a path of its own.
            await RedirectResponse(f"{PAGE_PATH[1:]}/", 308)(scope, receive, send)
        else:
            await self._page({**scope, "root_path": scope.get("root_path", "") + PAGE_PATH}, receive, send)
