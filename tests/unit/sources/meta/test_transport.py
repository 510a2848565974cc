"""Tests of Graph API calls: every odd response becomes the right error, and the token is only in its header."""

import gzip
import logging
import socket
import traceback
from urllib.parse import parse_qsl, urlsplit

import pytest
from facebook_business.api import FacebookAdsApi
from facebook_business.session import FacebookSession
from pydantic import SecretStr

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import AdwarmError, BadRequest, Denied, Throttled, TokenDead, TooMuchData, Transient
from adwarm.settings import SourceSettings
from adwarm.sources.meta.source import MetaSource
from adwarm.sources.meta.transport import GraphTransport, MetaCredentials
from tests.unit.sources.conftest import TOKEN, ScriptedServer

HTML = b"<html><body>502 Bad Gateway</body></html>"


@pytest.fixture
def graph(scripted: ScriptedServer, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> GraphTransport:
    """A transport to the scripted server, for responses of at most 50 kB."""
    monkeypatch.setattr("adwarm.sources.meta.transport.MAX_RESPONSE_BYTES", 50_000)
    settings = SourceSettings(graph_url=f"{scripted.url}/", read_timeout=5)
    return GraphTransport(MetaCredentials(SecretStr(TOKEN)), settings, clock)


def test_the_token_is_only_in_its_header(scripted: ScriptedServer, graph: GraphTransport) -> None:
    """The query has the parameters and no token."""
    scripted.add_reply({"ok": 1})
    assert graph.get(("act_1", "insights"), {"limit": 5, "time_range": {"since": "x"}}).body == {"ok": 1}
    assert scripted.paths == ["/v26.0/act_1/insights?limit=5&time_range=%7B%22since%22%3A%22x%22%7D"]
    assert scripted.headers[0]["Authorization"] == f"Bearer {TOKEN}"


def test_the_app_secret_signs_the_call(scripted: ScriptedServer, clock: VirtualClock) -> None:
    """With an app secret the call has a proof, and still no token."""
    credentials = MetaCredentials(SecretStr(TOKEN), "7", SecretStr("sec"))
    scripted.add_reply({"ok": 1})
    GraphTransport(credentials, SourceSettings(graph_url=scripted.url, api_version="v25.0"), clock).get(("me",), {})
    assert scripted.paths[0].startswith("/v25.0/me?appsecret_proof=")
    assert TOKEN not in scripted.paths[0]


def test_a_call_is_that_of_metas_own_client(scripted: ScriptedServer, clock: VirtualClock) -> None:
    """URL, version, signature, query and form are those of facebook-business, but for the token in the query."""
    params = {"time_range": {"since": "a", "until": "b"}, "limit": 5, "ids": ["1", "b c"], "summary": True, "x": "a&ö"}
    session = FacebookSession("7", "sec", TOKEN)
    session.GRAPH = scripted.url
    session.requests.trust_env = False
    theirs = FacebookAdsApi(session, api_version="v26.0")
    ours = GraphTransport(
        MetaCredentials(SecretStr(TOKEN), "7", SecretStr("sec")), SourceSettings(graph_url=scripted.url), clock
    )
    for _ in range(4):
        scripted.add_reply({"ok": 1})
    theirs.call("GET", ("act_1", "insights"), params)
    theirs.call("POST", ("act_1", "insights"), params)
    ours.get(("act_1", "insights"), params)
    ours.post(("act_1", "insights"), params)
    urls = [urlsplit(path) for path in scripted.paths]
    sent = [(url.path, set(parse_qsl(url.query)) - {("access_token", TOKEN)}) for url in urls]
    assert sent[:2] == sent[2:]
    assert parse_qsl(scripted.forms[0]) == parse_qsl(scripted.forms[1])
    assert dict(parse_qsl(scripted.forms[1]))["time_range"] == '{"since":"a","until":"b"}'


ODD_RESPONSES = [
    (HTML, 502, "text/html", Transient),
    (HTML, 200, "text/html", Transient),
    (HTML, 404, "text/html", BadRequest),
    (HTML, 429, "text/html", Throttled),
    (b"", 200, "application/json", Transient),
    (b'{"data":[{"ad_id"', 200, "application/json", Transient),
    (b"[1]", 200, "application/json", Transient),
    (b"[1]", 400, "application/json", BadRequest),
    (b'{"data":[]}', 500, "application/json", Transient),
    (b'{"error":"broken"}', 200, "application/json", BadRequest),
    (b'{"error":{"code":190}}', 200, "application/json", TokenDead),
    (b'{"error":{"code":80000}}', 200, "text/javascript", Throttled),
    (b'{"error":{"code":200}}', 403, "application/json", Denied),
    (b'{"error":{"code":1,"message":"Please reduce the amount of data"}}', 500, "application/json", TooMuchData),
    (b'{"error":{"code":2,"error_data":"not json"}}', 500, "application/json", Transient),
    (b"moved", 302, "text/html", BadRequest),
    (b"[" * 2000 + b"]" * 2000, 200, "application/json", Transient),
    (b'{"data":[NaN]}', 200, "application/json", Transient),
    (b'{"data":[1e999]}', 200, "application/json", Transient),
    (b'{"data":["\xff\xfe"]}', 200, "application/json", Transient),
    (b'{"error":{"message":' + b"[" * 1000 + b"]" * 1000 + b"}}", 400, "application/json", BadRequest),
    (b'{"error":' + b"[" * 1000 + b"]" * 1000 + b"}", 400, "application/json", BadRequest),
    (b"{}", 200, "text/plain", Transient),
    (b"{}", 200, "", Transient),
]


def test_odd_responses(scripted: ScriptedServer, graph: GraphTransport, subtests: pytest.Subtests) -> None:
    """HTML pages, truncated JSON, errors under HTTP 200 and wrong statuses each become their error."""
    for body, status, kind, expected in ODD_RESPONSES:
        with subtests.test(body=body, status=status, kind=kind, expected=expected):
            scripted.add_reply(body, status, kind)
            with pytest.raises(expected) as caught:
                graph.get(("act_1",), {}, "act_1")
            assert type(caught.value) is expected


def test_a_429_waits_as_long_as_it_says(
    scripted: ScriptedServer, graph: GraphTransport, subtests: pytest.Subtests
) -> None:
    """`Retry-After` in seconds or as a date parks the account that long; without it, one minute."""
    for kind in ("application/json", "text/html"):
        for asked, seconds in (
            ("77", 77.0),
            ("Wed, 25 Nov 2026 12:05:00 GMT", 300.0),
            ("soon", 60.0),
            ("-5", 60.0),
            ("", 60.0),
            ("9" * 400, 365 * 86_400.0),
        ):
            with subtests.test(kind=kind, asked=asked, seconds=seconds):
                date = "Wed, 25 Nov 2026 12:00:00 GMT"
                scripted.add_reply({"error": {"message": "slow down"}}, 429, kind, Retry_After=asked, Date=date)
                with pytest.raises(Throttled) as caught:
                    graph.get(("act_1",), {}, "act_1")
                assert (caught.value.scope, caught.value.retry_after) == ("account:act_1", seconds)


def test_a_503_keeps_its_retry_after(scripted: ScriptedServer, graph: GraphTransport) -> None:
    """A transient failure keeps the wait that came with it."""
    scripted.add_reply(HTML, 503, "text/html", Retry_After="7")
    with pytest.raises(Transient) as caught:
        graph.get(("act_1",), {}, "act_1")
    assert (type(caught.value), caught.value.retry_after) == (Transient, 7.0)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(scripted: ScriptedServer, graph: GraphTransport, status: int) -> None:
    """A redirect is an error, on the same host and to another, and its body is bounded as any other is."""
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(0.05)
        port = elsewhere.getsockname()[1]
        for target in (f"http://127.0.0.1:{port}/steal", "/v26.0/act_2"):
            scripted.add_reply(b"{}", status, Location=target)
            with pytest.raises(BadRequest, match=str(status)):
                graph.get(("act_1",), {}, "act_1")
        with pytest.raises(TimeoutError):
            elsewhere.accept()
        scripted.add_reply(gzip.compress(b" " * 5_000_000), status, Location="/v26.0/act_2", Content_Encoding="gzip")
        with pytest.raises(TooMuchData):
            graph.get(("act_1",), {}, "act_1")
    assert scripted.paths == ["/v26.0/act_1"] * 3


def test_cookies_are_not_kept(scripted: ScriptedServer, graph: GraphTransport) -> None:
    """No later call sends a cookie that a response set."""
    scripted.add_reply({"ok": 1}, Set_Cookie="a=b; Path=/")
    scripted.add_reply({"ok": 2})
    for _ in range(2):
        graph.get(("act_1",), {})
    assert "Cookie" not in scripted.headers[1]


def test_the_platforms_clock(scripted: ScriptedServer, graph: GraphTransport) -> None:
    """The offset to the platform's `Date` is the median of the last responses; one wrong date changes nothing."""
    assert graph.clock_offset_seconds is None
    for date in (
        "odd",
        "Sat, 24 Jan 2026 12:00:00 GMT",
        "Wed, 25 Nov 2026 14:00:00 GMT",
        "Wed, 25 Nov 2026 14:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 -2359",
    ):
        scripted.add_reply({"ok": 1}, Date=date)
        graph.get(("act_1",), {})
    assert graph.clock_offset_seconds == 7_200


def test_a_large_response_is_not_read_to_its_end(scripted: ScriptedServer, graph: GraphTransport) -> None:
    """More bytes than allowed are too much data, compressed or not, and the next call works."""
    bomb = gzip.compress(b" " * 5_000_000)
    scripted.add_reply(b" " * 60_000)
    scripted.add_reply(bomb, Content_Encoding="gzip")
    scripted.add_reply({"ok": 1})
    for _ in range(2):
        with pytest.raises(TooMuchData):
            graph.get(("act_1",), {})
    assert graph.get(("act_1",), {}).body == {"ok": 1}


def test_a_connection_that_breaks(scripted: ScriptedServer, graph: GraphTransport) -> None:
    """A truncated body is transient."""
    scripted.add_reply(b'{"data":', cut=100)
    with pytest.raises(Transient):
        graph.get(("act_1",), {})


def test_a_server_that_never_responds(clock: VirtualClock) -> None:
    """A silent server causes a read timeout; a closed port is a failed connection."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        settings = SourceSettings(graph_url=url, read_timeout=0.05)
        with pytest.raises(Transient) as caught:
            GraphTransport(MetaCredentials(SecretStr(TOKEN)), settings, clock).get(("me",), {})
        assert caught.value.code == "timeout"
    with pytest.raises(Transient) as caught:
        GraphTransport(MetaCredentials(SecretStr(TOKEN)), settings, clock).get(("me",), {})
    assert caught.value.code == "connection"


def test_a_wrong_url_is_a_bad_request(clock: VirtualClock) -> None:
    """An invalid URL is the caller's error."""
    settings = SourceSettings(graph_url="nonsense")
    with pytest.raises(BadRequest, match="graph_url"):
        GraphTransport(MetaCredentials(SecretStr(TOKEN)), settings, clock).get(("me",), {})


class _Everything(logging.Handler):
    """Collects every log message of the process."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def test_the_token_appears_nowhere(scripted: ScriptedServer, meta: MetaSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """No error, traceback, log line, URL or printed value contains the token, whatever the platform echoes."""
    scripted.add_reply({"error": {"code": 190, "message": f"Malformed access token {TOKEN}", "fbtrace_id": TOKEN}}, 400)
    scripted.add_reply(f"<html>{TOKEN}</html>".encode(), 502, "text/html")
    scripted.add_reply(b'{"data":', cut=100)
    scripted.add_reply({"timezone_name": TOKEN}, X_App_Usage=TOKEN)
    everything, root = _Everything(), logging.getLogger()
    for name in ("urllib3", "urllib3.connectionpool"):  # a configuration of logging may have silenced them
        monkeypatch.setattr(logging.getLogger(name), "disabled", False)
        monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)
    monkeypatch.setattr(root.manager, "disable", logging.NOTSET)
    logging.getLogger("urllib3.connectionpool").manager._clear_cache()  # type: ignore[attr-defined]
    level = root.level
    root.addHandler(everything)
    root.setLevel(logging.DEBUG)
    texts = []
    try:
        for _ in range(3):
            with pytest.raises(AdwarmError) as caught:
                meta.get_account("act_1")
            texts.append("".join(traceback.format_exception(caught.value)))
            assert caught.value.__context__ is None
    finally:
        root.removeHandler(everything)
        root.setLevel(level)
    assert len(everything.lines) >= 3
    shown = "\n".join([
        *texts,
        *everything.lines,
        *scripted.paths,
        repr(meta._credentials),
        *map(str, meta.scopes("act_1")),
    ])
    assert TOKEN not in shown
