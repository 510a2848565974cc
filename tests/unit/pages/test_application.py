"""Routes of the page: access, checks of forms, headers and the bound on SQL."""

import pytest

from adwarm.pages.tabs import TABS
from tests.unit.pages.conftest import ADMIN, VIEWER, Page

MOST_STATEMENTS = 10


@pytest.mark.parametrize("tab", TABS, ids=lambda tab: tab.name)
def test_each_tab_is_shown_without_data(page: Page, tab: object) -> None:
    """Each tab, with all its tiles, is shown over an empty installation, without an error in any tile."""
    response = page.get(f"/{tab.name}?plain=1")  # type: ignore[attr-defined]
    assert response.status_code == 200
    assert "this part of the page failed" not in response.text


@pytest.mark.parametrize("tab", TABS, ids=lambda tab: tab.name)
def test_a_tab_runs_few_statements(page: Page, tab: object) -> None:
    """All tiles of a tab together run at most ten SQL statements."""
    page.get(f"/{tab.name}?plain=1")  # type: ignore[attr-defined]
    with page.counting_statements() as statements:
        page.get(f"/{tab.name}?plain=1")  # type: ignore[attr-defined]
    assert len(statements) <= MOST_STATEMENTS, statements


def test_no_route_answers_an_anonymous_caller(page: Page) -> None:
    """Every route of the application refuses a caller who is not logged in, whatever its method."""
    for route in page.client.app.routes:  # type: ignore[attr-defined]
        path = route.path.replace("{name}", "page.css")
        for method in route.methods:
            assert page.client.request(method, path).status_code == 401, (method, path)
    assert page.get("/nothing-there", None).status_code == 401


def test_a_viewer_cannot_post(page: Page) -> None:
    """Every form refuses a visitor who may only look."""
    for route in page.client.app.routes:  # type: ignore[attr-defined]
        if "POST" in route.methods:
            assert page.post(route.path.strip("/"), VIEWER).status_code == 403, route.path


def test_pages_have_a_strict_policy(page: Page) -> None:
    """Nothing from elsewhere, nothing inline, and only pages of the same origin may frame it."""
    policy = page.get("/now", ADMIN).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self'" in policy
    assert "unsafe" not in policy
