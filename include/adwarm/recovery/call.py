"""What the pipeline knows of an operation, and of its failure."""

from dataclasses import dataclass
from datetime import datetime

from adwarm.foundation.errors import AdwarmError, name_error
from adwarm.foundation.redaction import redact
from adwarm.store.error_events import ErrorEvent

STORED_DATA = "store"
"""The source of operations on stored data."""


@dataclass(frozen=True, slots=True)
class Call:
    """What an operation is about. Errors, healing and isolation are counted by these names.

    Attributes:
        source: the upstream, such as `meta`; or `store` for stored data.
        connection: the connection whose credential is used, by the name under which its accounts are stored: that of
            the Airflow connection, `default` for the settings. Empty for an operation without one.
        account_id: the account that is concerned, if one.
        subject: what is attempted, such as a report key or the hash of an object; the account by default.
        version: the version of the platform's API that is called; empty where there is none.
    """

    source: str
    connection: str = ""
    account_id: str | None = None
    subject: str | None = None
    version: str = ""

    @property
    def about(self) -> str | None:
        """What the operation is about, for the error history."""
        return self.subject or self.account_id


@dataclass(frozen=True, slots=True)
class Failure:
    """An operation that failed for good, after its retries."""

    call: Call
    error: Exception

    @property
    def kind(self) -> str:
        """The class of the error, as settings name it."""
        return name_error(self.error)

    @property
    def code(self) -> str | None:
        """The platform's code of the error."""
        return self.error.code if isinstance(self.error, AdwarmError) else None


__all__ = ["ErrorEvent", "build_error_event"]


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
