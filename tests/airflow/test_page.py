"""The page in Airflow's web server: Airflow's login and permissions, no route without them, and stored reviews."""

import base64
import importlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from adwarm.model import AccessToken, PolicyReview, TokenScope
from adwarm.pages.access import Permission, make_csrf_token
from adwarm.runtime import Runtime
from adwarm.serving.tokens import make_token
from adwarm.store import write_transaction
from adwarm.store.access_tokens import insert_token
from adwarm.store.page_files import PageFolder
from adwarm.store.snapshots import save_review
from tests.support.asgi_client import AsgiClient
from tests.unit.pages.probes import PROBE, check_forms

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


def test_a_browser_shows_that_the_page_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """While imports take their time, a document is answered with one that asks again; what a script asks for waits."""
    from adwarm_airflow import page

    built = Event()

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("the page")(scope, receive, send)

    def build() -> Any:
        built.wait(10)
        return answer

    monkeypatch.setattr(page, "_PATIENCE_SECONDS", 0.02)
    monkeypatch.setattr(page, "build_app", build)
    browser = AsgiClient(page.PageApp())
    first = browser.get("/fatigue", headers={"sec-fetch-dest": "iframe"})
    assert ("Loading ..." in first.text, 'http-equiv="refresh"' in first.text) == (True, True)
    built.set()
    assert browser.get("/tiles/fatigue/today", headers={"sec-fetch-dest": "empty"}).text == "the page"
    assert browser.get("/fatigue", headers={"sec-fetch-dest": "document"}).text == "the page"


def test_a_page_that_cannot_be_built_is_no_page_that_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the build fails behind a page that asks again, the next request of the browser raises the error."""
    from adwarm_airflow import page

    is_asked_again = Event()

    def build() -> Any:
        is_asked_again.wait(10)
        raise ImportError("no jinja2")

    monkeypatch.setattr(page, "_PATIENCE_SECONDS", 0.02)
    monkeypatch.setattr(page, "build_app", build)
    app = page.PageApp()
    assert "Loading ..." in AsgiClient(app).get("/fatigue", headers={"sec-fetch-dest": "iframe"}).text
    is_asked_again.set()
    with app._lock:  # the first build has ended
        pass
    with pytest.raises(ImportError, match="no jinja2"):
        AsgiClient(app).get("/fatigue", headers={"sec-fetch-dest": "iframe"})


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


@pytest.mark.parametrize(
    "name",
    [
        "airflow.api_fastapi.app:get_auth_manager",
        "airflow.api_fastapi.auth.managers.models.resource_details:DagDetails",
        "airflow.api_fastapi.auth.tokens:get_signing_key",
        "airflow.api_fastapi.core_api.security:get_user",
        "airflow.models.dag:DagModel",
    ],
)
def test_without_airflows_login_the_page_takes_tokens(client: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Where Airflow lacks a name that it does not promise, only a token opens it."""
    from fastapi.testclient import TestClient

    import adwarm_airflow
    from adwarm_airflow import airflow_login, page

    module, _, part = name.partition(":")
    with monkeypatch.context() as patch:
        patch.setattr(adwarm_airflow, "airflow_login", airflow_login)  # restored with the rest
        patch.delitem(sys.modules, "adwarm_airflow.airflow_login")
        patch.delattr(importlib.import_module(module), part)
        app = page.build_app()
    runtime, new = Runtime(), make_token()
    token = AccessToken(id=new.id, name="ada", scopes=frozenset({TokenScope.READ}), created_at=runtime.clock.now())
    insert_token(runtime.engine, token, new.secret_hash)
    with TestClient(app, base_url="https://testserver", follow_redirects=False) as browser:
        assert browser.get("/now", headers=log_in(client, "ADMIN")).status_code == 401
        sent = browser.post("/login", data={"token": new.text}, headers={"Origin": "https://testserver"})
        assert sent.status_code == 303
        session = sent.headers["set-cookie"].partition(";")[0]
        assert browser.get("/now", headers={"Cookie": session}).status_code == 200


def test_no_route_answers_without_a_login(client: Any) -> None:
    """Every route, also of static files and of paths that do not exist, refuses a caller without a login."""
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

    viewer = describe_visitor(_get_user("VIEWER"))
    assert viewer.permissions == {Permission.VIEW}
    assert "the right to trigger the DAG adwarm_strategy_warming" in viewer.explain(Permission.WARM)
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
    from adwarm_airflow.page_links import get_review_url

    answer = client.get(get_review_url(RUN), headers=log_in(client, "VIEWER"))
    assert (answer.status_code, answer.content) == (200, PAGE)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert policy.endswith("; sandbox")
    assert "script-src" not in policy
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_missing_review_says_why(client: Any, stored: None) -> None:
    """A review without a page gives its reason, escaped; an unknown run is not found, and neither are other paths."""
    headers = log_in(client, "VIEWER")
    answer = client.get("/adwarm/reviews/short", headers=headers)
    assert (answer.status_code, "the log is &lt;short&gt;" in answer.text) == (404, True)
    assert client.get("/adwarm/reviews/..%2F..%2Fetc%2Fpasswd", headers=headers).status_code == 404
    assert client.post("/adwarm/reviews/short", headers=headers).status_code == 405


@pytest.mark.parametrize(
    ("dag_id", "task_id", "name", "path"),
    [
        ("adwarm_intelligent_warming", "plan", "Plan of this run", "plan?run={dag}%2F{run}"),
        ("adwarm_intelligent_warming", "warm", "Plan of this run", "plan?run={dag}%2F{run}"),
        ("adwarm_intelligent_warming", "score_closed_days", "Fatigue scores", "fatigue"),
        ("adwarm_daily_insights", "plan_day", "Plan of this run", "plan?run={dag}%2F{run}"),
        ("adwarm_daily_insights", "score_day", "Fatigue scores", "fatigue"),
        ("adwarm_strategy_warming", "plan", "Plan of this run", "plan?run={dag}%2F{run}"),
        ("adwarm_request_queue", "drain", "Limits and queue", "flow"),
        ("adwarm_policy_review", "review", "Review page", "reviews/{dag}%2F{run}"),
    ],
)
def test_tasks_link_to_the_page(
    dags: dict[str, Any], dag_id: str, task_id: str, name: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The web server finds the link in the stored form of the DAG; its URL leads to what the task's run did."""
    from airflow.sdk.definitions.mappedoperator import MappedOperator
    from airflow.serialization.serialized_objects import DagSerialization

    task = dags[dag_id].get_task(task_id)
    (link,) = task.operator_extra_links
    # Airflow's scheduler, and clearing a task as tests do, turns the links off for the whole process.
    monkeypatch.setattr(DagSerialization, "_load_operator_extra_links", True)
    key = SimpleNamespace(dag_id=dag_id, run_id="manual__2026-03-02T03:00:00+00:00")
    run = "manual__2026-03-02T03%3A00%3A00%2B00%3A00"
    assert link.get_link(task, ti_key=key).endswith(f"/adwarm/{path.format(dag=dag_id, run=run)}")
    assert isinstance(task, MappedOperator) == (task_id == "warm")
    stored = DagSerialization.from_dict(DagSerialization.to_dict(dags[dag_id])).get_task(task_id)
    assert list(stored.extra_links) == [name]


def test_operators_of_other_dags_link_to_the_page() -> None:
    """Operators that a user puts into a DAG link to the tab about what they do."""
    from adwarm_airflow.operators import PrefetchInsightsOperator, ScoreFatigueOperator

    prefetch = PrefetchInsightsOperator(task_id="prefetch", accounts=["act_1"], date_ranges=["yesterday"])
    score = ScoreFatigueOperator(task_id="score", as_of="2026-03-02")
    links = [link.get_link(task, ti_key=None) for task in (prefetch, score) for link in task.operator_extra_links]
    assert [url.rpartition("/adwarm/")[2] for url in links] == ["flow", "fatigue"]


def test_forms_are_carried_out_only_as_the_page_sends_them(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Login, permission, origin, token, size and type of a form are checked before its handler runs."""
    from adwarm.pages import views
    from adwarm_airflow import page

    monkeypatch.setattr(views, "TABS", (*views.TABS, PROBE))
    monkeypatch.setattr(_get_plugin_app(), "_app", page.build_app())
    visitor, viewer = ({"Cookie": f"_token={make_jwt(role)}"} for role in ("USER", "VIEWER"))
    csrf = make_csrf_token(page.describe_visitor(_get_user("USER")))
    check_forms(client.request, "/adwarm", "http://testserver", visitor, viewer, csrf)
