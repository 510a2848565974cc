"""The example dashboard in Chromium: what it shows of each answer, what it transfers, and what it says of itself."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from .product import Product

OpenPage = Callable[..., Any]
HOURS = 60  # minutes
STALE_MINUTES = 7 * HOURS + 30


def sign_in(page: Any, product: Product, token: str | None = None) -> None:
    """Open the dashboard and send the token of the form."""
    page.goto(f"{product.url}/dashboard/")
    page.get_by_label("Access token").fill(token or product.token)
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
        if "adwarm;" in headers.get("cache-status", "") and headers.get("etag"):
            codings.append(headers.get("content-encoding", str(event["statusCode"])))

    session.on("Network.responseReceivedExtraInfo", note)
    return codings


def watch_reports(page: Any) -> list[tuple[str, str | None, int]]:
    """Return a list that grows by each answered report: trigger, request that it continues, status."""
    seen: list[tuple[str, str | None, int]] = []

    def note(response: Any) -> None:
        headers = response.request.headers
        if "/v1/insights/" in response.url:
            seen.append((headers["adwarm-trigger"], headers.get("adwarm-request"), response.status))

    page.on("response", note)
    return seen


def test_a_hit_is_shown_with_all_of_the_report(product: Product, open_page: OpenPage) -> None:
    """Figures, chart, fatigue bands in words, ads, age and saved bytes."""
    product.warm("act_1001", minutes_ago=4)
    page = open_page()
    page.goto(f"{product.url}/dashboard/")
    sign_in(page, product)
    page.get_by_label("Range").select_option("last_28d")
    strip = status_of(page, "hit")
    strip.get_by_text("% saved").wait_for()

    assert "Simulated account 1001" in page.get_by_role("heading", level=1).inner_text()
    assert re.search(r"\b4 min ago", strip.inner_text())
    assert "zstd" in strip.inner_text()
    page.locator(".band-counts").wait_for()
    assert {"Critical", "Warning", "Healthy", "Pending"} <= set(page.locator(".band-counts").inner_text().split())
    assert page.locator("tbody tr").count() == 25
    assert page.get_by_role("img", name=re.compile("Line chart")).count() == 1


def test_an_unchanged_report_transfers_nothing(product: Product, open_page: OpenPage) -> None:
    """The network log has zstd first and 304 for what has not changed; the page says so."""
    product.warm("act_1001")
    page = open_page()
    codings = watch_codings(page)
    sign_in(page, product, product.make_token("read"))
    page.get_by_label("Range").select_option("last_28d")
    strip = status_of(page, "hit")
    strip.get_by_text("% saved").wait_for()
    assert codings[-1] == "zstd"
    page.get_by_role("button", name="Refresh").click()
    strip.get_by_text("nothing new").wait_for()
    assert codings[-1] == "304"


def test_stale_data_stays_until_the_fresh_copy_is_there(product: Product, open_page: OpenPage) -> None:
    """A stale report is shown at once, marked as such, and replaced without a click."""
    product.warm("act_1001", minutes_ago=STALE_MINUTES)
    page = open_page()
    with product.fault("slow_body", seconds=3):
        sign_in(page, product)
        strip = status_of(page, "stale")
        strip.get_by_text("% saved").wait_for()
        assert "7 h 30 min ago" in strip.inner_text()
    strip = status_of(page, "hit")
    strip.get_by_text("zstd").wait_for()


def test_a_missing_report_is_waited_for(product: Product, open_page: OpenPage) -> None:
    """The page says that it is fetched, then shows the report by itself, and the whole wait is one open."""
    page = open_page()
    seen = watch_reports(page)
    with product.fault("slow_body", seconds=8):
        sign_in(page, product)  # it shows the first of the accounts that the token names
        page.get_by_text("It is being fetched from the ad platform").wait_for()
    page.locator('section:is([data-status="miss"], [data-status="hit"])').wait_for()
    page.locator("tbody tr").first.wait_for()

    first, *others = seen
    assert first == ("open", None, 202)
    assert {(trigger, number) for trigger, number, _ in others} == {("open", "1")}
    assert [status for _, _, status in seen].count(200) == 1
    opens = product.read_opens()
    assert {(row["actor"], row["request_id"]) for row in opens} == {("human", "1")}
    assert product.count_opens("act_1001") == 1


def test_polls_are_no_opens(product: Product, open_page: OpenPage) -> None:
    """Opening a report is one open by a human; what the page asks by itself later is logged as `api`."""
    product.warm("act_1001", minutes_ago=STALE_MINUTES)
    page = open_page()
    page.clock.install()
    seen = watch_reports(page)
    sign_in(page, product)
    status_of(page, "stale")
    while [trigger for trigger, _, _ in seen][-1] != "revalidate" or not page.locator('[data-status="hit"]').count():
        page.clock.run_for(500)
        page.wait_for_timeout(50)  # real time for the fetch, which would else lose against the next poll
    page.clock.run_for(1_000)
    with page.expect_response(re.compile("/v1/insights/")):
        page.clock.run_for(301_000)

    triggers = [trigger for trigger, _, _ in seen]
    assert triggers == ["open", *["revalidate"] * (len(triggers) - 2), "poll"]
    actors = [row["actor"] for row in product.read_opens()]
    assert actors == ["human", *["api"] * (len(triggers) - 1)]
    assert product.count_opens("act_1001") == 1


def test_a_closed_gate_is_announced_and_the_stored_report_stays(product: Product, open_page: OpenPage) -> None:
    """The banner says since when, why, and when it is tested next."""
    product.warm("act_1001", minutes_ago=STALE_MINUTES)
    product.open_breaker()
    page = open_page()
    sign_in(page, product)
    banner = page.get_by_role("alert").filter(has_text="The ad platform is not called")
    banner.wait_for()

    assert re.search(r"\d+ of \d+ calls of \d+ accounts or more failed", banner.inner_text())
    assert "The next test is at" in banner.inner_text()
    assert "Calls to the ad platform are paused" in page.locator(".system").inner_text()
    assert "new data is held back" in status_of(page, "stale").inner_text()
    choose(page, "act_1003")
    page.get_by_text("It is fetched once the ad platform is called again").wait_for()


def test_errors_are_words(product: Product, open_page: OpenPage) -> None:
    """A wrong token, an unknown account and a token that stops working are each said in a sentence."""
    product.warm("act_1001")
    page = open_page()
    page.goto(f"{product.url}/dashboard/")
    page.get_by_label("Access token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("This token is not valid. Paste the whole of it").wait_for()
    sign_in(page, product)
    choose(page, "act_9999")
    page.get_by_role("alert").get_by_text("There is no such report for this token").wait_for()

    choose(page, "act_1001")
    status_of(page, "hit")
    product.revoke_token()
    page.get_by_role("button", name="Refresh").click()
    page.get_by_text("You were signed out").wait_for()
    assert page.get_by_label("Access token").input_value() == ""


def test_the_token_stays_in_memory(product: Product, open_page: OpenPage) -> None:
    """It is in no storage, no cookie, no URL and no file; a reload asks for it again."""
    product.warm("act_1001")
    page = open_page()
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    sign_in(page, product)
    status_of(page, "hit")
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])")

    assert product.token not in kept
    assert product.token not in page.content()
    assert not [url for url in urls if product.token in url]
    page.reload()
    page.get_by_label("Access token").wait_for()


@pytest.mark.parametrize(("width", "height"), [(360, 740), (640, 450)], ids=["phone", "zoom"])
def test_the_page_fits_a_phone_and_large_letters(
    product: Product, open_page: OpenPage, width: int, height: int
) -> None:
    """At 360 pixels, and at a zoom of 200 % in a window of 1280: nothing is wider than the screen, in any state."""
    product.warm("act_1001")
    page = open_page({"width": width, "height": height})
    page.goto(f"{product.url}/dashboard/")
    fits = "document.documentElement.scrollWidth <= innerWidth"
    assert page.evaluate(fits)
    sign_in(page, product)
    status_of(page, "hit").get_by_text("% saved").wait_for()
    page.locator(".worst li").first.wait_for()
    assert page.evaluate(fits)
    product.open_breaker()
    page.get_by_role("alert").wait_for()
    page.get_by_label("Range").select_option("own")
    assert page.evaluate(fits)


def test_the_page_works_with_a_keyboard(product: Product, open_page: OpenPage) -> None:
    """Tab reaches every control in order and shows where it is, arrow keys read the chart, Enter sorts."""
    product.warm("act_1001")
    page = open_page()
    sign_in(page, product)
    status_of(page, "hit").get_by_text("% saved").wait_for()
    page.evaluate("document.activeElement?.blur()")
    outlines = []
    for _ in range(12):
        page.keyboard.press("Tab")
        outlines.append(page.evaluate("getComputedStyle(document.activeElement).outlineStyle"))
    assert set(outlines) == {"solid"}
    page.get_by_role("img", name=re.compile("Line chart")).focus()
    page.keyboard.press("End")
    reading = page.locator(".chart-reading").inner_text()
    page.keyboard.press("ArrowLeft")
    assert reading != page.locator(".chart-reading").inner_text()

    page.get_by_role("button", name="Fatigue").focus()
    page.keyboard.press("Enter")
    assert page.locator("th.column-score").get_attribute("aria-sort") == "descending"
