"""Pages in the platform's manner: opaque cursors, and only a missing `next` means the end."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from adwarm.simulator.errors import bad_parameter

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


def decode(cursor: str) -> tuple[int, bool]:
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
        raise bad_parameter("Invalid cursors values in field 'after'")
    return int(found[1]), bool(found[2])


def page_of(total: int, limit: int, after: str | None, *, empty_between: bool) -> Slice:
    """Return which rows the page after `after` holds; with `empty_between`, an empty page precedes each later one."""
    last, empty = decode(after) if after else (-1, False)
    start = min(last + 1, total)
    if empty:
        return Slice(start, start, total, encode(str(last)), encode(str(last)))
    stop = min(start + limit, total)
    more = "e" if empty_between and stop < total else ""
    return Slice(start, stop, total, encode(str(start)), encode(f"{max(stop - 1, 0)}{more}"))


def paging(page: Slice, url: str, params: Mapping[str, str]) -> dict[str, Any]:
    """Return the `paging` object; `next` repeats the caller's own parameters, its token included."""
    found: dict[str, Any] = {"cursors": {"before": page.before, "after": page.after}}
    if page.has_next:
        found["next"] = f"{url}?{urlencode({**params, 'after': page.after})}"
    return found
