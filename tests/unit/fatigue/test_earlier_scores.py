"""Earlier versions of the score, from stored days."""

from datetime import date, timedelta

import pytest

from adwarm.fatigue.earlier_scores import score_stored_ads
from adwarm.foundation.errors import BadRequest, NotFound
from adwarm.model import Priority, ReportKey
from adwarm.prefetch import KeyRequest
from adwarm.sources.protocol import FetchUnit, ResultPage
from adwarm.store import Context, ObjectStore
from tests.unit.conftest import PrefetchHarness, one_ad_page

DAY = date(2026, 11, 24)


def _page(unit: FetchUnit) -> ResultPage:
    """Two ads: one steady, one that lost half of its clicks on the last day; a week's frequency is 5.01."""
    page = one_ad_page(unit)
    rows = []
    for row in page.rows:
        lost = row["date_start"] == str(DAY)
        figures = {"impressions": "10000", "spend": "50.00", "frequency": "5.01", "reach": "1996"}
        rows.append({**row, **figures, "ad_id": "7", "ad_name": "steady", "clicks": "100"})
        rows.append({**row, **figures, "ad_id": "8", "ad_name": "worn", "clicks": "50" if lost else "100"})
    return ResultPage(rows)


def test_stored_ads_are_scored_by_an_earlier_version(bench: PrefetchHarness, objects: ObjectStore) -> None:
    """The most fatigued ad is first; the frequency is that of the stored week; a day before has no week."""
    bench.source.script = {"act_1": _page}
    keys = [f"{DAY - timedelta(days=20)}..{DAY}", f"{DAY - timedelta(days=6)}..{DAY}"]
    bench.prefetch.run([KeyRequest(ReportKey("act_1", key), close_day=DAY) for key in keys], Priority.LOW)
    context = Context(bench.engine, objects, bench.settings)
    scores = score_stored_ads(context, "act_1", DAY, "C")
    assert [(score.ad_id, score.ad_name) for score in scores] == [("8", "worn"), ("7", "steady")]
    assert [score.total for score in scores] == [pytest.approx(0.4 * 80 + 0.3 * 85), pytest.approx(0.3 * 85)]
    early = score_stored_ads(context, "act_1", DAY - timedelta(days=1), "C")
    assert [score.total for score in early] == [0.0, 0.0]
    first = score_stored_ads(context, "act_1", DAY - timedelta(days=33), "A")
    assert [score.total for score in first] == [None, None]
    with pytest.raises(BadRequest, match="no version 'Z'"):
        score_stored_ads(context, "act_1", DAY, "Z")
    with pytest.raises(NotFound, match="act_2 has no stored day"):
        score_stored_ads(context, "act_2", DAY, "C")
