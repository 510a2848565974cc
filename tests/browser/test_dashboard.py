"""The example dashboard in Chromium: what it shows of each answer, and that a second visit transfers a delta."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Api

OpenPage = Callable[..., Any]
Screenshot = Callable[[Any, str], None]
NARROW = {"width": 390, "height": 844}


def sign_in(page: Any, api: Api) -> None:
    """Open the dashboard and send the token of the form."""
    page.goto(f"{api.url}/dashboard/")
    page.get_by_label("Access token").fill(api.token)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()


def choose(page: Any, account: str) -> None:
    """Type an account id into the picker."""
    field = page.get_by_label("Account")
    field.fill(account)
    field.press("Enter")


def status_of(page: Any, status: str) -> Any:
    """Wait until the report on the page came in this way, and return that part of the page."""
    strip = page.locator(f'section[data-status="{status}"]')
    strip.wait_for()
    return strip


def watch_codings(page: Any) -> list[str]:
    """Return a list that grows by the content coding of each report, as the network log has it."""
    codings: list[str] = []
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")

    def note(event: dict[str, Any]) -> None:
        headers = {name.lower(): value for name, value in event["headers"].items()}
        if "use-as-dictionary" in headers:
            codings.append(headers.get("content-encoding", str(event["statusCode"])))

    session.on("Network.responseReceivedExtraInfo", note)
    return codings


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_hit_is_shown_with_all_of_the_report(
    api: Api, open_page: OpenPage, screenshot: Screenshot, scheme: str
) -> None:
    """Figures, chart, fatigue bands in words, ads, age and saved bytes; in light and in dark."""
    api.store("act_1001")
    page = open_page(scheme)
    page.goto(f"{api.url}/dashboard/")
    screenshot(page, f"login-{scheme}")
    sign_in(page, api)
    page.get_by_label("Range").select_option("last_28d")
    strip = status_of(page, "hit")
    strip.get_by_text("% saved").wait_for()

    assert "Northwind Outdoor" in page.get_by_role("heading", level=1).inner_text()
    assert re.search(r"\b4 min ago", strip.inner_text())
    assert "zstd" in strip.inner_text()
    assert {"Critical", "Warning", "Healthy", "Pending"} <= set(page.locator(".band-counts").inner_text().split())
    assert page.locator("tbody tr").count() == 25
    assert page.get_by_role("img", name=re.compile("Line chart, .*28 days|Line chart")).count() == 1
    screenshot(page, f"hit-{scheme}")


def test_a_second_visit_transfers_a_delta(api: Api, open_page: OpenPage, screenshot: Screenshot) -> None:
    """The network log has zstd for the first visit, `dcz` once a day is new, 304 when nothing is; the page says so."""
    api.store("act_1001")
    page = open_page()
    codings = watch_codings(page)
    sign_in(page, api)
    page.get_by_label("Range").select_option("last_28d")
    status_of(page, "hit").get_by_text("% saved").wait_for()
    assert codings[-1] == "zstd"

    api.store("act_1001")
    sign_in(page, api)  # a new document: the token and the report are gone from memory
    page.get_by_label("Range").select_option("last_28d")
    strip = status_of(page, "hit")
    strip.get_by_text("dcz").wait_for()
    strip.get_by_text("% saved").wait_for()
    assert codings[-1] == "dcz"
    saved = re.search(r"([\d.]+) % saved", strip.inner_text())
    assert saved
    assert float(saved[1]) > 95
    screenshot(page, "second-visit-dcz")

    page.get_by_role("button", name="Refresh").click()
    strip.get_by_text("nothing new").wait_for()
    assert codings[-1] == "304"


def test_stale_data_stays_until_the_fresh_copy_is_there(api: Api, open_page: OpenPage, screenshot: Screenshot) -> None:
    """A stale report is shown at once, marked as such, and replaced without a click."""
    api.store("act_1002", age_seconds=9_000, is_stale=True)
    page = open_page()
    sign_in(page, api)
    choose(page, "act_1002")
    strip = status_of(page, "stale")

    assert "a fresh copy is asked for" in strip.inner_text()
    assert "2 h 30 min ago" in strip.inner_text()
    screenshot(page, "stale")
    api.store("act_1002", age_seconds=2)
    status_of(page, "hit")


def test_a_missing_report_is_waited_for(api: Api, open_page: OpenPage, screenshot: Screenshot) -> None:
    """The page shows the position in the queue, then the report by itself: a miss if it came while one waited."""
    api.announce("act_1003")
    page = open_page()
    sign_in(page, api)
    choose(page, "act_1003")
    page.get_by_text(re.compile(r"(number \d+|the next one) in the queue\.")).wait_for()
    screenshot(page, "miss-waiting")
    api.store("act_1003", age_seconds=1)
    page.locator('section:is([data-status="miss"], [data-status="hit"])').wait_for()

    assert page.locator("tbody tr").count() == 25
    screenshot(page, "miss")


def test_an_open_breaker_is_announced_and_the_stored_report_stays(
    api: Api, open_page: OpenPage, screenshot: Screenshot
) -> None:
    """The banner says since when, why, and when it is tested next."""
    api.store("act_1001", age_seconds=12_000, is_stale=True)
    api.open_breaker()
    page = open_page()
    sign_in(page, api)
    banner = page.get_by_role("alert").filter(has_text="The ad platform does not answer")
    banner.wait_for()

    assert re.search(r"20 of 24 calls( of \d+ accounts or more)? failed", banner.inner_text())
    assert "The next test is at" in banner.inner_text()
    assert "1 breaker open" in page.locator(".system").inner_text()
    assert "new data is held back" in status_of(page, "stale").inner_text()
    screenshot(page, "breaker-open")


def test_errors_are_words(api: Api, open_page: OpenPage, screenshot: Screenshot) -> None:
    """A wrong token, an unknown account and a token that stops working are each said in a sentence."""
    api.store("act_1001")
    page = open_page()
    page.goto(f"{api.url}/dashboard/")
    page.get_by_label("Access token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("This token is not valid").wait_for()
    sign_in(page, api)
    choose(page, "act_9999")
    page.get_by_role("alert").get_by_text("There is no such report for this token").wait_for()
    screenshot(page, "error")

    choose(page, "act_1001")
    status_of(page, "hit")
    api.revoke_token()
    page.get_by_role("button", name="Refresh").click()
    page.get_by_text("You were signed out").wait_for()
    assert page.get_by_label("Access token").input_value() == ""


def test_the_token_stays_in_memory(api: Api, open_page: OpenPage) -> None:
    """It is in no storage, no cookie, no URL and no file; a reload asks for it again."""
    api.store("act_1001")
    page = open_page()
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    sign_in(page, api)
    status_of(page, "hit")
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])")

    assert api.token not in kept
    assert api.token not in page.content()
    assert not [url for url in urls if api.token in url]
    page.reload()
    page.get_by_label("Access token").wait_for()


def test_the_page_works_with_a_keyboard_and_on_a_phone(api: Api, open_page: OpenPage, screenshot: Screenshot) -> None:
    """Tab reaches the controls, arrow keys read the chart, Enter sorts; nothing is wider than a narrow screen."""
    api.store("act_1001")
    page = open_page(viewport=NARROW)
    sign_in(page, api)
    status_of(page, "hit")
    page.get_by_role("img", name=re.compile("Line chart")).focus()
    page.keyboard.press("End")
    reading = page.locator(".chart-reading").inner_text()
    page.keyboard.press("ArrowLeft")
    assert reading != page.locator(".chart-reading").inner_text()

    page.get_by_role("button", name="Fatigue").focus()
    page.keyboard.press("Enter")
    assert page.locator("th.column-score").get_attribute("aria-sort") == "descending"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    screenshot(page, "phone")
