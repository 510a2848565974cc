"""Routes of the error history and of alerts. A token with a list of accounts sees what is about these accounts only."""

import re
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from adwarm.foundation.clock import utc
from adwarm.foundation.errors import BadRequest
from adwarm.model import AccessToken
from adwarm.serving.api.errors import problems
from adwarm.serving.api.guard import ReadToken, Services
from adwarm.serving.api.models import Document
from adwarm.serving.tokens import check_account, list_accounts
from adwarm.store import alerts
from adwarm.store.alerts import StoredAlert
from adwarm.store.error_events import ErrorEvent, ErrorFilter, ErrorLog


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


_NAME = r"^[A-Za-z0-9_.:/ -]+$"
_CURSOR = r"^[0-9]{1,18}$"
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
router = APIRouter(tags=["errors"], responses=problems(400, 404))


def _refuse_numbers(value: object) -> object:
    """Return the value; a number would otherwise count as seconds since 1970."""
    if not _DAY.match(str(value)):
        raise ValueError("must be a timestamp such as 2026-11-25T09:00:00Z")
    return value


Moment = Annotated[datetime, BeforeValidator(_refuse_numbers)]


class ErrorQuery(BaseModel):
    """The filter that list and counts share."""

    model_config = ConfigDict(extra="forbid")

    source: str | None = Field(None, max_length=80, pattern=_NAME, description="Only errors of this source.")
    account: str | None = Field(None, max_length=24, description="Only errors about this account.")
    kind: str | None = Field(None, max_length=40, pattern=_NAME, description="Only errors of this class.")
    since: Moment | None = Field(None, description="Only errors from this time on; UTC without an offset.")
    until: Moment | None = Field(None, description="Only errors before this time; UTC without an offset.")

    def filter(self, token: AccessToken) -> ErrorFilter:
        """Return the filter, limited to what the token may read.

        Raises:
            BadRequest: a value is not valid.
            Problem: 404, the token may not read the account.
        """
        return ErrorFilter(
            source=self.source,
            account_id=None if self.account is None else check_account(token, self.account),
            kind=self.kind,
            since=_to_utc(self.since),
            until=_to_utc(self.until),
            accounts=list_accounts(token),
        )


class ErrorPageQuery(ErrorQuery):
    """The query of the list of errors."""

    limit: int = Field(100, ge=1, le=1_000, description="Errors on a page.")
    cursor: str | None = Field(None, pattern=_CURSOR, description="`next_cursor` of the page before.")


class ErrorCountQuery(ErrorQuery):
    """The query of the counts."""

    period: Literal["hour", "day"] = Field("hour", description="Whether to count by UTC hour or day.")


class AlertQuery(BaseModel):
    """The query of the list of alerts."""

    model_config = ConfigDict(extra="forbid")

    open: bool = Field(False, description="Leave out resolved alerts.")
    limit: int = Field(100, ge=1, le=1_000, description="Alerts on a page.")
    cursor: str | None = Field(None, pattern=_CURSOR, description="`next_cursor` of the page before.")


@router.get("/errors", summary="Failed calls", operation_id="list_errors")
def list_errors(token: ReadToken, services: Services, query: Annotated[ErrorPageQuery, Query()]) -> ErrorPage:
    """The error history, the newest error first. A page's `next_cursor` leads to the next."""
    events = ErrorLog(services.context.engine).list_recent(
        query.limit + 1, query.filter(token), _position(query.cursor)
    )
    page = events[: query.limit]
    return ErrorPage(
        errors=[_error(event) for event in page],
        next_cursor=str(page[-1].id) if len(events) > len(page) else None,
    )


@router.get("/errors/counts", summary="Failed calls over time", operation_id="count_errors")
def count_errors(token: ReadToken, services: Services, query: Annotated[ErrorCountQuery, Query()]) -> ErrorCountPage:
    """How many calls failed by hour or day, source and class of error."""
    counts = ErrorLog(services.context.engine).count_by_period(query.period, query.filter(token))
    return ErrorCountPage(
        counts=[
            ErrorCountItem(start=item.start, source=item.source, kind=item.kind, errors=item.errors) for item in counts
        ]
    )


@router.get("/alerts", summary="Alerts", operation_id="list_alerts")
def list_alerts(token: ReadToken, services: Services, query: Annotated[AlertQuery, Query()]) -> AlertPage:
    """Alerts, the newest first. A token with a list of accounts sees those about one of its accounts."""
    stored = alerts.list_alerts(
        services.context.engine,
        open_only=query.open,
        limit=query.limit + 1,
        before_id=_position(query.cursor),
        accounts=list_accounts(token),
    )
    page = stored[: query.limit]
    return AlertPage(
        alerts=[_alert(item) for item in page], next_cursor=str(page[-1].id) if len(stored) > len(page) else None
    )


def _position(cursor: str | None) -> int | None:
    return None if cursor is None else int(cursor)


def _to_utc(moment: datetime | None) -> datetime | None:
    try:
        return None if moment is None else utc(moment)
    except OverflowError:
        raise BadRequest("`since` and `until` must be years from 1 to 9999 in UTC") from None


def _error(event: ErrorEvent) -> ErrorItem:
    return ErrorItem(
        at=event.at,
        source=event.source,
        kind=event.kind,
        code=event.code,
        connection=event.connection,
        account=event.account_id,
        subject=event.subject,
        message=event.message,
    )


def _alert(item: StoredAlert) -> AlertItem:
    return AlertItem(**{name: getattr(item, name) for name in AlertItem.model_fields})
