"""Content negotiation: the stored codec where possible, the client's weights otherwise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.compression.envelope import CODECS, Codec
from adwarm.compression.negotiation import NotAcceptable, choose_encoding, content_coding
from adwarm.foundation.errors import BadRequest


def test_the_codec_follows_the_standard(subtests: pytest.Subtests) -> None:
    """Each header gets a codec it accepts, the stored one first."""
    for header, stored, chosen in [
        ("gzip, deflate, br, zstd", "zstd", "zstd"),
        ("gzip, deflate, br", "brotli", "brotli"),
        ("gzip;q=0.2, br;q=0.9", "gzip", "gzip"),
        ("gzip, br", "zstd", "brotli"),
        ("gzip;q=1.0, br;q=0.5", "zstd", "gzip"),
        ("deflate", "zstd", "identity"),
        ("", "zstd", "identity"),
        ("", "identity", "identity"),
        ("gzip", "identity", "identity"),
        ("gzip, identity;q=0", "identity", "gzip"),
        ("*", "zstd", "zstd"),
        ("*;q=0.5, zstd;q=0", "zstd", "brotli"),
        ("gzip, *;q=0", "zstd", "gzip"),
        ("zstd;q=0, identity", "zstd", "identity"),
        ("identity;q=1, gzip;q=0.5", "brotli", "identity"),
        ("GZIP ; Q=0.8", "zstd", "gzip"),
        ("x-gzip", "gzip", "gzip"),
        ("zstd;q=nan, gzip;q=-1, br;q=2.0, ;;,", "zstd", "identity"),
        ("gzip;q=0.001", "zstd", "gzip"),
        ("gzip;q=0, br;q=0, zstd;q=0", "zstd", "identity"),
        ("identity;q=0.1, *;q=0", "zstd", "identity"),
        ("identity;q=0, gzip;q=0.1", "identity", "gzip"),
        ("identity;q=0, *", "identity", "zstd"),
        ("gzip;q=0.3, br;q=0.3", "zstd", "brotli"),
        ("br;q=0, *;q=0.1, gzip;q=0.2", "brotli", "gzip"),
        ("dcb, dcz, zstd", "zstd", "zstd"),
    ]:
        with subtests.test(header=header, stored=stored, chosen=chosen):
            assert choose_encoding(header, stored) == chosen


@pytest.mark.parametrize("header", ["*;q=0", "identity;q=0", "identity;q=0, *;q=0", "identity;q=0, deflate"])
def test_a_header_that_excludes_plain_bytes_too_is_an_error(header: str) -> None:
    """Nothing may be sent that the client has excluded; the error names the codings."""
    with pytest.raises(NotAcceptable, match="zstd, br, gzip and identity"):
        choose_encoding(header, "zstd")


@given(header=st.text(alphabet=st.characters(exclude_characters="0"), max_size=80), stored=st.sampled_from(CODECS))
def test_any_header_without_an_exclusion_gets_a_codec(header: str, stored: Codec) -> None:
    """No header raises, whatever its bytes, unless it excludes codings."""
    assert choose_encoding(header, stored) in CODECS


@given(
    weights=st.dictionaries(
        st.sampled_from(["zstd", "br", "gzip", "identity", "*"]), st.sampled_from([0, 1, 300, 1000])
    ),
    stored=st.sampled_from(CODECS),
)
def test_a_refused_coding_is_never_sent(weights: dict[str, int], stored: Codec) -> None:
    """A coding of weight 0 is never chosen; an error says that all are excluded, and only then."""
    header = ", ".join(["gzip;q=no", "!x;q=0", *(f"{name};q={weight / 1000:.3f}" for name, weight in weights.items())])
    others = weights.get("*", 0)
    accepted = {name for name in ("zstd", "br", "gzip") if weights.get(name, others) > 0}
    if weights.get("identity", weights.get("*", 1)) > 0:
        accepted.add("identity")
    if accepted:
        assert content_coding(choose_encoding(header, stored)) in accepted
    else:
        with pytest.raises(NotAcceptable):
            choose_encoding(header, stored)


def test_a_malformed_member_is_left_out() -> None:
    """Those after it count, and a weight above one is one."""
    assert choose_encoding("gzip;q=no, zstd", "zstd") == "zstd"
    assert choose_encoding("br, gzip;q=1.9", "zstd") == "brotli"


def test_codecs_have_their_http_names() -> None:
    """Brotli is `br` in HTTP."""
    assert [content_coding(codec) for codec in ("identity", "gzip", "brotli", "zstd")] == [
        "identity",
        "gzip",
        "br",
        "zstd",
    ]
    with pytest.raises(BadRequest):
        content_coding("br")
