"""Each text format yields its events and rejects invalid lines alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.access_log.column_mapping import ColumnMapping
from adwarm.access_log.named_groups import GroupPattern
from adwarm.access_log.parsers import CombinedLogParser, CsvParser, JsonLinesParser, LineParser, Parser
from adwarm.access_log.web_requests import RequestFilter
from adwarm.foundation.errors import BadRequest
from adwarm.settings import AccessLogSettings


def _parse(parser: Parser, *lines: bytes) -> tuple[dict[str, list[object]], list[tuple[str, int]]]:
    rejected: list[tuple[str, int]] = []
    raw = parser.parse(list(lines), lambda why, at: rejected.append((why, at)))
    return raw.columns, rejected


def test_a_hostile_json_line_costs_itself_alone(subtests: pytest.Subtests) -> None:
    """NaN, deep nesting, invalid UTF-8 and other values than objects do not affect the other lines."""
    for line in [
        b'{"ts": NaN}',
        b"[" * 100_000,
        b'{"a":' * 5_000,
        b"\xff\xfe",
        b"17",
        b'"text"',
        b"[]",
        b'{"ts":1} {"ts":2}',
        b"\x00",
    ]:
        with subtests.test(line=line):
            columns, rejected = _parse(JsonLinesParser(), b'{"ts": 1}', line, b'{"ts": 2}')
            assert columns["ts"] == [1, 2]
            assert rejected == [("json", 1)]


def test_an_open_quote_in_csv_costs_one_line() -> None:
    """The rows after an unterminated quote are read, and so are those that are not UTF-8."""
    parser = CsvParser(b"ts,account_id,date_range\n")
    columns, rejected = _parse(parser, b"1,act_1,today", b'2,"act_2,today', b"3,act_3,today", b"4,act_4", b"\xff,a,b")
    assert columns["account_id"] == ["act_1", "act_3", "a"]
    assert rejected == [("csv", 1), ("columns", 3)]


@given(st.lists(st.text('a,"\r\u00e9 ', max_size=6), max_size=6), st.booleans())
def test_lines_parsed_together_are_those_parsed_one_by_one(texts: list[str], is_latin: bool) -> None:
    """Splitting many plain lines at once gives the rows and rejects of each line alone, whatever the others hold."""
    lines = [text.encode("latin-1" if is_latin else "utf-8") for text in [*texts, "1,2,3"] if text.count('"') % 2 == 0]
    parser = CsvParser(b"ts,account_id,date_range\n")
    found, rejected = _parse(parser, *lines)
    alone = [_parse(parser, line) for line in lines]
    assert rejected == [(reason, number) for number, (_, why) in enumerate(alone) for reason, _ in why]
    assert found == {name: [value for columns, _ in alone for value in columns[name]] for name in found}


def test_csv_columns_go_by_their_names() -> None:
    """Order does not matter, unknown columns are ignored, quotes and a byte order mark are understood."""
    parser = CsvParser(b'\xef\xbb\xbfdate_range,"who",account_id,ts\r\n')
    columns, rejected = _parse(parser, b'today,"a, b",act_1,1\r')
    assert columns == {"ts": ["1"], "account_id": ["act_1"], "date_range": ["today"]}
    assert not rejected


def test_a_csv_header_must_name_the_columns() -> None:
    """A log without a usable header is rejected with the missing names."""
    with pytest.raises(BadRequest, match="date_range"):
        CsvParser(b"ts,account_id\n")


def test_the_delimiter_is_the_one_of_the_header(subtests: pytest.Subtests) -> None:
    """Semicolons, tabs and bars separate fields too; quoted ones do not."""
    for mark in [";", "\t", "|", ","]:
        with subtests.test(mark=mark):
            parser = CsvParser(mark.join(["ts", "account_id", "date_range", "note"]).encode())
            line = mark.join(["1", "act_1", "today", f'"a{mark}b"']).encode()
            columns, rejected = _parse(parser, line)
            assert (parser.delimiter, columns["account_id"], rejected) == (mark, ["act_1"], [])


def test_a_quoted_field_may_hold_line_ends() -> None:
    """A record over several lines is one record, and its rejected neighbors keep their own line numbers."""
    parser = CsvParser(b"ts,account_id,date_range,note\n")
    lines = [b'1,act_1,today,"a', b"b", b'c"', b"2,act_2,today", b'3,act_3,today,"x ""y"" z"', b'4,act_4,today,"open']
    columns, rejected = _parse(parser, *lines)
    assert columns["account_id"] == ["act_1", "act_3"]
    assert rejected == [("columns", 3), ("csv", 5)]


def test_columns_without_a_header_are_called_by_number() -> None:
    """A first line with a time is a row already; it is read by the numbers of its columns."""
    lines = [b"2026-03-02T10:00:00Z,act_1,today", b"2026-03-02T10:00:01Z,act_2,today"]
    parser = CsvParser(lines[0], ColumnMapping({"ts": "1", "account_id": "2", "date_range": "3"}))
    assert _parse(parser, *lines)[0]["account_id"] == ["act_1", "act_2"]


def _combined(ignored: list[int] | None = None) -> CombinedLogParser:
    count = ignored if ignored is not None else []
    return CombinedLogParser(RequestFilter(AccessLogSettings().pattern, lambda path: count.append(1)))


def test_lines_of_any_form_are_read_by_a_pattern() -> None:
    """Its groups are the fields; lines that it does not match, and requests without an answer, are ignored."""
    ignored: list[str | None] = []
    pattern = r"^at=(?P<ts>\S+) (?:id=(?P<account_id>\d+)|name=(?P<account_id>\w+)) (?P<date_range>\S+) (?P<status>\d+)"
    parser = LineParser(GroupPattern(pattern), ignored.append)
    lines = [b"at=1 id=7 last%207d 200", b"at=2 name=act_8 7d 499", b"at=3 id=9 7d 404", b"started", b" "]
    columns, rejected = _parse(parser, *lines)
    assert (columns["account_id"], columns["date_range"], rejected) == (["7", "act_8"], ["last 7d", "7d"], [])
    assert ignored == ["started", None]


def test_no_pattern_can_stall_a_reader() -> None:
    """One that takes exponential time elsewhere is linear; what RE2 does not read is refused."""
    slow = GroupPattern(r"^(?P<ts>(?:(?:a+)+)+)(?P<account_id>(?:a|a)*)*$")
    assert slow.read(["a" * 50_000 + "!"])[0] == []
    for pattern in (r"(?=a)(?P<ts>a)", r"(?P<ts>a)\1", "(a)(?P<ts>b)"):
        with pytest.raises(BadRequest, match="LOG__PATTERN is not a regular expression that RE2 reads"):
            GroupPattern(pattern)


def test_requests_of_a_web_server_become_opens() -> None:
    """The path gives account and range, the brackets the time, the user agent the actor."""
    line = b'10.0.0.1 - bob [08/Mar/2026:02:30:15 -0500] "GET /act/act_12/insights/last_7d?x=1 HTTP/1.1" 200 5 "-" "%s"'
    columns, rejected = _parse(_combined(), line % b"Mozilla/5.0", line % b"curl/8.5", line % b"adwarm/0.1")
    assert columns["account_id"] == ["act_12"] * 3
    assert columns["date_range"] == ["last_7d"] * 3
    assert columns["ts"] == [1_772_955_015_000_000] * 3
    assert columns["actor"] == ["human", "api", "warmer"]
    assert not rejected


NGINX = b'h - - [08/Mar/2026:02:30:15 +0000] "GET /act/12/reports/today HTTP/1.1" %s 0 "-" "Mozilla/5.0"%s'


def test_a_reader_who_gave_up_waiting_has_opened() -> None:
    """Status 499 is an open like one that was answered; nginx may write its request time after the user agent."""
    columns, rejected = _parse(_combined(), NGINX % (b"499", b" 29.870"), NGINX % (b"200", b" 0.012"))
    assert columns["actor"] == ["human", "human"]
    assert not rejected


def test_a_refused_or_failed_request_is_no_open(subtests: pytest.Subtests) -> None:
    """A request with an error status is ignored, not rejected."""
    for status in [b"400", b"401", b"404", b"429", b"500", b"502", b"503", b"504", b"599"]:
        with subtests.test(status=status):
            ignored: list[int] = []
            columns, rejected = _parse(_combined(ignored), NGINX % (status, b" 0.500"))
            assert columns["ts"] == []
            assert not rejected
            assert len(ignored) == 1


def test_an_answered_request_is_an_open(subtests: pytest.Subtests) -> None:
    """A page from the browser's cache was opened too."""
    for status in [b"200", b"206", b"304"]:
        with subtests.test(status=status):
            assert len(_parse(_combined(), NGINX % (status, b""))[0]["ts"]) == 1


def test_quotes_within_a_header_do_not_hide_the_agent() -> None:
    """Servers escape a quote with a backslash; the user agent after it is still read."""
    line = rb'h - - [08/Mar/2026:02:30:15 +0000] "GET /act/12/reports/today HTTP/1.1" 200 0 "a\"b" "curl/8.5 \"x\""'
    assert _parse(_combined(), line)[0]["actor"] == ["api"]


def test_other_requests_are_no_opens_and_no_errors(subtests: pytest.Subtests) -> None:
    """A request that opens no report is ignored, not rejected."""
    for request_line in [b"GET /style.css HTTP/1.1", b"POST /act/12/reports/today HTTP/1.1"]:
        with subtests.test(request_line=request_line):
            ignored: list[int] = []
            columns, rejected = _parse(
                _combined(ignored), b'h - - [08/Mar/2026:02:30:15 +0000] "%s" 200 5' % request_line
            )
            assert columns["ts"] == []
            assert not rejected
            assert len(ignored) == 1


def test_a_line_that_is_not_combined_is_rejected() -> None:
    """Other text in the log is rejected line by line."""
    assert _parse(_combined(), b"server started")[1] == [("format", 0)]


def test_an_unusable_path_pattern_is_refused(subtests: pytest.Subtests) -> None:
    """The error names the setting."""
    for pattern in ["(", "/(?P<account_id>.*)"]:
        with subtests.test(pattern=pattern), pytest.raises(BadRequest, match="LOG__PATTERN"):
            RequestFilter(pattern, lambda path: None)
