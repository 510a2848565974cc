"""The login beside the read API: tokens become sessions, which end when they should and cannot be taken over."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.redaction import redact
from adwarm.model import AccessToken, Account, Priority, TokenScope
from adwarm.pages import application
from adwarm.pages.access import CSRF_FIELD, Permission
from adwarm.pages.application import PageMount, build_page
from adwarm.pages.sessions import COOKIE, MAX_LOGIN_BYTES, SessionAccess, add_session_routes, list_permissions
from adwarm.pages.views import TABS
from adwarm.serving.tokens import TokenAuthenticator, make_token
from adwarm.store import access_tokens, accounts, read_transaction
from adwarm.store.access_tokens import MAX_SESSIONS, page_session
from tests.support.asgi_client import AsgiClient
from tests.unit.conftest import SQLITE_ONLY
from tests.unit.pages.conftest import START, Page
from tests.unit.pages.probes import HOSTILE, PROBE, check_forms

HOST = "https://warm.example"


async def answer_as_api(scope: Scope, receive: Receive, send: Send) -> None:
    """Stand for the read API."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Prefix:
    """A proxy that puts the application below a path of its own."""

    def __init__(self, app: ASGIApp, path: str) -> None:
        self.app, self.path = app, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["path"].startswith(self.path)
        short, raw = scope["path"].removeprefix(self.path), scope["raw_path"].removeprefix(self.path.encode())
        await self.app({**scope, "path": short, "raw_path": raw}, receive, send)


@dataclass
class Site:
    """The page beside an API, and tokens for it."""

    page: Page
    clock: VirtualClock
    app: ASGIApp
    access: SessionAccess
    authenticator: TokenAuthenticator

    def browser(self, prefix: str = "") -> AsgiClient:
        """Return a browser with no cookies."""
        app = Prefix(self.app, prefix) if prefix else self.app
        return AsgiClient(app, f"{HOST}{prefix}/adwarm/", follow_redirects=False)

    def issue(self, *scopes: str, name: str = "ada", **fields: Any) -> tuple[str, str]:
        """Store a token, and return its id and its text."""
        new, kinds = make_token(), frozenset(TokenScope(scope) for scope in scopes)
        token = AccessToken(id=new.id, name=name, scopes=kinds, created_at=self.clock.now(), **fields)
        access_tokens.insert_token(self.page.runtime.engine, token, new.secret_hash)
        return new.id, new.text

    def log_in(self, token: str, browser: AsgiClient | None = None) -> AsgiClient:
        """Return a browser that is logged in."""
        browser = browser or self.browser()
        assert post_login(browser, token).status_code == 303
        return browser

    def count_sessions(self) -> int:
        """Return how many sessions are stored."""
        with read_transaction(self.page.runtime.engine) as connection:
            return len(list(connection.execute(select(page_session))))


def post_login(browser: AsgiClient, token: str, **fields: str) -> Any:
    """Send the login form."""
    return browser.post("login", data={"token": token, **fields}, headers={"Origin": HOST})


async def _skip(seconds: float) -> None:
    """Wait for nothing."""


@pytest.fixture
def site(page: Page, clock: VirtualClock) -> Site:
    """The page with its login, mounted beside an API."""
    runtime = page.runtime
    authenticator = TokenAuthenticator(runtime.engine, clock, sleep=_skip)
    access = SessionAccess(runtime.engine, clock, authenticator, sleep=_skip)
    app = build_page((*TABS, PROBE), lambda: runtime.page_services, access)
    add_session_routes(app, access)
    return Site(page, clock, PageMount(answer_as_api, app), access, authenticator)


def find_csrf(browser: AsgiClient) -> str:
    """Return the token in the form of a page."""
    text = browser.get("now").text
    return str(text.partition(f'name="{CSRF_FIELD}" value="')[2].partition('"')[0])


@SQLITE_ONLY
def test_what_a_token_lacks_is_named_with_the_way_to_it(site: Site) -> None:
    """A disabled form and a refused POST name the scope, and the command that makes a token with it."""
    browser = site.log_in(site.issue("read")[1])
    needs = "This takes a token with the scope enqueue: adwarm token create NAME --scope enqueue"
    assert needs in browser.get("tiles/actions/warm-now").text
    refused = browser.post("warm-now", data={CSRF_FIELD: find_csrf(browser)}, headers={"Origin": HOST})
    assert (refused.status_code, needs in refused.text) == (403, True)


@SQLITE_ONLY
def test_a_session_has_the_limits_of_its_token(site: Site) -> None:
    """Its forms request at most what the token may request, in a class that the token may use; then 429."""
    token_id, token = site.issue("enqueue", daily_new_keys=1, highest_priority=Priority.LOW)
    browser = site.log_in(token)
    accounts.save(site.page.runtime.engine, [Account("act_1"), Account("act_2")], site.clock.now())

    def warm() -> Any:
        fields = {"accounts": "act_1 act_2", "date_ranges": "today", CSRF_FIELD: find_csrf(browser)}
        asked = browser.post("warm-now", data=fields, headers={"Origin": HOST})
        seen = asked.text.partition('name="seen" value="')[2].partition('"')[0]
        return browser.post("warm-now", data={**fields, "seen": seen, "why": "x"}, headers={"Origin": HOST})

    done = warm()
    assert "1+left+out%3A+this+token+has+requested+1+new+reports+today" in done.headers["location"]
    (queued,) = site.page.runtime.queue.list_newest(9)
    assert (queued.token_id, queued.priority, str(queued.key)) == (token_id, Priority.LOW, "act_1 today")
    site.page.runtime.queue.ack(site.page.runtime.queue.dequeue(1)[0], {})
    refused = warm()
    assert (refused.status_code, "this token has requested 1 new reports today" in refused.text) == (429, True)
    assert int(refused.headers["retry-after"]) > 0


def test_a_token_is_exchanged_for_a_session(site: Site) -> None:
    """The login goes to the tab that was asked for; the cookie is closed to scripts, to HTTP and to other sites."""
    _, token = site.issue("read", name=HOSTILE)
    browser = site.browser()
    assert browser.get("now").status_code == 401
    answer = post_login(browser, token, next="plan?run=a")
    assert (answer.status_code, answer.headers["location"]) == (303, "plan?run=a")
    assert answer.headers["set-cookie"].endswith("; HttpOnly; SameSite=strict; Secure")
    assert "Path" not in answer.headers["set-cookie"]
    text = browser.get("now").text
    assert "&lt;script&gt;alert" in text
    assert HOSTILE not in text


@SQLITE_ONLY
def test_the_login_leads_only_to_tabs(site: Site, subtests: pytest.Subtests) -> None:
    """Whatever the form says, the login goes to a tab of the page."""
    for target in ["https://evil.example", "//evil.example", "/", "plan\r\nX: y", "javascript:x", ""]:
        with subtests.test(target=target):
            assert post_login(site.browser(), site.issue("read")[1], next=target).headers["location"] == "./"


@SQLITE_ONLY
def test_no_route_answers_without_a_session(site: Site) -> None:
    """Every route of the mounted page, also static files and the logout, refuses a caller without a valid session."""
    site.log_in(site.issue("admin")[1])
    stranger = site.browser()
    for cookie in (None, "A" * 43, "A" * 500, "ä"):
        headers = {} if cookie is None else {b"Cookie": f"{COOKIE}={cookie}".encode()}
        for route in site.app._page.routes:  # type: ignore[attr-defined]
            path = route.path.replace("{name}", "page.css").replace("{run_id:path}", "newest")
            for method in route.methods:
                status = stranger.request(method, f"{HOST}/adwarm{path}", headers=headers).status_code
                assert status == (403 if path == "/login" else 401), (method, path)


@SQLITE_ONLY
def test_the_root_leads_to_the_page(site: Site) -> None:
    """A browser that opens the address alone comes to the page, also behind a proxy with a path of its own."""
    for prefix in ("", "/warm"):
        for path in ("/", "/adwarm"):
            answer = site.browser(prefix).get(f"{HOST}{prefix}{path}")
            assert (answer.status_code, str(answer.next_request.url)) == (308, f"{HOST}{prefix}/adwarm/")


@SQLITE_ONLY
def test_forms_are_carried_out_only_as_the_page_sends_them(site: Site) -> None:
    """Login, permission, origin, token, size and type of a form are checked before its handler runs."""
    admin, viewer = site.log_in(site.issue("admin")[1]), site.log_in(site.issue("read")[1])
    cookies = [{"Cookie": f"{COOKIE}={browser.cookies[COOKIE]}"} for browser in (admin, viewer)]
    check_forms(site.browser().request, f"{HOST}/adwarm", HOST, *cookies, find_csrf(admin))


def test_scopes_are_permissions() -> None:
    """A token for reading may look; one for requests may warm, too; only an administrator's may do the rest."""

    def permissions(scope: str) -> frozenset[Permission]:
        scopes = frozenset({TokenScope(scope)})
        return list_permissions(AccessToken(id="a", name="a", scopes=scopes, created_at=START))

    assert permissions("read") == {Permission.VIEW}
    assert permissions("enqueue") == {Permission.VIEW, Permission.WARM}
    assert permissions("admin") == set(Permission)


@SQLITE_ONLY
def test_tokens_that_may_not_log_in(site: Site) -> None:
    """A wrong or limited token gets a page that says why, without the token."""
    _, limited = site.issue("read", accounts=frozenset({"act_1"}))
    expired = site.issue("read", expires_at=site.clock.now())[1]
    for token, text in ((limited, "limited to some accounts"), (expired, "not valid"), ("adwarm_x_y", "not valid")):
        answer = post_login(site.browser(), token)
        assert (answer.status_code, text in answer.text, token in answer.text) == (403, True, False)
    assert post_login(site.browser(), site.issue("admin", accounts=frozenset({"act_1"}))[1]).status_code == 303
    assert site.count_sessions() == 1


@SQLITE_ONLY
def test_a_login_comes_from_the_page_itself(site: Site) -> None:
    """A page of another site can log nobody in, and neither can a form that is too large or no form."""
    token = site.issue("read")[1]
    for origin in ("https://evil.example", "null", ""):
        answer = site.browser().post("login", data={"token": token}, headers={"Origin": origin})
        assert answer.status_code == 403, origin
    assert post_login(site.browser(), "x" * MAX_LOGIN_BYTES).status_code == 413
    assert site.browser().post("login", json={"token": token}, headers={"Origin": HOST}).status_code == 415


def test_a_session_cannot_be_prepared(site: Site) -> None:
    """A login makes a new session whatever cookie came with it, and ends the one of the cookie."""
    token = site.issue("read")[1]
    browser = site.browser()
    browser.cookies.set(COOKIE, "prepared", domain="warm.example", path="/adwarm")
    answer = post_login(browser, token)
    first = answer.cookies[COOKIE]
    assert len(first) == 43
    assert first not in redact(f"session {first}")
    again = post_login(site.log_in(token), token).cookies[COOKIE]
    assert first != again
    assert site.count_sessions() == 2


def test_a_revoked_token_ends_its_sessions(site: Site) -> None:
    """Within a second of the revocation no session of the token answers; those of other tokens do."""
    (token_id, token), (_, other) = site.issue("read"), site.issue("read")
    browsers = [site.log_in(token), site.log_in(other)]
    assert [browser.get("now").status_code for browser in browsers] == [200, 200]
    access_tokens.revoke(site.page.runtime.engine, token_id, site.clock.now())
    site.clock.sleep(1)
    assert [browser.get("now").status_code for browser in browsers] == [401, 200]


def test_a_session_ends_with_its_time_or_its_token(site: Site) -> None:
    """It lasts as long as the settings say, but not longer than the token."""
    long = site.log_in(site.issue("read")[1])
    short = site.log_in(site.issue("read", expires_at=site.clock.now() + timedelta(hours=1))[1])
    site.clock.sleep(3_599)
    assert [long.get("now").status_code, short.get("now").status_code] == [200, 200]
    site.clock.sleep(1)
    assert [long.get("now").status_code, short.get("now").status_code] == [200, 401]
    site.clock.sleep(11 * 3_600)
    assert long.get("now").status_code == 401


@SQLITE_ONLY
def test_a_logout_ends_the_session_everywhere(site: Site) -> None:
    """The cookie is gone, and a copy of it is worth nothing; it takes the token of the forms."""
    browser = site.log_in(site.issue("read")[1])
    copy, csrf = browser.cookies[COOKIE], find_csrf(browser)
    assert browser.post("logout", headers={"Origin": HOST}, data={"x": "1"}).status_code == 403
    assert browser.post("logout", data={CSRF_FIELD: csrf}).status_code == 403
    answer = browser.post("logout", headers={"Origin": HOST}, data={CSRF_FIELD: csrf})
    assert (answer.status_code, answer.headers["location"]) == (303, "./")
    assert COOKIE not in browser.cookies
    assert site.browser().get("now", headers={"Cookie": f"{COOKIE}={copy}"}).status_code == 401
    assert site.count_sessions() == 0


def test_a_token_has_a_limited_number_of_sessions(site: Site) -> None:
    """Logins beyond the limit end the oldest session."""
    token = site.issue("read")[1]
    oldest = site.log_in(token)
    for _ in range(MAX_SESSIONS):
        site.clock.sleep(1)
        site.log_in(token)
    assert site.count_sessions() == MAX_SESSIONS
    site.clock.sleep(1)
    assert oldest.get("now").status_code == 401


@SQLITE_ONLY
def test_invented_sessions_refuse_no_valid_one(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Amid thousands of invented sessions, one that the process has never seen is valid; no invented one is read."""
    browser = site.log_in(site.issue("read")[1])
    found: list[str] = []
    find = access_tokens.find_session

    def counted(engine: Any, id_hash: str) -> Any:
        found.append(id_hash)
        return find(engine, id_hash)

    async def sleep(seconds: float) -> None:
        site.clock.sleep(seconds)

    def ask(cookie: str) -> Request:
        return Request({"type": "http", "headers": [(b"cookie", f"{COOKIE}={cookie}".encode())]})

    async def work() -> list[Any]:
        access = SessionAccess(site.page.runtime.engine, site.clock, site.authenticator, sleep)
        guesses = [access.identify(ask(f"guess-{number}")) for number in range(3_000)]
        return await asyncio.gather(*guesses, access.identify(ask(browser.cookies[COOKIE])))

    monkeypatch.setattr(access_tokens, "find_session", counted)
    visitors = asyncio.run(work())
    assert [visitor.name for visitor in visitors if visitor is not None] == ["ada"]
    assert len(found) == 1


@SQLITE_ONLY
def test_a_login_that_breaks_off_leaves_no_traceback(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that leaves while it sends the form is neither an error nor answered."""

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        seen.append(message)

    seen: list[Any] = []
    monkeypatch.setattr(application, "log_unexpected", lambda log, error, text, path: seen.append(error))
    headers = [(b"origin", HOST.encode()), (b"host", b"warm.example")]
    headers += [(b"content-type", b"application/x-www-form-urlencoded"), (b"content-length", b"100")]
    scope = {"type": "http", "method": "POST", "path": "/adwarm/login", "query_string": b"", "headers": headers}
    asyncio.run(site.app({**scope, "http_version": "1.1", "scheme": "https", "root_path": ""}, receive, send))
    assert seen == []


@SQLITE_ONLY
def test_the_page_works_below_a_path_of_a_proxy(site: Site) -> None:
    """The cookie, the redirects and the links hold below a path that the application does not know."""
    browser = site.browser("/tools/cache")
    token = site.issue("read")[1]
    assert browser.get(f"{HOST}/tools/cache/adwarm").headers["location"] == "adwarm/"
    assert post_login(browser, token, next="plan").headers["location"] == "plan"
    (cookie,) = browser.cookies.jar
    assert cookie.path == "/tools/cache/adwarm"
    assert browser.get("./").headers["location"] == "now"
    assert browser.get("plan").status_code == 200
    assert browser.post("logout", headers={"Origin": HOST}, data={CSRF_FIELD: find_csrf(browser)}).status_code == 303
    assert not browser.cookies


@SQLITE_ONLY
def test_requests_beside_the_page_reach_the_api(site: Site) -> None:
    """Only the page's own path, and the root that leads to it, are taken from the API."""
    browser = site.browser()
    for path in ("/v1/insights", "/adwarmer", "/healthz"):
        assert browser.get(f"{HOST}{path}").status_code == 204, path
    assert browser.get(f"{HOST}/adwarm/").status_code == 401


@SQLITE_ONLY
def test_the_login_page_says_when_the_cookie_would_be_dropped(site: Site) -> None:
    """Over plain HTTP from another machine, the login cannot work; over HTTPS and on the own machine it does."""
    warning = "only over HTTPS"
    browser = site.browser()
    assert warning in browser.get("http://warm.example/adwarm/now").text
    for url, headers in (
        ("http://127.0.0.1:8950", {}),
        ("http://localhost", {}),
        (HOST, {}),
        ("http://warm.example", {"X-Forwarded-Proto": "https"}),
        ("http://warm.example", {"Sec-Fetch-Site": "none"}),
    ):
        assert warning not in browser.get(f"{url}/adwarm/now", headers=headers).text, (url, headers)
