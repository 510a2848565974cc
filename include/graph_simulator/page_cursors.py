"""Pages of the Graph API: opaque cursors, and a missing `next` link as the only sign of the last page."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from graph_simulator.error_responses import bad_parameter
from graph_simulator.query import page_limit

_PADDING = re.compile(r"(?:ZD){1,2}$")
_POSITION = re.compile(r"(\d{1,9})(e?)")


@dataclass(frozen=True, slots=True)
class PageSlice:
    """The rows `start` to `stop` (exclusive) of `total`, and the cursors that the page returns."""

    start: int
    stop: int
    total: int
    before: str
    after: str

    @property
    def has_next(self) -> bool:
        """Whether there are more rows."""
        return self.stop < self.total


def encode(position: str) -> str:
    """Return the cursor for a position, in base64 with `ZD` as padding like the platform's own."""
    return base64.b64encode(position.encode()).decode().replace("=", "ZD")


def decode(cursor: str, name: str = "after") -> tuple[int, bool]:
    """Return the row index of a cursor, and whether an empty page comes next.

    Raises:
        GraphError: it is not a cursor of the simulator.
    """
    try:
        text = _PADDING.sub(lambda pad: "=" * (len(pad[0]) // 2), cursor)
        match = _POSITION.fullmatch(base64.b64decode(text, validate=True).decode())
    except (binascii.Error, ValueError):
        match = None
    if match is None:
        raise bad_parameter(f"Invalid cursors values in field '{name}'")
    return int(match[1]), bool(match[2])


def page_after(total: int, limit: int, after: str | None, *, empty_between: bool) -> PageSlice:
    """Return the page after a cursor; with `empty_between`, an empty page precedes each page but the first."""
    last, empty = decode(after) if after else (-1, False)
    start = min(last + 1, total)
    if empty:
        return PageSlice(start, start, total, encode(str(last)), encode(str(last)))
    return _page(start, min(start + limit, total), total, empty_between=empty_between)


def page_before(total: int, limit: int, before: str, *, empty_between: bool) -> PageSlice:
    """Return the page that ends before a cursor."""
    stop = min(decode(before, "before")[0], total)
    return _page(max(0, stop - limit), stop, total, empty_between=empty_between)


def requested_page(total: int, params: Mapping[str, str], *, empty_between: bool) -> PageSlice:
    """Return the page that `limit`, `after` and `before` request.

    Raises:
        GraphError: they are not valid, or both cursors are given.
    """
    limit, before = page_limit(params), params.get("before")
    if before and params.get("after"):
        raise bad_parameter("Cannot specify both 'after' and 'before'")
    if before:
        return page_before(total, limit, before, empty_between=empty_between)
    return page_after(total, limit, params.get("after"), empty_between=empty_between)


def paging(page: PageSlice, url: str, params: Mapping[str, str]) -> dict[str, Any]:
    """Return the `paging` object. Its links repeat the caller's parameters, including an access token."""
    body: dict[str, Any] = {"cursors": {"before": page.before, "after": page.after}}
    repeated = {name: value for name, value in params.items() if name not in {"after", "before"}}
    if page.has_next:
        body["next"] = f"{url}?{urlencode({**repeated, 'after': page.after})}"
    if page.start:
        body["previous"] = f"{url}?{urlencode({**repeated, 'before': page.before})}"
    return body


def _page(start: int, stop: int, total: int, *, empty_between: bool) -> PageSlice:
    empty_next = "e" if empty_between and stop < total else ""
    return PageSlice(start, stop, total, encode(str(start)), encode(f"{max(stop - 1, 0)}{empty_next}"))
