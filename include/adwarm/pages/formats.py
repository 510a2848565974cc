"""How the page writes numbers, times and keys: filters of its templates."""

import math
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from markupsafe import Markup, escape

from adwarm.foundation.wording import format_bytes, format_duration
from adwarm.planning.explanations import format_percent

_WITHOUT_DIRECTIONS: Final = dict.fromkeys(
    map(ord, "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
)
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


def format_number(value: float | None, digits: int = 0) -> str:
    """Return a number with thousands separators; a dash for None."""
    return NOTHING if value is None else f"{value:,.{digits}f}"


def format_visible(value: object) -> str:
    """Return a text of somebody else without the characters that turn the direction of what follows them."""
    return str(value).translate(_WITHOUT_DIRECTIONS)


def format_about(value: float | None) -> str:
    """Return an estimate with the two leading digits that it has, such as `about 1,200`; a dash for None."""
    if value is None:
        return NOTHING
    digits = 1 - math.floor(math.log10(abs(value))) if value else 0
    return f"about {round(value, digits):,.{max(0, min(digits, 2))}f}"


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


def format_ago(value: datetime | None, now: datetime) -> str:
    """Return how long ago a time was, such as `5 min ago`, or how far ahead it is, such as `in 5 min`."""
    if value is None:
        return NOTHING
    seconds = (now - value).total_seconds()
    return f"{format_duration(seconds)} ago" if seconds >= 0 else f"in {format_duration(-seconds)}"


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
    "share": format_share,
    "time": format_time,
    "seconds": format_seconds,
    "size": format_size,
    "ago": format_ago,
    "words": format_words,
    "error_kind": format_error_kind,
    "with_code": format_code,
}
"""The filters of the page's templates, by name."""
