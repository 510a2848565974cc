"""Routes of the page: access, checks of forms, headers and the bound on SQL."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from markupsafe import Markup
from starlette.requests import Request

from adwarm.foundation.errors import Transient
from adwarm.foundation.simulation_note import SimulationNote
from adwarm.model import PolicyReview
from adwarm.pages.access import Visitor, make_csrf_token, make_seal
from adwarm.pages.application import build_page
from adwarm.pages.rendering import render
from adwarm.pages.views import TABS
from adwarm.store import write_transaction
from adwarm.store.page_files import PageFolder
from adwarm.store.snapshots import save_review
from tests.support.asgi_client import AsgiClient
from tests.unit.conftest import SQLITE_ONLY
from tests.unit.pages.conftest import ADMIN, START, VIEWER, NamedAccess, Page
from tests.unit.pages.probes import PROBE, check_forms

MOST_STATEMENTS = 16
SHOWN: dict[str, Any] = {
    "root": "", "tabs": [TABS[0]], "current": "", "visitor": ADMIN, "csrf_name": "c", "csrf_token": "t",
    "simulation": None,
}  # fmt: skip
"""What the layout of every page shows."""


def test_each_tab_is_shown_without_data_by_few_statements(page: Page, subtests: pytest.Subtests) -> None:
    """Over an empty installation no tile of a tab fails, and all together run at most 16 SQL statements."""
    for tab in TABS:
        page.get(f"/{tab.name}?plain=1")
        with subtests.test(tab=tab.name), page.counting_statements() as statements:
            response = page.get(f"/{tab.name}?plain=1")
            assert response.status_code == 200
            assert "this part of the page failed" not in response.text
            assert len(statements) <= MOST_STATEMENTS, statements


@SQLITE_ONLY
def test_a_page_of_simulated_data_says_so(page: Page) -> None:
    """Each tab shows the note, escaped, and the time at which the page stands; without a note nothing is shown."""
    assert "This page stands" not in page.get("/now?plain=1").text
    page.runtime.simulation = SimulationNote("Simulated <opens>.", datetime(2013, 3, 30, 4, tzinfo=UTC))
    del page.runtime.__dict__["page_services"]
    for tab in TABS:
        text = page.get(f"/{tab.name}?plain=1").text
        assert "Simulated &lt;opens&gt;. This page stands at 2013-03-30 04:00 UTC." in text


@SQLITE_ONLY
def test_no_route_answers_an_anonymous_caller(page: Page) -> None:
    """Every route of the application refuses a caller who is not logged in, whatever its method."""
    for route in page.client.app.routes:  # type: ignore[attr-defined]
        path = route.path.replace("{name}", "page.css").replace("{run_id:path}", "newest")
        for method in route.methods:
            assert page.client.request(method, path).status_code == 401, (method, path)
    assert page.get("/nothing-there", None).status_code == 401


@SQLITE_ONLY
def test_a_viewer_cannot_post(page: Page) -> None:
    """Every form refuses a visitor who may only look."""
    for route in page.client.app.routes:  # type: ignore[attr-defined]
        if "POST" in route.methods:
            assert page.post(route.path.strip("/"), VIEWER).status_code == 403, route.path


@SQLITE_ONLY
def test_pages_have_a_strict_policy(page: Page) -> None:
    """Nothing from elsewhere, nothing inline, and only pages of the same origin may frame it."""
    policy = page.get("/now", ADMIN).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self'" in policy
    assert "unsafe" not in policy


@SQLITE_ONLY
def test_paths_that_do_not_exist_and_methods_that_are_not_answered(page: Page) -> None:
    """A visitor gets a page that says so, with links that lead back; nobody gets a file from elsewhere."""
    for path in ("/nothing", "/static/..%2faccess.py", "/static/..%2f..%2f..%2fetc%2fpasswd", "/static/page.css/x"):
        answer = page.get(path)
        assert (answer.status_code, "Not found" in answer.text) == (404, True), path
    assert 'href="../../static/page.css' in page.get("/nothing/at/all").text
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        answer = page.client.request(method, "/now", headers={"x-visitor": "admin"})
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET"), method


@SQLITE_ONLY
def test_head_is_answered_from_get(page: Page) -> None:
    """HEAD has the headers of GET and no body."""
    answer = page.client.head("/now", headers={"x-visitor": "admin"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) > 100


@SQLITE_ONLY
def test_static_files_are_kept_until_they_change(page: Page) -> None:
    """The URL of a static file holds a hash of the files, so browsers may keep them; every other answer is not kept."""
    text = page.get("/now").text
    (url,) = re.findall(r'href="(static/page.css\?v=[0-9a-f]{12})"', text)
    assert "immutable" in page.get(f"/{url}").headers["cache-control"]
    assert page.get("/now").headers["cache-control"] == "private, no-store"


@SQLITE_ONLY
def test_only_the_page_itself_shows_messages(page: Page) -> None:
    """The message in a URL is shown when it has the seal of the page for this visitor, and no other one."""
    url = f"/now?{urlencode({'done': 'all is warm', 'seal': make_seal(ADMIN, 'all is warm')})}"
    assert "all is warm" in page.get(url).text
    assert "all is warm" not in page.get(url, VIEWER).text
    assert "all is warm" not in page.get("/now?done=all+is+warm").text


@SQLITE_ONLY
def test_a_login_page_leads_back_to_the_tab(page: Page) -> None:
    """After the login, the tab that was asked for is shown; any other path leads to the start page."""
    assert 'name="next" value="plan?run=a&amp;b=%22"' in page.get("/plan?run=a&b=%22", None).text
    for path in ("/tiles/plan/x", "/evil.example/plan", "/nothing"):
        assert 'name="next" value="./"' in page.get(path, None).text, path


def test_a_review_is_shown_in_a_sandbox(page: Page) -> None:
    """A stored page runs no script and has no access to the login; a missing one says what to do."""
    assert "makes one every Monday" in page.get("/reviews/newest").text
    body = b"<!doctype html><script>let seen = 1;</script><p>the page</p>"
    path = PageFolder(page.runtime.settings.data).write("review-1.html", body)
    with write_transaction(page.runtime.engine) as connection:
        review = PolicyReview("dag/run 1", START, "kept", "population", None, None, path, {"why": "it is good"})
        save_review(connection, review)
    answer = page.get("/reviews/newest")
    assert (answer.status_code, answer.content) == (200, body)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline';")
    assert policy.endswith("; sandbox")
    assert "script" not in policy
    assert page.get("/reviews/dag%2Frun%201").content == body


class FailingAccess:
    """Finds nobody, because something failed."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def identify(self, request: Request) -> Visitor | None:
        raise self.error

    def describe_login(self, request: Request) -> Mapping[str, Any]:
        raise self.error


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("error", "status", "shown"),
    [(Transient("the database is away"), 503, "the database is away"), (ValueError("secret-1"), 500, "the log of")],
)
def test_an_error_is_a_page_without_its_traceback(page: Page, error: Exception, status: int, shown: str) -> None:
    """A known error says what to do; the text of any other one is not shown."""
    client = AsgiClient(build_page(TABS, lambda: page.services, FailingAccess(error)))
    answer = client.get("/now")
    assert answer.status_code == status
    assert shown in answer.text
    assert "Traceback" not in answer.text
    assert "secret-1" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


@SQLITE_ONLY
def test_a_url_that_is_too_long_is_refused(page: Page) -> None:
    """A path with its query has a limit."""
    assert page.get(f"/now?run={'x' * 5_000}").status_code == 414


@SQLITE_ONLY
def test_forms_are_carried_out_only_as_the_page_sends_them(page: Page) -> None:
    """Login, permission, origin, token, size and type of a form are checked before its handler runs."""
    app = build_page((*TABS, PROBE), lambda: page.services, NamedAccess())
    client = AsgiClient(app, follow_redirects=False)
    visitor, viewer = {"x-visitor": "admin"}, {"x-visitor": "viewer"}
    check_forms(client.request, "", "http://testserver", visitor, viewer, make_csrf_token(ADMIN))


def test_a_name_cannot_turn_the_text_after_it(page: Page) -> None:
    """Marks that turn the direction of text are shown as what they are; tags made by the page stay tags."""
    text = render("message.html", {**SHOWN, "title": "a\u202egnp.exe", "text": Markup("<b>bold</b>")})
    assert "a\ufffdgnp.exe" in text
    assert "<b>bold</b>" in text
