"""Errors: those of code that configures or runs the simulator, and those that the platform responds with."""

import hashlib
from typing import Any


class SimulatorError(Exception):
    """Base of the errors for code that configures or runs the simulator."""


class InvalidValue(SimulatorError, ValueError):
    """A setting or an argument is not valid."""


class UnknownAd(SimulatorError, LookupError):
    """An account has no such ad."""


class ServerUnavailable(SimulatorError):
    """The server cannot listen on its port, or did not start in time."""


class GraphError(Exception):
    """An error response of the platform.

    Args:
        subcode: `error_subcode`; left out when None.
        kind: `type` in the error body.
        transient: `is_transient`; left out when None.

    Attributes:
        retry_after: the `Retry-After` header in seconds; left out when None.
    """

    retry_after: int | None = None

    def __init__(
        self,
        message: str,
        *,
        code: int,
        subcode: int | None = None,
        status: int = 400,
        kind: str = "OAuthException",
        transient: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.code, self.subcode = message, code, subcode
        self.status, self.kind, self.transient = status, kind, transient

    def body(self, call_number: int) -> dict[str, Any]:
        """Return the error body. The trace id is a hash, so the same sequence of calls gives the same bytes."""
        trace = hashlib.sha256(f"{self.code}:{self.subcode}:{call_number}".encode()).hexdigest()[:22]
        error: dict[str, Any] = {"message": self.message, "type": self.kind, "code": self.code}
        if self.subcode is not None:
            error["error_subcode"] = self.subcode
        if self.transient is not None:
            error["is_transient"] = self.transient
        return {"error": error | {"fbtrace_id": f"A{trace}"}}


def bad_parameter(message: str) -> GraphError:
    """Return error 100 for a parameter that the call does not accept."""
    return GraphError(f"(#100) {message}", code=100)


def missing_object(name: str, verb: str = "get") -> GraphError:
    """Return error 100/33: the object does not exist, is hidden from this token, or does not support the verb."""
    return GraphError(
        f"Unsupported {verb.lower()} request. Object with ID '{name}' does not exist, cannot be loaded due to missing "
        "permissions, or does not support this operation. Please read the Graph API documentation at "
        "https://developers.facebook.com/docs/graph-api",
        code=100,
        subcode=33,
        kind="GraphMethodException",
    )


def token_missing(path: str) -> GraphError:
    """Return the error for a call without a token: 2500 for `me`, 104 for any other path."""
    if path == "me":
        return GraphError("An active access token must be used to query information about the current user.", code=2500)
    return GraphError("An access token is required to request this resource.", code=104)
