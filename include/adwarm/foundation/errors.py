"""The tree of errors. The class decides how callers react.

```
AdwarmError
├── Transient            try again soon; the same call may succeed
│   ├── StorageError     a disk or database is full, read-only or damaged; the message says which
│   └── Throttled        do not call the scope before `until`
│       ├── NotAdmitted  the wait for admission would be too long; no call was made
│       └── Blocked      nor later, until a human has fixed the cause; alert
└── Permanent            the same call will fail again
    ├── TooMuchData      split the request; waiting does not help
    ├── Denied           this account only; other accounts continue
    ├── TokenDead        every account of the token; alert, serve stored data
    ├── BadRequest       the input is not valid; the message says what to write
    ├── NotFound         the object does not exist
    ├── Refused          admission refused the call; try again after `retry_after`
    │   └── Isolated     the connection or account keeps failing and is not called for minutes
    └── Corrupt          bytes fail verification, or rows are foreign or malformed; never served
```
"""

from datetime import UTC, datetime
from typing import ClassVar, TypeVar

from adwarm.foundation.redaction import redact

Failure = TypeVar("Failure", bound="AdwarmError")
_LONGEST_WAIT_SECONDS = 366 * 86_400.0


class AdwarmError(Exception):
    """The base class of all errors of adwarm.

    Its text contains no secret, whatever the message contains: `str` and `repr` redact it. So it may be stored, logged
    and shown as it is.

    Attributes:
        own_refusal: whether adwarm itself postponed the call, so that no call was made and nothing failed. Such an
            error is not recorded as a failure, raises no alert, and says nothing about the upstream.
    """

    own_refusal: ClassVar[bool] = False

    def __init__(self, message: str | None = None, *, code: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])
        self.code = code

    def __str__(self) -> str:
        return redact(super().__str__())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class Transient(AdwarmError):
    """The upstream failed temporarily; `retry_after` is its own hint in seconds, at most a year."""

    def __init__(
        self, message: str | None = None, *, code: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.retry_after = None if retry_after is None else _bounded(retry_after)


class StorageError(Transient):
    """The disk or the database cannot be read or written; the same call succeeds once that is repaired."""


class Throttled(Transient):
    """The platform throttles calls; `scope` must not be called before `until`."""

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


class NotAdmitted(Throttled):
    """The call would wait for admission longer than allowed; try again at `until`."""

    own_refusal = True


class Blocked(Throttled):
    """The platform blocks the app or the token; `scope` is parked until a human fixes the cause."""


class Permanent(AdwarmError):
    """The same call will fail again."""


class TooMuchData(Permanent):
    """The answer would be too large; split the request.

    Attributes:
        smaller_page: smaller pages may be enough.
        in_background: an async report may be enough.
    """

    def __init__(
        self,
        message: str | None = None,
        *,
        code: str | None = None,
        smaller_page: bool = False,
        in_background: bool = False,
    ) -> None:
        super().__init__(message, code=code)
        self.smaller_page = smaller_page
        self.in_background = in_background


class Denied(Permanent):
    """The account may not be read with this token; ask its owner for access."""

    def __init__(self, message: str | None = None, *, account_id: str, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.account_id = account_id


class TokenDead(Permanent):
    """The access token is no longer valid; renew it in the connection.

    Attributes:
        credential: a digest of the credential that was refused; empty when it is not known.
    """

    credential: str = ""


class BadRequest(Permanent):
    """The request is malformed."""


class NotFound(Permanent):
    """The object does not exist."""


class Refused(Permanent):
    """Admission refused the request; try again after `retry_after` seconds.

    Attributes:
        scope: the scope whose breaker is open and refuses further calls: `source:NAME` for all calls of a source, an
            account such as `account:act_1`, or an isolated `connection:NAME`; None for any other refusal.
    """

    own_refusal = True

    def __init__(
        self, message: str | None = None, *, retry_after: float, code: str | None = None, scope: str | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.retry_after = _bounded(retry_after)
        self.scope = scope


class Isolated(Refused):
    """A connection or an account keeps failing and is not called; try again after `retry_after` seconds.

    Attributes:
        kind: class of the last error that isolated `scope`, such as `TokenDead`.
        credential: a digest of the credential that was refused then; empty when it is not known, or not the reason.
    """

    credential: str = ""

    def __init__(self, message: str | None = None, *, retry_after: float, scope: str, kind: str | None = None) -> None:
        super().__init__(message, retry_after=retry_after, scope=scope)
        self.kind = kind


class Corrupt(Permanent):
    """The stored bytes do not match their checksum; fetch them again.

    Foreign or malformed rows of an upstream raise it too, with the code `row`.
    """


def _bounded(seconds: float) -> float:
    """Return a wait limited to 0 seconds to a year; NaN is 0."""
    return min(seconds, _LONGEST_WAIT_SECONDS) if seconds > 0 else 0.0


def clear_tracebacks(error: Failure) -> Failure:
    """Clear the tracebacks of an error and its causes, whose frames may hold whole answers in memory, and return it."""
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error
