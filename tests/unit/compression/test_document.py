"""The stored document: exact round trips, equal bytes for equal data, and no version of the format misread."""

from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.compression import compress, decode_envelope, decompress
from adwarm.compression.document import encode_document, pack_document, unpack_document
from adwarm.foundation.errors import Corrupt
from adwarm.model import ColumnTable, Row
from adwarm.settings import CompressionSettings
from adwarm_client.document import CONTENT_TYPE, Document, Summary, check_content_type, decode_document

from .documents import ACTIONS, DAILY, HEADER, SUMMARY, make_document

SETTINGS = CompressionSettings()
JSON = st.recursive(
    st.one_of(
        st.text(max_size=4),
        st.integers(-(2**63), 2**64 - 1),
        st.booleans(),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=5,
)
ITEM = st.fixed_dictionaries(
    {"action_type": st.sampled_from(["link_click", "purchase", "video_view"])},
    optional={"value": st.from_regex(r"[0-9]{1,4}", fullmatch=True), "7d_click": JSON},
)
ROW = st.fixed_dictionaries(
    {"ad_id": st.from_regex(r"[0-9]{1,19}", fullmatch=True), "date_start": st.dates().map(str)},
    optional={
        "ad_name": st.text(max_size=6),
        "spend": st.decimals(-(10**6), 10**6, places=2).map(str),
        "actions": st.lists(ITEM, max_size=4),
        "cost_per_action_type": st.lists(ITEM, min_size=1, max_size=2),
        "custom": JSON,
    },
)


@given(st.lists(ROW, max_size=15), st.one_of(st.none(), st.lists(ROW, max_size=5)))
def test_any_rows_come_back(daily: list[Row], summary: list[Row] | None) -> None:
    """Ids and numbers stay text, other values keep their types, and absent values stay absent."""
    document = make_document(daily, summary)
    found = decode_document(encode_document(document), CONTENT_TYPE)
    assert found == document
    assert found.daily.to_rows() == daily
    before, after = (orjson.dumps(rows, option=orjson.OPT_SORT_KEYS) for rows in (daily, found.daily.to_rows()))
    assert before == after  # where 1, 1.0 and true differ


def test_the_form_of_a_document(document: Document) -> None:
    """One object with the header, and two tables by column."""
    body = orjson.loads(encode_document(document))
    assert (body["format_version"], body["account_id"], body["since"]) == (3, "act_1", "2026-11-18")
    assert body["summary"] == {
        "fetched_at": "2026-11-25T12:00:00+00:00",
        "versions": 7,
        "missing": None,
        "rows": 1,
        "columns": {"ad_id": ["9007199254740993"], "frequency": ["1.5"], "reach": ["70"]},
    }
    assert body["daily"]["rows"] == 3
    assert body["daily"]["columns"]["spend"] == ["5.00", "6.10", "-1.5"]
    assert body["daily"]["columns"]["actions"]["items"]["link_click"]["7d_click"] == ["2", None, None]


@given(st.lists(ROW, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_equal_data_gives_equal_bytes(rows: list[Row], random: Any) -> None:
    """The order of a row's fields, and a field without a value, change nothing."""
    shuffled = []
    for row in rows:
        items = [*row.items(), ("reach", None)]
        random.shuffle(items)
        shuffled.append(dict(items))
    assert encode_document(make_document(shuffled)) == encode_document(make_document(rows))


def test_one_digit_and_one_fetch_change_the_bytes(document: Document) -> None:
    """The hash of a document covers its rows and its header, the times of the fetch included."""
    restated = make_document([{**DAILY[0], "spend": "5.01"}, *DAILY[1:]], SUMMARY)
    fetched = replace(document, header=replace(HEADER, fetched_at=HEADER.fetched_at + timedelta(hours=1)))
    assert len({pack_document(each, SETTINGS)[1] for each in (document, restated, fetched)}) == 3


def test_a_packed_document(document: Document) -> None:
    """The envelope names the version of the format, and the hash is that of the decoded bytes."""
    packed, digest = pack_document(document, SETTINGS)
    assert decode_envelope(packed.blob).content_type == CONTENT_TYPE
    assert sha256(decompress(packed.blob, SETTINGS)).hexdigest() == digest
    assert unpack_document(packed.blob, SETTINGS) == document


def test_a_document_names_its_account_in_full() -> None:
    """Rows that the platform wrote without `act_` are named as the header is, before and after; others stay."""
    table = ColumnTable(3, {"account_id": ["1", "act_1", "2"], "ad_id": ["7", "8", "9"]})
    summary = Summary(table, HEADER.fetched_at, 1, None)
    for account_id, names in (("act_1", ["act_1", "act_1", "2"]), ("1", ["1", "act_1", "2"])):
        raw = encode_document(Document(replace(HEADER, account_id=account_id), summary, table))
        body = orjson.loads(raw)
        assert [body[part]["columns"]["account_id"] for part in ("daily", "summary")] == [names, names]
        stored = orjson.dumps(body | {"daily": {"rows": 3, "columns": table.columns}})  # as before an upgrade
        assert decode_document(stored, CONTENT_TYPE).daily.columns["account_id"] == names


def test_the_rows_over_the_window(document: Document) -> None:
    """They are the summary's, or the daily rows of a window of one day."""
    day = make_document(DAILY[:1])
    assert (document.window_table.to_rows(), day.window_table.to_rows()) == (SUMMARY, DAILY[:1])


@pytest.mark.parametrize(
    "content_type",
    [
        "application/vnd.adwarm.report+json;version=4",
        "application/vnd.adwarm.report+json;version=2",
        "application/vnd.adwarm.report+json",
        "application/json",
        "text/csv",
        "",
    ],
)
def test_another_format_is_never_guessed(document: Document, content_type: str) -> None:
    """A newer version or another type is refused, and the message says what to do."""
    blob = compress(encode_document(document), SETTINGS, content_type=content_type).blob
    with pytest.raises(Corrupt, match="fetch"):
        unpack_document(blob, SETTINGS)


def test_a_newer_version_is_named() -> None:
    """The message names both versions."""
    with pytest.raises(Corrupt, match=r"version 4 .* reads version 3"):
        check_content_type("application/vnd.adwarm.report+json;version=4")


def test_the_type_and_the_document_have_to_agree(document: Document) -> None:
    """A document of another version under the content type of this one is refused."""
    body = orjson.loads(encode_document(document))
    with pytest.raises(Corrupt, match="not of version 3"):
        decode_document(orjson.dumps({**body, "format_version": 2}), CONTENT_TYPE)


def _with(path: str, value: Any) -> bytes:
    body = orjson.loads(encode_document(make_document(DAILY, SUMMARY)))
    *parents, last = path.split(".")
    target = body
    for name in parents:
        target = target[name]
    target[last] = value
    return orjson.dumps(body)


def test_a_malformed_document_is_corrupt(subtests: pytest.Subtests) -> None:
    """It is treated as absent, and the message says to fetch it again."""
    for raw in [
        b"",
        b"[]",
        b"null",
        b"{",
        _with("since", "soon"),
        _with("data_version", "1"),
        _with("query", None),
        _with("summary", []),
        _with("summary.versions", None),
        _with("daily", None),
        _with("daily.rows", 2),
        _with("daily.rows", -1),
        _with("daily.rows", True),
        _with("daily.columns", []),
        _with("daily.columns.spend", ["1"]),
        _with("daily.columns.actions.items", ACTIONS),
        _with("daily.columns.actions.by", "action_device"),
    ]:
        with subtests.test(raw=raw), pytest.raises(Corrupt, match="fetch it again"):
            decode_document(raw, CONTENT_TYPE)


def test_a_report_without_rows() -> None:
    """An account without delivery has empty tables."""
    document = make_document([], [])
    assert decode_document(encode_document(document), CONTENT_TYPE).daily == ColumnTable(0, {})
