"""The checks of a POST: its origin, its token and its fields."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from adwarm.pages.access import (
    MAX_FIELDS,
    FormRejected,
    check_csrf,
    check_origin,
    check_seal,
    make_csrf_token,
    make_seal,
    read_fields,
)
from tests.unit.pages.conftest import ADMIN, VIEWER

FORM = {"content-type": "application/x-www-form-urlencoded"}


def make_request(headers: dict[str, str], body: bytes = b"") -> Request:
    """Return a POST with headers and a body that comes in pieces."""
    pieces = [body[start : start + 1_000] for start in range(0, len(body), 1_000)] or [b""]

    async def receive() -> Any:
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/x", "headers": raw, "query_string": b""}, receive)


def is_own(**headers: str) -> bool:
    """Return whether a POST with these headers is taken for one of the page itself."""
    try:
        check_origin(make_request({name.replace("_", "-"): value for name, value in headers.items()}))
    except FormRejected:
        return False
    return True


def read(body: bytes) -> dict[str, str]:
    """Return the fields of a form."""
    return asyncio.run(read_fields(make_request(FORM, body)))


def test_the_origin_is_the_host_that_was_asked(subtests: pytest.Subtests) -> None:
    """The browser's own word counts; without it, the origin has to name the host, also as a proxy names it."""
    for headers, expected in [
        ({"host": "a.example", "origin": "https://a.example"}, True),
        ({"host": "A.example:443", "origin": "https://a.example"}, True),
        ({"host": "a.example:8443", "origin": "https://a.example:8443"}, True),
        ({"host": "a.example:8443", "origin": "https://a.example"}, False),
        ({"host": "[::1]:8950", "origin": "http://[::1]:8950"}, True),
        ({"host": "upstream:8950", "x_forwarded_host": "a.example, b", "origin": "https://a.example"}, True),
        ({"host": "upstream:8950", "origin": "https://a.example"}, False),
        ({"host": "upstream:8950", "origin": "https://a.example", "sec_fetch_site": "same-origin"}, True),
        ({"host": "a.example", "origin": "https://a.example", "sec_fetch_site": "cross-site"}, False),
        ({"host": "a.example", "origin": "https://a.example", "sec_fetch_site": "none"}, False),
        ({"host": "a.example", "origin": "null", "sec_fetch_site": "same-origin"}, False),
        ({"host": "a.example", "referer": "https://a.example/adwarm/plan"}, True),
        ({"host": "a.example", "referer": "https://b.example/a.example"}, False),
        ({"host": "a.example", "origin": "https://a.example.evil.example"}, False),
        ({"host": "a.example", "origin": "https://a.example@evil.example"}, False),
        ({"host": "a.example", "origin": "a.example"}, False),
        ({"host": "a.example", "origin": "javascript://a.example"}, False),
        ({"host": "a.example", "origin": "https://[a.example"}, False),
        ({"host": "", "origin": "https://"}, False),
        ({"host": "a.example"}, False),
        ({}, False),
    ]:
        with subtests.test(headers=headers, expected=expected):
            assert is_own(**headers) == expected


@given(st.text(max_size=200))
def test_no_invented_origin_passes(text: str) -> None:
    """Whatever an origin is made of, it is accepted or refused, and only the own host is accepted."""
    origin = text.encode("ascii", "ignore").decode()
    assert not is_own(host="a.example", origin=origin) or origin.lower().partition("://")[2].startswith("a.example")


@given(st.text(max_size=100))
def test_a_token_belongs_to_one_login(text: str) -> None:
    """Only the token of the visitor's own login passes."""
    check_csrf(ADMIN, {"csrf_token": make_csrf_token(ADMIN)})
    for token in (text, make_csrf_token(VIEWER)):
        with pytest.raises(FormRejected):
            check_csrf(ADMIN, {"csrf_token": token})


@given(st.text(max_size=100), st.text(max_size=100))
def test_a_seal_belongs_to_one_text_and_login(text: str, other: str) -> None:
    """A text is shown only with the seal that the page made for it and for this visitor."""
    assert check_seal(ADMIN, text, make_seal(ADMIN, text))
    assert not check_seal(VIEWER, text, make_seal(ADMIN, text))
    assert check_seal(ADMIN, other, make_seal(ADMIN, text)) == (text == other)


def test_fields_are_read_from_a_stream() -> None:
    """Spaces around values go, the values of a repeated name become lines, and a long form may come in pieces."""
    assert read(b"a=+1+&b=2&b=3&c=") == {"a": "1", "b": "2\n3", "c": ""}
    assert read(b"a=" + b"x" * 60_000) == {"a": "x" * 60_000}


@given(st.binary(max_size=300))
def test_any_bytes_are_a_form_or_refused(body: bytes) -> None:
    """Bytes that are no form get a clear refusal, and nothing else goes wrong."""
    with suppress(FormRejected):
        assert all(value == value.strip() for value in read(body).values())


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (FORM, b"a=" + b"x" * 70_000, 413),
        (FORM, b"&".join([b"a=1"] * (MAX_FIELDS + 1)), 422),
        (FORM, b"a=%ff", 422),
        ({"content-type": "multipart/form-data; boundary=x"}, b"", 415),
        ({}, b"a=1", 415),
    ],
)
def test_forms_have_limits(headers: dict[str, str], body: bytes, status: int) -> None:
    """A form that is too large, has too many fields or is none is refused."""
    with pytest.raises(FormRejected) as caught:
        asyncio.run(read_fields(make_request(headers, body)))
    assert caught.value.status == status
