"""The web page in Airflow: mounted at `/adwarm/`, in the navigation, and on the pages of DAGs and of their runs.

Airflow mounts an application of a plugin without any authentication, so the page finds the visitor of every request
itself, through Airflow's auth manager. What a visitor may do on the page is what they may do with adwarm's DAGs.
"""

import base64
import importlib
import logging
from functools import partial
from importlib import resources
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from adwarm_airflow.page_links import PAGE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from fastapi import FastAPI
    from starlette.requests import Request

    from adwarm.pages.access import Permission, Visitor
    from adwarm.runtime import Runtime
    from adwarm_airflow.airflow_login import DagRight

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

_PATIENCE_SECONDS = 0.5
"""How long a browser shows nothing; then it shows that the page comes."""
_LOADING = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>adwarm</title>'
    '<meta name="color-scheme" content="light dark"><meta http-equiv="refresh" content="1"></head>'
    '<body><p role="status">Loading ...</p></body></html>'
)
WARMING_DAG = "adwarm_intelligent_warming"
STRATEGY_DAG = "adwarm_strategy_warming"
log = logging.getLogger(__name__)
_TEXT = "This page is part of Airflow: log in there, then open it again."


class PageApp:
    """The ASGI application that Airflow mounts at `PAGE_PREFIX`.

    The page is built at the first request, because workers load the plugin too, and in a thread, because imports take
    seconds, in which Airflow's web server has other requests to answer, and browsers show that the page comes.
    """

    def __init__(self) -> None:
        self._app: FastAPI | None = None
        self._has_failed = False
        self._lock = Lock()

    async def __call__(self, scope: "Message", receive: "Receive", send: "Send") -> None:
        """Answer a request."""
        if self._app is None:
            from anyio import move_on_after
            from anyio.to_thread import run_sync
            from starlette.responses import HTMLResponse

            is_patient = self._has_failed or not _is_of_browser(scope)
            with move_on_after(None if is_patient else _PATIENCE_SECONDS):
                await run_sync(self._build, abandon_on_cancel=True)
            if self._app is None:
                await HTMLResponse(_LOADING, headers={"Cache-Control": "no-store"})(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _build(self) -> "FastAPI":
        with self._lock:
            try:
                self._app = self._app or build_app()
            except Exception:
                self._has_failed = True  # the browser that waited is gone; the next one waits for the error
                raise
            return self._app


def _is_of_browser(scope: "MutableMapping[str, Any]") -> bool:
    """Return whether a browser asks for a page, and not a script for a part of one."""
    is_get = scope["type"] == "http" and scope["method"] == "GET"
    return is_get and dict(scope["headers"]).get(b"sec-fetch-dest") in {b"document", b"iframe"}


def build_app() -> "FastAPI":
    """Return the page with Airflow's login; its runtime is opened at the first request of a visitor.

    Where Airflow has not what the login is made of, which it does not promise, visitors log in with a token.
    """
    from adwarm.pages.application import build_page
    from adwarm.pages.views import TABS
    from adwarm_airflow.task_context import open_runtime

    try:
        importlib.import_module("adwarm_airflow.airflow_login")
    except ImportError as error:
        from adwarm.read_api import build_token_page
        from adwarm.serving.tokens import TokenAuthenticator

        log.warning("the page takes tokens of the read API, because Airflow's login cannot be used: %s", error)
        runtime = open_runtime()
        return build_token_page(runtime, TokenAuthenticator(runtime.engine, runtime.clock))
    runtimes: list[Runtime] = []
    lock = Lock()

    def get_services() -> Any:
        with lock:
            if not runtimes:
                runtimes.append(open_runtime())
            return runtimes[0].page_services

    return build_page(TABS, get_services, AirflowAccess())


class AirflowAccess:
    """Finds the visitor of a request by Airflow's own cookie or Authorization header."""

    async def identify(self, request: "Request") -> "Visitor | None":
        """Return the user of Airflow who sends a request; None when they are not logged in."""
        from anyio.to_thread import run_sync

        from adwarm_airflow.airflow_login import find_user

        user = await find_user(request)
        return None if user is None else await run_sync(partial(describe_visitor, user))

    def describe_login(self, request: "Request") -> "Mapping[str, Any]":
        """Return the values of the login page, which leads to Airflow's."""
        url = f"{request.scope.get('root_path', '').removesuffix(PAGE_PREFIX)}/api/v2/auth/login"
        if request.method == "GET":
            url += "?" + urlencode({"next": str(request.url).removeprefix(str(request.base_url.replace(path="")))})
        return {"text": _TEXT, "takes_token": False, "login_url": url, "warning": ""}


def describe_visitor(user: Any) -> "Visitor":
    """Return a user of Airflow as a visitor. Waits for the database."""
    from adwarm.pages.access import Visitor
    from adwarm_airflow.airflow_login import list_rights, make_form_secret

    rights = list_permission_rights()
    given = list_rights(user, list(rights.values()))
    permissions = frozenset(name for name, has in zip(rights, given, strict=True) if has)
    verbs = {"GET": "see", "POST": "trigger", "PUT": "edit", "DELETE": "delete"}
    needs = {
        name: f"the right to {verbs[method]} the DAG {dag}, which an administrator of Airflow gives"
        for name, (method, _, dag) in rights.items()
    }
    return Visitor(user.get_name()[:250], "airflow", make_form_secret(user), permissions, needs=needs)


def list_permission_rights() -> "Mapping[Permission, DagRight]":
    """Return what a user must be allowed in Airflow for each permission of the page."""
    from adwarm.pages.access import Permission
    from adwarm_airflow.airflow_login import RUNS

    return {
        Permission.VIEW: ("GET", None, WARMING_DAG),
        Permission.WARM: ("POST", RUNS, STRATEGY_DAG),
        Permission.CONTROL: ("PUT", None, WARMING_DAG),
    }


def list_views() -> list[dict[str, str]]:
    """Return the entries of the page in Airflow's navigation, and on the pages of DAGs and of their runs.

    Airflow shows them in a frame. The URLs are relative to its own, so they hold with any `[api] base_url`.
    """
    icon = base64.b64encode((resources.files("adwarm.pages") / "static/icon.svg").read_bytes()).decode()
    shared = {"name": "adwarm", "icon": f"data:image/svg+xml;base64,{icon}"}
    path = f"{PAGE_PREFIX[1:]}/"
    run = quote("{DAG_ID}/{RUN_ID}", safe="{}")
    return [
        {**shared, "href": path, "destination": "nav", "url_route": "adwarm"},
        {**shared, "href": path, "destination": "dag", "url_route": "adwarm-dag"},
        {**shared, "href": f"{path}plan?run={run}", "destination": "dag_run", "url_route": "adwarm-run"},
    ]
