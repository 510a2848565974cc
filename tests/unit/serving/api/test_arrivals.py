"""`POST /v1/data-arrived`: marks days for a token that may enqueue, and for the accounts of that token only."""

import pytest

from adwarm.model import ReportKey, TokenScope
from adwarm.serving.reader import ReadStatus
from adwarm.store import data_arrivals
from tests.unit.conftest import NOW, SQLITE_ONLY
from tests.unit.serving.api.conftest import Api

PATH = "/v1/data-arrived"
BODY = {"account": "act_1", "days": "2026-11-24"}


def test_a_notice_makes_reports_stale(api: Api) -> None:
    """A fresh report that contains the day is stale afterwards; the same notice again is known."""
    key = ReportKey("act_1", "last_7d")
    api.desk.warm(key)
    api.clock.sleep(60)
    token = api.token(TokenScope.READ, TokenScope.ENQUEUE)
    first, again = api.post(PATH, token, BODY), api.post(PATH, token, BODY)

    assert (first.status_code, first.json()["marked"], first.json()["entries"]) == (200, 1, 1)
    assert (again.json()["marked"], again.json()["known"]) == (0, 1)
    assert api.desk.reader.read(key).status is ReadStatus.STALE


def test_a_reader_may_not_report(api: Api) -> None:
    """The scope `read` alone is refused, and an account outside the token's list is as unknown as any other."""
    api.desk.warm(ReportKey("act_1", "today"))
    assert api.post(PATH, api.token(TokenScope.READ), BODY).status_code == 403
    limited = api.token(TokenScope.ENQUEUE, accounts=frozenset({"act_2"}))
    assert api.post(PATH, limited, BODY).status_code == 404
    assert data_arrivals.list_pending(api.desk.engine, NOW.replace(year=2000)) == []


@SQLITE_ONLY
def test_a_bad_notice_is_a_problem(api: Api, subtests: pytest.Subtests) -> None:
    """The future, other words, unknown accounts and fields, and a time without a zone are refused."""
    api.desk.warm(ReportKey("act_1", "today"))
    for change, status in [
        ({"days": "2999-01-01"}, 400),
        ({"days": "x"}, 400),
        ({"account": "act_99"}, 404),
        ({"arrived_at": "2026-11-25T10:00:00"}, 400),
        ({"more": 1}, 400),
    ]:
        with subtests.test(change=change, status=status):
            response = api.post(PATH, api.token(TokenScope.ENQUEUE), {**BODY, **change})
            assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")


def test_a_notice_counts_against_its_token(api: Api) -> None:
    """Each report that it makes old is a fetch that the token causes; beyond its limit it is 429 and no change."""
    for date_range in ("last_7d", "yesterday", "last_30d"):
        api.desk.warm(ReportKey("act_1", date_range))
    api.clock.sleep(60)
    poor, rich = (api.token(TokenScope.ENQUEUE, daily_refetches=limit) for limit in (2, 3))
    refused = api.post(PATH, poor, BODY)

    assert (refused.status_code, refused.json()["limit"]) == (429, "daily_refetches")
    assert 1 <= int(refused.headers["retry-after"]) <= 86_400
    assert "3 stored reports would be fetched again" in refused.json()["detail"]
    assert data_arrivals.list_pending(api.desk.engine, NOW.replace(year=2000)) == []
    assert api.desk.reader.read(ReportKey("act_1", "last_7d")).status is ReadStatus.HIT
    assert api.post(PATH, rich, BODY).json()["entries"] == 3
    assert api.post(PATH, rich, BODY).status_code == 200, "the same moment again changes nothing and costs nothing"
    api.clock.sleep(60)
    assert api.post(PATH, rich, BODY).status_code == 429
    assert api.post(PATH, poor, BODY).status_code == 200, "what is old already costs one"
