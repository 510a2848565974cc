"""A page over an empty installation, visited by people with different permissions."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event
from starlette.requests import Request

from adwarm.backpressure import RequestQueue
from adwarm.foundation.clock import VirtualClock
from adwarm.pages.access import CSRF_FIELD, Permission, Visitor, make_csrf_token
from adwarm.pages.application import build_page
from adwarm.pages.tab import PageServices
from adwarm.pages.views import TABS
from adwarm.runtime import Runtime
from adwarm.settings import Settings
from tests.support.asgi_client import AsgiClient

START = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)
ADMIN = Visitor("admin", "token", b"secret of the admin", frozenset(Permission))
VIEWER = Visitor("viewer", "token", b"secret of the viewer", frozenset({Permission.VIEW}))
_VISITORS = {visitor.name: visitor for visitor in (ADMIN, VIEWER)}


class NamedAccess:
    """Takes the visitor from a header."""

    async def identify(self, request: Request) -> Visitor | None:
        return _VISITORS.get(request.headers.get("x-visitor", ""))

    def describe_login(self, request: Request) -> Mapping[str, Any]:
        return {"text": "Log in.", "takes_token": True, "login_url": None, "warning": ""}


@dataclass
class Page:
    """The page, as visitors see it."""

    runtime: Runtime
    client: AsgiClient
    clock: VirtualClock

    @property
    def services(self) -> PageServices:
        return self.runtime.page_services

    def get(self, path: str, visitor: Visitor | None = ADMIN) -> Any:
        """Return the response to a GET."""
        return self.client.get(path, headers=_name(visitor))

    def tile(self, tab: str, name: str, /, **query: object) -> str:
        """Return the HTML of a tile."""
        response = self.client.get(f"/tiles/{tab}/{name}", params=query, headers=_name(ADMIN))
        assert response.status_code == 200, response.text
        return str(response.text)

    def post(self, name: str, visitor: Visitor | None = ADMIN, /, **fields: object) -> Any:
        """Return the response to a form that was filled in on the page; redirects are not followed."""
        token = make_csrf_token(visitor) if visitor else ""
        headers = {**_name(visitor), "origin": "http://testserver"}
        return self.client.post(f"/{name}", data={**fields, CSRF_FIELD: token}, headers=headers)

    @contextmanager
    def counting_statements(self) -> Iterator[list[str]]:
        """Collect the SQL statements that run meanwhile."""
        statements: list[str] = []

        def count(*arguments: Any) -> None:
            if not arguments[2].lstrip().upper().startswith(("BEGIN", "PRAGMA", "SET ", "SHOW ")):
                statements.append(arguments[2])

        event.listen(self.runtime.engine, "before_cursor_execute", count)
        try:
            yield statements
        finally:
            event.remove(self.runtime.engine, "before_cursor_execute", count)


def _name(visitor: Visitor | None) -> dict[str, str]:
    return {"x-visitor": visitor.name} if visitor else {}


@pytest.fixture
def clock() -> VirtualClock:
    """The time of the page."""
    return VirtualClock(START)


@pytest.fixture
def page(engine: Engine, tmp_path: Path, clock: VirtualClock) -> Page:
    """The page over an empty installation, on either database."""
    settings = Settings(
        home=tmp_path, database_url=engine.url.render_as_string(hide_password=False), data_url=str(tmp_path / "data")
    )
    runtime = Runtime(settings, clock)
    runtime.__dict__["engine"] = engine
    runtime.__dict__["queue"] = RequestQueue(
        engine, settings.backpressure, owner="page", database_time=lambda _: clock.now().timestamp()
    )
    app = build_page(TABS, lambda: runtime.page_services, NamedAccess())
    return Page(runtime, AsgiClient(app, follow_redirects=False), clock)
