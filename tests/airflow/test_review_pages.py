"""The page of a review in Airflow's web server: only for people who may read the DAG, without access to a session."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adwarm.model import PolicyReview
from adwarm.runtime import Runtime
from adwarm.store import write_transaction
from adwarm.store.page_files import PageFolder
from adwarm.store.reviews import save_review

RUN = "adwarm_policy_review/manual__2026-03-02T03:00:00+00:00/Ä %"
PAGE = b"<!doctype html><script>let seen = 1;</script><p>the page</p>"


@pytest.fixture(scope="module")
def client(airflow_home: Path) -> Iterator[Any]:
    """A client of Airflow's web server with the package's plugin, without credentials."""
    from airflow.api_fastapi.app import create_app, purge_cached_app
    from fastapi.testclient import TestClient

    purge_cached_app()
    yield TestClient(create_app(apps="core"))
    purge_cached_app()


@pytest.fixture
def token(client: Any) -> dict[str, str]:
    """The header of a signed-in user."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    user = SimpleAuthManagerUser(username="ada", role="viewer")
    return {"Authorization": f"Bearer {get_auth_manager().generate_jwt(user)}"}


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stored review with a page, and one without."""
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path))
    runtime = Runtime()
    page = PageFolder(runtime.settings.data).write("review-1.html", PAGE)
    at, why = datetime(2026, 3, 2, 3, tzinfo=UTC), {"why": "the log is <short>"}
    with write_transaction(runtime.engine) as connection:
        save_review(connection, PolicyReview(RUN, at, "kept", "population", None, None, page, why))
        save_review(connection, PolicyReview("short", at, "too_little_log", "population", None, None, None, why))


def test_the_page_is_served_to_signed_in_users(client: Any, token: dict[str, str], stored: None) -> None:
    """The link of the task leads to the stored bytes, whatever characters the run id has."""
    from adwarm_airflow.review_pages import review_url

    answer = client.get(review_url(RUN), headers=token)
    assert (answer.status_code, answer.content) == (200, PAGE)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy
    assert "sandbox allow-scripts" in policy
    assert "allow-same-origin" not in policy
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["/adwarm/reviews/short", "/adwarm/reviews/", "/adwarm/reviews/docs", "/adwarm/reviews/openapi.json"]
)
def test_anonymous_callers_get_nothing(client: Any, stored: None, path: str) -> None:
    """No route answers without credentials, also not with a wrong token."""
    assert client.get(path).status_code == 401
    assert client.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 403


def test_a_missing_page_says_why(client: Any, token: dict[str, str], stored: None) -> None:
    """A review without a page gives its reason, escaped; an unknown run is not found, and neither are other paths."""
    answer = client.get("/adwarm/reviews/short", headers=token)
    assert (answer.status_code, "the log is &lt;short&gt;" in answer.text) == (404, True)
    assert client.get("/adwarm/reviews/..%2F..%2Fetc%2Fpasswd", headers=token).status_code == 404
    assert client.post("/adwarm/reviews/short", headers=token).status_code == 405


def test_the_task_links_to_its_page(dags: dict[str, Any]) -> None:
    """The review's task carries the link; its URL names the stored review."""
    task = dags["adwarm_policy_review"].get_task("review")
    (link,) = task.operator_extra_links
    key = SimpleNamespace(dag_id="adwarm_policy_review", run_id="manual__2026-03-02T03:00:00+00:00")
    assert link.get_link(task, ti_key=key).endswith(
        "/adwarm/reviews/adwarm_policy_review%2Fmanual__2026-03-02T03%3A00%3A00%2B00%3A00"
    )
