"""The page of access patterns is one file, accessible, and shows names as text."""

from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import pytest

from adwarm.patterns.pattern_page import describe_profiles, describe_zones, heat_levels, render_page
from adwarm.patterns.profile import build_profiles
from tests.unit.patterns.conftest import count_opens

MONDAY = datetime(2026, 9, 7, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>\"'&{{ 7 * 7 }}"


@pytest.fixture
def document() -> dict[str, Any]:
    """Four weeks of opens at nine on working days."""
    events = [
        (day * 86_400 + 9 * 3_600, account, "last_7d", "UTC", "human")
        for day in range(28)
        if day % 7 < 5
        for account in ("act_1", "act_2")
    ]
    return describe_profiles(build_profiles(count_opens(MONDAY, events), MONDAY + timedelta(days=28)))


def test_the_page_says_what_the_document_says(document: dict[str, Any]) -> None:
    """Every hour has a cell with a description; weekdays, ranges and accounts are tables, peaks are marked."""
    page = render_page(document)
    [svg] = [ElementTree.fromstring(part + "</svg>") for part in _between(page, "<svg", "</svg>")]
    cells = [group.findtext("title") for group in svg.iter("g")]
    assert len(cells) == 168
    assert cells[9] == "Monday 09:00: 2 first opens per hour, in 4 of 4 weeks, peak hour"
    assert cells[10] == "Monday 10:00: 0 first opens per hour, in 0 of 4 weeks, quiet hour"
    assert [svg.get("role"), svg.get("aria-labelledby")] == ["img", "map-title map-text"]
    assert {element.get("id") for element in svg if element.get("id")} == {"map-title", "map-text"}
    assert page.count('<th scope="row">Monday</th>') == 1
    assert "Mon-Fri 09:00-10:00" in page
    assert page.count("<td") == 7 * 24 + 7 * 3 + 2 + 2 * 4


def test_the_page_loads_nothing(document: dict[str, Any]) -> None:
    """No script, no address, no import: a policy in the page forbids all of them."""
    page = render_page(document)
    assert "default-src 'none'" in page
    for word in ("<script", "http://", "https://", "url(", "@import", "src="):
        assert word not in page


def test_names_stay_text(document: dict[str, Any]) -> None:
    """Markup in an account, a range or a zone is shown, not run."""
    document["popular_ranges"][0]["date_range"] = HOSTILE
    document["most_opened_accounts"][0].update(account_id=HOSTILE, time_zones={HOSTILE: 1}, busy=HOSTILE)
    page = render_page({**document, "account_id": HOSTILE, "time_zones": {HOSTILE: 1}, "evidence": HOSTILE})
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)") >= 6
    assert "49" not in page.partition("&lt;script")[2][:80]


def test_levels_grow_with_the_rate() -> None:
    """Nothing is level 0, anything at least 1, the highest rate the highest level."""
    assert heat_levels([0, 0.01, 4, 5, 8], 8) == [0, 1, 4, 5, 8]
    assert heat_levels([0, 0], 8) == [0, 0]


def test_zones_have_shares() -> None:
    """One zone stands alone; of several the largest are named."""
    assert describe_zones({"UTC": 3}) == "UTC"
    assert describe_zones({"A": 3, "B": 1}, limit=1) == "A 75% and 1 more"
    assert describe_zones({}) == ""


def _between(text: str, start: str, end: str) -> list[str]:
    return [start + part.partition(end)[0] for part in text.split(start)[1:]]
