"""The health routes, the only ones that answer without a token. They say nothing about data, settings or errors."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from adwarm.foundation.errors import AdwarmError, BadRequest
from adwarm.serving.api.models import Health, Readiness
from adwarm.serving.services import ServingServices
from adwarm.store.schema import require_current

router = APIRouter(tags=["health"])
_CHECK_SECONDS = 1.0


@dataclass
class ReadinessCheck:
    """Checks the database at most once a second, however often anonymous callers ask."""

    services: ServingServices
    _lock: Lock
    _checked_at: datetime | None = None
    _state: str = "unreachable"

    def database_state(self) -> str:
        """Return `ok`, `unreachable` or `needs_upgrade`."""
        with self._lock:
            now = self.services.clock.now()
            if self._checked_at is None or not 0 <= (now - self._checked_at).total_seconds() < _CHECK_SECONDS:
                self._state, self._checked_at = _check(self.services), now
            return self._state


def _check(services: ServingServices) -> str:
    try:
        require_current(services.context.engine)
    except BadRequest:
        return "needs_upgrade"
    except AdwarmError:
        return "unreachable"
    return "ok"
