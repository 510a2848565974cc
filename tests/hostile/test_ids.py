"""Hostile ids, ranges, names, tokens and file names are refused at the edge, with an error that says what to do."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from sqlalchemy import select

from adwarm.access_log.log_reader import read_events
from adwarm.access_log.quarantine import Quarantine
from adwarm.cli import main
from adwarm.foundation.clock import SystemClock
from adwarm.foundation.errors import BadRequest
from adwarm.model import AccessToken, Account, Strategy, TokenScope
from adwarm.read_api import build_read_api
from adwarm.runtime import Runtime
from adwarm.serving.api.server import serve_in_thread
from adwarm.serving.tokens import make_token
from adwarm.settings import Settings
from adwarm.store import access_tokens, accounts
from adwarm.store.database import read_transaction
from adwarm.store.tables import metadata
from adwarm_airflow.params import get_day_param, get_timestamp_param, get_window_param
from tests.hostile.hostile_text import ANY_TEXT, HOSTILE_TEXTS, LONG, UNICODE

SHORT_TEXTS = [text for text in HOSTILE_TEXTS if text not in LONG]
ARGUMENTS = [text for text in SHORT_TEXTS if not text.startswith("-")]
COMMANDS: dict[str, tuple[str, ...]] = {
    "get": ("get", "{}", "last_7d"),
    "get range": ("get", "act_1", "{}"),
    "get report": ("get", "act_1", "last_7d", "--report={}"),
    "warm": ("warm", "{}", "--range=today"),
    "warm range": ("warm", "act_1", "--range={}"),
    "queue": ("warm", "--queue", "{}", "--range=today"),
    "cache entry": ("cache", "list", "{}", "today"),
    "fatigue": ("fatigue", "{}"),
    "fatigue day": ("fatigue", "act_1", "--as-of={}"),
    "patterns": ("patterns", "--account={}"),
    "gate": ("gate", "open", "account:{}"),
    "accounts set": ("accounts", "set", "{}", "--zone=UTC"),
    "accounts zone": ("accounts", "set", "act_1", "--zone={}"),
    "token accounts": ("token", "create", "x", "--account={}"),
    "at": ("get", "act_1", "today", "--at={}"),
    "status": ("status", "{}"),
    "log": ("log", "check", "{}"),
    "strategy range": ("strategy", "set", "x", "--range={}"),
    "strategy cron": ("strategy", "set", "x", "--range=today", "--cron={}"),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home and the working folder of every command."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "work").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADWARM_HOME", str(folder / "home"))
        patch.setenv("ADWARM_SOURCE__ACCESS_TOKEN", "test-token-of-ids")
        patch.setenv("ADWARM_SOURCE__GRAPH_URL", "http://127.0.0.1:1")
        patch.chdir(folder / "work")
        yield folder


@given(text=ANY_TEXT)
def test_params_of_runs_are_parsed_or_refused(text: str) -> None:
    """The values of a trigger form and of a strategy raise nothing but BadRequest."""
    params = {"at": text, "first": text, "last": "2026-11-01"}
    for parse in (
        lambda: get_timestamp_param(params, "at"),
        lambda: get_day_param(params, "at"),
        lambda: get_window_param(params, "first", "last"),
        lambda: Strategy(name=text, date_ranges=("today",)),
        lambda: Strategy(name="x", date_ranges=(text,)),
        lambda: Strategy(name="x", date_ranges=("today",), accounts=(text,)),
        lambda: Strategy(name="x", date_ranges=("today",), cron=text),
        lambda: Strategy(name="x", date_ranges=("today",), time_zone=text),
    ):
        with suppress(BadRequest):
            parsed = parse()
            assert parsed is None or isinstance(parsed, date | str | Strategy), "and not the text itself"


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_refuse_hostile_arguments(
    command: str, home: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each text gives one line of error and exit code 1 or 2: no crash, no file, no row, no escape sequence."""
    monkeypatch.delenv("ADWARM_ACCESS_LOG__URL", raising=False)  # an empty argument means the log of the settings
    for text in ARGUMENTS:
        words = [word.replace("{}", text) for word in COMMANDS[command]]
        monkeypatch.setattr(sys, "argv", ["adwarm", *words])
        with pytest.raises(SystemExit) as stop:
            main()
        output = "".join(capfd.readouterr())
        assert stop.value.code in {1, 2}, (words, output)
        assert "unexpected error" not in output, (words, output)
        assert len(output) < 4_000
        assert "\x1b[31m" not in output
        assert "\u202e" not in output
    assert list((home / "work").iterdir()) == []


@pytest.fixture(scope="module")
def api(home: Path) -> Iterator[httpx.Client]:
    """A client of the read API with a token for everything."""
    runtime, token = Runtime(), make_token()
    now = SystemClock().now()
    accounts.save(runtime.engine, [Account("act_1")], now)
    stored = AccessToken(id=token.id, name="test", scopes=frozenset(TokenScope), created_at=now)
    access_tokens.insert_token(runtime.engine, stored, token.secret_hash)
    headers = {"Authorization": f"Bearer {token.text}"}
    with serve_in_thread(build_read_api(runtime)) as url, httpx.Client(base_url=url, headers=headers) as client:
        yield client


def _assert_refused(answer: httpx.Response) -> None:
    assert 400 <= answer.status_code < 500, (answer.url, answer.status_code, answer.text)
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.json()["detail"]
    assert len(answer.content) < 4_000


def test_the_api_refuses_hostile_paths_queries_and_headers(api: httpx.Client) -> None:
    """Every text in every place of a request gets problem details of a client error."""
    for text in SHORT_TEXTS:
        encoded = quote(text, safe="", errors="surrogatepass")
        _assert_refused(api.get(f"/v1/insights/{encoded}/last_7d"))
        _assert_refused(api.get(f"/v1/insights/act_1/{encoded}"))
        _assert_refused(api.get(f"/v1/accounts/{encoded}/fatigue"))
        if encoded:
            for name in ("report", "shape", "table"):
                _assert_refused(api.get(f"/v1/insights/act_1/last_7d?{name}={encoded}"))
            _assert_refused(api.get("/v1/insights/act_1/last_7d", headers={"adwarm-priority": encoded}))
            _assert_refused(api.get(f"/v1/requests/{encoded}"))
    for text in LONG:
        _assert_refused(api.get(f"/v1/insights/{text[:60_000]}/last_7d"))


def test_the_api_refuses_hostile_bodies(api: httpx.Client) -> None:
    """The same in the JSON of a request and of a batch."""
    for text in HOSTILE_TEXTS:
        if "\ud800" in text:
            continue
        for fields in ({"account": text, "range": "today"}, {"account": "act_1", "range": text}):
            answer = api.post("/v1/requests", json=fields)
            _assert_refused(answer)
    for body in (b"", b"{", b"[" * 100_000, b'{"account":' * 50_000, b"\xff\xfe", b'{"account": 1e999}', b"null"):
        _assert_refused(api.post("/v1/requests", content=body, headers={"Content-Type": "application/json"}))


def test_the_api_refuses_hostile_tokens(api: httpx.Client) -> None:
    """A text that is no token gets 401, whatever it holds, and is not repeated."""
    for text in SHORT_TEXTS:
        raw = f"Bearer {text or 'x'}".encode("utf-8", "surrogatepass").translate(None, b"\0\n\t\x1b").strip()
        answer = api.get("/v1/accounts", headers={"Authorization": raw})
        assert answer.status_code in {400, 401}, (text, answer.status_code, answer.text)
        assert text.strip() not in answer.text or len(text.strip()) < 5


FILE_NAMES = [name for name in (*SHORT_TEXTS, "a\nb", "\udcff\udcfe") if "/" not in name and "\0" not in name]


def test_file_names_of_a_log_are_only_names(tmp_path: Path) -> None:
    """Files with hostile names are read or quarantined by name; nothing is run, and the quarantine is valid JSON."""
    settings = Settings(home=tmp_path / "home")
    folder = tmp_path / "log"
    folder.mkdir()
    line = '{{"ts":"2026-11-01T00:00:00Z","account_id":"act_{}","date_range":"last_7d"}}\nno json\n'
    written = 0
    for number, name in enumerate(FILE_NAMES):
        with suppress(UnicodeEncodeError, OSError):
            path = os.fsencode(str(folder)) + b"/" + os.fsencode(f"x{name}.jsonl")
            Path(os.fsdecode(path)).write_text(line.format(number + 1), encoding="ascii")
            written += 1
    quarantine = Quarantine()
    rows = sum(batch.num_rows for batch in read_events(str(folder), settings, quarantine=quarantine))
    assert quarantine.by_reason["unreadable"] == 1, "the name that is not UTF-8 is reported"
    assert rows == written - 1 > 20
    assert quarantine.by_reason["json"] == written - 1
    assert len(quarantine.to_jsonl().splitlines()) == written


@pytest.mark.parametrize("text", [*UNICODE, "act_1'; DROP TABLE entry; --", "{{ 7*7 }}"])
def test_hostile_values_in_a_log_reach_no_key(text: str, tmp_path: Path) -> None:
    """A line with a hostile account, range or report is quarantined; its file's other lines are read."""
    import orjson

    good = {"ts": "2026-11-01T00:00:00Z", "account_id": "act_1", "date_range": "last_7d"}
    if text == "\ud800":
        return
    lines = [{**good, name: text} for name in ("account_id", "date_range", "report")] + [good]
    (tmp_path / "log.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    quarantine = Quarantine()
    batches = list(read_events(str(tmp_path / "log.jsonl"), Settings(home=tmp_path), quarantine=quarantine))
    assert sum(batch.num_rows for batch in batches) == 1, [batch.to_pylist() for batch in batches]
    assert quarantine.count == 3


def test_refused_input_leaves_no_row(home: Path, api: httpx.Client) -> None:
    """After all of this, no table holds a hostile text, and every table is still there."""
    with read_transaction(Runtime().engine) as connection:
        for table in metadata.sorted_tables:
            stored = repr(connection.execute(select(table)).all())
            assert not [text for text in SHORT_TEXTS if len(text) > 6 and text in stored], table.name
