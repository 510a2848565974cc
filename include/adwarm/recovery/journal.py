"""The record of failed attempts, and what it holds of an error: kind, code and message, never a secret."""

from datetime import datetime
from typing import Protocol

from adwarm.foundation.errors import AdwarmError, name_error
from adwarm.foundation.redaction import redact
from adwarm.recovery.call import Call
from adwarm.store.error_events import ErrorEvent

__all__ = ["ErrorEvent", "ErrorJournal", "build_error_event"]


class ErrorJournal(Protocol):
    """A bounded record of failed attempts. `adwarm.store.error_events` keeps it in SQL."""

    def record(self, event: ErrorEvent) -> None:
        """Add the event."""
        ...


def build_error_event(error: BaseException, call: Call, at: datetime) -> ErrorEvent:
    """Return the event that records `error`, with message and subject redacted."""
    code = error.code if isinstance(error, AdwarmError) else None
    message = redact(str(error)) or type(error).__name__
    subject = redact(call.about) if call.about else None
    return ErrorEvent(
        at=at,
        source=call.source,
        kind=name_error(error),
        message=message,
        subject=subject,
        code=code,
        connection=call.connection or None,
        account_id=call.account_id,
    )
