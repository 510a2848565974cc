"""Stored pages of policy reviews: files with scripts, which the browser runs in a sandbox without the session."""

import base64
import hashlib
import re
from typing import Final

from starlette.responses import Response

from adwarm.store import Context

_SCRIPT: Final = re.compile(rb"<script[^>]*>(.*?)</script>", re.DOTALL)
_HEADERS: Final = {"Referrer-Policy": "no-referrer"}


def show_review(context: Context, run_id: str) -> Response:
    """Return the page of a review; `newest` stands for the newest one.

    Raises:
        NotFound: there is no such review or it has no page; the message says why.
    """
    from adwarm.replay.review_pages import read_page  # takes seconds, and no tab needs it

    body = read_page(context, run_id)
    headers = {**_HEADERS, "Content-Security-Policy": describe_policy(body)}
    return Response(body, 200, headers, "text/html; charset=utf-8")


def describe_policy(body: bytes) -> str:
    """Return the policy of a stored page: nothing from elsewhere, no script but its own, no access to the session."""
    digests = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in _SCRIPT.findall(body)]
    scripts = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data: blob:; "
        f"base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox allow-scripts allow-downloads"
    )
