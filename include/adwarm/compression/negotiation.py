"""Content negotiation: which codec to answer a client with, by its Accept-Encoding (RFC 9110, 12.5.3).

The stored codec wins whenever the client takes it, since then nothing is decoded.
"""

import re

from adwarm.compression.envelope import Codec, parse_codec

_CODINGS: dict[Codec, str] = {"zstd": "zstd", "brotli": "br", "gzip": "gzip", "identity": "identity"}
_CODECS: dict[str, Codec] = {coding: codec for codec, coding in _CODINGS.items()} | {"x-gzip": "gzip"}
_MEMBER = re.compile(r"(?P<coding>[!#$%&'*+\-.^_`|~0-9a-z]+)(?:\s*;\s*q=(?P<q>[01](?:\.[0-9]{0,3})?))?")


def content_coding(codec: str) -> str:
    """Return the HTTP name of a codec: the value of Content-Encoding, which is left out for `identity`.

    Raises:
        BadRequest: the codec is unknown.
    """
    return _CODINGS[parse_codec(codec)]


def choose_encoding(accept_encoding: str, stored: str) -> Codec:
    """Return the codec to answer with, for a client's Accept-Encoding and the codec the payload is stored in.

    An empty header means a client that said nothing and gets plain bytes; so does one that refuses everything.
    Members that are malformed are ignored.

    Raises:
        BadRequest: the stored codec is unknown.
    """
    kept = parse_codec(stored)
    weights = _weights(accept_encoding)
    if weights.get(kept, 0.0) > 0:
        return kept
    order = tuple(_CODINGS)
    offers = [codec for codec in order if weights.get(codec, 0.0) > 0]
    return max(offers, key=lambda codec: (weights[codec], -order.index(codec)), default="identity")


def _weights(accept_encoding: str) -> dict[Codec, float]:
    named: dict[Codec, float] = {}
    others: float | None = None
    for member in accept_encoding.lower().split(","):
        found = _MEMBER.fullmatch(member.strip())
        if not found:
            continue
        weight = min(1.0, float(found["q"] or 1))
        if found["coding"] == "*":
            others = weight
        elif found["coding"] in _CODECS:
            named[_CODECS[found["coding"]]] = weight
    # Plain bytes are welcome unless refused, but come last: whoever lists codings would rather have one.
    if others is None:
        return {"identity": 0.0005, **named}
    return {**dict.fromkeys(_CODINGS, others), **named}
