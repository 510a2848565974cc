"""Serves the files of the dashboard at `/dashboard/`, from the API's own origin.

The API serves the page itself, so that no other origin has to be allowed to call it.
Its files are the one exception to the rule that nothing but health answers without a token: the page asks for the
token, so it has to load before there is one. The files are the same for everybody and hold no data.
"""

import os
import stat
from pathlib import Path
from typing import Final

from anyio.to_thread import run_sync
from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from adwarm.foundation.errors import BadRequest
from adwarm.serving.problems import CONTENT_TYPE, Problem

DASHBOARD_PATH: Final = "/dashboard"
_INDEX = "index.html"
_BUILT = "assets/"
"""Folder of the files whose names contain a hash of their content."""
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def mount_dashboard(app: FastAPI, folder: Path) -> None:
    """Serve the built dashboard in `folder` at `/dashboard/`, ahead of whatever checks tokens.

    Call it after everything else was added to `app`, and before the first request.

    Args:
        folder: what `npm run build` wrote, with an `index.html`.

    Raises:
        BadRequest: the folder has no `index.html`.
    """
    if not (folder / _INDEX).is_file():
        raise BadRequest(
            f"ADWARM_SERVING__DASHBOARD: {folder} has no {_INDEX}; build examples/dashboard, and name its folder dist"
        )
    app.add_middleware(DashboardFiles, folder=folder)


class DashboardFiles:
    """ASGI middleware that answers requests below `/dashboard` with files, and passes on every other one.

    Args:
        folder: the only folder that files come from; links out of it are not followed, hidden files not shown.
    """

    def __init__(self, app: ASGIApp, folder: Path) -> None:
        self._app = app
        self._files = StaticFiles(directory=folder)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] != "http" or not _is_below(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            response = await self._respond(scope)
        except Problem as problem:
            response = Response(problem.body(), problem.status, problem.headers, CONTENT_TYPE)
        response.headers.update(_HEADERS)
        await response(scope, receive, send)

    async def _respond(self, scope: Scope) -> Response:
        """Return the answer."""
        if scope["method"] not in {"GET", "HEAD"}:
            raise Problem(405, "Method Not Allowed", "files can only be read", {"Allow": "GET, HEAD"})
        if scope["path"] == DASHBOARD_PATH:
            # Relative, so that it holds behind a proxy with a path of its own.
            return Response(status_code=308, headers={"Location": f"{DASHBOARD_PATH[1:]}/"})
        name = scope["path"].removeprefix(f"{DASHBOARD_PATH}/") or _INDEX
        file = await run_sync(self._find, name)
        if file is None:
            raise Problem(404, "Not Found", f"there is no such file; the dashboard is at {DASHBOARD_PATH}/")
        path, status = file
        cache_control = "public, max-age=31536000, immutable" if name.startswith(_BUILT) else "no-cache"
        response = self._files.file_response(path, status, scope)
        response.headers["Cache-Control"] = cache_control
        return response

    def _find(self, name: str) -> tuple[str, os.stat_result] | None:
        """Return path and status of a regular file in the folder; None for every other name."""
        if any(part.startswith(".") for part in name.split("/")):
            return None
        try:
            path, status = self._files.lookup_path(name)
        except (OSError, ValueError):  # too long, or with a character that no file name has
            return None
        return (path, status) if status is not None and stat.S_ISREG(status.st_mode) else None


def _is_below(path: str) -> bool:
    return path == DASHBOARD_PATH or path.startswith(f"{DASHBOARD_PATH}/")
