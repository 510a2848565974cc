"""Stored pages of policy reviews, which the browser shows in a sandbox without scripts and without the session."""

from typing import Final

from starlette.responses import Response

from adwarm.store import Context

_HEADERS: Final = {
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox"
    ),
}


def show_review(context: Context, run_id: str) -> Response:
    """Return the page of a review; `newest` stands for the newest one.

    Raises:
        NotFound: there is no such review or it has no page; the message says why.
    """
    from adwarm.replay.review_pages import read_page  # takes seconds, and no tab needs it

    return Response(read_page(context, run_id), 200, _HEADERS, "text/html; charset=utf-8")
