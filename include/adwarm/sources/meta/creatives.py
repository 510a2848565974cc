"""The creatives of ads, and their thumbnails, which Meta serves by signed links that end after some days.

| of a thumbnail | rule                                                                                        |
|----------------|---------------------------------------------------------------------------------------------|
| its host       | one of Meta's own image hosts over https, or the address that `graph_url` names             |
| its request    | carries no token, no cookie and no credentials of a .netrc file; a redirect is not followed |
| its bytes      | bounded in time and size, as every call                                                     |
"""

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from adwarm.foundation.errors import BadRequest, Corrupt, NotFound, Transient
from adwarm.settings import SourceSettings
from adwarm.sources.meta.transport import RAISED_BY_LIBRARIES, network_error
from adwarm.sources.meta.wire import BoundedSession, CallBounds, read_body
from adwarm.sources.protocol import Creative
from adwarm.sources.units import CONNECT_SECONDS

THUMBNAIL_PIXELS: Final = 160
"""Width and height that are requested; without them Meta sends 64 by 64."""
MAX_BYTES: Final = 2**18
MAX_SECONDS: Final = 20.0
_WHEN_TOO_LARGE: Final = "the ad is shown without its picture, which is tried again in a day"
FIELDS: Final = (
    f"id,creative.thumbnail_width({THUMBNAIL_PIXELS}).thumbnail_height({THUMBNAIL_PIXELS})"
    "{id,name,title,object_type,thumbnail_url}"
)
_HOST = re.compile(r"(?ai)([a-z0-9-]+\.)+(fbcdn\.net|fbsbx\.com|cdninstagram\.com|facebook\.com)(:443)?")
"""All that stands before the path: libraries differ about the end of a host that has a backslash or an escape in it."""
_ID = re.compile(r"\d{1,32}", re.ASCII)


def creative_params(ad_ids: Sequence[str], statuses: Sequence[str]) -> dict[str, Any]:
    """Return the parameters that list ads of an account with their creatives."""
    chosen = [{"field": "id", "operator": "IN", "value": list(ad_ids)}]
    return {"fields": FIELDS, "filtering": chosen, "effective_status": list(statuses), "limit": len(ad_ids)}


def parse_creative(row: dict[str, Any]) -> Creative:
    """Return the creative of an ad. What is missing is empty.

    Raises:
        Corrupt: the ad or its creative has no id of digits.
    """
    creative = row.get("creative")
    items = creative.items() if isinstance(creative, dict) else ()
    values = {name: str(value).replace("\0", "") for name, value in items if value is not None}
    ids = str(row.get("id", "")), values.get("id", "")
    if not all(map(_ID.fullmatch, ids)):
        raise Corrupt("an ad came without its id or that of its creative", code="creative")
    title = values.get("title") or values.get("name", "")
    return Creative(*ids, title, values.get("object_type", ""), values.get("thumbnail_url", ""))


def check_thumbnail_url(url: str, graph_url: str) -> None:
    """Check that a link leads to the platform.

    Raises:
        BadRequest: it does not; the message has no part of it but its host.
    """
    try:
        parts, graph = urlsplit(url), urlsplit(graph_url)
        is_own = (parts.scheme, parts.netloc.lower()) == (graph.scheme, graph.netloc.lower())
        is_image_host = parts.scheme == "https" and _HOST.fullmatch(parts.netloc) is not None
    except ValueError:
        raise BadRequest("the link of a thumbnail is not an address", code="thumbnail_url") from None
    if not (is_own or is_image_host):
        message = f"the link of a thumbnail does not lead to the platform but to {str(parts.hostname)[:80]!r}"
        raise BadRequest(message, code="thumbnail_url")


def download_thumbnail(url: str, settings: SourceSettings) -> bytes:
    """Return the bytes behind the link of a thumbnail.

    Raises:
        BadRequest: the link does not lead to the platform.
        NotFound: there is no thumbnail any more; its link has ended.
        TooMuchData: it is larger than `MAX_BYTES`.
        Transient: the host cannot be reached.
    """
    check_thumbnail_url(url, settings.graph_url)
    head_seconds = min(MAX_SECONDS, settings.read_timeout)
    bounds = CallBounds(head_seconds, MAX_SECONDS, MAX_BYTES, when_too_large=_WHEN_TOO_LARGE)
    failure: Exception | None = None
    with BoundedSession(bounds, url) as session:
        session.auth = _send_no_credentials
        try:
            timeout = bounds.connect_timeout_seconds(CONNECT_SECONDS)
            response = session.get(url, timeout=timeout)
            bounds.mark_head_complete()
            if response.status_code == 200:
                return read_body(response, bounds)
            failure = _status_error(response.status_code)
        except RAISED_BY_LIBRARIES as error:
            failure = network_error(error, bounds)
    try:
        raise failure  # outside the handler, so that no chained exception shows the link
    finally:
        del failure  # it holds this frame, which would hold it until garbage is collected


def _send_no_credentials(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _status_error(status: int) -> Exception:
    if status >= 500 or status in {408, 429}:
        return Transient(f"the host of a thumbnail responded with HTTP {status}", code=f"http_{status}")
    return NotFound(f"a thumbnail is not to be had any more: HTTP {status}", code=f"http_{status}")
