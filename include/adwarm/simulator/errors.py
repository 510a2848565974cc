"""Refusals in the platform's own words: HTTP status, code, subcode and an error body with a trace id."""

import hashlib
from typing import Any


class GraphError(Exception):
    """An answer that is an error."""

    def __init__(
        self,
        message: str,
        *,
        code: int,
        subcode: int | None = None,
        status: int = 400,
        kind: str = "OAuthException",
        transient: bool = False,
    ) -> None:
        super().__init__(message)
        self.message, self.code, self.subcode = message, code, subcode
        self.status, self.kind, self.transient = status, kind, transient

    def body(self, call_number: int) -> dict[str, Any]:
        """Return the error body; equal calls of equal histories get equal trace ids."""
        trace = hashlib.sha256(f"{self.code}:{self.subcode}:{call_number}".encode()).hexdigest()[:22]
        error: dict[str, Any] = {"message": self.message, "type": self.kind, "code": self.code}
        if self.subcode is not None:
            error["error_subcode"] = self.subcode
        if self.transient:
            error["is_transient"] = True
        return {"error": error | {"fbtrace_id": f"A{trace}"}}


def bad_parameter(message: str) -> GraphError:
    """Return the platform's answer to a parameter it does not take."""
    return GraphError(f"(#100) {message}", code=100)


def missing_object(name: str) -> GraphError:
    """Return the platform's answer about an object that is not there, or not for this token."""
    return GraphError(
        f"Unsupported get request. Object with ID '{name}' does not exist, cannot be loaded due to missing "
        "permissions, or does not support this operation",
        code=100,
        subcode=33,
        kind="GraphMethodException",
    )
