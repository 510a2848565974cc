"""Errors that are stored by the name of their class, and made again from it in another process."""

from datetime import UTC, datetime
from typing import Final

from adwarm.foundation import errors
from adwarm.foundation.errors import AdwarmError, Denied, Isolated, Refused, Throttled, Transient

_CLASSES: Final = {
    name: item for name, item in vars(errors).items() if isinstance(item, type) and issubclass(item, AdwarmError)
}

_LONG_AGO: Final = datetime.fromtimestamp(0, UTC)
"""Until when a scope was throttled, of which only the class of the error is known."""


def name_error(error: BaseException) -> str:
    """Return the class below `AdwarmError` in `adwarm.foundation.errors` that the error is of, or its own class."""
    names = [kind.__name__ for kind in type(error).__mro__]
    return next((name for name in names if name in _CLASSES and name != AdwarmError.__name__), names[0])


def restore_error(kind: str | None, message: str | None, subject: str = "") -> AdwarmError:
    """Return an error of the class that `kind` names, for callers that decide by its class and show its text.

    Args:
        kind: result of `name_error`; for None or an unknown name the error is `Transient`.
        message: its text.
        subject: account or scope that it is about.
    """
    found = _CLASSES.get(kind or "", Transient)
    if issubclass(found, Throttled):
        return found(message, scope=subject, until=_LONG_AGO)
    if issubclass(found, Denied):
        return found(message, account_id=subject)
    if issubclass(found, Isolated):
        return found(message, retry_after=0.0, scope=subject)
    if issubclass(found, Refused):
        return found(message, retry_after=0.0)
    return found(message)
