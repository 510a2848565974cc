"""Templates, static files and the pages that are shown without a visitor."""

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Final

from fastapi.responses import HTMLResponse
from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import Response

from adwarm.foundation import charts
from adwarm.foundation.html_templates import load_templates
from adwarm.pages import formats

_DIRECTION_MARKS: Final = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)], "\ufffd")
STATIC: Final = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
"""The files of the folder `static`, with their content types. No other name is served."""


@cache
def get_environment() -> Environment:
    """Return the environment of the page's templates."""
    environment = load_templates("adwarm.pages")
    environment.filters.update(formats.FILTERS)
    environment.finalize = hide_direction_marks
    environment.globals.update({"charts": charts, "version": _hash_static()})
    return environment


def hide_direction_marks(value: Any) -> Any:
    """Return a value for a template; a text cannot turn the direction of what is written after it."""
    return value.translate(_DIRECTION_MARKS) if isinstance(value, str) else value


def render(name: str, values: Mapping[str, Any]) -> str:
    """Return a template with values, which are escaped."""
    return get_environment().get_template(name).render(values)


@cache
def read_static(name: str) -> bytes:
    """Return a file of the folder `static`."""
    return (resources.files("adwarm.pages") / "static" / name).read_bytes()


def show_plain(name: str, status: int, values: Mapping[str, Any]) -> Response:
    """Return a page with a style element of its own, because a caller who is not logged in gets no static file."""
    text = render(name, values)
    style = text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'"
    return HTMLResponse(text, status, {"Content-Security-Policy": f"{policy}; frame-ancestors 'self'"})


def get_page_path(request: Request) -> str:
    """Return the path of a request below the page, such as `/plan`, as the browser sent it."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    return raw.decode("ascii", "replace").partition("?")[0].removeprefix(request.scope.get("root_path", ""))


def get_root(request: Request) -> str:
    """Return the relative URL from a request's page to the root of the page: nothing on a tab, `../` in a folder."""
    return "../" * (get_page_path(request).count("/") - 1)


@cache
def _hash_static() -> str:
    """Return a short hash of the static files: part of their URLs, so that browsers may keep them."""
    return hashlib.sha256(b"".join(read_static(name) for name in STATIC)).hexdigest()[:12]
