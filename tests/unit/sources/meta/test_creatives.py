"""Creatives as Meta lists them, and which links of thumbnails are followed."""

import gzip
from pathlib import Path

import pytest

from adwarm.foundation.errors import AdwarmError, BadRequest, Corrupt, NotFound, TooMuchData, Transient
from adwarm.sources.meta.creatives import MAX_BYTES, check_thumbnail_url
from adwarm.sources.meta.source import MetaSource
from adwarm.sources.protocol import Creative
from tests.unit.sources.conftest import ScriptedServer

GRAPH = "https://graph.facebook.com"
CDN = "https://scontent-iad3-2.xx.fbcdn.net/v/t45.1600-4/3_n.png?stp=dst-jpg_tt6&oh=00_AYE&oe=67E33323"


def test_ads_come_with_their_creatives(scripted: ScriptedServer, meta: MetaSource) -> None:
    """One call names the ads, every status and the size; a title that is missing is the name, and so on."""
    whole = {"id": "31", "title": "Sale", "name": "N", "object_type": "VIDEO", "thumbnail_url": CDN}
    bare = {"id": "32", "title": None, "name": "N\0"}
    rows = [{"id": "1", "creative": whole}, {"id": "2", "creative": bare}, {"id": "3"}]
    scripted.add_reply({"data": rows})
    page = meta.list_creatives("act_1", ["1", "2", "3"])
    assert page.creatives == (Creative("1", "31", "Sale", "VIDEO", CDN), Creative("2", "32", "N"))
    for part in ("/act_1/ads", "thumbnail_width%28160%29", "ARCHIVED", "%22IN%22"):
        assert part in scripted.paths[-1], part


def test_a_recorded_creative_is_read(scripted: ScriptedServer, meta: MetaSource) -> None:
    """The ad creative of integration_tests/expected_records.jsonl of Airbyte's source-facebook-marketing, whose
    thumbnail is behind a link that has another link in it."""
    link = (
        "https://external.fiev6-1.fna.fbcdn.net/emg1/v/t13/8568826884261823966?url=https%3A%2F%2Fwww.facebook.com%2Fads"
        "%2Fimage%2F%3Fd%3DAQL3nBsTZ0CoQ&fb_obo=1&utld=facebook.com&stp=c0.5000x0.5000f_dst-emg0_p64x64_q75"
    )
    creative = {
        "id": "23853630774830398",
        "title": "Introducing: our free connector program",
        "name": "Introducing: our free connector program 2023-03-17-ccf7ed52a98e5e699299861a8a323194",
        "object_type": "SHARE",
        "thumbnail_url": link,
    }
    scripted.add_reply({"data": [{"id": "23853620229650398", "creative": creative}]})
    [item] = meta.list_creatives("act_212551616838260", ["23853620229650398"]).creatives
    assert item == Creative("23853620229650398", creative["id"], creative["title"], "SHARE", link)
    check_thumbnail_url(item.thumbnail_url, GRAPH)


def test_ids_are_digits(scripted: ScriptedServer, meta: MetaSource) -> None:
    """An id that is none, which would be a part of a path, is refused with the whole answer."""
    scripted.add_reply({"data": [{"id": "1", "creative": {"id": "../2"}}]})
    with pytest.raises(Corrupt, match="without its id"):
        meta.list_creatives("act_1", ["1"])


@pytest.mark.parametrize(
    "url",
    [
        "http://scontent.xx.fbcdn.net/a.png",  # not encrypted
        "https://fbcdn.net.evil.example/a.png",
        "https://evilfbcdn.net/a.png",
        "https://scontent.xx.fbcdn.net:8443/a.png",
        "https://scontent.xx.fbcdn.net@127.0.0.1/a.png",
        "https://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "https://[::1",
        "https://[::ffff:10.0.0.1]/a.png",
    ],
)
def test_other_hosts_are_not_called(meta: MetaSource, scripted: ScriptedServer, url: str) -> None:
    """A link to anything but an image host of the platform is refused before a connection is made."""
    with pytest.raises(BadRequest) as raised:
        check_thumbnail_url(url, GRAPH)
    assert "a.png" not in str(raised.value)
    with pytest.raises(BadRequest):
        meta.read_thumbnail(url)
    assert scripted.paths == []


def test_hosts_of_the_platform() -> None:
    """Meta's image hosts over https, and the address of the API that is set, such as the simulator's."""
    for url in (CDN, "https://platform-lookaside.fbsbx.com/a", "https://www.facebook.com/ads/image/?d=x"):
        check_thumbnail_url(url, GRAPH)
    check_thumbnail_url("http://127.0.0.1:8001/cdn/a.png", "http://127.0.0.1:8001")
    with pytest.raises(BadRequest):
        check_thumbnail_url("http://127.0.0.1:8002/cdn/a.png", "http://127.0.0.1:8001")


@pytest.mark.parametrize("end", ["\\", "%2f", "%00", ":@", "\u2024"])
def test_a_host_ends_where_every_library_ends_it(end: str) -> None:
    """A character that ends the host for the library that connects, and not for the one that checks, is refused."""
    with pytest.raises(BadRequest):
        check_thumbnail_url(f"https://169.254.169.254{end}.fbcdn.net/a.png", GRAPH)


def test_a_download_shows_no_token_and_stays_within_bounds(
    scripted: ScriptedServer, meta: MetaSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No token and no .netrc goes along, no redirect is followed, an ended link is not a failure of the host."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    url = f"{scripted.url}/cdn/a.png?oh=signature"
    scripted.add_reply(b"bytes", kind="image/png")
    assert meta.read_thumbnail(url) == b"bytes"
    assert not {"authorization", "cookie"} & {name.lower() for name in scripted.headers[0]}
    assert "access_token" not in scripted.paths[0]
    errors: list[tuple[int, bytes, type[AdwarmError]]] = [
        (403, b"URL signature expired", NotFound),
        (302, b"", NotFound),
        (503, b"", Transient),
    ]
    for status, body, kind in errors:
        scripted.add_reply(body, status, "image/png", Location=f"{scripted.url}/elsewhere")
        with pytest.raises(kind) as raised:
            meta.read_thumbnail(url)
        assert "signature" not in str(raised.value)
    assert len(scripted.paths) == 1 + len(errors)
    scripted.add_reply(b"half", kind="image/png", cut=10)
    with pytest.raises(Transient, match="connection"):
        meta.read_thumbnail(url)


@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_a_picture_that_is_too_large_is_left_out(scripted: ScriptedServer, meta: MetaSource, coding: str) -> None:
    """Its bytes count as they are decoded, and the message says what happens to a picture: it has no days or fields."""
    body = gzip.compress(bytes(100 * MAX_BYTES)) if coding == "gzip" else bytes(MAX_BYTES + 1)
    scripted.add_reply(body, kind="image/png", Content_Encoding=coding)
    with pytest.raises(TooMuchData) as raised:
        meta.read_thumbnail(f"{scripted.url}/cdn/a.png")
    size, step = str(raised.value).split("; ")
    assert size == "Meta's response is larger than 262,144 bytes"
    assert step == "the ad is shown without its picture, which is tried again in a day"
