"""What ads show: the fields of a creative, and its thumbnail as a picture behind a signed link that ends.

A caller of ads names fields of their creatives, and the size of thumbnails, as on the platform:
`creative.thumbnail_width(160).thumbnail_height(160){id,title,thumbnail_url}`. The link of one
thumbnail in `STALE_EVERY` has ended when it is handed out, as on the platform, which keeps links that it gave before.
"""

import hashlib
import re
import struct
import zlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np

from graph_simulator.account_edges import edge_fields
from graph_simulator.error_responses import bad_parameter

STALE_EVERY = 9
LINK_DAYS = 4
_DEFAULT_SIZE, _LARGEST = 64, 1080
_NESTED = re.compile(r"\bcreative((?:\.\w+\(\d{1,4}\))*)(?:\{([\w,\s]*)\})?")
_ARGUMENT = re.compile(r"\.(\w+)\((\d+)\)")
_SIZES = ("thumbnail_width", "thumbnail_height")
_STYLE = re.compile(r"dst-png_s(\d{1,4})x(\d{1,4})")
_TITLES = ("Winter sale", "Free delivery", "New in store", "Try it for a month", "Made to last", "Back in stock")


def split_creative(text: str) -> tuple[str, "NestedFields | None"]:
    """Return the text of `fields` with the plain name `creative`, and what it says about the creative.

    Raises:
        GraphError: a field or an argument does not exist.
    """
    match = _NESTED.search(text)
    if match is None or not (match[1] or match[2]):
        return text, None
    arguments = dict(_ARGUMENT.findall(match[1]))
    sizes = [int(arguments.pop(name, _DEFAULT_SIZE)) for name in _SIZES]
    if arguments or not all(1 <= size <= _LARGEST for size in sizes):
        raise bad_parameter(f"creative takes thumbnail_width and thumbnail_height from 1 to {_LARGEST}")
    names = edge_fields("adcreatives", [name.strip() for name in (match[2] or "id").split(",")])
    return f"{text[: match.start()]}creative{text[match.end() :]}", NestedFields(names, sizes[0], sizes[1])


class NestedFields:
    """The fields of a creative, and the size of its thumbnail, that a caller named."""

    def __init__(self, names: tuple[str, ...], width: int, height: int) -> None:
        self._names, self._style = names, f"dst-png_s{width}x{height}"

    def fill(self, creative_id: str, url: str, now: datetime) -> dict[str, Any]:
        """Return the creative; `url` is the address of the call, at which the link of its thumbnail leads."""
        number = int(_digest(creative_id)[:8], 16)
        parts = urlsplit(url)
        ends = now + timedelta(days=-1 if number % STALE_EVERY == 0 else LINK_DAYS)
        signed = {"stp": self._style, "oe": f"{int(ends.timestamp()):X}"}
        path = f"/cdn/{creative_id}_n.png"
        values = {
            "id": creative_id,
            "name": f"Creative {creative_id[9:]}",
            "title": _TITLES[number % len(_TITLES)],
            "object_type": "VIDEO" if number % 3 == 0 else "SHARE",
            "thumbnail_url": f"{parts.scheme}://{parts.netloc}{path}?{urlencode(signed | {'oh': _sign(path, signed)})}",
        }
        return {name: values[name] for name in self._names if name in values}


def thumbnail(path: str, query: Mapping[str, str], now: datetime) -> tuple[int, str, bytes]:
    """Return status, media type and body of a link to a thumbnail. No token is needed, and none is looked at."""
    signed = {name: query.get(name, "") for name in ("stp", "oe")}
    style = _STYLE.fullmatch(signed["stp"])
    if style is None or query.get("oh") != _sign(path, signed):
        return 403, "text/plain", b"URL signature mismatch"
    if int(signed["oe"], 16) < now.timestamp():
        return 403, "text/plain", b"URL signature expired"
    return 200, "image/png", _draw(_digest(path), int(style[1]), int(style[2]))


def _sign(path: str, signed: Mapping[str, str]) -> str:
    return f"00_{_digest(path + urlencode(signed))[:24]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _draw(digest: str, width: int, height: int) -> bytes:
    """Return a PNG: a sky, a sun and two hills, whose colors and places follow from the digest."""
    values = [int(digest[start : start + 2], 16) for start in range(0, 32, 2)]
    down, right = np.mgrid[0:height, 0:width]
    y, x = down / height, right / width
    top, hill = np.array(values[0:3]) * 0.6 + 90, np.array(values[3:6]) * 0.5 + 20
    picture = top + (255 - top) * y[..., None] * 0.7
    sun = (x - 0.2 - values[6] / 425) ** 2 + (y - 0.3) ** 2 < 0.02 + values[7] / 12_000
    picture[sun] = (255, 214, 102)
    for number, level in enumerate((0.62, 0.78)):
        wave = level + 0.08 * np.sin((x * (1 + values[8 + number] / 128) + values[10 + number] / 255) * 2 * np.pi)
        picture[y > wave] = hill * (1 - 0.3 * number)
    rows = np.concatenate([np.zeros((height, 1)), picture.reshape(height, -1)], axis=1).clip(0, 255).astype(np.uint8)
    header = struct.pack(">II", width, height) + bytes([8, 2, 0, 0, 0])
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
