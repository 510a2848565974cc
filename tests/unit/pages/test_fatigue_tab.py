"""The tab *Fatigue*: what needs action, what changed, sums by account, the list of ads, and its file."""

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from adwarm.model import Account, FatigueScore
from adwarm.queries import fatigue_ads
from adwarm.queries import fatigue_overview as overview
from adwarm.queries.fatigue_ads import AccountFilter, AdQuery
from adwarm.store import accounts, creatives
from adwarm.store.creatives import AdCreative
from tests.support import fatigue_scores
from tests.unit.conftest import SQLITE_ONLY
from tests.unit.fatigue.stored_ads import status_of
from tests.unit.pages.conftest import START, VIEWER, Page

DAY = date(2026, 3, 3)
YESTERDAY = DAY - timedelta(days=1)
AT = datetime(2026, 3, 4, 1, 0, tzinfo=UTC)
BASELINE: dict[str, Any] = {"ctr": 0.02, "recent_ctr": 0.01, "frequency": 4.0, "flags": []}
ALL = AccountFilter(since=DAY - timedelta(days=3))
PICTURE = b"\x89PNG\r\n\x1a\n1"
HOSTILE = "<script>alert(1)</script>\"'&"


def _score(ad_id: str, total: float | None, day: date = DAY, account: str = "act_1", **values: Any) -> FatigueScore:
    score = fatigue_scores.make_score(
        account_id=account,
        ad_id=ad_id,
        as_of=day,
        status=status_of(None if total is None else total / 200),
        total=total,
        loss=None if total is None else total / 200,
        creative=total,
        audience=total,
        data_quality=0.9,
        trend_per_day=None if total is None else 5.0,
        baseline=BASELINE,
        recent_spend=100.0,
    )
    return replace(score, **values)


def _store(page: Page, items: Iterable[FatigueScore], *, settled: bool = False, currency: str = "EUR") -> None:
    rows = list(items)
    found = {
        item.account_id: Account(item.account_id, "America/New_York", "Europe/Berlin", currency, name="")
        for item in rows
    }
    accounts.save(page.runtime.engine, list(found.values()), AT)
    fatigue_scores.publish(page.runtime.engine, rows, 1, settled, AT, "canonical-6")


def _names(html: str) -> list[str]:
    return re.findall(r">(ad [^<]+)</a>", html)


def test_what_needs_action_is_listed_by_what_it_loses(page: Page) -> None:
    """Alarms, critical ads and warnings that soon become so, most spend times loss first, each with how sure it is."""
    rows = [
        _score("1", 80.0, recent_spend=500.0),
        _score("2", 20.0, alarm="alarm", recent_spend=1.0, alarm_since=DAY - timedelta(days=4)),
        _score("3", 90.0, alarm="alarm", recent_spend=2.0, alarm_since=DAY),
        _score("4", 70.0, recent_spend=700.0),
        _score("5", 55.0, days_to_critical=3.2, days_to_critical_low=2.0, days_to_critical_high=5.5, data_quality=0.3),
        _score("6", 50.0, days_to_critical=9.0),
        _score("7", 20.0, days_to_critical=3.0),
        _score("8", 20.0),
    ]
    _store(page, rows)
    counts = overview.count_due(page.runtime.engine, ALL)
    assert (counts.total, counts.scored, counts.spend, counts.last_day) == (5, 8, {"EUR": 1303.0}, DAY)
    html = page.tile("fatigue", "today")
    assert _names(html) == ["ad 4", "ad 1", "ad 5", "ad 3", "ad 2"]
    certain = re.findall(r'class="sure">(Maybe|Not sure|Alarm)', html)
    assert certain == ["Maybe", "Maybe", "Not sure", "Alarm", "Alarm"]
    for text in (
        "Alarm since Feb 27; 15 of 17 such alarms held.",
        "quality is 30%",
        "<strong>245</strong> EUR",
        "1,303 EUR",
    ):
        assert text in html, text


def test_more_ads_than_are_listed_are_linked(page: Page) -> None:
    """Beyond the listed ads the tile says how many more there are, and links the list of all, which is folded."""
    _store(page, [_score(f"{number:02}", 80.0) for number in range(15)])
    html = page.tile("fatigue", "today", account="act_1")
    assert len(_names(html)) == overview.DUE_ROWS == 10
    assert '<a href="#ads">5 more</a>' in html
    assert '<details class="tile wide" id="ads"' in page.get("/fatigue?account=act_1").text


def test_spend_of_several_currencies_is_not_added(page: Page) -> None:
    """Each currency has its own sum, and accounts of several have no spend-weighted score together."""
    _store(page, [_score("1", 80.0, recent_spend=100.0)])
    _store(page, [_score("2", 40.0, account="act_2", alarm="alarm", recent_spend=300.0)], currency="USD")
    assert overview.count_due(page.runtime.engine, ALL).spend == {"EUR": 100.0, "USD": 300.0}
    overall, _ = overview.sum_accounts(page.runtime.engine, ALL)
    assert (overall.currency, overall.now.spend, overall.now.score) == (None, None, 60.0)


@SQLITE_ONLY
def test_nothing_to_do_is_said(page: Page) -> None:
    """Healthy ads alone need no action, and the tile says how many were looked at."""
    _store(page, [_score("1", 20.0), _score("2", 10.0)])
    html = page.tile("fatigue", "today")
    assert "Nothing needs action" in html
    assert "None of 2 creatives" in html


def test_old_scores_need_no_action_today(page: Page) -> None:
    """Scores that are too old to act on say which DAG makes new ones; one account without new ones is left out."""
    old = DAY - timedelta(days=30)
    _store(page, [_score("1", 90.0, old, alarm="alarm")])
    assert "too old to act on" in page.tile("fatigue", "today")
    assert "1</span>" in page.tile("fatigue", "overview")
    assert "New alarms: 1" in page.tile("fatigue", "changes")
    _store(page, [_score("2", 70.0, account="act_2")])
    for tile in ("today", "changes", "overview", "ads"):
        assert "act_1" not in page.tile("fatigue", tile)
    assert _names(page.tile("fatigue", "today")) == _names(page.tile("fatigue", "ads")) == ["ad 2"]


def test_a_day_without_scores_is_no_news(page: Page) -> None:
    """Changes and sums compare with the scored day before, however long ago that was."""
    for day in (DAY - timedelta(days=3), DAY):
        _store(page, [_score("1", 80.0, day, alarm="alarm")])
    assert "No creative has changed" in page.tile("fatigue", "changes")
    assert "1 on the scored day before" in page.tile("fatigue", "overview")


def test_no_scores_are_explained(page: Page) -> None:
    """Without scores each tile says what makes them, or what to change."""
    assert "adwarm_daily_insights" in page.tile("fatigue", "today")
    assert "No ad of these accounts is scored" in page.tile("fatigue", "today", text="shop")
    assert "No creative has changed" in page.tile("fatigue", "changes")
    assert "No ad is scored yet" in page.tile("fatigue", "overview")
    assert "No ad is scored yet" in page.tile("fatigue", "ads")


def test_accounts_are_summed_and_compared_with_the_day_before(page: Page) -> None:
    """Scores are weighted by spend; ads count as fatigued when they are critical or have an alarm."""
    rows = [
        _score("1", 80.0, recent_spend=300.0),
        _score("2", 20.0, recent_spend=100.0, alarm="alarm"),
        _score("3", None, recent_spend=100.0),
        _score("1", 50.0, YESTERDAY, recent_spend=300.0),
        _score("2", 20.0, YESTERDAY, recent_spend=100.0),
    ]
    _store(page, [*rows, _score("9", 95.0, DAY - timedelta(days=2))])
    _store(page, [_score("4", 10.0, YESTERDAY, "act_2", recent_spend=None)])
    overall, worst = overview.sum_accounts(page.runtime.engine, ALL)
    first, second = worst
    assert [item.account_id for item in worst] == ["act_1", "act_2"]
    assert first.now.ads == {"healthy": 1, "warning": 0, "critical": 1, "pending": 1}
    assert (first.now.alarms, first.now.spend, first.now.score, first.now.fatigued_share) == (1, 500.0, 65.0, 0.8)
    assert (first.before.ads["warning"], first.before.score, first.before.fatigued_share) == (1, 42.5, 0.0)
    assert (second.now.score, second.now.spend, second.now.fatigued_share) == (10.0, None, None)
    assert (overall.accounts, overall.first_day, overall.last_day) == (2, YESTERDAY, DAY)
    assert (overall.now.ads["critical"], overall.now.alarms) == (1, 1)
    html = page.tile("fatigue", "overview")
    assert 'href="fatigue?account=act_1"' in html
    assert "newest day 2026-03-02 to 2026-03-03" in html


def test_changes_are_grouped_by_what_happened(page: Page) -> None:
    """A new alarm counts as such also when the status changed; equal days and pending ads are no change."""
    before = {
        "1": (20.0, "none"), "2": (20.0, "none"), "3": (70.0, "alarm"), "4": (50.0, "alarm"), "5": (20.0, "watch"),
        "6": (None, "none"), "7": (20.0, "none"),
    }  # fmt: skip
    now = {
        "1": (50.0, "alarm"), "2": (50.0, "none"), "3": (40.0, "none"), "4": (50.0, "none"), "5": (25.0, "none"),
        "6": (90.0, "none"), "8": (80.0, "alarm"),
    }  # fmt: skip
    for day, ads in ((YESTERDAY, before), (DAY, now)):
        _store(page, [_score(ad, total, day, alarm=alarm) for ad, (total, alarm) in ads.items()])
    changes = overview.list_changes(page.runtime.engine, ALL)
    found = [(item.kind, item.ad.stored.score.ad_id, item.count) for item in changes]
    assert found == [("alarm", "8", 2), ("alarm", "1", 2), ("worse", "2", 1), ("ended", "4", 2), ("ended", "3", 2)]
    html = page.tile("fatigue", "changes")
    for text in ("New alarms: 2", "Worse status: 1", "Alarms that ended: 2", "critical to"):
        assert text in html, text


def test_many_changes_are_cut_by_kind(page: Page) -> None:
    """Of each kind the ads with most spend times loss are listed, with the number of the others."""
    numbers = range(overview.CHANGED_ROWS + 2)
    _store(page, [_score(f"{number}", 20.0, YESTERDAY) for number in numbers])
    _store(page, [_score(f"{number}", 70.0, recent_spend=float(number)) for number in numbers])
    html = page.tile("fatigue", "changes")
    assert _names(html) == [f"ad {number}" for number in reversed(numbers)][: overview.CHANGED_ROWS]
    assert "and 2 more" in html


def test_ads_are_listed_by_what_they_lose(page: Page) -> None:
    """Most spend times loss first; ads without a loss come last. Each has its change since the day before."""
    rows = [
        _score("1", 20.0, recent_spend=5.0, days_to_critical=20.0),
        _score("2", 80.0, recent_spend=None, days_to_critical=0.0),
        _score("3", None, recent_spend=7.0),
        _score("4", 60.0, recent_spend=1.0, days_to_critical=0.5),
    ]
    _store(page, rows)
    _store(page, [_score("1", 5.0, YESTERDAY), _score("2", 79.0, YESTERDAY), _score("4", 61.5, YESTERDAY)])
    html = page.tile("fatigue", "ads")
    assert _names(html) == ["ad 1", "ad 4", "ad 2", "ad 3"]
    assert [text for text in ("+15.0", "+1.0", "-1.5") if text not in html] == []


def test_filters_and_pages_cover_every_ad_once(page: Page) -> None:
    """The pages of a filter list each of its ads once, in order."""
    rows = [_score(f"{n:03}", float(n % 90), account="act_77", recent_spend=n % 7) for n in range(60)]
    _store(page, [*rows, _score("900", 99.0)])
    seen: list[str] = []
    for number in (1, 2, 3):
        ads, has_more = fatigue_ads.list_ads(page.runtime.engine, AdQuery(AccountFilter("ACT_77"), page=number))
        seen += [ad.stored.score.ad_id for ad in ads]
        assert has_more == (number < 3)
    assert seen == [row.ad_id for row in sorted(rows, key=lambda row: row.rank)]
    html = page.tile("fatigue", "ads", text="act_77", page="2")
    assert "text=act_77&amp;page=3" in html
    assert "Creatives 26 to 50" in html


def test_status_and_alarm_filters_look_at_the_newest_day_only(page: Page) -> None:
    """An ad that was critical or in alarm yesterday and is not today is not listed as such."""
    earlier = [_score("1", 90.0, YESTERDAY, alarm="alarm"), _score("3", 20.0, YESTERDAY)]
    _store(page, [*earlier, _score("1", 20.0), _score("2", 80.0), _score("3", 20.0, alarm="alarm")])
    assert _names(page.tile("fatigue", "ads", status="critical")) == ["ad 2"]
    assert _names(page.tile("fatigue", "ads", alarm="alarm")) == ["ad 3"]


def test_an_account_is_chosen_exactly(page: Page) -> None:
    """The account of a link is that one only, in every tile; its text filter would match others as well."""
    _store(page, [_score("1", 80.0, account="act_1"), _score("2", 80.0, account="act_12")])
    for tile in ("today", "ads"):
        assert _names(page.tile("fatigue", tile, account="act_1")) == ["ad 1"]
        assert sorted(_names(page.tile("fatigue", tile, text="act_1"))) == ["ad 1", "ad 2"]
    assert "act_12" not in page.tile("fatigue", "overview", account="1")


@SQLITE_ONLY
def test_values_that_are_not_offered_are_refused(page: Page, subtests: pytest.Subtests) -> None:
    """A query that was edited by hand gets a message that names what is possible."""
    for query, message in [
        ({"status": "bad"}, "no status"),
        ({"alarm": "bad"}, "no alarm level"),
        ({"page": "0"}, "page must be"),
    ]:
        with subtests.test(query=query, message=message):
            assert message in page.tile("fatigue", "ads", **query)


def test_a_text_that_is_a_pattern_matches_itself(page: Page) -> None:
    """Signs of SQL patterns stand for themselves, a zero byte is dropped; so it is for what is not an account id."""
    _store(page, [_score("1", 20.0)])
    assert 'value="no%such"' in page.tile("fatigue", "ads", account="no%such")
    assert "Nothing matches" in page.tile("fatigue", "ads", text="%")
    assert _names(page.tile("fatigue", "ads", text="act\0_1")) == ["ad 1"]


def test_hostile_names_are_text(page: Page) -> None:
    """A name with markup is shown as it is written, in every tile."""
    _store(page, [_score("9", 20.0, YESTERDAY), _score("9", 70.0, ad_name=HOSTILE)])
    for tile in ("today", "changes", "ads"):
        html = page.tile("fatigue", tile)
        assert "<script" not in html
        assert "&lt;script&gt;" in html


@SQLITE_ONLY
def test_a_pending_ad_says_what_it_needs(page: Page) -> None:
    """A pending ad has no number, and says how many days it lacks."""
    _store(page, [_score("1", None, baseline={"age_days": 4, "impressions": 900.0, "flags": []})])
    assert "Needs 3 more days" in page.tile("fatigue", "ads")


def _read_csv(response: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(response.content.decode())))


def test_the_file_has_the_ads_of_the_filter(page: Page) -> None:
    """All pages of the filter in its order, with name and currency of the account, saved under the day."""
    rows = [_score(f"{n:02}", float(n), recent_spend=1.5, alarm="alarm" if n % 2 else "none") for n in range(40)]
    _store(page, rows)
    answer = page.get("/downloads/fatigue/ads?alarm=alarm&page=7")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="fatigue-ads-{START:%Y-%m-%d}.csv"'
    found = _read_csv(answer)
    assert [row["ad_id"] for row in found] == [f"{n:02}" for n in range(39, 0, -2)]
    assert (found[0]["currency"], found[0]["recent_spend"], found[0]["status"]) == ("EUR", "1.5", "warning")
    assert 'href="downloads/fatigue/ads?alarm=alarm"' in page.tile("fatigue", "ads", alarm="alarm")


@SQLITE_ONLY
def test_a_name_in_the_file_is_no_formula(page: Page) -> None:
    """A spreadsheet does not run what an ad is called; numbers below zero stay numbers."""
    _store(page, [_score("1", 50.0, ad_name='=HYPERLINK("http://evil.example")', trend_per_day=-2.5)])
    (row,) = _read_csv(page.get("/downloads/fatigue/ads"))
    assert row["ad_name"].startswith("'=")
    assert row["trend_per_day"] == "-2.5"


@SQLITE_ONLY
def test_a_file_needs_a_login_and_a_valid_filter(page: Page) -> None:
    """A viewer gets the file, an anonymous caller the login, and a filter that is not offered its message."""
    assert page.get("/downloads/fatigue/ads", VIEWER).status_code == 200
    assert page.get("/downloads/fatigue/ads", None).status_code == 401
    refused = page.get("/downloads/fatigue/ads?status=bad")
    assert refused.status_code == 422
    assert "no status" in refused.text


def _show_picture(page: Page, ad_id: str, title: str = "Sale") -> str:
    """Store what an ad shows, and return the path of its picture."""
    item = creatives.store_picture(page.runtime.objects, AdCreative(ad_id, "9", title, "VIDEO"), PICTURE)
    creatives.save(page.runtime.engine, "act_1", [item], AT)
    return f"pictures/{item.picture}"


def test_a_picture_stands_beside_the_name(page: Page) -> None:
    """In what needs action, in the list and on the page of the ad; an ad without one has a plain tile."""
    _store(page, [_score("1", 80.0), _score("2", 20.0)])
    path = _show_picture(page, "1", HOSTILE)
    html = {tile: page.tile("fatigue", tile) for tile in ("today", "ads")}
    assert [html[tile].count(f'<img src="{path}"') for tile in html] == [1, 1]
    assert html["ads"].count('class="picture') == 2
    own, other = (page.tile("ad", "score", account="1", ad=ad) for ad in ("1", "2"))
    assert (path in own, "It shows" in own, "It shows" in other, "<img" in other) == (True, True, False, False)
    assert all(HOSTILE not in text for text in (*html.values(), own))
    picture = page.get(f"/{path}", VIEWER)
    assert (picture.content, picture.headers["content-type"]) == (PICTURE, "image/png")
    assert (picture.headers["x-content-type-options"], "immutable" in picture.headers["cache-control"]) == (
        "nosniff",
        True,
    )
    assert page.get(f"/{path}", None).status_code == 401
    assert page.get("/pictures/" + "0" * 64 + ".png").status_code == 404


def _store_creative(page: Page) -> None:
    """Store a creative with two ads, and an ad that stands for itself."""
    parts = [_score("1", 90.0, part_of="creative-9"), _score("2", 60.0, part_of="creative-9", recent_spend=400.0)]
    _store(
        page, [*parts, _score("creative-9", 80.0, alarm="alarm", recent_spend=500.0, ad_name="ad 9"), _score("3", 70.0)]
    )


def test_ads_stand_beneath_their_creative(page: Page) -> None:
    """In what needs action only their number stands; only the creative counts. Each leads to the other."""
    _store_creative(page)
    path = _show_picture(page, "2")
    html = {tile: page.tile("fatigue", tile) for tile in ("today", "ads")}
    assert [_names(html[tile]) for tile in html] == [["ad 9", "ad 3"], ["ad 9", "ad 2", "ad 1", "ad 3"]]
    assert "act_1 · 2 ads · 40% fewer clicks" in html["today"]
    assert "2 ads</summary>" in html["ads"]
    assert [html[tile].count(path) for tile in html] == [1, 1]
    assert overview.count_due(page.runtime.engine, ALL).total == 2
    assert "New alarms: 1" in page.tile("fatigue", "changes")
    assert 'href="ad?account=act_1&amp;ad=1"' in page.tile("ad", "score", account="1", ad="creative-9")
    assert 'href="ad?account=act_1&amp;ad=creative-9"' in page.tile("ad", "score", account="1", ad="1")
    found = _read_csv(page.get("/downloads/fatigue/ads"))
    assert [row["ad_id"] for row in found] == ["creative-9", "2", "1", "3"]


def test_a_tab_runs_at_most_fifteen_statements(page: Page) -> None:
    """All tiles of the tab and of an ad's page together, with something in each of them."""
    _store(page, [_score("1", 20.0, YESTERDAY)])
    _store_creative(page)
    for path in ("/fatigue?plain=1", "/ad?plain=1&account=1&ad=creative-9"):
        with page.counting_statements() as statements:
            assert "ad 9" in page.get(path).text
        assert len(statements) <= 15, statements
