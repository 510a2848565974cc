"""The routes of the error history and of alerts: filters, pages, counts, and what a token may see."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from adwarm.model import TokenScope
from adwarm.serving.problems import Problem, unknown_report
from adwarm.store.alerts import Channels, NewAlert, open_or_extend, resolve_quiet
from adwarm.store.error_events import ErrorEvent, ErrorLog
from tests.unit.conftest import SQLITE_ONLY
from tests.unit.serving.api.conftest import Api


@pytest.fixture
def history(api: Api) -> Api:
    """Errors about two accounts and about none, two hours apart, and an alert for each kind of scope."""
    at = api.clock.now() - timedelta(hours=6)
    log = ErrorLog(api.engine)
    for number, account in enumerate(["act_1", "act_2", None, "act_1"]):
        kind = "Denied" if account == "act_2" else "Transient"
        moment = at + timedelta(hours=2 * (number // 2))
        log.record(ErrorEvent(moment, "meta", kind, f"message {number}", "key", "2", "agency", account))
    for scope in ("meta", "account:act_1", "account:act_2"):
        new = NewAlert(at=at, kind="Transient", scope=scope, reason="down", next_step="wait", example="act_1 last_7d")
        open_or_extend(api.engine, new, Channels(), at)
    return api


def errors(api: Api, query: str, token: str) -> list[str]:
    """The messages of a list."""
    answer = api.get(f"/v1/errors?{query}", token)
    assert answer.status_code == 200
    return [item["message"] for item in answer.json()["errors"]]


def test_errors_are_listed_and_filtered(history: Api) -> None:
    """The newest first, with every field; each filter selects."""
    token = history.token()
    (newest, *_) = history.get("/v1/errors", token).json()["errors"]
    assert {**newest, "at": None} == {
        "at": None,
        "source": "meta",
        "kind": "Transient",
        "code": "2",
        "connection": "agency",
        "account": "act_1",
        "subject": "key",
        "message": "message 3",
    }
    assert errors(history, "account=2", token) == ["message 1"]
    assert errors(history, "kind=Transient&source=meta", token) == ["message 3", "message 2", "message 0"]
    since = newest["at"].replace("+", "%2B")
    assert errors(history, f"since={since}", token) == ["message 3", "message 2"]
    assert errors(history, f"until={since}", token) == ["message 1", "message 0"]


def test_errors_come_in_pages(history: Api) -> None:
    """Pages follow the cursor to the end, and errors that happen meanwhile do not shift them."""
    token, seen, cursor = history.token(), list[str](), ""
    while True:
        page = history.get(f"/v1/errors?limit=3{cursor}", token).json()
        seen += [item["message"] for item in page["errors"]]
        ErrorLog(history.engine).record(ErrorEvent(history.clock.now(), "meta", "Transient", "later"))
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == ["message 3", "message 2", "message 1", "message 0"]


def test_errors_are_counted(history: Api) -> None:
    """By hour or day, newest first."""
    token = history.token()

    def counts(query: str) -> list[tuple[str, int]]:
        answer = history.get(f"/v1/errors/counts?{query}", token).json()["counts"]
        return [(item["kind"], item["errors"]) for item in answer]

    assert counts("") == [("Transient", 2), ("Denied", 1), ("Transient", 1)]
    assert counts("period=day&kind=Transient") == [("Transient", 3)]


def test_a_token_sees_its_own_accounts_only(history: Api) -> None:
    """Errors and alerts about other accounts, or about the whole source, are not in its answers; others are 404."""
    own = history.token(accounts=frozenset({"act_1"}))
    assert errors(history, "", own) == ["message 3", "message 0"]
    assert history.get("/v1/errors?account=act_2", own).status_code == 404
    counts = history.get("/v1/errors/counts?period=day", own).json()["counts"]
    assert [(item["kind"], item["errors"]) for item in counts] == [("Transient", 2)]
    assert [item["scope"] for item in history.get("/v1/alerts", own).json()["alerts"]] == ["account:act_1"]
    nothing = history.token(accounts=frozenset({"act_9"}))
    assert errors(history, "", nothing) == []
    admin = history.token(TokenScope.ADMIN, accounts=frozenset({"act_1"}))
    assert len(errors(history, "", admin)) == 4


def test_alerts_are_listed_by_page(history: Api) -> None:
    """The newest first; resolved ones can be left out."""
    token = history.token()
    first: dict[str, Any] = history.get("/v1/alerts?limit=2", token).json()
    second = history.get(f"/v1/alerts?limit=2&cursor={first['next_cursor']}", token).json()
    scopes = [item["scope"] for item in first["alerts"] + second["alerts"]]
    assert scopes == ["account:act_2", "account:act_1", "meta"]
    assert (second["next_cursor"], second["alerts"][0]["resolved_at"]) == (None, None)
    now = history.clock.now()
    resolve_quiet(history.engine, now, now, Channels())
    assert history.get("/v1/alerts?open=true", token).json()["alerts"] == []
    assert history.get("/v1/alerts", token).json()["alerts"][0]["resolved_at"] is not None


@SQLITE_ONLY
def test_bad_filters_are_refused(api: Api, subtests: pytest.Subtests) -> None:
    """The answer is a problem that names the parameter."""
    for query in [
        "limit=0",
        "cursor=x",
        "since=yesterday",
        "account=nobody",
        "kind=%00",
        "no_such=1",
        "source=meta&source=other",
        "since=0001-01-01T00:00:00%2B14:00",
    ]:
        with subtests.test(query=query):
            assert api.get(f"/v1/errors?{query}", api.token()).status_code == 400


@SQLITE_ONLY
def test_a_token_is_needed(api: Api, subtests: pytest.Subtests) -> None:
    """Without one the answer is 401."""
    for path in ["/v1/errors", "/v1/errors/counts", "/v1/alerts"]:
        with subtests.test(path=path):
            assert api.get(path, "adwarm_000000000000_nothing").status_code == 401


@contextmanager
def _block() -> Iterator[None]:
    yield


def test_a_problem_passes_through_context_managers() -> None:
    """It arrives as it was raised, wherever it passes a `with` block."""
    with pytest.raises(Problem) as raised, _block():
        raise unknown_report()
    assert raised.value.body() == unknown_report().body()
