"""Tells the server which connections belong to clients with a valid token or session."""

from collections.abc import Mapping
from typing import Any, Final

KNOWN_CLIENT: Final = "adwarm.known_client"
"""Extension of a request's ASGI scope: a function that `note_known` calls."""


def note_known(scope: Mapping[str, Any]) -> None:
    """Note that a request has a valid token or session, so that its connection does not give way to new ones."""
    note = (scope.get("extensions") or {}).get(KNOWN_CLIENT)
    if note is not None:
        note()
