"""The pages of an account and of an ad: one file each, safe names, tables equal to the plots."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from sqlalchemy import Engine

from adwarm.fatigue.account_plot import render_account
from adwarm.fatigue.ad_plot import render_ad
from adwarm.fatigue.plot_data import load_account, load_ad
from adwarm.fatigue.plot_style import label
from adwarm.fatigue.report import list_changes, summarize
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, accounts, score_queries
from adwarm.store.scores import StoredScore

from .stored_ads import ACCOUNT, DAYS, EVIL, LAST_DAY, make_score, store_account


@pytest.fixture
def context(engine: Engine, objects: ObjectStore) -> Context:
    """A store with an account whose first ad wore out."""
    context = Context(engine, objects, Settings())
    store_account(context)
    return context


def _account_page(context: Context) -> str:
    account = accounts.get(context.engine, ACCOUNT)
    assert account is not None
    listed = score_queries.list_day(context.engine, ACCOUNT, LAST_DAY)
    before = score_queries.list_day(context.engine, ACCOUNT, LAST_DAY - timedelta(days=7))
    figures = load_account(context, account, summarize(listed), listed, list_changes(before, listed))
    return render_account(figures)


def _ad_page(context: Context, ad_id: str = "1") -> str:
    account = accounts.get(context.engine, ACCOUNT)
    assert account is not None
    history = score_queries.list_ad_history(context.engine, ACCOUNT, ad_id, LAST_DAY - timedelta(days=89), LAST_DAY)
    return render_ad(load_ad(context, account, history))


def _body(page: str) -> str:
    """Return the page without plotly's script."""
    return page[page.index("<body>") :]


def test_pages_need_no_network(context: Context) -> None:
    """Nothing is loaded from elsewhere; plotly's script is inside."""
    for page in (_account_page(context), _ad_page(context)):
        assert not re.findall(r"<(?:script|link|img|iframe)[^>]*\s(?:src|href)=", page)
        assert "Plotly" in page


def test_names_are_text(context: Context) -> None:
    """A name with markup and the end of a script stays a name, in tables and in plots."""
    for page in (_account_page(context), _ad_page(context)):
        body = _body(page)
        assert "<img" not in body
        assert "<b>ad" not in body
        assert "<Coffee>" not in body
        assert EVIL in unescape(body)


def test_the_account_page_says_what_to_do(context: Context) -> None:
    """The heading counts the ads to act on, the first one is the one with the alarm, changes and all ads follow."""
    body = unescape(_body(_account_page(context)))
    assert "<h1>Act on 1 ad of Harbor <Coffee></h1>" in body
    assert "Pause the ad and replace its creative" in body
    assert "new alarm, healthy 10 → critical 85" in body
    assert "critical 85" in body
    assert body.count('<td class="text name">') == 3
    assert {"ranking", "small-plots", "over-time"} <= set(re.findall(r'<div id="([a-z-]+)"', body))


def test_the_ad_page_shows_the_figures_behind_its_heading(context: Context) -> None:
    """The heading is the recommendation; the table has each day's rate, usual level and range as the plot has."""
    body = unescape(_body(_ad_page(context)))
    assert "<h1>Pause the ad and replace its creative" in body
    assert body.count('<td class="text day">') == DAYS
    newest = body[body.index(f'<td class="text day">{LAST_DAY}') :].split("</tr>")[0]
    for figure in ("10,000", "0.40%", "1.00%", "5.00", "85", "critical", "alarm"):
        assert f">{figure}<" in newest
    assert "decline began about here" in body


def test_equal_data_gives_equal_pages(context: Context) -> None:
    """Nothing depends on the moment a page is made."""
    assert _account_page(context) == _account_page(context)
    assert _ad_page(context) == _ad_page(context)


def test_an_ad_without_a_score_has_a_page(context: Context) -> None:
    """A pending ad without any delivery is shown without figures."""
    assert "Wait: there is too little data" in _ad_page(context, "3")


def test_an_account_without_scored_ads_has_a_page(context: Context) -> None:
    """Only pending ads: the page says that nothing is to do and has no ranking."""
    account = accounts.get(context.engine, ACCOUNT)
    assert account is not None
    pending = StoredScore(make_score("3", status="pending", total=None), 1, True, _stamp())
    page = render_account(load_account(context, account, summarize([pending]), [pending], []))
    assert "Nothing to do in Harbor" in page
    assert 'id="ranking"' not in page


def test_long_names_keep_their_end() -> None:
    """The names of two ads that differ at the end stay different."""
    assert label("a" * 60 + " 17", "1") != label("a" * 60 + " 18", "1")
    assert label("", "12") == "12"
    assert label("<b>\n x", "1") == "&lt;b&gt; x"


def _stamp() -> datetime:
    return datetime(2026, 11, 25, tzinfo=UTC)
