"""The one tree of errors, so that a reaction can be read off the class.

```
AdwarmError
├── Transient            try again soon, the same call may succeed
│   └── Throttled        do not call the scope before `until`
│       ├── NotAdmitted  admission would keep the call waiting for too long; nothing was called
│       └── Blocked      nor after it, before a person has put something right; alert
└── Permanent            the same call will fail again
    ├── TooMuchData      split the request; waiting does not help
    ├── Denied           this account only; the others go on
    ├── TokenDead        every account of the token; alert, serve what is there
    ├── BadRequest       the caller's words are wrong; the message says what to write
    ├── NotFound         the thing asked for is not there
    ├── Refused          admission said no; `retry_after` says when to ask again
    └── Corrupt          bytes that do not verify, or an answer whose rows are foreign or malformed; never served
```
"""

from datetime import UTC, datetime
from typing import ClassVar, TypeVar

Failure = TypeVar("Failure", bound="AdwarmError")
_LONGEST_WAIT_SECONDS = 366 * 86_400.0


class AdwarmError(Exception):
    """Something adwarm could not do.

    Attributes:
        own_refusal: whether adwarm itself put the call off, so that nothing was called and nothing failed: such an
            error is neither recorded as a failure nor alerted about, and says nothing about the upstream.
    """

    own_refusal: ClassVar[bool] = False

    def __init__(self, message: str | None = None, *, code: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])
        self.code = code


class Transient(AdwarmError):
    """The upstream failed in a way that passes by itself; `retry_after` is its own wish, in seconds, within a year."""

    def __init__(
        self, message: str | None = None, *, code: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.retry_after = None if retry_after is None else _bounded(retry_after)


class Throttled(Transient):
    """The platform asked for silence; `scope` must not be called before `until`."""

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
    """Admission would keep the call waiting for longer than it may; come back at `until`."""

    own_refusal = True


class Blocked(Throttled):
    """The platform refuses the app or the token as such; `scope` is parked until a person puts it right."""


class Permanent(AdwarmError):
    """The same call will fail again."""


class TooMuchData(Permanent):
    """The answer would be too large; ask for less of it.

    Attributes:
        smaller_page: fewer rows in a page may be all it takes.
        in_background: the platform may manage when it is given time, as a report made in the background.
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
    """The access token is no longer valid; renew it in the connection."""


class BadRequest(Permanent):
    """The request is malformed."""


class NotFound(Permanent):
    """There is no such thing."""


class Refused(Permanent):
    """Admission refused the request; ask again after `retry_after` seconds.

    Attributes:
        scope: whose breaker is open, and therefore what else would be refused: `source:` and a name for every call of
            the source, an account such as `account:act_1`; None for any other refusal.
    """

    own_refusal = True

    def __init__(
        self, message: str | None = None, *, retry_after: float, code: str | None = None, scope: str | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.retry_after = _bounded(retry_after)
        self.scope = scope


class Corrupt(Permanent):
    """The stored bytes do not match their checksum; fetch them again.

    Rows of an upstream that are foreign or malformed are this too, with the code `row`.
    """


def _bounded(seconds: float) -> float:
    """Return a wait as it can be reckoned with: 0 to a year; what is no number is 0."""
    return min(seconds, _LONGEST_WAIT_SECONDS) if seconds > 0 else 0.0


def clear_tracebacks(error: Failure) -> Failure:
    """Let go of what the frames behind an error and its causes hold, which may be whole answers, and return it."""
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error
