"""The tab *Fatigue*: ads by status, the list of ads with filters and pages, and the page of one ad."""

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from adwarm.fatigue.score import status_of
from adwarm.model import Account, FatigueScore
from adwarm.pages.queries import fatigue_queries
from adwarm.pages.queries.fatigue_queries import AdQuery
from adwarm.store import accounts, scores
from tests.unit.pages.conftest import Page

DAY = date(2026, 3, 3)
AT = datetime(2026, 3, 4, 1, 0, tzinfo=UTC)
BASELINE: dict[str, Any] = {"ctr": 0.02, "recent_ctr": 0.01, "frequency": 4.0, "flags": []}


def _score(ad_id: str, total: float | None, day: date = DAY, account: str = "act_1", **values: Any) -> FatigueScore:
    score = FatigueScore(
        account_id=account,
        ad_id=ad_id,
        as_of=day,
        ad_name=f"ad {ad_id}",
        status=status_of(total),
        total=total,
        creative=total,
        audience=total,
        algorithm=None,
        data_quality=0.9,
        trend_per_day=None if total is None else 5.0,
        days_to_critical=None,
        baseline=BASELINE,
        calculator_version="canonical-2",
    )
    return replace(score, **values)


def _store(page: Page, items: Iterable[FatigueScore], *, settled: bool = False) -> None:
    rows = list(items)
    zones = {item.account_id: Account(item.account_id, "America/New_York", "Europe/Berlin") for item in rows}
    accounts.save(page.runtime.engine, list(zones.values()), AT)
    scores.publish(page.runtime.engine, rows, 1, settled, AT)


def _names(html: str) -> list[str]:
    return re.findall(r">(ad [^<]+)</a>", html)


def test_the_overview_compares_with_the_day_before(page: Page) -> None:
    """Each account counts on its own newest day, and on the day before that."""
    yesterday = DAY - timedelta(days=1)
    _store(page, [_score("1", 70.0), _score("2", 40.0), _score("1", 50.0, yesterday), _score("2", 45.0, yesterday)])
    _store(page, [_score("3", 90.0, yesterday, "act_2"), _score("4", None, yesterday, "act_2")])
    _store(page, [_score("5", 95.0, DAY - timedelta(days=2), "act_1")])
    overall, worst = fatigue_queries.count_statuses(page.runtime.engine)
    assert overall.now == {"healthy": 0, "warning": 1, "critical": 2, "pending": 1}
    assert overall.before == {"healthy": 0, "warning": 2, "critical": 0, "pending": 0}
    assert (overall.accounts, overall.first_day, overall.last_day) == (2, yesterday, DAY)
    assert [(item.account_id, item.now["critical"], item.before["critical"]) for item in worst] == [
        ("act_1", 1, 0),
        ("act_2", 1, 0),
    ]
    html = page.tile("fatigue", "overview")
    assert "newest day 2026-03-02 to 2026-03-03" in html
    assert 'href="fatigue?text=act_2"' in html


def test_no_scores_are_explained(page: Page) -> None:
    """Without scores the tab says which DAG makes them, and the page of an ad that there is none."""
    assert "adwarm_daily_insights" in page.tile("fatigue", "overview")
    assert "No ad is scored yet" in page.tile("fatigue", "ads")
    assert "no score of the ad 7 of act_1" in page.tile("ad", "score", account="1", ad="7")
    assert "No scores are stored" in page.tile("ad", "history", account="1", ad="7")
    assert "no ad is chosen" in page.tile("ad", "score")


def test_ads_are_sorted_by_score_or_change(page: Page) -> None:
    """The highest score, or the largest increase since the day before, comes first; pending ads come last."""
    yesterday = DAY - timedelta(days=1)
    _store(page, [_score("1", 20.0), _score("2", 80.0), _score("3", None), _score("4", 60.0)])
    _store(page, [_score("1", 5.0, yesterday), _score("2", 79.0, yesterday), _score("4", 61.5, yesterday)])
    assert _names(page.tile("fatigue", "ads")) == ["ad 2", "ad 4", "ad 1", "ad 3"]
    html = page.tile("fatigue", "ads", sort="change")
    assert _names(html) == ["ad 1", "ad 2", "ad 4", "ad 3"]
    assert [text for text in ("+15.0", "+1.0", "-1.5") if text not in html] == []


@pytest.mark.parametrize("sort", ["total", "change"])
def test_filters_and_pages_cover_every_ad_once(page: Page, sort: str) -> None:
    """The pages of a filter list each of its ads once, in order."""
    rows = [_score(f"{number:03}", float(number % 90), account="act_77") for number in range(60)]
    _store(page, [*rows, _score("900", 99.0)])
    seen: list[str] = []
    for number in (1, 2, 3):
        ads, has_more = fatigue_queries.list_ads(page.runtime.engine, AdQuery("ACT_77", None, sort, number))  # type: ignore[arg-type]
        seen += [ad.stored.score.ad_id for ad in ads]
        assert has_more == (number < 3)
    assert len(seen) == 60
    assert set(seen) == {row.ad_id for row in rows}
    html = page.tile("fatigue", "ads", text="act_77", sort=sort, page="2")
    assert f"text=act_77&amp;sort={sort}&amp;page=3" in html
    assert "Ads 26 to 50" in html


def test_a_status_filter_looks_at_the_newest_day_only(page: Page) -> None:
    """An ad that was critical yesterday and is not today is not listed as critical."""
    _store(page, [_score("1", 20.0), _score("2", 80.0), _score("1", 90.0, DAY - timedelta(days=1))])
    for sort in ("total", "change"):
        assert _names(page.tile("fatigue", "ads", status="critical", sort=sort)) == ["ad 2"]


@pytest.mark.parametrize(
    ("query", "message"),
    [({"status": "bad"}, "no status"), ({"sort": "name"}, "cannot be sorted"), ({"page": "0"}, "page must be")],
)
def test_values_that_are_not_offered_are_refused(page: Page, query: dict[str, str], message: str) -> None:
    """A query that was edited by hand gets a message that names what is possible."""
    assert message in page.tile("fatigue", "ads", **query)


def test_a_text_that_is_a_pattern_matches_itself(page: Page) -> None:
    """Signs of SQL patterns in the filter stand for themselves, and a zero byte is dropped."""
    _store(page, [_score("1", 20.0)])
    assert "No ad matches" in page.tile("fatigue", "ads", text="%")
    assert _names(page.tile("fatigue", "ads", text="act\0_1")) == ["ad 1"]


def test_hostile_names_are_text(page: Page) -> None:
    """A name with markup is shown as it is written."""
    name = "<script>alert(1)</script>\"'&"
    _store(page, [_score('9"><img src=x>', 70.0, ad_name=name)])
    for html in (page.tile("fatigue", "ads"), page.tile("ad", "score", account="1", ad='9"><img src=x>')):
        assert "<script" not in html
        assert "<img" not in html
        assert "&lt;script&gt;" in html


def test_a_rising_ad_shows_the_day_of_the_next_status(page: Page) -> None:
    """The row says when the ad becomes a warning, in which zone its day is, and that the score is provisional."""
    _store(page, [_score("1", 20.0)])
    html = page.tile("fatigue", "ads")
    assert "warning on 2026-03-06" in html
    assert "2026-03-03 America/New_York, provisional" in html


def test_the_page_of_an_ad_shows_its_history(page: Page) -> None:
    """Newest score with figures and weights; a chart with both limits, and the same as a table with a gap."""
    days = [DAY - timedelta(days=back) for back in (4, 3, 1, 0)]
    _store(page, [_score("1", 30.0 + 10 * number, day) for number, day in enumerate(days)], settled=True)
    score = page.tile("ad", "score", account="1", ad="1")
    for text in ("+10.0", "1.00%", "2.00%", "40%", "35%", "25%", "Final:", "canonical-2", "in America/New_York"):
        assert text in score, text
    history = page.tile("ad", "history", account="1", ad="1")
    assert "warning above 30" in history
    assert "critical above 60" in history
    assert history.count('<polyline points="') == 2 + 1 + 1 + 2 + 2  # a gap splits the lines of score and components
    assert history.count('<th scope="row">') == 4


def test_a_pending_ad_says_what_it_needs(page: Page) -> None:
    """A pending ad has no number, and says how many days it lacks."""
    _store(page, [_score("1", None, baseline={"age_days": 4, "impressions": 900.0, "flags": []})])
    assert "Needs 3 more days" in page.tile("fatigue", "ads")
    assert "Needs 3 more days" in page.tile("ad", "score", account="1", ad="1")
