"""Parses pages of rows.

Pages follow the platform's rules: only a missing `next` ends a report, so an empty page in the middle loses nothing.
The URL in `next` may contain a token; it is neither called nor stored, and the next page is requested by its cursor.
"""

from typing import Any
from urllib.parse import parse_qs, urlsplit

from adwarm.foundation.errors import Transient

_MAX_CURSOR = 4_000
_MAX_URL = 64_000


def parse_rows(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a response without fields that are null.

    Raises:
        Transient: the body has no list of rows.
    """
    rows = body.get("data")
    if not isinstance(rows, list) or not {*map(type, rows)} <= {dict}:
        raise Transient("Meta's response has no list of rows", code="no_data")
    return [
        {name: value for name, value in row.items() if value is not None} if None in row.values() else row
        for row in rows
    ]


def next_cursor(body: dict[str, Any], before: str | None) -> str | None:
    """Return the cursor of the next page; None at the end.

    Raises:
        Transient: the body names a next page without a cursor, or with the cursor of the page just read: reading on
            would lose rows or never end.
    """
    paging = body.get("paging")
    if not isinstance(paging, dict) or not paging.get("next"):
        return None
    cursors = paging.get("cursors")
    after = cursors.get("after") if isinstance(cursors, dict) else None
    if not after:  # an empty page may come without cursors; its `next` still names one
        after = _cursor_in_url(paging["next"])
    if not isinstance(after, str) or after in {"", before} or len(after) > _MAX_CURSOR:
        raise Transient("Meta's response names a next page but no new cursor for it", code="no_cursor")
    return after


def _cursor_in_url(url: Any) -> str:
    if not isinstance(url, str) or len(url) > _MAX_URL:
        return ""
    try:
        return parse_qs(urlsplit(url).query).get("after", [""])[0]
    except ValueError:  # not a URL
        return ""
