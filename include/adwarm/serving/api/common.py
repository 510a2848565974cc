"""What every route has in common: the limit of a path, the security headers, and how a problem is sent."""

from typing import Final

from adwarm.serving.problems import CONTENT_TYPE, Problem

Header = tuple[bytes, bytes]

SECURITY_HEADERS: Final[tuple[Header, ...]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)
NO_STORE: Final[Header] = (b"cache-control", b"no-store")
MAX_PATH_BYTES: Final = 2_048
"""The most bytes of a path with its query."""


def check_path_bytes(size: int) -> None:
    """Check the length of a path with its query.

    Raises:
        Problem: 414, it is too long.
    """
    if size > MAX_PATH_BYTES:
        detail = f"path and query have more than {MAX_PATH_BYTES} bytes; send long lists to /v1/batch"
        raise Problem(414, "URI Too Long", detail)


def describe_problem(problem: Problem) -> tuple[list[Header], bytes]:
    """Return the headers of a problem, without the security headers, and its body."""
    body = problem.body()
    named = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in problem.headers.items()]
    return [(b"content-type", CONTENT_TYPE.encode()), (b"content-length", b"%d" % len(body)), NO_STORE, *named], body
