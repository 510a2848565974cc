"""Serves the stored pages of policy reviews in Airflow's web server, and links to them.

Airflow mounts an application of a plugin without any authentication, so every route here asks for the permission to
read the review's DAG. The pages are stored files with scripts; the browser runs them in a sandbox without access to the
session.
"""

import base64
import hashlib
import html
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink, conf

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from airflow.sdk import BaseOperator
    from fastapi import FastAPI

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

REVIEW_DAG = "adwarm_policy_review"
URL_PREFIX = "/adwarm/reviews"
_SCRIPT = re.compile(rb"<script[^>]*>(.*?)</script>", re.DOTALL)
_HEADERS = {
    "Cache-Control": "private, no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def review_url(run_id: str) -> str:
    """Return the URL of the page of a review, below Airflow's own base URL; `run_id` is that of the stored review."""
    base = str(conf.get("api", "base_url", fallback="") or "").rstrip("/")
    return f"{base}{URL_PREFIX}/{quote(run_id, safe='')}"


class ReviewPageLink(BaseOperatorLink):
    """The button of a review's task that opens its page."""

    name = "Review page"

    def get_link(self, operator: "BaseOperator", *, ti_key: Any) -> str:
        """Return the URL of the page of the task's run."""
        from adwarm_airflow.run_window import stored_run_id

        return review_url(stored_run_id(ti_key.dag_id, ti_key.run_id))


class ReviewPages:
    """The ASGI application that Airflow mounts at `URL_PREFIX`.

    FastAPI is imported at the first request, because workers load the plugin too.
    """

    def __init__(self) -> None:
        self._app: FastAPI | None = None

    async def __call__(self, scope: "Message", receive: "Receive", send: "Send") -> None:
        """Answer a request."""
        if self._app is None:
            self._app = build_app()
        await self._app(scope, receive, send)


def build_app() -> "FastAPI":
    """Return the application with its only route."""
    from airflow.api_fastapi.core_api.security import requires_access_dag
    from fastapi import Depends, FastAPI, Response

    app = FastAPI(title="adwarm reviews", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/{run_id:path}", dependencies=[Depends(requires_access_dag("GET", None, REVIEW_DAG))])
    def get_review_page(run_id: str) -> Response:
        status, body = read_review_page(run_id)
        headers = {**_HEADERS, "Content-Security-Policy": content_security_policy(body)}
        return Response(body, status, headers, "text/html; charset=utf-8")

    return app


def read_review_page(run_id: str) -> tuple[int, bytes]:
    """Return HTTP status and HTML of a review's page; a short page says why there is none."""
    from adwarm.foundation.errors import NotFound
    from adwarm.replay.review_pages import read_page
    from adwarm_airflow.task_context import open_runtime

    try:
        return 200, read_page(open_runtime().context, run_id)
    except NotFound as error:
        text = html.escape(str(error))
        return 404, f'<!doctype html><html lang="en"><title>No page</title><p>{text}</p></html>'.encode()


def content_security_policy(body: bytes) -> str:
    """Return the policy of a page: nothing from elsewhere, no script but its own, and no access to the session."""
    digests = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in _SCRIPT.findall(body)]
    scripts = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data: blob:; "
        f"base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox allow-scripts allow-downloads"
    )
