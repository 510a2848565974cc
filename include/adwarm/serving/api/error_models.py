"""The documents of the read API about errors and alerts."""

from datetime import datetime

from pydantic import Field

from adwarm.serving.api.models import Document


class ErrorItem(Document):
    """One failed call."""

    at: datetime = Field(description="When it failed.")
    source: str = Field(description="Source that failed.")
    kind: str = Field(description="Class of the error, such as `Throttled`.")
    code: str | None = Field(description="The platform's error code.")
    connection: str | None = Field(description="Connection that the call used; null for an operation without one.")
    account: str | None = Field(description="Account that the call concerned.")
    subject: str | None = Field(description="What the call was about, such as a report key.")
    message: str = Field(description="Message without secrets.")


class ErrorPage(Document):
    """One page of the error history, the newest error first."""

    errors: list[ErrorItem] = Field(description="The errors.")
    next_cursor: str | None = Field(None, description="`cursor` of the next page; null on the last one.")


class ErrorCountItem(Document):
    """Errors of one source and class within an hour or a day."""

    start: datetime = Field(description="Start of the hour or day, UTC.")
    source: str = Field(description="Source that failed.")
    kind: str = Field(description="Class of the errors.")
    errors: int = Field(description="How many.")


class ErrorCountPage(Document):
    """Errors over time; hours and days without errors are left out."""

    counts: list[ErrorCountItem] = Field(description="The newest period first.")


class AlertItem(Document):
    """Errors of one class and scope that exceeded their threshold, or a single event."""

    id: int = Field(description="Id of the alert.")
    kind: str = Field(description="Class of the errors.")
    scope: str = Field(description="What failed: a source, `connection:NAME` or `account:ID`.")
    opened_at: datetime = Field(description="When it was raised.")
    last_at: datetime = Field(description="When its last error happened.")
    errors: int = Field(description="Errors in the window when it was raised, and further ones since.")
    example: str | None = Field(description="A report key or an account that failed.")
    reason: str = Field(description="Message of the last error, without secrets.")
    next_step: str = Field(description="What to do about it.")
    resolved_at: datetime | None = Field(description="When it was resolved; null while it is open.")


class AlertPage(Document):
    """One page of alerts, the newest first."""

    alerts: list[AlertItem] = Field(description="The alerts.")
    next_cursor: str | None = Field(None, description="`cursor` of the next page; null on the last one.")
