"""The errors of the client, which are also the base of adwarm's own tree. The class decides how callers react.

```
AdwarmError
├── Transient            try again soon; the same call may succeed
└── Permanent            the same call will fail again
    ├── TooMuchData      split the request; waiting does not help
    ├── Denied           this account only; other accounts continue
    ├── TokenDead        every account of the token
    ├── BadRequest       the input is not valid; the message says what to write
    ├── NotFound         the object does not exist
    ├── Refused          try again after `retry_after`
    └── Corrupt          bytes fail verification, or rows are foreign or malformed
```
"""

from typing import ClassVar

from adwarm_client.redaction import redact

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


class Corrupt(Permanent):
    """The stored bytes do not match their checksum; fetch them again.

    Foreign or malformed rows of an upstream raise it too, with the code `row`.
    """


def _bounded(seconds: float) -> float:
    """Return a wait limited to 0 seconds to a year; NaN is 0."""
    return min(seconds, _LONGEST_WAIT_SECONDS) if seconds > 0 else 0.0
