"""The page in Airflow's web server: Airflow's login and permissions, no route without them, and stored reviews."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adwarm.model import PolicyReview
from adwarm.pages.access import Permission
from adwarm.runtime import Runtime
from adwarm.store import write_transaction
from adwarm.store.page_files import PageFolder
from adwarm.store.reviews import save_review

RUN = "adwarm_policy_review/manual__2026-03-02T03:00:00+00:00/Ä %"
PAGE = b"<!doctype html><script>let seen = 1;</script><p>the page</p>"
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def client(airflow_home: Path) -> Iterator[Any]:
    """A client of Airflow's web server with the package's plugin, without credentials."""
    from airflow.api_fastapi.app import create_app, purge_cached_app
    from fastapi.testclient import TestClient

    purge_cached_app()
    yield TestClient(create_app(apps="core"), follow_redirects=False)
    purge_cached_app()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty installation of adwarm, which the page opens at its first request."""
    from adwarm_airflow import page

    monkeypatch.setenv("ADWARM_HOME", str(tmp_path))
    monkeypatch.setattr(_get_plugin_app(), "_app", page.build_app())
    return tmp_path


def _get_plugin_app() -> Any:
    from airflow import plugins_manager

    apps, _ = plugins_manager.get_fastapi_plugins()
    return next(item["app"] for item in apps if item["url_prefix"] == "/adwarm")


def make_jwt(role: str, name: str = "ada") -> str:
    """Return the login of a user with a role."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    return str(get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=name, role=role)))


def log_in(client: Any, role: str, name: str = "ada") -> dict[str, str]:
    """Return the headers of a browser that is logged in."""
    return {"Cookie": f"_token={make_jwt(role, name)}", "Origin": "http://testserver"}


def _get_user(role: str, name: str = "ada") -> Any:
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    return SimpleAuthManagerUser(username=name, role=role)


@pytest.fixture
def stored(home: Path) -> None:
    """A stored review with a page, and one without."""
    runtime = Runtime()
    page = PageFolder(runtime.settings.data).write("review-1.html", PAGE)
    at, why = datetime(2026, 3, 2, 3, tzinfo=UTC), {"why": "the log is <short>"}
    with write_transaction(runtime.engine) as connection:
        save_review(connection, PolicyReview(RUN, at, "kept", "population", None, None, page, why))
        save_review(connection, PolicyReview("short", at, "too_little_log", "population", None, None, None, why))


def list_routes() -> list[tuple[str, str]]:
    """Return method and path of every route of the mounted page."""
    from adwarm_airflow.page import build_app

    found = []
    for route in build_app().routes:
        path = route.path.replace("{name}", "page.css").replace("{run_id:path}", "newest")  # type: ignore[attr-defined]
        found += [(method, f"/adwarm{path}") for method in route.methods]  # type: ignore[attr-defined]
    return sorted(found)


def test_no_route_answers_without_a_login(client: Any) -> None:
    """Every route, also those of static files and of paths that do not exist, refuses a caller without a valid login."""
    for method, path in [*list_routes(), ("GET", "/adwarm/docs"), ("GET", "/adwarm/openapi.json")]:
        assert client.request(method, path).status_code == 401, (method, path)
        wrong = {"Authorization": "Bearer wrong", "Origin": "http://testserver"}
        assert client.request(method, path, headers=wrong).status_code == 401, (method, path)
        assert client.request("HEAD" if method == "GET" else method, path).status_code == 401, (method, path)


def test_a_viewer_sees_every_tab_and_changes_nothing(client: Any) -> None:
    """A role that may only read opens every route with GET, and no form is carried out for it."""
    headers = log_in(client, "VIEWER")
    for method, path in list_routes():
        status = client.request(method, path, headers=headers).status_code
        assert status in ({403} if method == "POST" else {200, 307, 404}), (method, path, status)


def test_permissions_follow_the_rights_on_dags(client: Any) -> None:
    """A viewer may look; whoever may trigger and change adwarm's DAGs may do everything."""
    from adwarm_airflow.page import describe_visitor

    assert describe_visitor(_get_user("VIEWER")).permissions == {Permission.VIEW}
    assert describe_visitor(_get_user("USER")).permissions == set(Permission)


def test_the_secret_of_forms_outlives_a_renewed_login(client: Any) -> None:
    """It is the same after the auth manager has replaced the login of a user, and another one for another user."""
    from adwarm_airflow.page import describe_visitor

    first, again, other = (describe_visitor(_get_user("USER", name)) for name in ("ada", "ada", "bob"))
    assert make_jwt("USER") != make_jwt("USER", "bob")
    assert first.credential == again.credential != other.credential


def test_hostile_names_stay_text(client: Any) -> None:
    """The name of a user is shown as text."""
    text = client.get("/adwarm/now", headers=log_in(client, "VIEWER", HOSTILE)).text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert HOSTILE not in text


def test_the_login_page_leads_to_the_login_of_airflow(client: Any) -> None:
    """An anonymous caller gets a page with a link to Airflow's login, which comes back to what was asked for."""
    text = client.get("/adwarm/plan?run=a%2Fb").text
    assert 'href="/api/v2/auth/login?next=%2Fadwarm%2Fplan%3Frun%3Da%252Fb"' in text


def test_views_are_shown_by_airflow(client: Any) -> None:
    """Airflow lists the page for its navigation, for DAGs and for runs, with an icon and relative URLs."""
    headers = {"Authorization": f"Bearer {make_jwt('ADMIN')}"}
    plugins = client.get("/api/v2/plugins", headers=headers).json()["plugins"]
    views = {view["destination"]: view for view in next(p for p in plugins if p["name"] == "adwarm")["external_views"]}
    assert {name: (view["href"], view["url_route"]) for name, view in views.items()} == {
        "nav": ("adwarm/", "adwarm"),
        "dag": ("adwarm/", "adwarm-dag"),
        "dag_run": ("adwarm/plan?run={DAG_ID}%2F{RUN_ID}", "adwarm-run"),
    }
    icon = views["nav"]["icon"].removeprefix("data:image/svg+xml;base64,")
    assert base64.b64decode(icon).startswith(b"<svg")


def test_a_stored_review_is_shown_in_a_sandbox(client: Any, stored: None) -> None:
    """The link of the task leads to the stored bytes, whatever characters the run id has."""
    from adwarm_airflow.page import get_review_url

    answer = client.get(get_review_url(RUN), headers=log_in(client, "VIEWER"))
    assert (answer.status_code, answer.content) == (200, PAGE)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy
    assert "sandbox allow-scripts" in policy
    assert "allow-same-origin" not in policy
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_missing_review_says_why(client: Any, stored: None) -> None:
    """A review without a page gives its reason, escaped; an unknown run is not found, and neither are other paths."""
    headers = log_in(client, "VIEWER")
    answer = client.get("/adwarm/reviews/short", headers=headers)
    assert (answer.status_code, "the log is &lt;short&gt;" in answer.text) == (404, True)
    assert client.get("/adwarm/reviews/..%2F..%2Fetc%2Fpasswd", headers=headers).status_code == 404
    assert client.post("/adwarm/reviews/short", headers=headers).status_code == 405


def test_the_review_task_links_to_its_page(dags: dict[str, Any]) -> None:
    """The review's task carries the link; its URL names the stored review."""
    task = dags["adwarm_policy_review"].get_task("review")
    (link,) = task.operator_extra_links
    key = SimpleNamespace(dag_id="adwarm_policy_review", run_id="manual__2026-03-02T03:00:00+00:00")
    assert link.get_link(task, ti_key=key).endswith(
        "/adwarm/reviews/adwarm_policy_review%2Fmanual__2026-03-02T03%3A00%3A00%2B00%3A00"
    )
