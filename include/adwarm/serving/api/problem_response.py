"""The headers that every response has, and the response of a problem."""

from typing import Final

from adwarm.serving.problems import CONTENT_TYPE, Problem

Header = tuple[bytes, bytes]

SECURITY_HEADERS: Final[tuple[Header, ...]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)
NO_STORE: Final[Header] = (b"cache-control", b"no-store")


def describe_problem(problem: Problem) -> tuple[list[Header], bytes]:
    """Return the headers of a problem, without the security headers, and its body."""
    body = problem.body()
    named = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in problem.headers.items()]
    return [(b"content-type", CONTENT_TYPE.encode()), (b"content-length", b"%d" % len(body)), NO_STORE, *named], body
