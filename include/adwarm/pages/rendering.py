"""Templates, static files and plain pages, and how the page writes numbers, times, keys and scopes."""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any, Final

from fastapi.responses import HTMLResponse
from jinja2 import Environment
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import Response

from adwarm import charts
from adwarm.charts import load_templates
from adwarm.fatigue.recommendation import format_loss
from adwarm.foundation.wording import (
    describe_scope,
    format_ago,
    format_bytes,
    format_duration,
    format_sentence,
    format_visible,
)
from adwarm.planning.explanations import format_percent

_ERROR_KINDS: Final = {
    "Transient": "temporary failure",
    "Throttled": "quota used up",
    "Denied": "access denied",
    "Permanent": "refused request",
    "TokenDead": "access token not valid",
    "Corrupt": "damaged data",
}
NOTHING: Final = "\u2013"
"""Stands for a value that does not exist."""
_DIRECTION_MARKS: Final = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)], "\ufffd")
STATIC: Final = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
"""The files of the folder `static`, with their content types. No other name is served."""


def format_number(value: float | None, digits: int = 0) -> str:
    """Return a number with thousands separators; a dash for None."""
    return NOTHING if value is None else f"{value:z,.{digits}f}"


def format_about(value: int) -> str:
    """Return an estimate with its two leading digits, rounded up, such as `about 1,200`."""
    scale = 10 ** max(0, len(str(value)) - 2)
    return f"about {-(-value // scale) * scale:,}"


def format_share(value: float | None) -> str:
    """Return a share of 0 to 1 in percent; a dash for None."""
    return NOTHING if value is None else format_percent(value)


def format_time(value: datetime | None) -> str:
    """Return a UTC time to the minute; a dash for None."""
    return NOTHING if value is None else f"{value:%Y-%m-%d %H:%M} UTC"


def format_seconds(value: float | None) -> str:
    """Return a duration; a dash for None."""
    return NOTHING if value is None else format_duration(value)


def format_size(value: int | None) -> str:
    """Return a number of bytes; a dash for None."""
    return NOTHING if value is None else format_bytes(value)


def show_ago(value: datetime | None, now: datetime) -> str:
    """Return how long ago a time was, or how far ahead it is; a dash for None."""
    return NOTHING if value is None else format_ago(value, now)


def format_error_kind(value: str) -> str:
    """Return the class of an error in words: `Throttled` as `quota used up`."""
    return _ERROR_KINDS.get(value) or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", value).lower()


def format_code(value: object) -> Markup:
    """Return a text as HTML in which what stands between backticks is code."""
    parts = [escape(part) for part in str(value).split("`")]
    marked = [Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(parts)]
    return Markup("").join(marked) if len(parts) % 2 else escape(value)


def format_words(value: object) -> str:
    """Return an internal name as words: `predicted_open` as `predicted open`."""
    return str(value).replace("_", " ")


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "number": format_number,
    "about": format_about,
    "visible": format_visible,
    "sentence": format_sentence,
    "share": format_share,
    "loss": format_loss,
    "time": format_time,
    "seconds": format_seconds,
    "size": format_size,
    "ago": show_ago,
    "words": format_words,
    "error_kind": format_error_kind,
    "with_code": format_code,
}
"""The filters of the page's templates, by name."""


def describe_gated(name: str) -> str:
    """Return what a gate guards: `source:meta account:act_1` as `meta, the account act_1`."""
    first, _, account = name.partition(" ")
    words = first.removeprefix("source:") if first.startswith("source:") else describe_scope(first)
    return f"{words}, {describe_scope(account)}" if account else words


@cache
def get_environment() -> Environment:
    """Return the environment of the page's templates."""
    environment = load_templates("adwarm.pages")
    environment.filters.update(FILTERS)
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
