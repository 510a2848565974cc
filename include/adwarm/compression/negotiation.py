"""Content negotiation: which codec a client gets, by its Accept-Encoding header (RFC 9110, 12.5.3).

| Accept-Encoding                                     | response                                         |
|-----------------------------------------------------|--------------------------------------------------|
| absent or empty                                     | plain bytes                                      |
| accepts the stored coding                           | the stored bytes, since nothing has to be decoded |
| accepts others                                      | the one with the highest weight                  |
| accepts none, but does not exclude plain bytes      | plain bytes                                      |
| excludes plain bytes too (`identity;q=0`, `*;q=0`)  | `NotAcceptable`, status 406                      |

The RFC asks for plain bytes when no coding is acceptable "unless the identity coding is indicated as unacceptable"; a
client that says so cannot use them, so it gets the error that names the codings (RFC 9110, 15.5.7).
"""

import re

from adwarm.compression.envelope import Codec, parse_codec
from adwarm.foundation.errors import BadRequest

_CODINGS: dict[Codec, str] = {"zstd": "zstd", "brotli": "br", "gzip": "gzip", "identity": "identity"}
_CODECS: dict[str, Codec] = {coding: codec for codec, coding in _CODINGS.items()} | {"x-gzip": "gzip"}
_MEMBER = re.compile(r"(?P<coding>[!#$%&'*+\-.^_`|~0-9a-z]+)(?:\s*;\s*q=(?P<q>[01](?:\.[0-9]{0,3})?))?")


class NotAcceptable(BadRequest):
    """The Accept-Encoding header excludes every coding; accept one of zstd, br, gzip and identity."""


def content_coding(codec: str) -> str:
    """Return the HTTP name of a codec for the Content-Encoding header; that header is omitted for `identity`.

    Raises:
        BadRequest: the codec is unknown.
    """
    return _CODINGS[parse_codec(codec)]


def choose_encoding(accept_encoding: str, stored: str) -> Codec:
    """Return the codec for a response, given a client's Accept-Encoding header and the stored codec.

    Malformed members are ignored. A header that is absent is passed as an empty one: any coding would be allowed, but a
    client that lists none may have no decoder.

    Raises:
        NotAcceptable: the header excludes every codec, plain bytes included.
        BadRequest: the stored codec is unknown.
    """
    stored_codec = parse_codec(stored)
    weights = _weights(accept_encoding)
    if weights.get(stored_codec, 0.0) > 0:
        return stored_codec
    offers = [codec for codec in _CODINGS if weights.get(codec, 0.0) > 0]
    if not offers:
        raise NotAcceptable
    return max(offers, key=lambda codec: weights[codec])  # of equal ones the first


def _weights(accept_encoding: str) -> dict[Codec, float]:
    named: dict[Codec, float] = {}
    others: float | None = None
    for member in accept_encoding.lower().split(","):
        match = _MEMBER.fullmatch(member.strip())
        if not match:
            continue
        weight = min(1.0, float(match["q"] or 1))
        if match["coding"] == "*":
            others = weight
        elif match["coding"] in _CODECS:
            named[_CODECS[match["coding"]]] = weight
    # Plain bytes are acceptable unless excluded, but come last: a client that lists codings prefers one of them.
    if others is None:
        return {"identity": 0.0005, **named}
    return {**dict.fromkeys(_CODINGS, others), **named}
