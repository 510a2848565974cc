"""The routes of scores: pages, filters, CSV, changes, the summary, and copies that are still current."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from adwarm.model import FatigueScore
from adwarm.store import creatives
from adwarm.store.creatives import AdCreative
from tests.support import fatigue_scores
from tests.unit.conftest import SQLITE_ONLY
from tests.unit.fatigue.stored_ads import ACCOUNT, LAST_DAY, store_account
from tests.unit.serving.api.conftest import Api


def _score(ad: int, total: float | None, status: str = "healthy", as_of: date = date(2026, 11, 24)) -> FatigueScore:
    components: dict[str, Any] = dict.fromkeys(("total", "creative", "audience", "algorithm"), total)
    baseline = {"flags": ["one"], "days": 30}
    loss = None if total is None else total / 200
    return fatigue_scores.make_score(str(ad), as_of, status=status, baseline=baseline, loss=loss, **components)


def test_scores_in_pages(api: Api) -> None:
    """Pages hold every score once, most loss first and pending ones last, also when losses are equal."""
    totals = [50.0, 80.25, None, 80.25, 10.1, None, 0.0]
    fatigue_scores.publish(api.engine, [_score(n, total) for n, total in enumerate(totals)], 1, True, api.clock.now())
    token, seen, cursor = api.token(), [], ""
    while cursor is not None:
        page = api.get(f"/v1/scores/1?limit=2{cursor and '&cursor=' + quote(cursor)}", token).json()
        seen += [score["ad_id"] for score in page["scores"]]
        assert (page["account"], page["as_of"]) == ("act_1", "2026-11-24")
        cursor = page["next_cursor"]
    assert seen == ["1", "3", "0", "4", "6", "2", "5"]


def test_what_an_ad_shows(api: Api) -> None:
    """A score names the ad's creative and the path of its picture, which only a token of the account reads."""
    fatigue_scores.publish(api.engine, [_score(n, 50.0 - n) for n in range(3)], 1, True, api.clock.now())
    objects, item = api.services.context.objects, AdCreative("0", "9", "Sale", "VIDEO")
    shown = [creatives.store_picture(objects, item, b"\xff\xd8\xff1"), AdCreative("1")]
    creatives.save(api.engine, "act_1", shown, api.clock.now())
    first, *others = (score["ad_creative"] for score in api.get("/v1/scores/1", api.token()).json()["scores"])
    path = first.pop("picture")
    assert (first, others) == ({"id": "9", "title": "Sale", "format": "VIDEO"}, [None, None])
    picture = api.get(path, api.token())
    assert (picture.content, picture.headers["content-type"]) == (b"\xff\xd8\xff1", "image/jpeg")
    assert picture.headers["x-content-type-options"] == "nosniff"
    limited = api.token(accounts=("act_2",))
    for other, token in ((path, limited), (path.replace("act_1", "act_2"), limited), (f"{path}x", api.token())):
        assert api.get(other, token).status_code == 404, other


def test_scores_by_ad_day_and_status(api: Api) -> None:
    """Filters select; a day without scores shows the newest before it; a known account without scores has none."""
    earlier = date(2026, 11, 20)
    for day in (earlier, date(2026, 11, 24)):
        batch = [_score(1, 90.0, "critical", day), _score(2, 20.0, "healthy", day)]
        fatigue_scores.publish(api.engine, batch, 1, True, api.clock.now())
    token = api.token()

    def ads(query: str) -> tuple[str | None, list[str]]:
        page = api.get(f"/v1/scores/act_1?{query}", token).json()
        return page["as_of"], [score["ad_id"] for score in page["scores"]]

    assert ads("status=critical") == ("2026-11-24", ["1"])
    assert ads("ad_id=2&as_of=2026-11-22") == ("2026-11-20", ["2"])
    assert ads("as_of=2026-11-01") == (None, [])
    assert api.get("/v1/scores/act_2", token).json()["scores"] == []
    assert api.get("/v1/scores/act_9", token).status_code == 404
    for query in (
        "cursor=x",
        "cursor=bnVsbA",
        "limit=0",
        "status=sick",
        "as_of=yesterday",
        "ad_id=%00",
        "limit=1&limit=2",
    ):
        assert api.get(f"/v1/scores/act_1?{query}", token).status_code == 400


@pytest.fixture
def stored(api: Api) -> Api:
    """The API over an account whose first ad has worn out and has an alarm."""
    store_account(api.services.context)
    return api


def test_a_score_says_everything(stored: Api) -> None:
    """Driver, alarm, days, spend, versions and the recommendation in words are in the answer."""
    page = stored.get(f"/v1/scores/{ACCOUNT}", stored.token()).json()
    worst = page["scores"][0]
    assert (worst["ad_id"], worst["driver"], worst["alarm"], worst["onset"]) == ("1", "creative", "alarm", "2026-11-15")
    assert (worst["alarm_since"], worst["recent_spend"]) == ("2026-11-18", 100.0)
    assert worst["recommendation"].startswith("Pause and replace")
    assert any(text.startswith("click-through rate falling since about Nov 15") for text in worst["reasons"])
    assert (worst["data_version"], worst["calculator_version"], worst["settled"]) == (20, "1", True)


def test_a_creative_holds_its_ads(api: Api) -> None:
    """A creative is listed with its ads, which are on no page of their own; each is found by its id."""
    creative = replace(_score(0, 60.0), ad_id="creative-9")
    parts = [replace(_score(ad, total), part_of="creative-9") for ad, total in ((1, 40.0), (2, 90.0))]
    fatigue_scores.publish(api.engine, [creative, *parts, _score(3, 20.0)], 1, True, api.clock.now())
    creatives.save(api.engine, "act_1", [AdCreative("1", "9", "Sale"), AdCreative("2", "9", "Sale")], api.clock.now())
    listed = api.get("/v1/scores/act_1", api.token()).json()["scores"]
    assert [(item["ad_id"], [ad["ad_id"] for ad in item["ads"]]) for item in listed] == [
        ("creative-9", ["2", "1"]), ("3", []),
    ]  # fmt: skip
    assert (listed[0]["ad_creative"]["id"], listed[0]["ads"][0]["ad_creative"]["title"]) == ("9", "Sale")
    for ad_id, part_of in (("2", "creative-9"), ("creative-9", "")):
        (found,) = api.get(f"/v1/scores/act_1?ad_id={ad_id}", api.token()).json()["scores"]
        assert found["part_of"] == part_of


def test_scores_by_alarm(api: Api) -> None:
    """`alarm` selects."""
    batch = [_score(1, 90.0), _score(2, 20.0), _score(3, 10.0), _score(4, None)]
    levels = ("none", "alarm", "watch", "alarm")
    batch = [replace(score, alarm=level) for score, level in zip(batch, levels, strict=True)]
    fatigue_scores.publish(api.engine, batch, 1, True, api.clock.now())
    page = api.get("/v1/scores/act_1?alarm=watch", api.token()).json()
    assert [score["ad_id"] for score in page["scores"]] == ["3"]


@SQLITE_ONLY
@pytest.mark.parametrize("path", ["", "/changes", "/summary"])
def test_a_current_copy_is_not_sent_again(stored: Api, path: str) -> None:
    """The tag of an answer gives 304 until a score changes; answers are private and checked before each use."""
    token, target = stored.token(), f"/v1/scores/{ACCOUNT}{path}"
    first = stored.get(target, token)
    assert first.headers["cache-control"] == "private, no-cache"
    tag = first.headers["etag"]
    again = stored.get(target, token, headers={"If-None-Match": tag})
    assert (again.status_code, again.headers["etag"], again.content) == (304, tag, b"")
    fatigue_scores.publish(stored.engine, [_score(7, 95.0, "critical", LAST_DAY)], 99, True, stored.clock.now())
    assert stored.get(target, token, headers={"If-None-Match": tag}).status_code == 200


def test_changes_of_an_account(stored: Api) -> None:
    """Changes since the scored day before, or since a day; none without an earlier day."""
    token = stored.token()

    def read(query: str) -> dict[str, Any]:
        answer: dict[str, Any] = stored.get(f"/v1/scores/{ACCOUNT}/changes{query}", token).json()
        return answer

    assert read("")["changes"] == []
    week = read("?since=2026-11-17")
    assert (week["since"], week["as_of"]) == ("2026-11-17", str(LAST_DAY))
    assert [(item["kind"], item["text"]) for item in week["changes"]] == [
        ("alarm", "new alarm, healthy (5% lost) → critical (62% lost)")
    ]
    assert read("?as_of=2026-11-19")["changes"][0]["kind"] == "worse"
    assert read("?as_of=2026-11-05")["since"] is None
    assert stored.get(f"/v1/scores/{ACCOUNT}/changes?since={LAST_DAY}", token).status_code == 400
    assert stored.get("/v1/scores/act_2/changes", token).json()["as_of"] is None
    assert stored.get("/v1/scores/act_9/changes", token).status_code == 404


def test_the_summary_of_an_account(stored: Api) -> None:
    """Score and share weigh by spend; an account without scores has an empty summary, an unknown one none."""
    token = stored.token()
    summary = stored.get(f"/v1/scores/{ACCOUNT}/summary", token).json()
    assert (summary["score"], summary["fatigued_share"], summary["currency"]) == (28.75, 0.25, "EUR")
    assert summary["statuses"] == {"healthy": 1, "warning": 0, "critical": 1, "pending": 1}
    earlier = stored.get(f"/v1/scores/{ACCOUNT}/summary?as_of={LAST_DAY - timedelta(days=12)}", token).json()
    assert earlier["alarms"] == 0
    empty = stored.get("/v1/scores/act_2/summary", token).json()
    assert (empty["creatives"], empty["as_of"], empty["score"]) == (0, None, None)
    assert stored.get("/v1/scores/act_9/summary", token).status_code == 404


def test_a_token_reads_its_own_accounts_only(stored: Api) -> None:
    """The routes of another account look as if there were none."""
    token = stored.token(accounts=frozenset({"act_2"}))
    for path in ("", "/changes", "/summary"):
        assert stored.get(f"/v1/scores/{ACCOUNT}{path}", token).status_code == 404
