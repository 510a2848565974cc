"""Notices from webhooks and files: what is read, what is ignored, and what is refused."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.fatigue import notice_formats
from adwarm.fatigue.notice_formats import parse_file, parse_webhook
from adwarm.foundation.errors import BadRequest
from adwarm.model import PLATFORM_LEVELS, PlatformNotice

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
AT = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
SECONDS = int(AT.timestamp())


def make_change(**changes: Any) -> dict[str, Any]:
    """A change of creative fatigue with other values; a value of None is left out."""
    value = {
        "ad_account_id": "1234",
        "adgroup_id": "120210000200000017",
        "creative_fatigue_level": "HIGH",
        "creative_fatigue_message": "Your ad fatigue changed from medium to high.",
        **changes,
    }
    return {
        "field": "creative_fatigue",
        "value": {name: item for name, item in value.items() if item is not None},
    }


def make_webhook(*changes: Any, **fields: Any) -> bytes:
    """The body of a webhook with changes, as the platform escapes it."""
    entry = {"id": "1234", "time": SECONDS, "changes": list(changes)}
    return json.dumps({"object": "ad_account", "entry": [entry], **fields}).encode()


NOTICE = PlatformNotice(
    "act_1234", "120210000200000017", AT, "high", "Your ad fatigue changed from medium to high.", "webhook"
)


def test_the_documented_webhook() -> None:
    """The platform's own form is read: account with or without `act_`, seconds as time, the level in any case."""
    found = parse_webhook(make_webhook(make_change()), NOW)
    assert (found.notices, found.ignored, found.unreadable) == ((NOTICE,), 0, ())
    assert parse_webhook(make_webhook(make_change(ad_account_id="act_1234")), NOW).notices == (NOTICE,)
    assert parse_webhook(make_webhook(make_change(ad_account_id=None)), NOW).notices == (NOTICE,)
    assert parse_webhook(make_webhook(make_change(adgroup_id=120210000200000017)), NOW).notices == (NOTICE,)
    assert parse_webhook(make_webhook(make_change(creative_fatigue_level="high")), NOW).notices == (NOTICE,)


def test_what_is_not_about_fatigue_is_ignored() -> None:
    """Other objects and fields, unknown members and odd entries do not keep a notice from being read."""
    other = {"field": "with_issues_ad_objects", "value": {"id": "1", "level": "AD"}}
    found = parse_webhook(make_webhook(other, make_change(new_member=[1]), "text", {"field": 7}), NOW)
    assert (found.notices, found.ignored, found.unreadable) == ((NOTICE,), 3, ())
    page = parse_webhook(make_webhook(make_change(), object="page"), NOW)
    assert (page.notices, page.ignored) == ((), 1)
    odd = parse_webhook(b'{"object": "ad_account", "entry": [1, {"changes": 2}, {}, null]}', NOW)
    assert (odd.notices, odd.ignored, odd.unreadable) == ((), 0, ())


def test_an_unreadable_notice_does_not_hide_the_others(subtests: pytest.Subtests) -> None:
    """A notice in an unknown form is counted with the reason, which repeats no value; the others are read."""
    for change, why in (
        ({"adgroup_id": None}, "ad id"),
        ({"adgroup_id": "7\x00"}, "ad id"),
        ({"adgroup_id": "7" * 25}, "ad id"),
        ({"adgroup_id": True}, "ad id"),
        ({"adgroup_id": 7.5}, "ad id"),
        ({"ad_account_id": "x"}, "account id"),
        ({"ad_account_id": ["1"]}, "account id"),
        ({"creative_fatigue_level": "SEVERE"}, "level"),
        ({"creative_fatigue_level": 3}, "level"),
    ):
        with subtests.test(change=change, why=why):
            found = parse_webhook(make_webhook(make_change(**change), make_change()), NOW)
            assert found.notices == (NOTICE,)
            (reason,) = found.unreadable
            assert why in reason
            assert "SEVERE" not in reason


def test_a_notice_needs_a_sane_time(subtests: pytest.Subtests) -> None:
    """A missing, malformed, ancient or future time makes a notice unreadable."""
    for time in (None, -5, 0, True, 1.5, "soon", 10**30, "9" * 400, SECONDS + 3 * 86_400, "2026-11-24T99:00", [], {}):
        with subtests.test(time=time):
            body = json.dumps({
                "object": "ad_account",
                "entry": [{"id": "1", "time": time, "changes": [make_change()]}],
            })
            found = parse_webhook(body.encode(), NOW)
            assert (found.notices, len(found.unreadable)) == ((), 1)


def test_times_of_every_kind(subtests: pytest.Subtests) -> None:
    """Seconds, milliseconds and ISO 8601 mean the same moment; a time without a zone is UTC."""
    for time in (SECONDS, str(SECONDS), SECONDS * 1_000, "2026-11-24T10:00:00+01:00", "2026-11-24 09:00"):
        with subtests.test(time=time):
            body = json.dumps({
                "object": "ad_account",
                "entry": [{"id": "1", "time": time, "changes": [make_change()]}],
            })
            assert [notice.noticed_at for notice in parse_webhook(body.encode(), NOW).notices] == [AT]


NO_WEBHOOKS = [
    b"",
    b"null",
    b"[]",
    b"7",
    b"{",
    b"{}",
    b'{"object": "ad_account"}',
    b'{"object": 1, "entry": []}',
    b'{"object": "ad_account", "entry": {}}',
    b"\xff\xfe",
    b'{"object": "ad_account", "entry": ["\\ud800"]}',
    b"[" * 500_000,
    b'{"a":' * 100_000,
]


def test_what_is_no_webhook_is_refused(subtests: pytest.Subtests) -> None:
    """Broken, deep and foreign documents are one clear error."""
    for body in NO_WEBHOOKS:
        with subtests.test(body=body), pytest.raises(BadRequest, match="the body"):
            parse_webhook(body, NOW)


def test_messages_are_one_clean_line() -> None:
    """Line ends, escape sequences and NUL become spaces, other characters stay, and a long text is cut."""
    found = parse_webhook(
        make_webhook(make_change(creative_fatigue_message="a\x00\x1b[31m\r\nä 😀 <b>" + "x" * 9_999)), NOW
    )
    (notice,) = found.notices
    assert notice.message is not None
    assert notice.message.startswith("a [31m ä 😀 <b>xxx")
    assert len(notice.message) == 400
    for empty in (None, "", " \n", 7, ["x"]):
        (notice,) = parse_webhook(make_webhook(make_change(creative_fatigue_message=empty)), NOW).notices
        assert notice.message is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
_VALUE = st.fixed_dictionaries(
    {},
    optional={
        "ad_account_id": _JSON | st.just("1"),
        "adgroup_id": _JSON | st.just("7"),
        "creative_fatigue_level": _JSON | st.sampled_from(["LOW", "HIGH"]),
        "creative_fatigue_message": _JSON,
    },
)
_CHANGES = st.lists(
    st.fixed_dictionaries({"field": st.just("creative_fatigue") | _JSON, "value": _VALUE | _JSON}) | _JSON
)
_ENTRIES = st.lists(st.fixed_dictionaries({"id": _JSON, "time": _JSON | st.just(SECONDS), "changes": _CHANGES}) | _JSON)


@given(st.fixed_dictionaries({"object": st.just("ad_account") | _JSON, "entry": _ENTRIES | _JSON}) | _JSON)
def test_any_document_is_read_or_refused(document: Any) -> None:
    """Whatever JSON comes, each notice that is read fits the table, and nothing but BadRequest is raised."""
    try:
        found = parse_webhook(json.dumps(document).encode(), NOW)
    except BadRequest:
        return
    for notice in found.notices:
        assert notice.level in PLATFORM_LEVELS
        assert 1 <= len(notice.ad_id) <= 24
        assert len(notice.account_id) <= 24
        assert notice.noticed_at <= NOW + timedelta(days=1)
        assert "\0" not in (notice.message or "")


@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_are_a_file_or_an_error(data: bytes, is_csv: bool) -> None:
    """Random bytes as a file never raise anything but BadRequest."""
    try:
        notices = parse_file(data, NOW, is_csv=is_csv)
    except BadRequest:
        return
    assert all(notice.level in PLATFORM_LEVELS for notice in notices)


def test_a_csv_file() -> None:
    """Columns are found by name in any order and case; others are ignored, quoted text may have line ends."""
    text = 'Level,account_id,extra,ad_id,noticed_at,message\nHIGH,1234,x,7,2026-11-24T09:00:00Z,"a,\nb"\n'
    assert parse_file(b"\xef\xbb\xbf" + text.encode(), NOW, is_csv=True) == [
        PlatformNotice("act_1234", "7", AT, "high", "a, b", "file")
    ]
    assert parse_file(b"account_id,ad_id,noticed_at,level\n", NOW, is_csv=True) == []


def test_a_bad_csv_file_names_the_line(subtests: pytest.Subtests) -> None:
    """The error names the line and what to write."""
    for text, advice in (
        (b"", "line 1: the first line has no column account_id; write account_id,ad_id,noticed_at,level,message"),
        (b"account_id,ad_id,level\n", "no column noticed_at"),
        (b"account_id,ad_id,noticed_at,level\n1,7,2026-11-24,low\n1,8,2026-11-24,bad\n", "line 3: the level"),
        (b"account_id,ad_id,noticed_at,level\n1,7\n", "line 2: the time"),
        (b'account_id,ad_id,noticed_at,level\n1,"7', "near line 1: it is not CSV"),
        (b"\xff", "not UTF-8"),
        (b"account_id,ad_id,noticed_at,level\n1,7," + b"x" * 200_000 + b",low\n", "it is not CSV"),
    ):
        with subtests.test(text=text, advice=advice), pytest.raises(BadRequest, match=advice):
            parse_file(text, NOW, is_csv=True)


def test_json_files() -> None:
    """A webhook, a list of webhooks and a list of plain notices are read alike."""
    plain = {"account_id": "1234", "ad_id": "7", "noticed_at": SECONDS, "level": "low"}
    webhook = orjson.loads(make_webhook(make_change(), {"field": "other"}))
    page = orjson.loads(make_webhook(make_change(), object="page"))
    assert len(parse_file(orjson.dumps(webhook), NOW, is_csv=False)) == 1
    found = parse_file(orjson.dumps([webhook, page, plain]), NOW, is_csv=False)
    assert [(notice.ad_id, notice.level, notice.origin) for notice in found] == [
        ("120210000200000017", "high", "file"),
        ("7", "low", "file"),
    ]
    with pytest.raises(BadRequest, match="item 2: the level"):
        parse_file(orjson.dumps([plain, {**plain, "level": "x"}]), NOW, is_csv=False)
    with pytest.raises(BadRequest, match="item 1: it is neither"):
        parse_file(b'["x"]', NOW, is_csv=False)


def test_a_file_has_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many bytes and too many notices are refused with what to do."""
    many = b"account_id,ad_id,noticed_at,level\n" + b"1,7,2026-11-24,low\n" * 200_001
    with pytest.raises(BadRequest, match=r"more than 200,000 notices; split it"):
        parse_file(many, NOW, is_csv=True)
    monkeypatch.setattr(notice_formats, "MAX_FILE_BYTES", 1_000)
    with pytest.raises(BadRequest, match="split it"):
        parse_file(many, NOW, is_csv=True)


def test_shorter_names_of_a_webhook_are_read() -> None:
    """A value with `ad_id` and `message` is read like one with the documented names."""
    value = {"ad_id": "5678", "creative_fatigue_level": "LOW", "message": "seen too often"}
    change = {"field": "creative_fatigue", "value": value}
    body = orjson.dumps({"object": "ad_account", "entry": [{"id": "1234", "time": 1_782_862_117, "changes": [change]}]})
    (notice,) = parse_webhook(body, datetime(2026, 7, 2, tzinfo=UTC)).notices
    assert (notice.account_id, notice.ad_id) == ("act_1234", "5678")
    assert (notice.level, notice.message) == ("low", "seen too often")
