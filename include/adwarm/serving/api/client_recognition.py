"""Tells the server which connections belong to clients with a valid token or session."""

from collections.abc import Mapping
from typing import Any, Final

RECOGNITION: Final = "adwarm.recognition"
"""Extension of a request's ASGI scope: a function that `recognize_client` calls."""


def recognize_client(scope: Mapping[str, Any]) -> None:
    """Note that a request has a valid token or session, so that its connection does not give way to new ones."""
    note = (scope.get("extensions") or {}).get(RECOGNITION)
    if note is not None:
        note()
