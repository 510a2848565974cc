"""The tree of errors. The class decides how callers react.

```
AdwarmError
├── Transient            try again soon; the same call may succeed
│   ├── DatabaseBusy     adwarm's own database kept the work waiting too long; nothing of the platform has failed
│   ├── StorageError     a disk or database is full, read-only or damaged; the message says which
│   └── NoCapacity       do not call the scope before `until`
│       ├── NotAdmitted  adwarm's own limits: the wait for admission would be too long; no call was made
│       └── Throttled    the platform throttled a call
│           └── Blocked  nor later, until a human has fixed the cause; alert
└── Permanent            the same call will fail again
    ├── TooMuchData      split the request; waiting does not help
    ├── Denied           this account only; other accounts continue
    ├── TokenDead        every account of the token; alert, serve stored data
    ├── BadRequest       the input is not valid; the message says what to write
    │   ├── FieldRefused a field of the query is invalid, dropped or not permitted; the query without it is valid
    │   └── VersionEnded the platform no longer takes calls by the version of its API that is set; alert
    ├── NotFound         the object does not exist
    ├── Refused          admission refused the call; try again after `retry_after`
    │   └── Isolated     the connection or account keeps failing and is not called for minutes
    └── Corrupt          bytes fail verification, or rows are foreign or malformed; never served
```
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

from adwarm_client.errors import (
    AdwarmError,
    BadRequest,
    Corrupt,
    Denied,
    NotFound,
    Permanent,
    Refused,
    TokenDead,
    TooMuchData,
    Transient,
)

__all__ = [
    "AdwarmError",
    "BadRequest",
    "Blocked",
    "Corrupt",
    "DatabaseBusy",
    "Denied",
    "FieldRefused",
    "Isolated",
    "NoCapacity",
    "NotAdmitted",
    "NotFound",
    "Permanent",
    "Refused",
    "StorageError",
    "Throttled",
    "TokenDead",
    "TooMuchData",
    "Transient",
    "VersionEnded",
    "clear_tracebacks",
]

SLOW_BODY: Final = "slow_body"
"""Code of a timeout in the body of a response: its rows come too slowly, and an async report of them is no faster."""
TIMEOUTS: Final = frozenset({"timeout", SLOW_BODY})
"""Codes of a call whose time was over."""
Failure = TypeVar("Failure", bound="AdwarmError")


_LONG_AGO: Final = datetime.fromtimestamp(0, UTC)
"""Until when a scope had no capacity, of which only the class of the error is known."""


class StorageError(Transient):
    """The disk or the database cannot be read or written; the same call succeeds once that is repaired."""


class DatabaseBusy(Transient):
    """adwarm's own database had no connection or no lock to give in time; the platform has no part in it."""

    own_refusal = True


class NoCapacity(Transient):
    """`scope` must not be called before `until`, by decision of the platform or of adwarm."""

    def __init__(
        self,
        message: str | None = None,
        *,
        scope: str,
        until: datetime,
        retry_after: float | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message, code=code, retry_after=retry_after)
        self.scope = scope
        self.until = until if until.tzinfo is not None else until.replace(tzinfo=UTC)


class Throttled(NoCapacity):
    """The platform throttles calls; `scope` must not be called before `until`."""


class NotAdmitted(NoCapacity):
    """The call would wait for admission longer than allowed; try again at `until`."""

    own_refusal = True


class Blocked(Throttled):
    """The platform blocks the app or the token; `scope` is parked until a human fixes the cause."""


class FieldRefused(BadRequest):
    """The platform refuses fields of the query by name; the same query without them may succeed."""

    def __init__(self, message: str | None = None, *, fields: Sequence[str] = (), code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.fields = tuple(fields)


class VersionEnded(BadRequest):
    """The platform no longer takes calls by the version of its API that the connection uses."""


class Isolated(Refused):
    """A connection or an account keeps failing and is not called; try again after `retry_after` seconds.

    Attributes:
        kind: class of the last error that isolated `scope`, such as `TokenDead`.
        credential: digest of the credential that was refused then; empty when it is not known.
    """

    credential: str = ""

    def __init__(self, message: str | None = None, *, retry_after: float, scope: str, kind: str | None = None) -> None:
        super().__init__(message, retry_after=retry_after, scope=scope)
        self.kind = kind


def clear_tracebacks(error: Failure) -> Failure:
    """Clear the tracebacks of an error and its causes, whose frames may hold whole answers in memory, and return it."""
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error


_CLASSES: Final = {
    name: item for name, item in dict(globals()).items() if isinstance(item, type) and issubclass(item, AdwarmError)
}


def name_error(error: BaseException) -> str:
    """Return the class below `AdwarmError` in `adwarm.foundation.errors` that the error is of, or its own class."""
    names = [kind.__name__ for kind in type(error).__mro__]
    return next((name for name in names if name in _CLASSES and name != AdwarmError.__name__), names[0])


def restore_error(kind: str | None, message: str | None, subject: str = "") -> AdwarmError:
    """Return an error of the class that `kind` names, for callers that decide by its class and show its text.

    Args:
        kind: result of `name_error`; for None or an unknown name the error is `Transient`.
        subject: account or scope that it is about.
    """
    error_class = _CLASSES.get(kind or "", Transient)
    if issubclass(error_class, NoCapacity):
        return error_class(message, scope=subject, until=_LONG_AGO)
    if issubclass(error_class, Denied):
        return error_class(message, account_id=subject)
    if issubclass(error_class, Isolated):
        return error_class(message, retry_after=0.0, scope=subject)
    if issubclass(error_class, Refused):
        return error_class(message, retry_after=0.0)
    return error_class(message)
