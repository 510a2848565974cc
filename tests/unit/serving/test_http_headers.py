"""HTTP headers of an answer: validators by document, coding and shape; caching; Cache-Status as in RFC 9211."""

import re
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.serving.http_headers import (
    age,
    cache_status,
    find_etag,
    make_etag,
)

HASH = sha256(b"document").hexdigest()
OTHER = sha256(b"another").hexdigest()


def test_an_etag_is_strong_and_different_for_each_representation() -> None:
    """Documents, codings and shapes each have a tag of their own."""
    codings = ["zstd", "br", "identity", "gzip"]
    tags = {make_etag(digest, coding, shape) for digest in (HASH, OTHER) for coding in codings for shape in ("a", "b")}
    assert len(tags) == 16
    assert all(re.fullmatch(r'"[\x21\x23-\x7e]+"', tag) for tag in tags)


def test_if_none_match_is_compared_weakly(subtests: pytest.Subtests) -> None:
    """A tag in a list and a weak one are found; a malformed list names nothing after the fault."""
    for header, is_found in [
        (None, False),
        ("", False),
        (" {tag} ", True),
        ("W/{tag}", True),
        ('"x", W/{tag}', True),
        ('"x","y" , {tag}', True),
        ('"a,b", {tag}', True),
        ('"x"', False),
        ("abc", False),
        ('"x" {tag}', False),
        ("w/{tag}", False),
    ]:
        with subtests.test(header=header, is_found=is_found):
            tag = make_etag(HASH, "zstd", "columnar")
            found = find_etag(header and header.replace("{tag}", tag), HASH, "columnar")
            assert found == (tag if is_found else None)


@given(header=st.text(max_size=200))
def test_any_if_none_match_is_parsed(header: str) -> None:
    """A client's header never raises, and never matches a tag that it does not contain."""
    assert find_etag(header, HASH, "columnar") is None or HASH[:32] in header or header.strip() == "*"


def test_a_copy_in_another_coding_is_revalidated() -> None:
    """The client's own tag is found, whatever coding its copy had, and only for the same document and shape."""
    tag = make_etag(HASH, "br", "columnar")
    assert find_etag(tag, HASH, "columnar") == tag
    assert find_etag(f'"x", W/{tag}', HASH, "columnar") == tag
    assert find_etag(tag, HASH, "rows") is None
    assert find_etag(tag, OTHER, "columnar") is None
    assert find_etag(make_etag(HASH, "zstd", "columnar_x"), HASH, "columnar") is None
    assert find_etag(None, HASH, "columnar") is None
    assert find_etag("*", HASH, "columnar") == make_etag(HASH, "identity", "columnar")


def test_cache_status_follows_the_standard(subtests: pytest.Subtests) -> None:
    """A stale entry is a hit with a negative ttl; a fetch says why it was needed."""
    for arguments, header in [
        ({"ttl": 376.9}, 'adwarm; hit; ttl=376; key="k"'),
        ({"ttl": -412.2}, 'adwarm; hit; ttl=-412; key="k"'),
        ({"ttl": None}, 'adwarm; hit; key="k"'),
        ({"ttl": 10, "is_miss": True, "is_stored": True}, 'adwarm; fwd=miss; stored; ttl=10; key="k"'),
        ({"ttl": None, "is_miss": True}, 'adwarm; fwd=miss; key="k"'),
        ({"ttl": -1, "detail": "expired"}, 'adwarm; hit; ttl=-1; key="k"; detail="expired"'),
        ({"ttl": float("inf")}, 'adwarm; hit; ttl=1000000000000; key="k"'),
    ]:
        with subtests.test(arguments=arguments, header=header):
            assert cache_status("k", **arguments) == header  # type: ignore[arg-type]


@given(key=st.text(max_size=50))
def test_a_key_never_ends_its_header(key: str) -> None:
    """Whatever a key contains, the value is one line of printable ASCII with one quoted string."""
    header = cache_status(key, 1)
    assert header.isascii()
    assert header.isprintable()
    assert re.fullmatch(r'adwarm; hit; ttl=1; key="(?:[^"\\]|\\["\\])*"', header)


def test_age_is_whole_seconds() -> None:
    """A clock that is behind gives 0."""
    assert [age(12.9), age(-3), age(float("nan"))] == ["12", "0", "0"]
