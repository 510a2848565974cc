"""The example source of Superset, over answers that a Superset 6.1 has given: `superset_answers.json`."""

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from urllib3 import HTTPResponse

from adwarm.foundation.errors import AdwarmError, BadRequest, Denied, TokenDead, Transient
from adwarm.model import NO_CURRENCY, Priority, ReportKey
from adwarm.prefetch import BatchResult, KeyRequest
from adwarm.settings import SourceSettings
from adwarm.sources.pool import SourcePool
from adwarm.store import accounts
from tests.unit.conftest import NOW, PrefetchHarness

ROOT = Path(__file__).parents[3]
API = "http://superset.example:8088/api/v1/"


@dataclass
class Recorded:
    """A Superset that answers as it was recorded; `status` replaces the answers of all calls but the login."""

    answers: dict[str, Any]
    status: int = 200
    sent: list[tuple[str, Any]] = field(default_factory=list)

    def request(self, method: str, url: str, sent: Any) -> requests.Response:
        """Return the recorded answer."""
        name = f"{method} {url.removeprefix(API)}"
        self.sent.append((name, sent))
        if self.status == 0:
            raise requests.ConnectionError("refused")
        chart = f" {sent['form_data']['slice_id']}" if name == "POST chart/data" else ""
        answer, response = self.answers[name + chart], requests.Response()
        is_login = "security/" in name
        response.status_code = self.status if self.status != 200 and not is_login else answer["status"]
        body = io.BytesIO(json.dumps(answer["body"]).encode())
        response.raw = HTTPResponse(body, preload_content=False)
        return response

    def list_bodies(self, name: str) -> list[Any]:
        """Return the bodies that were sent to a path."""
        return [body for path, body in self.sent if path == name]


@pytest.fixture
def superset(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """The recorded Superset, in place of the network."""
    recorded = Recorded(json.loads((Path(__file__).parent / "superset_answers.json").read_text()))

    def request(_: requests.Session, method: str, url: str, json: Any = None, **_options: Any) -> requests.Response:
        return recorded.request(method, url, json)

    monkeypatch.setattr(requests.Session, "request", request)
    return recorded


@pytest.fixture
def source(superset: Recorded, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The example source, with the connection `superset` of Airflow."""
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "superset"))
    return _make_source(monkeypatch, "superset.example", 8088)


def _make_source(monkeypatch: pytest.MonkeyPatch, host: str, port: int) -> Any:
    module = import_module("superset_source")
    login = SimpleNamespace(conn_type="http", schema="", host=host, port=port, login="admin", password="hunter22")
    monkeypatch.setattr(module, "read_login", {"superset": login}.__getitem__)
    return module.make_source(SourceSettings(kind="superset_source:make_source"), "default", None)


def _warm(harness: PrefetchHarness, source: Any, account: str, date_range: str = "today") -> BatchResult:
    prefetch = replace(harness.prefetch, sources=SourcePool(lambda: source))
    return prefetch.run([KeyRequest(ReportKey(account, date_range))], Priority.LOW)


def test_accounts_are_dashboards(source: Any) -> None:
    """Each dashboard is an account with its title and without a currency; one that does not exist is denied."""
    listed = source.list_account_page(None)
    assert [(item.id, item.name, item.currency) for item in listed.accounts] == [
        ("act_1", "Sales", NO_CURRENCY),
        ("act_2", "New", NO_CURRENCY),
    ]
    assert listed.next_cursor is None
    with pytest.raises(Denied, match="404"):
        source.get_account("act_99")
    for name in ("sales-by-region", "1f0c5e2a-9a52-4bb5-8d5f-0c7a5f1c2b3d"):
        with pytest.raises(BadRequest, match="integer"):
            source.get_account(name)


def test_a_warm_repeats_what_browsers_sent(harness: PrefetchHarness, superset: Recorded, source: Any) -> None:
    """One call for each chart: the logged request, filter default included, forced; what is stored is small."""
    accounts.save(harness.engine, source.list_account_page(None).accounts, NOW)
    [outcome] = _warm(harness, source, "act_1").outcomes
    assert (outcome.status, outcome.rows, outcome.calls) == ("fetched", 3, 3)
    assert 0 < outcome.stored_bytes < 1_000
    sent = superset.list_bodies("POST chart/data")
    assert [body["force"] for body in sent] == [True] * 3
    assert [[item["val"] for item in body["queries"][0]["filters"]] for body in sent] == [[["north"]], [["north"]], []]
    assert _warm(harness, source, "act_1").outcomes[0].status == "fresh"
    [other] = _warm(harness, source, "act_1", "last_7d").outcomes
    assert "outside the days" in other.reason


def test_a_dashboard_without_a_warm_chart_is_not_fetched(harness: PrefetchHarness, source: Any) -> None:
    """When every chart has an error of its own, the warm fails with the reason."""
    accounts.save(harness.engine, source.list_account_page(None).accounts, NOW)
    [outcome] = _warm(harness, source, "act_2").outcomes
    assert outcome.status == "failed"
    assert "no chart of act_2 can be warmed" in outcome.reason


def test_the_usual_request_is_repeated(superset: Recorded, source: Any) -> None:
    """Of the newest requests the most frequent one counts, so that somebody's own filter does not."""
    [name] = [item for item in superset.answers if "dashboard_id,opr:eq,value:1)" in item and "value:1))" in item]
    logged = superset.answers[name]["body"]["result"]
    other = json.loads(logged[0]["json"])
    other["queries"][0]["filters"][0]["val"] = ["south"]
    superset.answers[name]["body"]["result"] = [{"json": json.dumps(other)}, *logged * 2]
    assert source._warm("act_1", "1", "1")
    [sent] = superset.list_bodies("POST chart/data")
    assert sent["queries"][0]["filters"][0]["val"] == ["north"]


def test_charts_that_nobody_opened(superset: Recorded, source: Any) -> None:
    """They are warmed by Superset's own endpoint; a chart with an error of its own stops nothing."""
    assert not source._warm("act_2", "2", "4")
    assert superset.list_bodies("PUT chart/warm_up_cache") == [{"chart_id": 4, "dashboard_id": 2}]


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        (0, Transient, "does not answer (ConnectionError)"),
        (502, Transient, "with 502"),
        (401, TokenDead, "with 401"),
        (403, Denied, "with 403"),
        (400, BadRequest, "with 400"),
    ],
)
def test_what_goes_wrong(status: int, error: type[AdwarmError], text: str, superset: Recorded, source: Any) -> None:
    """Each answer raises the error that the engine reacts to; a login is renewed once before it counts as dead."""
    source.list_account_page(None)
    superset.status, superset.sent = status, []
    with pytest.raises(error) as raised:
        source._call("GET", "dashboard/1/charts", "act_1")
    assert text in str(raised.value)
    assert len(superset.list_bodies("POST security/login")) == (status == 401)


@contextmanager
def _serve(answer: str, body_bytes: int = 0) -> Iterator[tuple[int, list[bytes]]]:
    """Run a server that gives one answer to everything; yield its port and the bodies that it got."""
    received: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.wfile.write(answer.encode())
            for _ in range(body_bytes // 65_536):
                self.wfile.write(b" " * 65_536)

        def log_message(self, *_arguments: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # the client hangs up
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port, received
    finally:
        server.shutdown()
        server.server_close()


def test_the_login_goes_to_no_other_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A redirect that keeps the body is an error, and the host that it leads to gets nothing."""
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "superset"))
    with _serve("HTTP/1.1 200 OK\r\n\r\n{}") as (elsewhere, stolen):
        redirect = f"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:{elsewhere}/\r\nContent-Length: 0\r\n\r\n"
        with _serve(redirect) as (port, received), pytest.raises(BadRequest, match="with 307"):
            _make_source(monkeypatch, "127.0.0.1", port).list_account_page(None)
    assert b"hunter22" in received[0]
    assert stolen == []


def test_an_answer_is_read_within_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an answer without an end no more is read than a call may take."""
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "superset"))
    with _serve("HTTP/1.1 200 OK\r\n\r\n", 2**30) as (port, _), pytest.raises(BadRequest, match="is larger than"):
        _make_source(monkeypatch, "127.0.0.1", port).list_account_page(None)
