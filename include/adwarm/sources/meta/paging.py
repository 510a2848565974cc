"""Pages in the platform's manner: only a missing `next` ends a report, and `next` itself is never followed.

So an empty page in the middle loses nothing, and an address that may hold a token is neither called nor kept: the next
page is asked for by the cursor of the same answer.
"""

from typing import Any
from urllib.parse import parse_qs, urlsplit

from adwarm.foundation.errors import Transient

_MAX_CURSOR = 4_000
_MAX_ADDRESS = 64_000


def parse_rows(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of an answer; a field without a value is as one that is not there.

    Raises:
        Transient: it has no list of rows.
    """
    rows = body.get("data")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Transient("Meta's answer has no list of rows", code="no_data")
    return [_stated(row) for row in rows]


def _stated(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None} if None in row.values() else row


def next_cursor(body: dict[str, Any], before: str | None) -> str | None:
    """Return the cursor of the next page when the answer says that there is one.

    Raises:
        Transient: the answer names a next page but no way to it, or the page just read: reading on would lose rows
            or never end.
    """
    paging = body.get("paging")
    if not isinstance(paging, dict) or not paging.get("next"):
        return None
    cursors = paging.get("cursors")
    after = cursors.get("after") if isinstance(cursors, dict) else None
    if not after:  # an empty page may come without cursors; its `next` still names one
        after = _after_in(paging["next"])
    if not isinstance(after, str) or after in {"", before} or len(after) > _MAX_CURSOR:
        raise Transient("Meta's answer names a next page but no new cursor for it", code="no_cursor")
    return after


def _after_in(address: Any) -> str:
    if not isinstance(address, str) or len(address) > _MAX_ADDRESS:
        return ""
    try:
        return parse_qs(urlsplit(address).query).get("after", [""])[0]
    except ValueError:  # no address at all
        return ""
