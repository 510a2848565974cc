"""Chromium, and the API that serves the dashboard. Tests are skipped where a part is missing, and say which one."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

try:
    from .real_api import RealApi as Api
except ImportError:  # a part of `adwarm serve` is not there
    from .stub_api import StubApi as Api  # type: ignore[assignment]
ROOT = Path(__file__).resolve().parents[2]
DIST = ROOT / "examples/dashboard/dist"
SCREENSHOTS = ROOT / ".adwarm/screenshots"
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
def api(tmp_path: Path) -> Iterator[Api]:
    """The API with the dashboard and an empty cache."""
    if not (DIST / "index.html").is_file():
        pytest.skip("the dashboard is not built: make test-browser builds it")
    server = Api(DIST, tmp_path)
    yield server
    server.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens pages, each in a profile of its own; a page that logs an error or breaks its policy fails the test."""
    contexts, complaints = [], []

    def open_one(color_scheme: str = "light", viewport: dict[str, int] | None = None) -> Any:
        context = browser.new_context(
            color_scheme=color_scheme, viewport=viewport or WIDE, reduced_motion="reduce", locale="en-GB"
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
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


@pytest.fixture
def screenshot() -> Callable[[Any, str], None]:
    """Saves what a page shows to `.adwarm/screenshots`."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)

    def save(page: Any, name: str) -> None:
        page.evaluate("document.fonts.ready")
        page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)

    return save
