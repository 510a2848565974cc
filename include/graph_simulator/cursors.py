"""Pages in the platform's manner: opaque cursors, and only a missing `next` means the end."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from graph_simulator.graph_errors import bad_parameter
from graph_simulator.query import page_limit

_PADDING = re.compile(r"(?:ZD){1,2}$")
_POSITION = re.compile(r"(\d{1,9})(e?)")


@dataclass(frozen=True, slots=True)
class Slice:
    """The rows of one page: `start` to `stop` of `total`; `after` and `before` are the cursors it sends."""

    start: int
    stop: int
    total: int
    before: str
    after: str

    @property
    def has_next(self) -> bool:
        """Whether rows remain."""
        return self.stop < self.total


def encode(position: str) -> str:
    """Return the cursor for a position."""
    return base64.b64encode(position.encode()).decode().replace("=", "ZD")


def decode(cursor: str, name: str = "after") -> tuple[int, bool]:
    """Return the row index a cursor stands after, and whether an empty page is due there.

    Raises:
        GraphError: the cursor is not one of ours.
    """
    try:
        text = _PADDING.sub(lambda pad: "=" * (len(pad[0]) // 2), cursor)
        found = _POSITION.fullmatch(base64.b64decode(text, validate=True).decode())
    except (binascii.Error, ValueError):
        found = None
    if found is None:
        raise bad_parameter(f"Invalid cursors values in field '{name}'")
    return int(found[1]), bool(found[2])


def page_of(total: int, limit: int, after: str | None, *, empty_between: bool) -> Slice:
    """Return which rows the page after `after` holds; with `empty_between`, an empty page precedes each later one."""
    last, empty = decode(after) if after else (-1, False)
    start = min(last + 1, total)
    if empty:
        return Slice(start, start, total, encode(str(last)), encode(str(last)))
    return _slice(start, min(start + limit, total), total, empty_between=empty_between)


def page_before(total: int, limit: int, before: str, *, empty_between: bool) -> Slice:
    """Return which rows the page that ends before `before` holds."""
    stop = min(decode(before, "before")[0], total)
    return _slice(max(0, stop - limit), stop, total, empty_between=empty_between)


def asked_page(total: int, params: Mapping[str, str], *, empty_between: bool) -> Slice:
    """Return the page that `limit`, `after` and `before` ask for.

    Raises:
        GraphError: they are not valid, or ask for both directions.
    """
    limit, before = page_limit(params), params.get("before")
    if before and params.get("after"):
        raise bad_parameter("Cannot specify both 'after' and 'before'")
    if before:
        return page_before(total, limit, before, empty_between=empty_between)
    return page_of(total, limit, params.get("after"), empty_between=empty_between)


def paging(page: Slice, url: str, params: Mapping[str, str]) -> dict[str, Any]:
    """Return the `paging` object; its addresses repeat the caller's own parameters, its token included."""
    found: dict[str, Any] = {"cursors": {"before": page.before, "after": page.after}}
    kept = {name: value for name, value in params.items() if name not in {"after", "before"}}
    if page.has_next:
        found["next"] = f"{url}?{urlencode({**kept, 'after': page.after})}"
    if page.start:
        found["previous"] = f"{url}?{urlencode({**kept, 'before': page.before})}"
    return found


def _slice(start: int, stop: int, total: int, *, empty_between: bool) -> Slice:
    more = "e" if empty_between and stop < total else ""
    return Slice(start, stop, total, encode(str(start)), encode(f"{max(stop - 1, 0)}{more}"))
