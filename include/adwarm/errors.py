"""The one tree of errors, so that a reaction can be read off the class.

```
AdwarmError
├── Transient            try again soon, the same call may succeed
│   └── Throttled        do not call the scope before `until`
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

from datetime import datetime


class AdwarmError(Exception):
    """Something adwarm could not do."""

    def __init__(self, message: str | None = None, *, code: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])
        self.code = code


class AdwarmWarning(UserWarning):
    """Something adwarm did, and would rather not have had to."""


class Transient(AdwarmError):
    """The upstream failed in a way that passes by itself."""

    def __init__(
        self, message: str | None = None, *, code: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


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
        self.until = until


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
    """Admission refused the request; ask again after `retry_after` seconds."""

    def __init__(self, message: str | None = None, *, retry_after: float, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class Corrupt(Permanent):
    """The stored bytes do not match their checksum; fetch them again.

    Rows of an upstream that are foreign or malformed are this too, with the code `row`.
    """
