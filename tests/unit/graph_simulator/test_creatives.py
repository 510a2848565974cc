"""Creatives of ads, and thumbnails behind signed links that end."""

import struct
import zlib
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest

from graph_simulator.creatives import LINK_DAYS, STALE_EVERY, thumbnail
from tests.unit.graph_simulator.conftest import NOW, Driven, drive, error_of

SIZED = "id,creative.thumbnail_width(40).thumbnail_height(30){id,title,thumbnail_url},name"


def _links(driven: Driven, fields: str) -> list[str]:
    return [ad["creative"]["thumbnail_url"] for ad in driven.get("act_1/ads", fields=fields, limit=500)["data"]]


def _follow(link: str, days: float = 0, **changes: str) -> tuple[int, str, bytes]:
    parts = urlsplit(link)
    return thumbnail(parts.path, dict(parse_qsl(parts.query)) | changes, NOW + timedelta(days=days))


def test_fields_of_a_creative_are_those_that_are_named() -> None:
    """In a list and of one ad; without names it is the id alone, and what does not exist is an error."""
    driven = drive()
    ad = driven.get("act_1/ads", fields=SIZED, limit=1)["data"][0]
    assert set(ad) == {"id", "creative", "name"}
    assert set(ad["creative"]) == {"id", "title", "thumbnail_url"}
    assert driven.get(ad["id"], fields=SIZED) == ad
    assert driven.get(ad["id"], fields="creative") == {"id": ad["id"], "creative": {"id": ad["creative"]["id"]}}
    for fields in ("creative{nam}", "creative.limit(3){id}", "creative.thumbnail_width(0){id}"):
        assert error_of(driven.call(ad["id"], fields=fields)) == (100, None), fields


def test_a_link_leads_to_a_picture_of_the_size() -> None:
    """A PNG that unpacks to its size, 64 by 64 unless another is named; each creative has its own."""
    links = [link for link in _links(drive(ads=30), SIZED) if _follow(link)[0] == 200]
    pictures = [_follow(link)[2] for link in links]
    assert len(set(pictures)) == len(pictures) > 1
    assert struct.unpack(">II", pictures[0][16:24]) == (40, 30)
    start = pictures[0].index(b"IDAT") + 4
    assert len(zlib.decompress(pictures[0][start:-16])) == 30 * (1 + 3 * 40)
    plain = next(link for link in _links(drive(ads=30), "creative{thumbnail_url}") if _follow(link)[0] == 200)
    assert struct.unpack(">II", _follow(plain)[2][16:24]) == (64, 64)


@pytest.mark.parametrize("changes", [{"stp": "dst-png_s9x9"}, {"oe": "FFFFFFFF"}, {"oh": ""}, {"stp": "x"}])
def test_a_link_is_signed(changes: dict[str, str]) -> None:
    """A changed link is refused."""
    link = _links(drive(ads=30), SIZED)[0]
    assert _follow(link, **changes) == (403, "text/plain", b"URL signature mismatch")


def test_a_link_ends() -> None:
    """After some days each is refused; one in several has ended when it is handed out."""
    links = _links(drive(ads=40), SIZED)
    stale = [link for link in links if _follow(link) == (403, "text/plain", b"URL signature expired")]
    assert 0 < len(stale) < 3 * len(links) / STALE_EVERY
    assert {_follow(link, LINK_DAYS + 0.1)[0] for link in links} == {403}
