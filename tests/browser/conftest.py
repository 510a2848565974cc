"""Chromium, and adwarm with the dashboard. Tests are skipped where a part is missing, and say which one."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .product import ROOT, Product

DIST = ROOT / "examples/dashboard/dist"
WIDE = {"width": 1280, "height": 900}


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")
    path = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    # As root, which is how CI runs, Chromium refuses to start in its sandbox.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=path, args=arguments)
        yield running
        running.close()


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    """adwarm with the dashboard and an empty cache."""
    if not (DIST / "index.html").is_file():
        pytest.skip("the dashboard is not built: make test-browser builds it")
    installed = Product(DIST, tmp_path)
    yield installed
    installed.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens pages, each in a profile of its own; a page that logs an error or breaks its policy fails the test."""
    contexts, complaints = [], []

    def open_one(viewport: dict[str, int] | None = None) -> Any:
        context = browser.new_context(viewport=viewport or WIDE, reduced_motion="reduce", locale="en-GB")
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if _is_complaint(message) else None)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert complaints == []


def _is_complaint(message: Any) -> bool:
    # An answer with an error status is logged as one; whether it is expected is the test's to say.
    return message.type == "error" and not message.text.startswith("Failed to load resource")
