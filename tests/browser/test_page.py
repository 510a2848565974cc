"""The page beside the read API in Chromium: log in, every tab, a refused action, and log out."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adwarm.pages.tabs import TABS

from .product import ACCOUNTS, Product

OpenPage = Callable[..., Any]
Screenshot = Callable[[Any, str], None]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Product]:
    """adwarm without the dashboard, with some warm reports and scores."""
    installed = Product(None, tmp_path)
    installed.warm(ACCOUNTS[0])
    yield installed
    installed.close()


def log_in(page: Any, product: Product, scope: str) -> None:
    """Open the page, and send a new token of a scope."""
    page.goto(f"{product.url}/adwarm/")
    page.get_by_label("Token").fill(product.make_token(scope, limited=False))
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Log out").wait_for()


def test_every_tab_is_shown(served: Product, open_page: OpenPage, screenshot: Screenshot) -> None:
    """A visitor opens every tab, each tile is filled without an error, and a narrow screen needs no scrolling."""
    page = open_page()
    log_in(page, served, "read")
    for tab in [tab for tab in TABS if tab.is_listed]:
        page.get_by_role("link", name=tab.title, exact=True).click()
        page.get_by_role("heading", level=1, name=tab.title).wait_for()
        page.locator("[aria-busy]").first.wait_for(state="detached")
        assert page.locator(".failed").count() == 0, tab.name
        assert page.get_by_text("this part of the page failed").count() == 0, tab.name
        screenshot(page, f"page-{tab.name}")
        page.set_viewport_size({"width": 360, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, tab.name
        page.set_viewport_size({"width": 1280, "height": 900})


def test_the_keyboard_reaches_the_content(served: Product, open_page: OpenPage) -> None:
    """The first stop of the keyboard skips the navigation."""
    page = open_page()
    log_in(page, served, "read")
    page.goto(f"{served.url}/adwarm/now")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_a_viewer_is_refused_and_logs_out(served: Product, open_page: OpenPage) -> None:
    """An action of a viewer is refused by the server, whatever the page shows; after the logout, nothing is shown."""
    page = open_page()
    log_in(page, served, "read")
    csrf = page.locator("input[name=csrf_token]").first.input_value()
    names = [form.name for tab in TABS for form in tab.forms]
    for name in names:
        answer = page.request.post(
            f"{served.url}/adwarm/{name}", form={"csrf_token": csrf}, headers={"Origin": served.url}
        )
        assert answer.status == 403, name
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("button", name="Log in").wait_for()
    assert page.context.cookies() == []
    assert re.search(r"/adwarm/$", page.url)
