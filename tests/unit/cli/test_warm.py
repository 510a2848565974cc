"""`adwarm warm`: what is fetched, and what failed."""

from .conftest import Adwarm


def test_warm_makes_reports_fresh(adwarm: Adwarm) -> None:
    """The first run fetches; the second finds everything fresh and makes no call."""
    first = adwarm("warm", "act_1", "act_2", "--range", "yesterday", "--range", "last_7d", "--json").json
    again = adwarm("warm", "act_1", "act_2", "--range", "yesterday, last_7d")
    assert (first["fetched"], first["keys"]) == (4, 4)
    assert all(item["stored_bytes"] for item in first["outcomes"])
    assert again.exit_code == 0
    assert "4 reports: 4 fresh already; no request" in again.stdout
    assert "--range names no date range" in adwarm("warm", "act_1", "--range", ",").stderr


def test_warm_says_what_failed_and_ends_with_1(adwarm: Adwarm) -> None:
    """An account that the token may not read fails with its reason; the other one is fetched."""
    result = adwarm("warm", "act_1", "act_9", "--range", "yesterday", "--json")
    assert result.exit_code == 1
    assert [item["account_id"] for item in result.json["outcomes"] if item["status"] != "fetched"] == ["act_9"]
    assert result.json["outcomes"][1]["reason"]


def test_warm_explains_a_report_that_took_no_request(adwarm: Adwarm) -> None:
    """A day that is stored already becomes a report without a request, and the table says why."""
    adwarm("warm", "act_1", "--range", "last_7d")
    shown = adwarm("warm", "act_1", "--range", "yesterday").stdout
    assert "1 report: 1 fetched; no request needed" in shown
    assert "assembled from stored days; no request needed" in shown
