"""The dashboard's files: readable without a token, and nothing else is."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from adwarm.foundation.errors import BadRequest
from adwarm.serving.api.dashboard import mount_dashboard
from adwarm.serving.problems import unauthorized

SECRET = "a secret beside the folder"


class _Closed:
    """Stands for the check of tokens: nothing behind it is reached."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        problem = unauthorized()
        await send({"type": "http.response.start", "status": problem.status, "headers": []})
        await send({"type": "http.response.body", "body": problem.body()})


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    """A client of an application that answers nothing but the dashboard."""
    home = tmp_path_factory.mktemp("home")
    (home / "secret.txt").write_text(SECRET)
    (home / "dist-other").mkdir()
    (home / "dist-other" / "index.html").write_text(SECRET)
    folder = home / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>page</title>")
    (folder / "assets" / "index-1a2b.js").write_text("export {}")
    (folder / ".env").write_text(SECRET)
    (folder / "link.txt").symlink_to(home / "secret.txt")
    app = FastAPI()
    app.add_middleware(_Closed)
    mount_dashboard(app, folder)
    return TestClient(app, follow_redirects=False)


def test_the_page_loads_without_a_token(client: TestClient) -> None:
    """The page and its script are answered; the page is revalidated, a file with a hash in its name is kept."""
    page, script = client.get("/dashboard/"), client.get("/dashboard/assets/index-1a2b.js")

    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["cache-control"] == "no-cache"
    assert (script.status_code, script.text) == (200, "export {}")
    assert script.headers["content-type"].startswith("text/javascript")
    assert "immutable" in script.headers["cache-control"]


def test_the_copy_of_a_browser_is_revalidated(client: TestClient) -> None:
    """The page has a validator, and a request with it gets 304 with the same headers."""
    tag = client.get("/dashboard/").headers["etag"]
    answer = client.get("/dashboard/", headers={"If-None-Match": tag})

    assert (answer.status_code, answer.content) == (304, b"")
    assert "content-security-policy" in answer.headers


def test_the_path_without_a_slash_leads_to_the_page(client: TestClient) -> None:
    """The redirect is relative, so no header decides where it leads."""
    answer = client.get("/dashboard", headers={"Host": "evil.test"})

    assert (answer.status_code, answer.headers["location"]) == (308, "dashboard/")


def test_nothing_else_is_open(client: TestClient, subtests: pytest.Subtests) -> None:
    """Every other path is left to what checks tokens."""
    for path in [
        "/",
        "/dashboardx",
        "/dashboard.html",
        "/v1/insights/act_1/last_7d",
        "/metrics",
        "//dashboard/",
        "/Dashboard/",
    ]:
        with subtests.test(path=path):
            assert client.get(f"http://testserver{path}").status_code == 401


def test_only_files_of_the_folder_are_served(client: TestClient, subtests: pytest.Subtests) -> None:
    """No path leads out of the folder, to a hidden file or to a list of a folder."""
    for path in [
        "/dashboard/../secret.txt",
        "/dashboard/%2e%2e/secret.txt",
        "/dashboard/..%2fsecret.txt",
        "/dashboard/assets/../../secret.txt",
        "/dashboard/%2e%2e%2fdist-other/index.html",
        "/dashboard//etc/passwd",
        "/dashboard/%00",
        "/dashboard/.env",
        "/dashboard/link.txt",
        "/dashboard/assets",
        "/dashboard/assets/",
        "/dashboard/nothing",
        f"/dashboard/{'a' * 5000}",
    ]:
        with subtests.test(path=path):
            answer = client.get(f"http://testserver{path}")

            assert answer.status_code in {401, 404}
            assert SECRET not in answer.text


@given(st.lists(st.sampled_from(["..", ".", "", "%2e", "%2f", "%5c", "assets", "secret.txt", "dist-other", ".env"])))
def test_no_path_reaches_the_secret(client: TestClient, parts: list[str]) -> None:
    """Whatever the parts of a path are, it reads nothing outside the folder."""
    assert SECRET not in client.get(f"http://testserver/dashboard/{'/'.join(parts)}").text


def test_files_can_only_be_read(client: TestClient, subtests: pytest.Subtests) -> None:
    """Other methods are refused with the ones that work."""
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"]:
        with subtests.test(method=method):
            answer = client.request(method, "/dashboard/")

            assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


def test_head_has_the_headers_alone(client: TestClient) -> None:
    """HEAD answers as GET does, without the body."""
    assert client.head("/dashboard/").headers["content-length"] == str(len(client.get("/dashboard/").content))
    assert client.head("/dashboard/").content == b""


def test_scripts_of_others_cannot_run(client: TestClient, subtests: pytest.Subtests) -> None:
    """Each answer allows scripts, styles and calls of its own origin only, in no frame, and types are not guessed."""
    for path in ["/dashboard/", "/dashboard", "/dashboard/nothing", "/dashboard/assets/index-1a2b.js"]:
        with subtests.test(path=path):
            answer = client.get(path)
            rules = dict(rule.strip().split(" ", 1) for rule in answer.headers["content-security-policy"].split(";"))

            assert rules["default-src"] == rules["form-action"] == rules["frame-ancestors"] == "'none'"
            assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
            assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_folder_that_was_not_built_is_refused(tmp_path: Path) -> None:
    """The message names the setting and what to do."""
    with pytest.raises(BadRequest, match=r"ADWARM_SERVING__DASHBOARD.*no index\.html; build examples/dashboard"):
        mount_dashboard(FastAPI(), tmp_path)
