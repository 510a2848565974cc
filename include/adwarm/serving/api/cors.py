"""Cross-origin access: closed, unless the settings list origins."""

from typing import Final

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from adwarm.settings import ServingSettings

ALLOWED_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    "If-None-Match",
    "Prefer",
    "Adwarm-Actor",
    "Adwarm-Client",
    "Adwarm-Priority",
    "Adwarm-Request",
    "Adwarm-Trigger",
)
EXPOSED_HEADERS: Final = (
    "ETag",
    "Age",
    "Cache-Status",
    "Retry-After",
    "Location",
    "Preference-Applied",
    "Adwarm-Actions",
    "Adwarm-Degraded",
    "Adwarm-Reason",
    "Adwarm-Request",
    "Adwarm-Source",
    "Adwarm-Window",
)
_PREFLIGHT_SECONDS = 600


def with_cors(app: ASGIApp, settings: ServingSettings) -> ASGIApp:
    """Return `app`, which pages on the origins of `serving.cors_origins` may call; unchanged when there are none.

    A preflight is answered without a token, and grants nothing to an origin that is not listed. Put it around every
    other part, so that pages can read errors too.
    """
    if not settings.cors_origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=settings.cors_origins,
        allow_methods=("GET", "HEAD", "POST"),
        allow_headers=ALLOWED_HEADERS,
        expose_headers=EXPOSED_HEADERS,
        max_age=_PREFLIGHT_SECONDS,
    )
