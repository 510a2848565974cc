"""`make screenshots`: pictures of every tab of the page over demo data, at five widths, light and dark.

`python -m dev.screenshots fatigue` takes those of some tabs alone. They go to `.adwarm/screenshots`, and those that the
documentation shows to `docs/assets/page`. Where `make demo` has run, pictures of its home are taken, too, and those of
the README.
"""

from __future__ import annotations

import base64
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from adwarm.foundation.errors import AdwarmError
from adwarm.pages.views import TABS
from dev.demo import UNREACHABLE_URL
from dev.environment import DEMO_HOME, ROOT, local_environment, log_url
from dev.page_demo import PageDemo, run_adwarm, serve

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ALL = ROOT / ".adwarm" / "screenshots"
SHOWN = ROOT / "docs" / "assets" / "page"
SCHEMES = ("dark", "light")
WIDE = {"width": 1280, "height": 900}
WIDTHS = (390, 768, 1024, 1440, 1920)
_FIRST = "now"
_WITH_ADS, _FIRST_AD = "fatigue", "#today h3 a"
_MAX_HEIGHT = 2_600
_TOP_HEIGHT = 860
"""Of the picture in the README: its first tiles."""
_QUALITY = 72
_LOADED = "All parts are loaded."
_SECONDS = 60


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start Chromium without a window.

    Raises:
        AdwarmError: it is not installed.
    """
    from playwright.sync_api import sync_playwright

    path = next((candidate for name in ("chromium", "chromium-browser") if (candidate := shutil.which(name))), None)
    if path is None:
        raise AdwarmError("Chromium is not installed: apt-get install chromium")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # root may not start it in its sandbox
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


def log_in(page: Page, url: str, token: str) -> None:
    """Log in at the page of a server, and wait until the first tab is shown."""
    page.goto(f"{url}/adwarm/")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/adwarm/now")


def open_tab(page: Page, url: str) -> None:
    """Open a tab, and wait until each of its tiles is loaded."""
    page.goto(url)
    page.get_by_text(_LOADED).wait_for(state="attached", timeout=_SECONDS * 1000)


def take_pictures(demo: PageDemo, browser: Browser, names: Sequence[str] = ()) -> None:
    """Take pictures of each tab and of an ad, or of some tabs alone."""
    context = browser.new_context(viewport=WIDE, reduced_motion="reduce", locale="en-GB")  # type: ignore[arg-type]
    page = context.new_page()
    log_in(page, demo.url, demo.make_token("admin"))
    for tab in (tab for tab in TABS if tab.is_listed and (not names or tab.name in names)):
        take_widths(page, tab.name, f"{demo.url}/adwarm/{tab.name}")
        save_small(page, SHOWN / f"{tab.name}-light.webp")
        if tab.name == _WITH_ADS:
            ad = page.locator(_FIRST_AD).first.get_attribute("href")
            take_widths(page, "ad", f"{demo.url}/adwarm/{ad}")
            save_small(page, SHOWN / "ad-light.webp")
    context.close()


def take_widths(page: Page, name: str, url: str) -> None:
    """Take pictures of an address at each width in both schemes; the page is light at the end."""
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        open_tab(page, url)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": WIDE["height"]})
            page.screenshot(path=ALL / f"{name}-{width}-{scheme}.png", full_page=True)
        page.set_viewport_size(WIDE)  # type: ignore[arg-type]


def take_demo(browser: Browser) -> None:
    """Take pictures of the home of `make demo`, at its time, and those of the README, whose figures are its own."""
    environment = local_environment(DEMO_HOME, UNREACHABLE_URL, log_url())
    with serve(environment, DEMO_HOME / "serve.log") as url:
        made = run_adwarm(environment, "token", "create", f"pictures {os.getpid()}", "--scope", "read")
        page = browser.new_page(viewport=WIDE, reduced_motion="reduce", locale="en-GB")  # type: ignore[arg-type]
        log_in(page, url, made["token"])
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            open_tab(page, f"{url}/adwarm/{_FIRST}")
            save_small(page, SHOWN / f"{_FIRST}-top-{scheme}.webp", _TOP_HEIGHT)
        for tab in (tab for tab in TABS if tab.is_listed):
            take_widths(page, f"demo-{tab.name}", f"{url}/adwarm/{tab.name}")
        page.close()


def save_small(page: Page, target: Path, most: int = _MAX_HEIGHT) -> None:
    """Save what a page shows as WebP, cut at a height that a page of the documentation can show."""
    height = min(int(page.evaluate("document.documentElement.scrollHeight")), most)
    clip = {"x": 0, "y": 0, "width": WIDE["width"], "height": height, "scale": 1}
    session = page.context.new_cdp_session(page)
    options = {"format": "webp", "quality": _QUALITY, "clip": clip, "captureBeyondViewport": True}
    target.write_bytes(base64.b64decode(session.send("Page.captureScreenshot", options)["data"]))
    session.detach()


def main(names: Sequence[str]) -> int:
    """Fill a home, serve it, take the pictures, and print where they are."""
    for folder in (ALL, SHOWN):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory() as home, PageDemo(Path(home)) as demo, open_browser() as browser:
            take_pictures(demo, browser, names)
            if (DEMO_HOME / "env").exists():
                take_demo(browser)
    except AdwarmError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"The pictures are in {ALL.relative_to(ROOT)} and {SHOWN.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
