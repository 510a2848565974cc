"""Levels in stored rows become notices, when a report asks for their field."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from adwarm.fatigue.account_scores import score_accounts
from adwarm.fatigue.row_notices import read_row_notices, save_row_notices
from adwarm.model import PlatformNotice, Priority, ReportKey, Window
from adwarm.prefetch import KeyRequest
from adwarm.settings import ReportSettings
from adwarm.sources.protocol import FetchUnit, ResultPage
from adwarm.store import Context, ObjectStore, partitions, platform_fatigue
from tests.unit.conftest import NOW, PrefetchHarness, one_ad_page

DAY = date(2026, 11, 24)
END = datetime(2026, 11, 25, tzinfo=UTC)


def test_levels_are_taken_where_they_are_clear(subtests: pytest.Subtests) -> None:
    """A level under a name that ends in `level` is taken; any other form of the undocumented field is left alone."""
    for fields, level in (
        ({"creative_fatigue_level": "HIGH"}, "high"),
        ({"creative_fatigue_summary": [{"level": "LOW"}, {"fatigue_level": "MEDIUM"}]}, "medium"),
        ({"creative_fatigue_summary": '[{"creative_fatigue_level": "HIGH"}]'}, "high"),
        ({"creative_fatigue_level": "LOW", "creative_fatigue_summary": {"level": "HIGH"}}, "low"),
        ({"creative_fatigue_level": "SEVERE"}, None),
        ({"creative_fatigue_summary": "HIGH"}, None),
        ({"creative_fatigue_summary": "[broken"}, None),
        ({"creative_fatigue_summary": [[{"level": "HIGH"}], 7, None]}, None),
        ({"creative_fatigue_summary": {"a": {"b": {"level": "HIGH"}}}}, None),
        ({}, None),
    ):
        with subtests.test(fields=fields, level=level):
            found = list(read_row_notices([{"ad_id": "7", **fields}], "act_1", DAY))
            assert [notice.level for notice in found] == ([] if level is None else [level])
            assert all(notice == PlatformNotice("act_1", "7", END, notice.level, None, "rows") for notice in found)


def _with_level(unit: FetchUnit) -> ResultPage:
    page = one_ad_page(unit)
    for row in page.rows:
        row["creative_fatigue_level"] = "MEDIUM"
    return page


def test_scoring_stores_the_levels_of_rows(bench: PrefetchHarness, objects: ObjectStore) -> None:
    """A report with the field leaves a notice when its day is scored, once; without the field rows are not read."""
    bench.source.script = {"act_1": _with_level, "act_2": _with_level}
    keys = [KeyRequest(ReportKey("act_1", "2026-11-18..2026-11-24"), close_day=DAY)]
    bench.prefetch.run(keys, Priority.LOW)
    score_accounts(Context(bench.engine, objects, bench.settings), [("act_1", DAY)], NOW)
    assert platform_fatigue.list_newest(bench.engine, "act_1") == {}

    plain = bench.settings.spec("default").fields
    report = ReportSettings(fields=(*plain, "creative_fatigue_level"))
    settings = bench.settings.model_copy(update={"reports": {"default": report}})
    context = replace(bench.prefetch.context, settings=settings)
    bench.prefetch.context = context
    keys = [KeyRequest(ReportKey("act_2", "2026-11-18..2026-11-24"), close_day=DAY)]
    bench.prefetch.run(keys, Priority.LOW)
    for _ in range(2):
        score_accounts(context, [("act_2", DAY)], NOW)
    assert platform_fatigue.list_since(bench.engine, "act_2", END) == [
        PlatformNotice("act_2", "7", END, "medium", None, "rows")
    ]


def test_a_damaged_day_is_reported(bench: PrefetchHarness, objects: ObjectStore) -> None:
    """A day whose object is gone is a message, and the levels of other accounts are stored all the same."""
    plain = bench.settings.spec("default").fields
    report = ReportSettings(fields=(*plain, "creative_fatigue_level"))
    settings = bench.settings.model_copy(update={"reports": {"default": report}})
    context = replace(bench.prefetch.context, settings=settings)
    bench.prefetch.context = context
    bench.source.script = {"act_1": _with_level, "act_2": _with_level}
    for name in ("act_1", "act_2"):
        key = KeyRequest(ReportKey(name, "2026-11-18..2026-11-24"), close_day=DAY)
        bench.prefetch.run([key], Priority.LOW)
    window = Window(DAY, DAY)
    (state,) = partitions.list_states(bench.engine, "act_1", settings.spec("default").hash, window).values()
    objects.delete(state.object_hash)
    errors = save_row_notices(context, [("act_1", DAY), ("act_2", DAY)], NOW)
    assert len(errors) == 1
    assert errors[0].startswith("act_1 2026-11-24: the platform's fatigue levels could not be read")
    assert "7" in platform_fatigue.list_newest(bench.engine, "act_2")
