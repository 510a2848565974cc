"""The hostile behaviors, one per account, and those that are unusual but correct.

Rows that must never be stored have the ad name `FOREIGN`.
"""

import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from typing import Any
from urllib.parse import urlencode

import brotli
import zstandard

from tests.hostile.rows import FOREIGN, Row, digits, rows_of
from tests.hostile.server import HostileServer
from tests.hostile.wire import (
    Delay,
    EarlyClose,
    ResponseStep,
    WireRequest,
    chunked_body,
    drip,
    dumps,
    error_body,
    gzip_response,
    head,
    http_response,
)

Act = Callable[[HostileServer, str, WireRequest], Iterable[ResponseStep]]
"""Returns the pieces of a response to a call about an account."""

Poll = Callable[[str, int], Any]
"""Returns the body of a report's n-th poll; None for null."""

DIRECT = ("insights",)
INSIGHTS = ("insights", "read")

WEEK, QUARTER = "last_7d", "last_90d"
FOREIGN_ACCOUNT = "999000999"
_MANY = 300_000
_BOMB_BYTES = 2 * 2**30
_PAGE_BYTES = 24 * 10**6
_UNAVAILABLE = http_response(
    error_body(2, "Service temporarily unavailable", is_transient=True), status="503 Service Unavailable"
)


@dataclass(frozen=True, slots=True)
class Behavior:
    """How an upstream treats one account.

    Attributes:
        says: what it does, in a line.
        routes: the routes on which `act` applies: account, insights, submit, read (of a report).
        date_range: the range to fetch; a quarter is fetched as an async report.
        poll: the status of the account's reports.
    """

    name: str
    description: str
    act: Act
    routes: tuple[str, ...] = INSIGHTS
    date_range: str = WEEK
    poll: Poll | None = None


def _rows(change: Callable[[list[Row]], Any]) -> Act:
    """Respond with the correct rows after `change`."""

    def act(upstream: HostileServer, account: str, call: WireRequest) -> list[ResponseStep]:
        return [http_response({"data": change(rows_of(account, call.query))})]

    return act


def _summaries(change: Callable[[list[Row]], Any]) -> Act:
    """Respond with correct rows of days, and with changed rows of whole ranges."""

    def act(upstream: HostileServer, account: str, call: WireRequest) -> list[ResponseStep]:
        rows = rows_of(account, call.query)
        return [http_response({"data": rows if call.query.get("time_increment") == "1" else change(rows)})]

    return act


def _every(**values: Any) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [{**row, "ad_name": FOREIGN, **values} for row in rows]


def _always(*pieces: ResponseStep) -> Act:
    return lambda upstream, account, call: list(pieces)


def _text(change: Callable[[bytes], bytes | Iterable[ResponseStep]]) -> Act:
    """Respond with the correct body, sent in another way."""

    def act(upstream: HostileServer, account: str, call: WireRequest) -> Iterable[ResponseStep]:
        sent = change(dumps(upstream.page(account, call.query)))
        return [sent] if isinstance(sent, bytes) else sent

    return act


def _moved(days: int) -> Callable[[list[Row]], list[Row]]:
    def change(rows: list[Row]) -> list[Row]:
        return [
            {**row, "ad_name": FOREIGN, **{name: _later(row[name], days) for name in ("date_start", "date_stop")}}
            for row in rows
        ]

    return change


def _later(day: str, days: int) -> str:
    return (date.fromisoformat(day) + timedelta(days=days)).isoformat()


def _stranger_last(rows: list[Row]) -> list[Row]:
    return [*rows[:-1], {**rows[-1], "account_id": FOREIGN_ACCOUNT, "ad_name": FOREIGN}]


def _campaigns(rows: list[Row]) -> list[Row]:
    own = {"ad_id", "ad_name", "adset_id"}
    return [{name: value for name, value in row.items() if name not in own} for row in rows]


def _without_ids(rows: list[Row]) -> list[Row]:
    return [{name: value for name, value in row.items() if not name.endswith("_id")} for row in _every()(rows)]


def _ahead(upstream: HostileServer, account: str, call: WireRequest) -> list[ResponseStep]:
    moment = format_datetime(datetime.now(UTC) + timedelta(days=60), usegmt=True)
    return [http_response({"data": _moved(60)(rows_of(account, call.query))}, [("Date", moment)])]


def _overflow(upstream: HostileServer, account: str, call: WireRequest) -> list[ResponseStep]:
    text = dumps({"data": _every(spend="@")(rows_of(account, call.query))})
    return [http_response(text.replace(b'"@"', b"1e999"))]


def _nested(upstream: HostileServer, account: str, call: WireRequest) -> list[ResponseStep]:
    text = dumps({"data": _every(actions="@")(rows_of(account, call.query))})
    return [http_response(text.replace(b'"@"', b"[" * 10_000 + b"]" * 10_000))]


def _doubled_keys(upstream: HostileServer, account: str, call: WireRequest) -> list[ResponseStep]:
    text = dumps({"data": _every(again="@")(rows_of(account, call.query))})
    return [http_response(text.replace(b'"again":"@"', f'"account_id":"{FOREIGN_ACCOUNT}"'.encode()))]


def _long_currency(upstream: HostileServer, account: str, call: WireRequest) -> list[ResponseStep]:
    return [http_response({"id": account, "timezone_name": "UTC", "currency": "E" * 320, "account_status": 1})]


def _paged(cursor: Callable[[WireRequest], str | None], *, padding: int = 0) -> Act:
    """Respond to each call with rows and a cursor to more of them."""

    def act(upstream: HostileServer, account: str, call: WireRequest) -> list[ResponseStep]:
        rows = rows_of(account, call.query)
        body: dict[str, Any] = {"data": rows, "paging": {"next": f"{upstream.url}/v26.0/{account}/insights?more"}}
        after = cursor(call)
        if after is not None:
            body["paging"]["cursors"] = {"after": after}
        if not padding:
            return [http_response(body)]
        one = dumps({**rows[0], "ad_id": f"23{digits(account)}{call.number:09d}"})
        more = (one + b",") * (padding // (len(one) + 1))
        return [http_response(b'{"data":[' + more + one + b'],"paging":' + dumps(body["paging"]) + b"}")]

    return act


def _slow_head(upstream: HostileServer, account: str, call: WireRequest) -> Iterator[ResponseStep]:
    return drip(http_response(upstream.page(account, call.query)))


def _slow_body(body: bytes) -> Iterator[ResponseStep]:
    yield head(length=len(body))
    yield from drip(body)


def _stalled(body: bytes) -> Iterator[ResponseStep]:
    yield head(length=len(body)) + body[:1]
    yield Delay(3_600)


def _cut_off(body: bytes) -> Iterator[ResponseStep]:
    yield head(length=len(body)) + body[: len(body) // 2]
    yield Delay(0.2)
    yield EarlyClose.RESET


@cache
def bomb(coding: str, size: int = _BOMB_BYTES) -> bytes:
    """Return a small body that is `size` bytes of spaces when it is decoded."""
    if coding == "gzip":
        return gzip.compress(b" " * 2**24, 9) * (size // 2**24)
    blocks = (b" " * 2**24 for _ in range(size // 2**24))
    if coding == "br":
        encoder = brotli.Compressor(quality=1)
        return b"".join([*(encoder.process(block) for block in blocks), encoder.finish()])
    if coding == "zstd":
        packer = zstandard.ZstdCompressor(level=3).compressobj()
        return b"".join([*(packer.compress(block) for block in blocks), packer.flush()])
    return gzip.compress(bomb("gzip", size))


def _coded_bomb(coding: str) -> Act:
    def act(upstream: HostileServer, account: str, call: WireRequest) -> list[ResponseStep]:
        body = bomb(coding)
        return [head([("Content-Encoding", coding)], length=len(body)), body]

    return act


def _redirect(address: Callable[[HostileServer], str]) -> Act:
    def act(upstream: HostileServer, account: str, call: WireRequest) -> list[ResponseStep]:
        target = address(upstream)
        if not target.startswith("file:"):
            target += f"/v26.0/{account}/insights?{urlencode(call.query)}"
        return [head([("Location", target)], length=0, status="302 Found")]

    return act


def _other_port(upstream: HostileServer) -> str:
    return upstream.other_server.url if upstream.other_server else "http://127.0.0.1:1"


def _too_long(body: bytes) -> Iterator[ResponseStep]:
    yield head(length=len(body) + 1_000) + body
    yield EarlyClose.CLOSE


def _too_short(body: bytes) -> Iterator[ResponseStep]:
    yield head(length=len(body) // 2) + body
    yield EarlyClose.CLOSE


def _endless_chunks(body: bytes) -> Iterator[ResponseStep]:
    yield head([("Transfer-Encoding", "chunked")], length=None)
    while True:
        yield from chunked_body([b" " * 1_000])
        yield Delay(0.01)


def _other_report(upstream: HostileServer, account: str, call: WireRequest) -> list[ResponseStep]:
    if call.method == "POST":
        return [http_response({"report_run_id": upstream.run_id(f"act_{FOREIGN_ACCOUNT}", call.params)})]
    return [_UNAVAILABLE]


def _running(percent: Callable[[int], int]) -> Poll:
    """Report that a run is still running, at every poll."""

    def poll(run_id: str, number: int) -> dict[str, Any]:
        return {"id": run_id, "async_status": "Job Running", "async_percent_completion": percent(number)}

    return poll


def _parked_for_ages(upstream: HostileServer, account: str, call: WireRequest) -> list[ResponseStep]:
    entry = {"type": "ads_insights", "call_count": 100, "total_cputime": 100, "total_time": 100,
             "estimated_time_to_regain_access": 10**9}  # fmt: skip
    usage = json.dumps({digits(account): [entry]})
    body = error_body(80000, "There have been too many calls to this ad account.", error_subcode=2446079)
    return [http_response(body, [("X-Business-Use-Case-Usage", usage)], status="400 Bad Request")]


HOSTILE: tuple[Behavior, ...] = (
    Behavior("foreign_account", "every row carries another account's id", _rows(_every(account_id=FOREIGN_ACCOUNT))),
    Behavior("one_foreign_row", "one row among right ones is another account's", _rows(_stranger_last)),
    Behavior("foreign_level", "rows of campaigns where ads were requested", _rows(_campaigns)),
    Behavior("days_before", "rows of days a year before the window", _rows(_moved(-365))),
    Behavior("days_ahead", "rows of days sixty days ahead, and a Date header that agrees", _ahead),
    Behavior("foreign_summaries", "right days, and a summary of another account",
             _summaries(_every(account_id=FOREIGN_ACCOUNT))),
    Behavior("summaries_outside", "right days, and a summary of another range", _summaries(_moved(-30))),
    Behavior("no_ids", "rows without account_id and ad_id", _rows(_without_ids)),
    Behavior("nan_figures", "NaN and Infinity as text", _rows(_every(impressions="NaN", spend="-Infinity"))),
    Behavior("overflow", "the number 1e999", _overflow),
    Behavior("nested_value", "a value nested ten thousand deep", _nested),
    Behavior("long_currency", "a currency of 320 characters", _long_currency, ("account",)),
    Behavior("wrong_types", "lists, objects and booleans where text belongs",
             _rows(_every(ad_id=["7"], impressions={"value": 1}, spend=True))),
    Behavior("rows_not_objects", "text, numbers and null where rows belong",
             _rows(lambda rows: [*rows, "row", 1, None])),
    Behavior("doubled_keys", "account_id twice in each row, the second one another's", _doubled_keys),
    Behavior("odd_dates", "dates that no calendar has", _rows(_every(date_start="2026-13-45", date_stop="2026-13-45"))),
    Behavior("heavy_pages", "pages of 24 MB, each with a new cursor",
             _paged(lambda call: f"p{call.number}", padding=_PAGE_BYTES)),
    Behavior("endless_cursors", "small pages, each with a new cursor, forever", _paged(lambda call: f"p{call.number}")),
    Behavior("cursor_loop", "cursors A, B, A, B", _paged(lambda call: "AB"[call.number % 2])),
    Behavior("next_without_cursor", "a next page and no cursor to it", _paged(lambda call: None)),
    Behavior("same_cursor", "every page names the same cursor", _paged(lambda call: "A")),
    Behavior("slow_head", "status line and headers at one byte a second", _slow_head),
    Behavior("slow_body", "the body at one byte a second", _text(_slow_body)),
    Behavior("stall", "nothing after the body's first byte", _text(_stalled)),
    Behavior("reset", "the connection is reset in mid-body", _text(_cut_off)),
    Behavior("cut_json", "JSON cut short, with a length that agrees",
             _text(lambda body: http_response(body[: len(body) // 2]))),
    Behavior("gzip_bomb", "2 MB of gzip that unpack to 2 GB", _coded_bomb("gzip")),
    Behavior("brotli_bomb", "brotli that was not asked for, and unpacks to 2 GB", _coded_bomb("br")),
    Behavior("zstd_bomb", "zstd that was not asked for, and unpacks to 2 GB", _coded_bomb("zstd")),
    Behavior("nested_bomb", "gzip within gzip, which unpacks to 2 GB", _coded_bomb("gzip, gzip")),
    Behavior("gzip_garbage", "bytes that are not the gzip they are said to be",
             _always(head([("Content-Encoding", "gzip")], length=900) + b"\x00not gzip" * 100)),
    Behavior("json_bomb", "300,000 lists inside each other", _always(http_response(b"[" * _MANY + b"]" * _MANY))),
    Behavior("redirect_loop", "a redirect to itself", _redirect(lambda upstream: upstream.url)),
    Behavior("redirect_port", "a redirect to a port that nobody configured", _redirect(_other_port)),
    Behavior("redirect_file", "a redirect to a local file", _redirect(lambda upstream: "file:///etc/passwd")),
    Behavior("length_too_long", "a Content-Length larger than the body", _text(_too_long)),
    Behavior("length_too_short", "a Content-Length smaller than the body", _text(_too_short)),
    Behavior("endless_chunks", "chunked encoding without an end", _text(_endless_chunks)),
    Behavior("error_in_200", "status 200 with an error body",
             _always(http_response(error_body(1, "An unknown error occurred", is_transient=False)))),
    Behavior("html_500", "status 500 with a page of HTML", _always(
        head(length=15, status="500 Internal Server Error", kind="text/html") + b"<html>no</html>")),
    Behavior("empty_204", "status 204 and no body", _always(b"HTTP/1.1 204 No Content\r\n\r\n")),
    Behavior("huge_headers", "a header of one megabyte",
             _always(http_response({"data": []}, [("X-Fill", "x" * 10**6)]))),
    Behavior("invalid_utf8", "text that is not UTF-8",
             _text(lambda body: http_response(body.replace(b"Ad 1", b"Ad \xff\xfe")))),
    Behavior("array_root", "a list where an object belongs", _text(lambda body: http_response(b"[" + body + b"]"))),
    Behavior("report_stands_still", "a report that never progresses, and no other way to its rows",
             _always(_UNAVAILABLE), DIRECT, QUARTER, _running(lambda number: 0)),
    Behavior("report_goes_back", "a report whose percentage falls, and no other way to its rows",
             _always(_UNAVAILABLE), DIRECT, QUARTER, _running(lambda number: max(0, 90 - 10 * number))),
    Behavior("report_of_another", "the id of another account's report, and no other way to the rows",
             _other_report, ("submit", "insights"), QUARTER),
    Behavior("report_foreign_rows", "a report that is ready and holds another account's rows",
             _rows(_every(account_id=FOREIGN_ACCOUNT)), INSIGHTS, QUARTER),
    Behavior("report_days_outside", "a report that is ready and holds days outside its range", _rows(_moved(-365)),
             INSIGHTS, QUARTER),
    Behavior("null_polls", "null for every look at a report, and no other way to its rows",
             _always(_UNAVAILABLE), DIRECT, QUARTER, lambda run_id, number: None),
    Behavior("park_for_ages", "a throttle for a billion minutes", _parked_for_ages),
)  # fmt: skip


def _odd_usage(upstream: HostileServer, account: str, call: WireRequest) -> list[ResponseStep]:
    usage = [("X-App-Usage", "{not json"), ("X-Ad-Account-Usage", '{"acc_id_util_pct":"a lot"}'),
             ("X-Business-Use-Case-Usage", "[1,2]"), ("X-FB-Ads-Insights-Throttle", "null")]  # fmt: skip
    return [http_response(upstream.page(account, call.query), usage)]


def _date_ahead(upstream: HostileServer, account: str, call: WireRequest) -> list[ResponseStep]:
    moment = format_datetime(datetime.now(UTC) + timedelta(days=60), usegmt=True)
    return [http_response(upstream.page(account, call.query), [("Date", moment)])]


def _empty_between(upstream: HostileServer, account: str, call: WireRequest) -> list[ResponseStep]:
    more = {"next": f"{upstream.url}/more"}
    if "after" not in call.params:
        return [http_response({**upstream.page(account, call.query), "paging": {**more, "cursors": {"after": "one"}}})]
    if call.params["after"] == "one":
        return [http_response({"data": [], "paging": {**more, "cursors": {"after": "two"}}})]
    return [http_response({"data": []})]


def _in_pieces(body: bytes) -> Iterator[ResponseStep]:
    third = len(body) // 3 + 1
    yield head([("Transfer-Encoding", "chunked")], length=None)
    for start in range(0, len(body), third):
        yield from chunked_body([body[start : start + third]])
        yield Delay(0.1)
    yield b"0\r\n\r\n"


def _unhurried(body: bytes) -> Iterator[ResponseStep]:
    yield Delay(0.5)
    yield http_response(body)
    yield EarlyClose.CLOSE


ODD: tuple[Behavior, ...] = (
    Behavior("zipped", "compressed, as requested", _text(lambda body: gzip_response(body))),
    Behavior("chunked", "in chunks that end, with pauses", _text(_in_pieces)),
    Behavior("unhurried", "after half a second, on a connection that then closes", _text(_unhurried)),
    Behavior("odd_usage", "usage headers that cannot be read", _odd_usage),
    Behavior("date_ahead", "a Date header sixty days ahead", _date_ahead),
    Behavior("empty_between", "an empty page between full and last one", _empty_between),
    Behavior("no_delivery", "no rows at all", _always(http_response({"data": []}))),
)
"""Unusual but correct behaviors: their accounts must be served."""
