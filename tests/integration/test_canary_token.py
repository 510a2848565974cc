"""A planted secret appears nowhere else: not in logs, files, errors or the database."""

import base64
import io
import logging
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import Engine, select

from adwarm.cli import main
from adwarm.foundation.clock import SystemClock
from adwarm.foundation.errors import AdwarmError
from adwarm.model import AccessToken, Priority, ReportKey, TokenScope
from adwarm.prefetch import KeyRequest
from adwarm.read_api import build_read_api
from adwarm.runtime import Runtime, source_factory
from adwarm.serving.api.server import serve_in_thread
from adwarm.serving.tokens import make_token
from adwarm.settings import load_settings
from adwarm.store import access_tokens
from adwarm.store.database import read_transaction
from adwarm.store.tables import metadata
from graph_simulator.calls import Call, Reply
from graph_simulator.config import SimulatorConfig
from graph_simulator.error_responses import GraphError
from graph_simulator.fault_profile import parse_fault_profile
from graph_simulator.request_handler import target_of
from graph_simulator.server import SimulatorServer
from tests.support.secret_encodings import ENCODINGS, find_encoded

CANARY = "EAAcanary+token/7f3a=9Zq&x|5%secret"
SECRET = "app+secret/canary=41c9"

FAILURES = {
    "dead token": GraphError(f"Error validating access token {CANARY}", code=190, subcode=463),
    "denied": GraphError(f"(#200) token {CANARY} has no ads_read", code=200, status=403),
    "throttled": GraphError(f"(#80000) slow down {CANARY}", code=80000, subcode=2446079),
    "too much data": GraphError(f"Please reduce the amount of data, access_token={CANARY}", code=1, subcode=99),
    "transient": GraphError(f"An unknown error occurred {quote(CANARY, safe='')}", code=2, status=500, transient=True),
    "bad request": GraphError(f"(#100) cannot use {CANARY}", code=100),
    "unheard of": GraphError(f"something new {CANARY}", code=98765, status=418),
}


def _hits(data: bytes) -> list[str]:
    return find_encoded(data.decode("utf-8", "backslashreplace"), CANARY, SECRET)


class Traces:
    """Everything that a run leaves behind."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.log = io.StringIO()
        self.texts: list[str] = []

    def found(self) -> list[str]:
        """Return where the canary was found."""
        places = {str(path): path.read_bytes() for path in self.home.rglob("*") if path.is_file()}
        places["log"] = self.log.getvalue().encode()
        places["texts"] = "\n".join(self.texts).encode()
        assert len(places) > 2 or self.texts, "a run leaves at least its database"
        return [f"{place}: {hit!r}" for place, data in places.items() for hit in _hits(data)]


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatorServer]:
    """A platform whose one token is the canary."""
    config = SimulatorConfig(ads=2, token=CANARY, app_secret=SECRET, accounts=("act_1", "act_2"))
    with SimulatorServer(config) as server:
        yield server


@pytest.fixture
def traces(tmp_path: Path, platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Traces]:
    """A home with the canary in its settings, and every logger at its most verbose level."""
    values = {
        "HOME": str(tmp_path / "home"),
        "SOURCE__GRAPH_URL": platform.url,
        "SOURCE__ACCESS_TOKEN": CANARY,
        "SOURCE__APP_SECRET": SECRET,
        "SOURCE__APP_ID": "100",
        "RECOVERY__INITIAL_DELAY_SECONDS": "0",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"ADWARM_{name}", value)
    left = Traces(tmp_path / "home")
    handler, root = logging.StreamHandler(left.log), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield left
    root.setLevel(level)
    root.removeHandler(handler)


def _cli(capfd: pytest.CaptureFixture[str], traces: Traces, *words: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["adwarm", *words])
        try:
            main()
        except SystemExit as stop:
            traces.texts.append(repr(stop))
    sys.stdout.flush()
    traces.texts.extend(capfd.readouterr())


def test_the_search_finds_what_it_looks_for() -> None:
    """The canary is found in each of its forms, so finding nothing means something."""
    for text in (CANARY, quote(CANARY, safe=""), base64.b64encode(f"ab{CANARY}cd".encode()).decode(), f"x{SECRET}"):
        assert _hits(b"..." + text.encode() + b"...")


def test_a_successful_run_leaves_no_trace(traces: Traces, capfd: pytest.CaptureFixture[str]) -> None:
    """Warm, read, show and check: the secrets are in none of it."""
    _cli(capfd, traces, "warm", "act_1", "act_2", "--range", "last_7d", "--json")
    assert '"fetched": 2' in traces.texts[-2]
    for words in (("get", "act_1", "last_7d"), ("status", "--json"), ("doctor", "--json"), ("maintain", "--verify")):
        _cli(capfd, traces, *words)
    traces.texts.append(repr(Runtime().settings))
    assert traces.found() == []


def _rows_of_the_database(engine: Engine) -> str:
    """Return every value in the database."""
    with read_transaction(engine) as connection:
        return "\n".join(repr(row) for table in metadata.sorted_tables for row in connection.execute(select(table)))


def _answers_of_the_api(runtime: Runtime) -> str:
    """Return what the read API answers on every route that needs no further input, and for reports."""
    token, now = make_token(), SystemClock().now()
    rights = frozenset(TokenScope)
    stored = AccessToken(id=token.id, name="test", scopes=rights, created_at=now)
    access_tokens.insert_token(runtime.engine, stored, token.secret_hash)
    headers = {"Authorization": f"Bearer {token.text}"}
    with serve_in_thread(build_read_api(runtime)) as url, httpx.Client(base_url=url, headers=headers) as http:
        document = http.get("/v1/openapi.json").json()
        paths = [path for path, methods in document["paths"].items() if "get" in methods and "{" not in path]
        paths += ["/v1/insights/act_1/last_7d", "/v1/insights/act_2/today"]
        answers = [http.get(path, timeout=30) for path in paths]
    return "\n".join(f"{answer.url} {answer.status_code} {answer.headers} {answer.text}" for answer in answers)


@pytest.mark.parametrize("code", [190, *(pytest.param(code, marks=pytest.mark.slow) for code in (1, 100, 200, 80000))])
def test_no_encoding_of_the_secret_is_left(
    code: int,
    sqlite_engine: Engine,
    traces: Traces,
    platform: SimulatorServer,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """When the platform's errors repeat token and secret in every encoding, no row, log, answer or command does."""
    monkeypatch.setenv("ADWARM_DATABASE_URL", sqlite_engine.url.render_as_string(hide_password=False))
    echoed = " ".join(f"<{encode(secret)}>" for encode in ENCODINGS.values() for secret in (SECRET, CANARY))
    bodies = iter(range(10_000))

    def refuse(call: Call) -> None:
        start = len(echoed) * next(bodies) // 7 % len(echoed)  # a message is bounded, so each shows another part
        raise GraphError(echoed[start:] + echoed, code=code, status=500 if code == 1 else 400)

    platform.state.answer = refuse  # type: ignore[assignment,method-assign]
    ranges = ("today", "yesterday", "last_7d", "last_30d")
    for account in ("act_1", "act_2"):
        _cli(capfd, traces, "warm", account, *(word for name in ranges for word in ("--range", name)), "--json")
    for words in (
        ("get", "act_1", "last_7d", "--fetch"),
        ("status", "--json"),
        ("doctor", "--json"),
        ("accounts", "list", "--json"),
    ):
        _cli(capfd, traces, *words)
    runtime = Runtime()
    traces.texts += [_rows_of_the_database(sqlite_engine), _answers_of_the_api(runtime)]
    assert "[hidden]" in traces.texts[-2], "the errors were recorded"
    assert traces.found() == []


def _asked(platform: SimulatorServer) -> list[Call]:
    """Return every call that the platform gets from now on, batch entries included, as received."""
    asked: list[Call] = []
    answer = platform.state.reply

    def reply(call: Call) -> Reply:
        asked.append(call)
        return answer(call)

    platform.state.reply = reply  # type: ignore[method-assign]
    return asked


@pytest.mark.slow
def test_async_reports_leave_no_trace(
    traces: Traces, platform: SimulatorServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """Submits, polls in a batch and pages of results: the token is in their headers, and in no form, query or path."""
    asked = _asked(platform)
    platform.state.set_fault_profile(
        parse_fault_profile({"reports": {"base_seconds": 0.2, "full_seconds": 0.1}}, "quick")
    )
    _cli(capfd, traces, "warm", "act_1", "act_2", "--range", "last_90d", "--json")
    assert '"fetched": 2' in traces.texts[-2]
    assert {call.method for call in asked} == {"GET", "POST"}
    assert {"submit", "poll", "result"} <= set(platform.calls()["paths"])
    assert all(call.bearer == CANARY for call in asked)
    assert _hits(repr([(call.url, call.parts, dict(call.params)) for call in asked]).encode()) == []
    assert traces.found() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("route", "failure"),
    [
        ("submit", "dead token"),
        ("submit", "too much data"),
        ("poll", "dead token"),
        ("poll", "transient"),
        ("result", "throttled"),
        ("result", "bad request"),
        ("batch", "denied"),
        ("batch", "transient"),
    ],
)
def test_no_failure_of_a_report_reveals_the_secret(
    route: str, failure: str, traces: Traces, platform: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error at any step of a report does not contain it, even when the platform's own message repeats the token."""
    answer, inner = platform.state.answer, platform.state

    def refuse(call: Call) -> object:
        if target_of(call, inner.dataset, inner.report_runs, inner.clock.now()).route == route:
            raise FAILURES[failure]
        return answer(call)

    inner.answer = refuse  # type: ignore[method-assign]
    inner.set_fault_profile(parse_fault_profile({"reports": {"base_seconds": 0.1, "full_seconds": 0}}, "quick"))
    monkeypatch.setattr("adwarm.prefetch.async_reports.POLL_SECONDS", 0.2)
    report = (
        Runtime().prefetch_engine().run([KeyRequest(ReportKey("act_1", "last_90d"))], Priority.LOW, wait_seconds=0.5)
    )
    traces.texts.append(repr(report))
    assert inner.calls.counts()["total"] > 1
    assert traces.found() == []


@pytest.mark.parametrize("failure", FAILURES)
def test_no_failure_reveals_the_secret(
    failure: str, traces: Traces, platform: SimulatorServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """Even when the platform's own error repeats the token, it is in no message, traceback, row or log."""

    def refuse(call: Call) -> None:
        raise FAILURES[failure]

    platform.state.answer = refuse  # type: ignore[assignment,method-assign]
    _cli(capfd, traces, "warm", "act_1", "--range", "last_7d", "--json")
    _cli(capfd, traces, "get", "act_1", "last_7d", "--fetch")
    _cli(capfd, traces, "status", "--json")
    report = Runtime().prefetch_engine().run([KeyRequest(ReportKey("act_2", "today"))], Priority.LOW, wait_seconds=0)
    traces.texts.append(repr(report))
    assert not report.outcomes[0].status.is_served
    assert traces.found() == []


def test_a_traceback_does_not_reveal_the_secret(traces: Traces, platform: SimulatorServer) -> None:
    """An error with its whole chain and the source lines, as Python prints an uncaught one, contains no secret."""

    def refuse(call: Call) -> None:
        raise FAILURES["bad request"]

    platform.state.answer = refuse  # type: ignore[assignment,method-assign]
    with pytest.raises(AdwarmError) as caught:
        source_factory(load_settings())().get_account("act_9")
    text = "".join(traceback.format_exception(caught.value))
    assert "(#100) cannot use" in text
    assert _hits(text.encode()) == []


def test_an_unreachable_platform_reveals_nothing(
    traces: Traces, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The error of a failed connection contains neither address nor token."""
    monkeypatch.setenv("ADWARM_SOURCE__GRAPH_URL", "http://127.0.0.1:1")
    _cli(capfd, traces, "warm", "act_1", "--range", "today")
    with pytest.raises(AdwarmError) as caught:
        Runtime().prefetch_engine().sources.make_default().get_account("act_1")
    traces.texts.append(repr(caught.value) + repr(caught.value.__cause__) + repr(caught.value.__context__))
    assert traces.found() == []
